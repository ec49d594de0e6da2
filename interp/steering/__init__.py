"""Does adding a direction produce the concept, fluently?"""

from interp.steering.evaluate import Protocol, SteeringResult, Target, TargetResult, evaluate_steering
from interp.steering.judge import Judge, Judgement, Reliability
from interp.steering.offline_judge import OfflineJudge, fit_offline_judge
from interp.steering.steer import steer
from interp.steering.strengths import Calibration, calibrate, steering_kl

__all__ = [
    "Calibration",
    "Judge",
    "Judgement",
    "OfflineJudge",
    "Protocol",
    "Reliability",
    "SteeringResult",
    "Target",
    "TargetResult",
    "calibrate",
    "evaluate_steering",
    "fit_offline_judge",
    "steer",
    "steering_kl",
]
