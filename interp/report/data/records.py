"""The records behind the page of features: fields are the keys of features.json, annotations its
schema.

A number that was not measured is None; an undefined score has the value NaN (null in json).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from interp.core import Score
from interp.features.feature import FeatureContext, TokenEffect
from interp.features.neighbours import Neighbour
from interp.features.tree import Branch
from interp.steering.generation import Continuation

SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Model:
    """The network, the site of its features and the site where companions are added."""

    name: str
    weight_hash: str | None
    site: str
    companion_site: str
    source: str | None = None
    """Where `interp.load_model` finds it, if not by its name; if None, json has no such key."""


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The sizes of the recording, and which tokens count."""

    texts: int
    rows: int
    concepts: int
    selection: str


@dataclass(frozen=True, kw_only=True)
class MethodStability:
    """How well features are found again from other seeds and on halves of the texts."""

    seeds: Score | None
    halves: Score | None


@dataclass(frozen=True, kw_only=True)
class Method:
    """One decomposition: its size, quality and cost."""

    method: str
    title: str
    features: int
    explained_variance: Score
    l0: float
    direction_density: float
    dead_fraction: float
    seconds: float
    stability: MethodStability | None


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best feature of a method for a concept; a control's number is None."""

    method: str
    feature: int | None
    auroc: Score
    auroc_other_concepts: Score
    average_precision: Score
    paper_score: float | None


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A concept and each method's best feature for it."""

    concept: str
    best: tuple[Best, ...]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A method's detection of all concepts; `good` counts those with an AUROC of at least 0.9."""

    method: str
    concepts: int
    good: int = field(metadata={"key": "at_least_0.9"})
    mean_auroc: Score


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Which features detect labelled concepts."""

    concepts: tuple[Concept, ...]
    summary: tuple[Summary, ...]

    @property
    def best(self) -> Iterator[Best]:
        """The best features of all concepts."""
        return (best for item in self.concepts for best in item.best)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A concept that the judge does not tell apart well enough."""

    concept: str
    auroc: float


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who scored the texts, how reliably, and how often it failed."""

    name: str
    auroc: Score
    accepted: tuple[str, ...]
    refused: tuple[Refused, ...]
    asked: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Point:
    """The score at a strength (KL in nats)."""

    kl: float
    score: Score


@dataclass(frozen=True, kw_only=True)
class Family:
    """Directions of one method, route and site: dose-response, and score on the report prompts."""

    family: str
    title: str
    method: str
    route: str
    site: str
    control: bool
    curve: tuple[Point, ...]
    report: Score
    minus_best_control: Score | None
    unreachable: int
    n: int


@dataclass(frozen=True, kw_only=True)
class Unsteered:
    """What the model writes unsteered, and each concept's score of that."""

    score: Mapping[str, Score]
    continuations: tuple[Continuation, ...]


@dataclass(frozen=True, kw_only=True)
class Steering:
    """The steering protocol and its families."""

    prompts_selection: tuple[str, ...]
    prompts_report: tuple[str, ...]
    strengths_kl: tuple[float, ...]
    samples: int
    max_new_tokens: int
    unsteered: Unsteered
    families: tuple[Family, ...]


@dataclass(frozen=True, kw_only=True)
class Dose:
    """A feature added at one strength and sign, the scores and the texts."""

    kl: float
    measured_kl: float
    alpha: float
    sign: int
    score: Score
    concept_score: float
    fluency_score: float
    continuations: tuple[Continuation, ...]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The strength and sign that the selection prompts chose."""

    kl: float
    sign: int


@dataclass(frozen=True, kw_only=True)
class Lift:
    """A likelihood lift, and its percentile among `n_random` random directions."""

    value: float
    percentile: float
    n_random: int


@dataclass(frozen=True, kw_only=True)
class Route:
    """A feature steered at one site, beside its control."""

    route: str
    site: str
    dose: tuple[Dose, ...]
    chosen: Chosen
    report: Score
    control: Score
    beats_control: bool
    lift: Lift | None
    unreachable: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class FeatureSteering:
    """A feature steered towards a concept, by every route."""

    concept: str
    routes: tuple[Route, ...]

    @property
    def beats_control(self) -> bool:
        """Whether any route does better than its control."""
        return any(route.beats_control for route in self.routes)


@dataclass(frozen=True, kw_only=True)
class FeatureDetection:
    """A feature as detector of the concept it was chosen for."""

    concept: str
    auroc: Score
    auroc_other_concepts: Score
    average_precision: Score
    control_random: float
    control_shuffled: float


@dataclass(frozen=True, kw_only=True)
class FeatureStability:
    """Cosines of a feature with its partner in another fit, and by chance."""

    seeds: float | None
    halves: float | None
    control: float


@dataclass(frozen=True, kw_only=True)
class Feature:
    """Everything on the page about one feature."""

    id: str
    method: str
    index: int
    label: str
    label_source: str
    concept: str | None
    firing_rate: float
    nonzero_neurons: int
    stability: FeatureStability | None
    contexts: tuple[FeatureContext, ...]
    promoted: tuple[TokenEffect, ...]
    suppressed: tuple[TokenEffect, ...]
    detection: FeatureDetection | None
    steering: FeatureSteering | None
    neighbours: tuple[Neighbour, ...]
    neighbour_control: float | None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two partners, by their ids."""

    first: str
    second: str
    cosine: float


@dataclass(frozen=True, kw_only=True)
class Match:
    """Partners of two methods' dictionaries, the nearest first."""

    first: str
    second: str
    pairs: tuple[Pair, ...]
    mean_cosine: Score


@dataclass(frozen=True, kw_only=True)
class LevelFeature:
    """A feature of a hierarchy."""

    label: str


@dataclass(frozen=True, kw_only=True)
class Level:
    """The features of one level of a hierarchy."""

    features: tuple[LevelFeature, ...]


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """How a method's features belong to broader ones."""

    method: str
    levels: tuple[Level, ...]
    branches: tuple[Branch, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole report; `provenance` is free json on how every number was made.

    Example:
        >>> interp.report.report_data(run).features[0].label
    """

    schema: int
    title: str
    model: Model
    corpus: Corpus
    provenance: Mapping[str, Any]
    methods: tuple[Method, ...]
    detection: Detection
    judge: Judge
    steering: Steering
    features: tuple[Feature, ...]
    matches: tuple[Match, ...]
    hierarchy: Hierarchy | None

    @property
    def routes(self) -> list[Route]:
        """Every route by which a feature was steered."""
        return [route for item in self.features if item.steering for route in item.steering.routes]
