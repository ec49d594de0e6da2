"""What the study of one layer's features found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from interp.core import Activations
from interp.decompose import Dictionary, Hierarchy, Reconstruction, Stability, save_dictionary
from interp.detection import Detection
from interp.features import Feature
from interp.steering import Reliability, SteeringResult
from interp.studies.features.companions import COMPANIONS, save_companions


@dataclass(frozen=True, kw_only=True)
class MethodRun:
    """One method's dictionary, reconstruction, detections and features (none for a control).

    `stability`, if requested, says which features are found again; `coefficients` of the study's
    activations, if known, tell which features fire together.
    """

    title: str
    dictionary: Dictionary
    reconstruction: Reconstruction
    detections: Sequence[Detection]
    features: Sequence[Feature]
    stability: Stability | None = None
    coefficients: Float[Tensor, "row feature"] | None = None


@dataclass(frozen=True, repr=False, kw_only=True)
class FeaturesResult:
    """The features of one layer by several methods, what they detect, and how they steer.

    `model` is the model's name, `source` what `interp.load_model` needs to find it (a name or a
    folder's path). `acts` are the activations that features were found in, `companions` the
    directions `[feature, d_site]` by method at `companion_site`; `hierarchy` groups the features of
    its first level's method. The study took `seconds`.

    Example:
        >>> result = study_features(interp.Settings())
        >>> result.methods["snmf"].detections[0].auroc
    """

    model: str
    companion_site: str
    acts: Activations
    concepts: int
    methods: Mapping[str, MethodRun]
    steering: SteeringResult
    judge_name: str
    reliability: Reliability
    seed: int
    seconds: float
    companions: Mapping[str, Float[Tensor, "feature d_site"]] = field(default_factory=dict)
    hierarchy: Hierarchy | None = None
    source: str | None = None

    def __repr__(self) -> str:
        counts = ", ".join(f"{name} {len(own.dictionary)}" for name, own in self.methods.items())
        return f"FeaturesResult({self.acts.site} of {self.model}: {counts} features)"

    def save(self, folder: str | Path) -> None:
        """Write the dictionaries that have features, the companions and the hierarchy.

        Raises:
            InputError: there are no companions.
            UnavailableError: the folder cannot be written.
        """
        target = Path(folder)
        for name, method in self.methods.items():
            if method.features:
                save_dictionary(method.dictionary, target / "dictionaries" / name)
        save_companions(target / COMPANIONS, self.companions, self.companion_site)
        if self.hierarchy is not None:
            self.hierarchy.save(target / "hierarchy")
