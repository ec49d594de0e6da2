"""One small object of every kind that shows itself, with a name of the caller's choice wherever it
has one.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tiny
import torch
from torch import nn

import interp
from interp.causal import CausalGraph, Node, Port
from interp.causal.checks.faithfulness import Faithfulness
from interp.causal.checks.prediction_check import PredictionCheck
from interp.causal.checks.stability import Stability as GraphStability
from interp.causal.checks.sufficiency import Standing, Sufficiency
from interp.causal.features.feature_effect import FeatureEffect
from interp.causal.features.feature_paths import FeaturePaths
from interp.causal.wiring.wiring import Edge
from interp.core import Activations, Contexts, Provenance, Score, Sites
from interp.decompose import Hierarchy, RandomDirections, Reconstruction, Stability
from interp.detection import Detection
from interp.detection.probing import Probe
from interp.diffusion import FactorGate, Gate, Interchange, StepDirections, Transfer
from interp.diffusion.bottleneck.carriers import Carried, CarrierShares
from interp.diffusion.bottleneck.readable import Readability, Reading, ReadWrite, ReadWriteTable
from interp.diffusion.directions.streamed import StepStatistics
from interp.diffusion.scores.dose import DoseResponse
from interp.diffusion.scores.effects import EditScore
from interp.diffusion.scores.label_efficiency import CountEffect, LabelEfficiency
from interp.diffusion.scores.projection_effect import ProjectionScore
from interp.dynamics import Trajectories
from interp.features import Feature, FeatureContext, LossRecovered, TokenEffect
from interp.features.neighbours import Neighbour, Neighbourhood
from interp.features.tree import Branch, ConceptTree
from interp.steering import (
    FamilyResult,
    Protocol,
    Reliability,
    SteeringResult,
    Target,
    TargetResult,
)
from interp.steering.lift import Lift, LiftResult
from interp.studies.comparison import ComparisonResult
from interp.studies.comparison.protocol import ResolvedComparison
from interp.studies.comparison.result import ControlRow, JudgeRow, SteeringRow
from interp.studies.directions.result import DirectionsResult, MethodResult
from interp.studies.paths.result import PathsResult

NAN = float("nan")
UNDEFINED = Score(NAN, NAN, NAN, n=0, seed=0, control=None, interval="none: too few")


def score(value: float, control: float | None = 0.125) -> Score:
    return Score(value, value - 0.0625, value + 0.0625, n=40, seed=7, control=control)


def provenance(name: str, method: str = "random") -> Provenance:
    parameters = {"note": name, "names": [name] * 9, name: 0.25}
    return Provenance(
        method,
        parameters=parameters,
        seed=7,
        model=name,
        weight_hash="w",
        corpus_hash="c",
        site=name,
        selection=name,
        cost={"seconds": 1.5},
    )


def dictionary(name: str, features: int = 3, width: int = 8) -> RandomDirections:
    directions = torch.zeros(features, width)
    directions[torch.arange(features), torch.arange(features) % width] = 1.0
    return RandomDirections(directions, torch.zeros(width), provenance(name))


def activations(name: str, texts: int = 3, length: int = 4, *, image: bool = False) -> Activations:
    item, position = np.repeat(np.arange(texts), length - 1), np.tile(np.arange(1, length), texts)
    norms = 1.0 + np.arange(len(item))
    tokens = (
        ()
        if image
        else tuple(tuple(f"{name}{place}" for place in range(length)) for _ in range(texts))
    )
    contexts = Contexts(
        item=item,
        position=position,
        step=np.zeros(len(item), dtype=int),
        items=(name,) * texts,
        tokens=tokens,
    )
    return Activations(
        torch.from_numpy(norms).float()[:, None] * torch.eye(4)[:1],
        contexts,
        name,
        provenance(name, "record"),
    )


def feature(name: str, contexts: int = 2) -> Feature:
    context = FeatureContext(
        tuple(f"{name}{i}" for i in range(31)), tuple(0.5 * i for i in range(31)), 15
    )
    effects = tuple(TokenEffect(name, 9.5 - i) for i in range(20))
    return Feature(
        dictionary=dictionary(name),
        index=1,
        firing_rate=0.375,
        contexts=(context,) * contexts,
        promoted=effects,
        suppressed=effects,
        label=name,
        label_source="distinctive words",
        concept=name,
    )


def steering(name: str, families: int = 2) -> SteeringResult:
    target = Target(
        family=name,
        method=name,
        route="native",
        site=name,
        direction=torch.ones(2),
        concept=name,
        feature_id=name,
    )
    margins = (score(0.5, None), score(0.03125, None), None)
    results = tuple(
        TargetResult(target=target, doses=(), chosen=None, control=score(0.25), margin=margin)
        for margin in margins
    )
    found = tuple(
        FamilyResult(
            family=f"{name}{i}",
            method=name,
            route="native",
            site=name,
            curve=(),
            report=score(1.25 + i / 64, None),
            minus_best_control=score(-0.75),
            unreachable=3,
            is_control=i == 1,
        )
        for i in range(families)
    )
    empty = FamilyResult(
        family="not reached",
        method=name,
        route="random",
        site=name,
        curve=(),
        report=None,
        minus_best_control=None,
        unreachable=5,
        is_control=True,
    )
    return SteeringResult(
        protocol=Protocol(),
        targets=results,
        controls=(),
        families=(*found, empty),
        unsteered=(),
        unsteered_scores={},
        judged=200,
        failed=5,
    )


def graph(name: str, layers: int = 3, *, wide: int = 1) -> CausalGraph:
    nodes = tuple(Node(f"{name}{layer}.{i}", layer) for layer in range(layers) for i in range(wide))
    ports = tuple(
        Port(f"{name}{layer}.{i}.in", (f"{name}{layer}.{i}",), layer)
        for layer in range(1, layers)
        for i in range(wide)
    )
    edges = np.array(
        [
            (i, j)
            for i, node in enumerate(nodes)
            for j, port in enumerate(ports)
            if node.layer < port.layer
        ]
    )
    effects = (-1.0) ** np.arange(len(edges)) / 2 ** np.minimum(np.arange(len(edges)), 40)
    per_example = np.stack([effects, effects])
    return CausalGraph(
        nodes=nodes,
        ports=ports,
        edges=edges,
        per_example=per_example,
        clean=np.full(2, 3.5),
        replaced=np.full(2, 0.75),
        method="eap",
        value="resample",
        metric=name,
        provenance=provenance(name),
        kept=np.arange(len(edges)) < 2,
    )


def trajectories(name: str, axes: int = 2, checkpoints: int = 5) -> Trajectories:
    values = np.linspace(0, 1, checkpoints)[:, None].repeat(4, axis=1)
    return Trajectories(
        steps=tuple(range(0, 10 * checkpoints, 10)),
        samples={f"{name}{i}": values / (i + 1) for i in range(axes)},
        name=name,
    )


def directions(name: str, count: int = 2) -> StepDirections:
    values = torch.zeros(count, 2, 1, 1, 1) + 3.0
    return StepDirections(
        values=values,
        names=tuple(f"{name}{i}" for i in range(count)),
        steps=(0, 1),
        timesteps=(9, 8),
        site=name,
        total=4,
        method=name,
        seed=7,
    )


def read_write(name: str) -> ReadWriteTable:
    row = ReadWrite(
        factor=name,
        step=1,
        site=score(0.25),
        image=score(0.375),
        effect=score(-0.5),
        slope=None,
        verdict="neither",
    )
    return ReadWriteTable((row,), name)


def faithful(name: str, cmd: float = 0.25) -> Faithfulness:
    curve = (score(0.375), score(1.0))
    chance = (score(0.0625, None), score(1.0, None))
    return Faithfulness(
        fractions=np.array([0.05, 1.0]),
        edges=np.array([6, 128]),
        curve=curve,
        random_curve=chance,
        cpr=score(0.6875),
        cmd=score(cmd),
        random_cpr=score(0.4375, None),
        random_cmd=score(0.8125, None),
        clean=score(3.5, None),
        replaced=score(0.5, None),
        method="eap",
        value="resample",
        metric=name,
        random=5,
        seed=7,
    )


def checked_edges(name: str, rank: float = 0.875) -> PredictionCheck:
    edges = tuple(Edge(f"{name}{i}", name) for i in range(12))
    measured = tuple(score(1 / 2**i, None) for i in range(12))
    top = np.arange(12) < 9
    return PredictionCheck(
        names=edges,
        numbers=np.arange(12),
        predicted=np.full(12, -0.3125),
        measured=measured,
        is_top=top,
        spearman=score(rank),
        pearson=score(0.75),
        among_top=score(0.5),
        among_random=None,
        value="resample",
        metric=name,
        method="eap",
        seed=7,
    )


def sufficient(name: str) -> Sufficiency:
    return Sufficiency(
        edges=6,
        total=128,
        whole=Standing(score(3.5, None), score(0.9375, None)),
        only=Standing(score(2.75, 0.5), score(0.6875, 0.25)),
        without=Standing(score(0.625, 3.25), None),
        nothing=Standing(score(0.375, None), None),
        fractions=np.array([0.5, 1.0]),
        insertion=(score(0.4375), score(1.0)),
        deletion=(score(0.1875), score(0.0)),
        value="resample",
        metric=name,
        random=3,
        seed=7,
    )


def paths(name: str) -> PathsResult:
    again = GraphStability(halves=score(0.5625), seeds=None, edges=6.5, splits=5, seed=7)
    return PathsResult(
        graph=graph(name),
        faithfulness=faithful(name),
        checked=checked_edges(name),
        stability=again,
        sufficiency=sufficient(name),
        task=name,
        accuracy=score(0.9375),
    )


def lifts(name: str, count: int = 3) -> LiftResult:
    target = Target(
        family=name,
        method=name,
        route="native",
        site=name,
        direction=torch.ones(2),
        concept=name,
        feature_id=name,
    )
    pool = {"dense": np.arange(9.0) / 16}
    own = [
        Lift(
            target=target,
            kl=0.5,
            measured_kl=0.5,
            alpha=2.0,
            reached=reached,
            score=score(value),
            percentile=percentile,
            n_random=9,
            random=pool,
            changes=np.zeros(3),
        )
        if reached
        else Lift(
            target=target,
            kl=0.5,
            measured_kl=0.1,
            alpha=2.0,
            reached=False,
            score=None,
            percentile=NAN,
            n_random=9,
            random=pool,
            changes=np.zeros(3),
        )
        for reached, value, percentile in (
            (True, 1.5, 100.0),
            (True, 0.25, 50.0),
            (False, NAN, NAN),
        )
    ]
    return LiftResult(
        lifts=tuple(own * (count // 3)),
        texts=(name,) * 3,
        concept_of=(name, name, ""),
        kl=0.5,
        n_random=9,
        n_tokens=24,
        seed=7,
    )


def edit_score(name: str, change: float = 0.9375, *, reached: bool = True) -> EditScore:
    return EditScore(
        target=name,
        strength=0.5,
        change=score(change),
        right_sign=score(0.8125, 0.5),
        leak=score(0.3125),
        leaks={f"{name}2": score(0.6875)},
        dropped=4,
        reached=reached,
    )


def directions_result(name: str) -> DirectionsResult:
    method = MethodResult(
        method=name,
        supervised=True,
        directions=directions(name),
        strengths=(1.0, 2.0),
        reached=(True, False),
        effects={},
        purity={},
        coverage=0.75,
        separation=score(0.875),
        spanned={},
        chance=0.125,
        sheets=(),
        seconds=1.5,
    )
    gate = Gate({name: FactorGate(score(0.0), score(1.0), 0.01, 0.5)}, 0.0, 0.0, 512)
    change = Interchange(
        rows=(Transfer(name, range(4), score(0.9375)),),
        sites=(name,),
        steps=4,
        dropped=2,
        unchanged=0.0,
    )
    scores = {
        name: edit_score(name),
        "weak": edit_score("weak", 0.1875),
        "not reached": edit_score("n", reached=False),
    }
    picture = np.zeros((2, 2, 3), dtype=np.uint8)
    return DirectionsResult(
        model=name,
        site=name,
        factors=(name,),
        known=True,
        gate=gate,
        interchange=change,
        methods=(method,),
        scored_method=name,
        scores=scores,
        curved={name: edit_score(name, -0.5)},
        curves={},
        sheets=(),
        samples=picture,
        wanted=1.25,
        notes=(f"left out: {name}",),
        provenance=provenance(name),
    )


def tree(levels: int = 3, wide: int = 4) -> ConceptTree:
    sizes = tuple(wide * (levels - level) for level in range(levels))
    branches = [
        Branch(level, parent, (parent + i) % sizes[level - 1], 1.0 / 2**i)
        for level in range(1, levels)
        for parent in range(sizes[level])
        for i in range(4)
    ]
    return ConceptTree(sizes, tuple(branches))


def nearest(name: str, features: int = 3) -> Neighbourhood:
    found = {
        f"{name}-{i}": (Neighbour(f"{name}-{i + 1}", -0.9375 / (i + 1), 0.625),)
        for i in range(features)
    }
    return Neighbourhood(found, dict.fromkeys(found, 0.4375))


def compared(name: str) -> ComparisonResult:
    way = {"site": name, "method": name, "size": 100, "route": "native", "place": name, "n": 12}
    unmeasured: dict[str, Any] = dict.fromkeys(
        ("report", "margin", "benign_kl", "perplexity_ratio", "lift", "lift_percentile")
    )
    row = {**way, **unmeasured, "beat_control": 0, "unreachable": 0, "curve": ()}
    first = {
        "report": Score(0.75, 0.5, 0.875, n=12, seed=7),
        "margin": Score(0.5, 0.25, 0.75, n=12, seed=7),
    }
    control = Score(0.125, 0.0625, 0.25, n=36, seed=7)
    return ComparisonResult(
        settings=ResolvedComparison(model=name, seed=7, weight_hash=""),
        concepts=(name,),
        judge=JudgeRow(name=name, auroc=control, accepted=(name,), refused={}),
        detection=(),
        steering=(SteeringRow(**{**row, "size": None}), SteeringRow(**{**row, **first})),
        controls=(ControlRow(place=name, family=name, report=control, unreachable=0),),
        differences=(),
        judged=100,
        failed=3,
    )


BUILT: dict[str, Callable[[str], Any]] = {
    "score": lambda name: Score(0.75, 0.5, 0.875, n=12, seed=7, control=0.125, interval=name),
    "provenance": provenance,
    "sites": lambda name: Sites({name: (None, 8), f"{name}.{name}": (4, None, None)}),
    "activations": activations,
    "activations of images": lambda name: activations(name, image=True),
    "language model": lambda name: interp.wrap(tiny.language("gpt2"), name=name),
    "unet": lambda name: interp.wrap(tiny.unet(), name=name),
    "module": lambda name: interp.wrap(
        nn.ModuleDict({name.replace(".", ""): nn.Linear(2, 2)}), name=name
    ),
    "dictionary": dictionary,
    "feature": feature,
    "strip": lambda name: interp.show([feature(name)]),
    "reconstruction": lambda name: Reconstruction(score(0.5), 3.5, 0.25, 0.125),
    "stability": lambda name: Stability(
        seeds=np.array([0.9, 0.2]),
        halves=None,
        control=np.array([0.3, 0.1]),
        over_seeds=score(0.55),
        over_halves=None,
    ),
    "hierarchy": lambda name: Hierarchy(
        (dictionary(name, 4), dictionary(name, 2)),
        (torch.tensor([[1.0, 0], [1, 1], [0, 1], [0, 0]]),),
    ),
    "detection": lambda name: Detection(
        concept=name,
        method=name,
        feature=3,
        auroc=score(0.875),
        auroc_others=UNDEFINED,
        average_precision=score(0.75),
        paper_score=None,
        chosen_on=0.9375,
    ),
    "probe": lambda name: Probe(
        concept=name, method=name, k=2, features=(3, 5), accuracy=score(0.625), auroc=score(0.6875)
    ),
    "loss recovered": lambda name: LossRecovered(
        recovered=score(0.8125),
        original=3.125,
        reconstructed=3.5,
        shuffled=5.5,
        ablated=6.25,
        site=name,
        ablation="mean",
        n_tokens=1234,
        selection=name,
    ),
    "steering": steering,
    "causal graph": graph,
    "trajectories": trajectories,
    "carriers": lambda name: CarrierShares(
        (Carried(name, name, score(0.8125), UNDEFINED),),
        {name: score(1.5)},
        {name: score(0.0625)},
        (name,),
    ),
    "readability": lambda name: Readability(
        (
            Reading(
                factor=name,
                step=1,
                timestep=9,
                site=score(0.4375),
                image=score(-0.25),
                site_fit=0.5,
            ),
        ),
        name,
        30,
        2,
    ),
    "read and written": read_write,
    "gate": lambda name: Gate(
        {name: FactorGate(score(0.4375), score(0.625), 0.25, 1e-7)}, 0.25, 0.0, 512
    ),
    "projection": lambda name: ProjectionScore(
        target=name,
        named=name,
        strength=0.5,
        target_before=score(0 / 8),
        target_after=score(1 / 8),
        leak_before=score(2 / 8),
        leak_after=score(3 / 8),
        drift_before=score(4 / 8),
        drift_after=score(5 / 8),
        target_kept=score(6 / 8),
        leak_left=score(7 / 8),
        drift_left=score(8 / 8),
        dropped=3,
    ),
    "directions": directions,
    "label efficiency": lambda name: LabelEfficiency(
        factor=name,
        rows=(CountEffect(5, 20, score(0.5), score(0.625)),),
        draws=3,
        length=2.5,
        wrong=0.1,
        dropped=4,
    ),
    "statistics": lambda name: StepStatistics(
        count=7,
        mean=torch.zeros(2, 1, 1, 1),
        sd=torch.zeros(2, 1, 1, 1),
        directions=directions(name),
        explained=torch.tensor([0.5, 0.25]),
    ),
    "interchange": lambda name: Interchange(
        rows=(Transfer(name, range(4), score(0.9375)),),
        sites=(name,),
        steps=4,
        dropped=2,
        unchanged=0.0,
    ),
    "paths result": paths,
    "faithfulness": faithful,
    "checked": checked_edges,
    "sufficiency": sufficient,
    "stability of graphs": lambda name: GraphStability(
        halves=score(0.5625), seeds=None, edges=6.5, splits=5, seed=7
    ),
    "feature effect": lambda name: FeatureEffect(
        cause=name,
        read=name,
        values=(0.0, 4.0),
        changes=(score(-0.5), score(1.25)),
        per_example=np.zeros((2, 3)),
        control=np.zeros((2, 3)),
        clean=np.full(3, 2.5),
    ),
    "feature paths": lambda name: FeaturePaths(
        feature=name,
        value=4.0,
        source=name,
        total=score(1.25),
        direct=score(0.25),
        nodes=(name, f"{name}2"),
        through=(score(0.375), score(-0.75)),
        per_example=np.zeros((2, 2)),
        graph=graph(name),
    ),
    "lift": lambda name: lifts(name).lifts[0],
    "lifts": lifts,
    "edit score": edit_score,
    "dose response": lambda name: DoseResponse(
        strengths=(0.5, 1.0),
        changes=(score(0.5), score(1.125)),
        monotone=score(0.8125),
        kept=(score(0.75), score(0.25)),
        dropped=2,
    ),
    "directions result": directions_result,
    "concept tree": lambda name: tree(),
    "neighbour": lambda name: Neighbour(name, -0.9375, None),
    "neighbourhood": nearest,
    "comparison": compared,
    "reliability": lambda name: Reliability(
        score(0.9375), {name: 0.9375, f"{name}2": 0.625, "x": NAN}, (name,), (f"{name}2", "x")
    ),
}
