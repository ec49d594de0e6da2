"""Does adding a direction produce the concept, fluently?"""

from interp.steering.adding import steer
from interp.steering.choosing import concepts_to_steer, steering_targets
from interp.steering.evaluate import evaluate_steering
from interp.steering.judge import Judge, Judgement, MeasuredJudge, Reliability
from interp.steering.offline_judge import OfflineJudge, fit_offline_judge
from interp.steering.results import Dose, FamilyResult, SteeringResult, TargetResult
from interp.steering.strengths import Calibration, calibrate, steering_kl
from interp.steering.targets import Protocol, Route, Target

__all__ = [
    "Calibration",
    "Dose",
    "FamilyResult",
    "Judge",
    "Judgement",
    "MeasuredJudge",
    "OfflineJudge",
    "Protocol",
    "Reliability",
    "Route",
    "SteeringResult",
    "Target",
    "TargetResult",
    "calibrate",
    "concepts_to_steer",
    "evaluate_steering",
    "fit_offline_judge",
    "steer",
    "steering_kl",
    "steering_targets",
]
