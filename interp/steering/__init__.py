"""Does adding a direction produce the concept, fluently?"""

from interp.steering.adding import steer
from interp.steering.choosing import concepts_to_steer, steering_targets
from interp.steering.differences import paired_difference
from interp.steering.evaluate import evaluate_steering
from interp.steering.judges.endpoint import EndpointJudge, Usage, measure
from interp.steering.judges.judge import Judge, Judgement, MeasuredJudge, Reliability
from interp.steering.judges.offline import OfflineJudge, fit_offline_judge
from interp.steering.lift import Lift, LiftResult, likelihood_lift
from interp.steering.results import Dose, FamilyResult, SteeringResult, TargetResult
from interp.steering.side_effects import SideEffects, side_effects
from interp.steering.strengths import Calibration, calibrate, steering_kl
from interp.steering.targets import Protocol, Route, Target

__all__ = [
    "Calibration",
    "Dose",
    "EndpointJudge",
    "FamilyResult",
    "Judge",
    "Judgement",
    "Lift",
    "LiftResult",
    "MeasuredJudge",
    "OfflineJudge",
    "Protocol",
    "Reliability",
    "Route",
    "SideEffects",
    "SteeringResult",
    "Target",
    "TargetResult",
    "Usage",
    "calibrate",
    "concepts_to_steer",
    "evaluate_steering",
    "fit_offline_judge",
    "likelihood_lift",
    "measure",
    "paired_difference",
    "side_effects",
    "steer",
    "steering_kl",
    "steering_targets",
]
