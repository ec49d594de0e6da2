"""What the study of one layer's features found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, Score
from interp.decompose import Dictionary, Hierarchy, Reconstruction, Stability, save_dictionary
from interp.decompose.matching import Matching
from interp.detection import Detection
from interp.features import ConceptTree, Feature, Neighbourhood
from interp.steering import Reliability, SteeringResult
from interp.studies.features.companions import COMPANIONS, save_companions


@dataclass(frozen=True, kw_only=True)
class MethodRun:
    """One method's dictionary, reconstruction, detections and features (none for a control).

    `stability`, where it was measured, says which features are found again; `coefficients`, where
    they are known, are those of the study's activations.
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

    `model` is the model's name, `source` where `interp.load_model` finds it if not by that name (a
    folder's path). `acts` are the activations that features were found in, `companions` the
    directions `[feature, d_site]` by method at `companion_site`. By method, `summaries` hold how
    many concepts are detected with AUROC ≥ 0.9 and the mean AUROC; by pair of methods, `matches`
    hold the partners and their mean cosine; `near` are each feature's neighbours. `hierarchy`
    groups the features of its first level's method, `tree` holds its branches and `level_labels`
    the labels of every level above the first. `seconds` is the study's duration.

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
    summaries: Mapping[str, tuple[int, Score]] = field(default_factory=dict)
    near: Neighbourhood = field(default_factory=lambda: Neighbourhood({}))
    matches: Mapping[tuple[str, str], tuple[Matching, Score]] = field(default_factory=dict)
    hierarchy: Hierarchy | None = None
    tree: ConceptTree | None = None
    level_labels: tuple[tuple[str, ...], ...] = ()
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
