"""Records of a comparison's parts on disk; their fields are the keys of the json."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from interp.core import Score
from interp.decompose import Reconstruction
from interp.steering import Route


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of steering: a dictionary (site, method, number of features, None for the supervised
    one), its own directions or companions, and the place they are added at.
    """

    site: str
    method: str
    size: int | None
    route: Route
    place: str

    @property
    def way(self) -> "Way":
        """The way alone, without measurements."""
        return Way(**{field.name: getattr(self, field.name) for field in fields(Way)})


@dataclass(frozen=True, kw_only=True)
class Case(Way):
    """A way of steering towards one concept."""

    concept: str


@dataclass(frozen=True, kw_only=True)
class Detected:
    """A concept's feature: its AUROC on the fit sentences, where it was chosen, and on held-out
    ones against neutral sentences and other concepts'.
    """

    concept: str
    feature: int
    chosen_on: float
    auroc: Score
    auroc_others: Score


@dataclass(frozen=True, kw_only=True)
class DetectionPart:
    """One dictionary's reconstruction and detections."""

    site: str
    method: str
    size: int
    reconstruction: Reconstruction
    seconds: float
    detections: tuple[Detected, ...]


@dataclass(frozen=True, kw_only=True)
class DoseScores:
    """A strength and sign of a case: the mean on the report prompts (None: not reached), and each
    text's score (None: the judge failed).
    """

    kl: float
    sign: int
    score: Score | None
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Steered(Case):
    """A case at its chosen strength (None: none was reached): its score, the best control's and the
    margin; `texts` are pairs of prompt and continuation.
    """

    feature: int
    kl: float | None
    sign: int | None
    alpha: float | None
    report: Score | None
    control: Score
    margin: Score | None
    beats_control: bool
    unreachable: tuple[float, ...]
    curve: tuple[DoseScores, ...]
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Control:
    """A family of random directions, or no steering."""

    family: str
    report: Score | None
    unreachable: int


@dataclass(frozen=True, kw_only=True)
class SteeringPart:
    """All cases and controls at one place."""

    place: str
    targets: tuple[Steered, ...]
    controls: tuple[Control, ...]
    unsteered: Mapping[str, Score]
    judged: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Lifted(Case):
    """A case's likelihood lift and its percentile among random directions (None: not reached)."""

    lift: Score | None
    percentile: float | None
    n_random: int


@dataclass(frozen=True)
class LiftPart:
    """The likelihood lifts at one place."""

    place: str
    targets: tuple[Lifted, ...]


@dataclass(frozen=True, kw_only=True)
class Disturbed(Case):
    """What a case does to ordinary text at its chosen strength."""

    kl: Score
    perplexity_ratio: Score


@dataclass(frozen=True)
class SideEffectsPart:
    """The side effects at one place, of the cases that reached a strength."""

    place: str
    targets: tuple[Disturbed, ...]
