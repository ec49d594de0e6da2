"""Settings of the studies of learning."""

from dataclasses import dataclass

from interp.core import InputError
from interp.dynamics.learning_times import LearningRule

FOR_GOOD = LearningRule(for_good=True)


@dataclass(frozen=True, kw_only=True)
class LearningProtocol:
    """Settings of `study_shapes` and `study_language_model`.

    A language model is steered at `site`; `features` features per checkpoint are followed at
    `feature_site` (neurons), with `prompts` prompts per concept.

    Raises:
        InputError: a count below 1.

    Example:
        >>> LearningProtocol(rule=LearningRule(threshold=0.9), prompts=12)
    """

    rule: LearningRule = FOR_GOOD
    site: str = "L2.resid_post"
    feature_site: str = "L2.mlp"
    features: int = 60
    prompts: int = 48

    def __post_init__(self) -> None:
        for name in ("features", "prompts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give at least 1")
