"""One small object of every kind that shows itself, with a name of the caller's choice wherever it has one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tiny
import torch
from torch import nn

import interp
from interp.causal import CausalGraph, Node, Port
from interp.causal.checks.faithfulness import Faithfulness
from interp.causal.checks.predicted_measured import Checked
from interp.causal.checks.stability import Stability as GraphStability
from interp.causal.checks.sufficiency import Standing, Sufficiency
from interp.causal.features.feature_effect import FeatureEffect
from interp.causal.features.feature_paths import FeaturePaths
from interp.causal.wiring.base import Edge
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
from interp.steering import FamilyResult, Protocol, Reliability, SteeringResult, Target, TargetResult
from interp.steering.lift import Lift, LiftResult
from interp.studies.comparison import Compared
from interp.studies.directions.result import DirectionsResult, MethodResult
from interp.studies.paths.result import PathsResult

NAN = float("nan")
UNDEFINED = Score(NAN, NAN, NAN, 0, 0, None, "none: too few")


def score(value: float, control: float | None = 0.125) -> Score:
    return Score(value, value - 0.0625, value + 0.0625, 40, 7, control)


def provenance(name: str, method: str = "random") -> Provenance:
    parameters = {"note": name, "names": [name] * 9, name: 0.25}
    return Provenance(method, parameters, 7, name, "w", "c", name, name, {"seconds": 1.5})


def dictionary(name: str, features: int = 3, width: int = 8) -> RandomDirections:
    directions = torch.zeros(features, width)
    directions[torch.arange(features), torch.arange(features) % width] = 1.0
    return RandomDirections(directions, torch.zeros(width), provenance(name))


def activations(name: str, texts: int = 3, length: int = 4, *, image: bool = False) -> Activations:
    item, position = np.repeat(np.arange(texts), length - 1), np.tile(np.arange(1, length), texts)
    norms = 1.0 + np.arange(len(item))
    tokens = () if image else tuple(tuple(f"{name}{place}" for place in range(length)) for _ in range(texts))
    contexts = Contexts(item, position, np.zeros(len(item), dtype=int), (name,) * texts, tokens)
    return Activations(torch.from_numpy(norms).float()[:, None] * torch.eye(4)[:1], contexts, name, provenance(name, "record"))


def feature(name: str, contexts: int = 2) -> Feature:
    context = FeatureContext(tuple(f"{name}{i}" for i in range(31)), tuple(0.5 * i for i in range(31)), 15)
    effects = tuple(TokenEffect(name, 9.5 - i) for i in range(20))
    return Feature(dictionary(name), 1, 0.375, (context,) * contexts, effects, effects, name, "distinctive words", name)


def steering(name: str, families: int = 2) -> SteeringResult:
    target = Target(name, name, "native", name, torch.ones(2), name, name)
    margins = (score(0.5, None), score(0.03125, None), None)
    results = tuple(TargetResult(target, (), None, score(0.25), margin) for margin in margins)
    found = tuple(
        FamilyResult(f"{name}{i}", name, "native", name, (), score(1.25 + i / 64, None), score(-0.75), 3, i == 1) for i in range(families)
    )
    empty = FamilyResult("not reached", name, "random", name, (), None, None, 5, True)
    return SteeringResult(Protocol(), results, (), (*found, empty), (), {}, 200, 5)


def graph(name: str, layers: int = 3, *, wide: int = 1) -> CausalGraph:
    nodes = tuple(Node(f"{name}{layer}.{i}", layer) for layer in range(layers) for i in range(wide))
    ports = tuple(Port(f"{name}{layer}.{i}.in", (f"{name}{layer}.{i}",), layer) for layer in range(1, layers) for i in range(wide))
    edges = np.array([(i, j) for i, node in enumerate(nodes) for j, port in enumerate(ports) if node.layer < port.layer])
    effects = (-1.0) ** np.arange(len(edges)) / 2 ** np.minimum(np.arange(len(edges)), 40)
    per_example = np.stack([effects, effects])
    return CausalGraph(
        nodes,
        ports,
        edges,
        per_example,
        np.full(2, 3.5),
        np.full(2, 0.75),
        "eap",
        "resample",
        name,
        provenance(name),
        np.arange(len(edges)) < 2,
    )


def trajectories(name: str, axes: int = 2, checkpoints: int = 5) -> Trajectories:
    values = np.linspace(0, 1, checkpoints)[:, None].repeat(4, axis=1)
    return Trajectories(tuple(range(0, 10 * checkpoints, 10)), {f"{name}{i}": values / (i + 1) for i in range(axes)}, name)


def directions(name: str, count: int = 2) -> StepDirections:
    values = torch.zeros(count, 2, 1, 1, 1) + 3.0
    return StepDirections(values, tuple(f"{name}{i}" for i in range(count)), (0, 1), (9, 8), name, 4, name, 7)


def read_write(name: str) -> ReadWriteTable:
    row = ReadWrite(name, 1, score(0.25), score(0.375), score(-0.5), None, "neither")
    return ReadWriteTable((row,), name)


def faithful(name: str, cmd: float = 0.25) -> Faithfulness:
    curve = (score(0.375), score(1.0))
    chance = (score(0.0625, None), score(1.0, None))
    areas = (score(0.6875), score(cmd), score(0.4375, None), score(0.8125, None))
    ends = (score(3.5, None), score(0.5, None))
    return Faithfulness(np.array([0.05, 1.0]), np.array([6, 128]), curve, chance, *areas, *ends, "eap", "resample", name, 5, 7)


def checked_edges(name: str, rank: float = 0.875) -> Checked:
    edges = tuple(Edge(f"{name}{i}", name) for i in range(12))
    measured = tuple(score(1 / 2**i, None) for i in range(12))
    top = np.arange(12) < 9
    found = (score(rank), score(0.75), score(0.5), None)
    return Checked(edges, np.arange(12), np.full(12, -0.3125), measured, top, *found, "resample", name, "eap", 7)


def sufficient(name: str) -> Sufficiency:
    ends = (Standing(score(3.5, None), score(0.9375, None)), Standing(score(2.75, 0.5), score(0.6875, 0.25)))
    rest = (Standing(score(0.625, 3.25), None), Standing(score(0.375, None), None))
    curves = ((score(0.4375), score(1.0)), (score(0.1875), score(0.0)))
    return Sufficiency(6, 128, *ends, *rest, np.array([0.5, 1.0]), *curves, "resample", name, 3, 7)


def paths(name: str) -> PathsResult:
    again = GraphStability(score(0.5625), None, 6.5, 5, 7)
    return PathsResult(graph(name), faithful(name), checked_edges(name), again, sufficient(name), name, score(0.9375))


def lifts(name: str, count: int = 3) -> LiftResult:
    target = Target(name, name, "native", name, torch.ones(2), name, name)
    pool = {"dense": np.arange(9.0) / 16}
    own = [
        Lift(target, 0.5, 0.5, 2.0, reached, score(value), percentile, 9, pool, np.zeros(3))
        if reached
        else Lift(target, 0.5, 0.1, 2.0, False, None, NAN, 9, pool, np.zeros(3))
        for reached, value, percentile in ((True, 1.5, 100.0), (True, 0.25, 50.0), (False, NAN, NAN))
    ]
    return LiftResult(tuple(own * (count // 3)), (name,) * 3, (name, name, ""), 0.5, 9, 24, 7)


def edit_score(name: str, change: float = 0.9375, *, reached: bool = True) -> EditScore:
    return EditScore(name, 0.5, score(change), score(0.8125, 0.5), score(0.3125), {f"{name}2": score(0.6875)}, 4, reached)


def directions_result(name: str) -> DirectionsResult:
    method = MethodResult(
        name,
        True,
        directions(name),
        (1.0, 2.0),
        (True, False),
        {},
        {},
        0.75,
        score(0.875),
        {},
        0.125,
        (),
        1.5,
    )
    gate = Gate({name: FactorGate(score(0.0), score(1.0), 0.01, 0.5)}, 0.0, 0.0, 512)
    change = Interchange((Transfer(name, range(4), score(0.9375)),), (name,), 4, 2, 0.0)
    scores = {name: edit_score(name), "weak": edit_score("weak", 0.1875), "not reached": edit_score("n", reached=False)}
    picture = np.zeros((2, 2, 3), dtype=np.uint8)
    about = (name, name, (name,), True, gate, change, (method,), name, scores, {name: edit_score(name, -0.5)}, {}, (), picture, 1.25)
    return DirectionsResult(*about, (f"left out: {name}",), provenance(name))


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
    found = {f"{name}-{i}": (Neighbour(f"{name}-{i + 1}", -0.9375 / (i + 1), 0.625),) for i in range(features)}
    return Neighbourhood(found, dict.fromkeys(found, 0.4375))


def compared(name: str) -> Compared:
    way = {"site": name, "method": name, "size": 100, "route": "native", "place": name, "n": 12}
    unreached = {**way, "size": None, "report": None, "margin": None}
    first = {**way, "report": Score(0.75, 0.5, 0.875, 12, 7).to_dict(), "margin": Score(0.5, 0.25, 0.75, 12, 7).to_dict()}
    return Compared(
        settings={"model": name, "seed": 7},
        concepts=[name],
        steering=[unreached, first],
        controls=[{"place": name, "family": name, "report": Score(0.125, 0.0625, 0.25, 36, 7).to_dict(), "unreachable": 0}],
        judged=100,
        failed=3,
    )


BUILT: dict[str, Callable[[str], Any]] = {
    "score": lambda name: Score(0.75, 0.5, 0.875, 12, 7, 0.125, name),
    "provenance": provenance,
    "sites": lambda name: Sites({name: (None, 8), f"{name}.{name}": (4, None, None)}),
    "activations": activations,
    "activations of images": lambda name: activations(name, image=True),
    "language model": lambda name: interp.wrap(tiny.language("gpt2"), name=name),
    "unet": lambda name: interp.wrap(tiny.unet(), name=name),
    "module": lambda name: interp.wrap(nn.ModuleDict({name.replace(".", ""): nn.Linear(2, 2)}), name=name),
    "dictionary": dictionary,
    "feature": feature,
    "strip": lambda name: interp.show([feature(name)]),
    "reconstruction": lambda name: Reconstruction(score(0.5), 3.5, 0.25, 0.125),
    "stability": lambda name: Stability(np.array([0.9, 0.2]), None, np.array([0.3, 0.1]), score(0.55), None),
    "hierarchy": lambda name: Hierarchy((dictionary(name, 4), dictionary(name, 2)), (torch.tensor([[1.0, 0], [1, 1], [0, 1], [0, 0]]),)),
    "detection": lambda name: Detection(name, name, 3, score(0.875), UNDEFINED, score(0.75), None, 0.9375),
    "probe": lambda name: Probe(name, name, 2, (3, 5), score(0.625), score(0.6875)),
    "loss recovered": lambda name: LossRecovered(score(0.8125), 3.125, 3.5, 5.5, 6.25, name, "mean", 1234, name),
    "steering": steering,
    "causal graph": graph,
    "trajectories": trajectories,
    "carriers": lambda name: CarrierShares(
        (Carried(name, name, score(0.8125), UNDEFINED),), {name: score(1.5)}, {name: score(0.0625)}, (name,)
    ),
    "readability": lambda name: Readability((Reading(name, 1, 9, score(0.4375), score(-0.25), 0.5),), name, 30, 2),
    "read and written": read_write,
    "gate": lambda name: Gate({name: FactorGate(score(0.4375), score(0.625), 0.25, 1e-7)}, 0.25, 0.0, 512),
    "projection": lambda name: ProjectionScore(name, name, 0.5, *(score(i / 8) for i in range(9)), 3),
    "directions": directions,
    "label efficiency": lambda name: LabelEfficiency(name, (CountEffect(5, 20, score(0.5), score(0.625)),), 3, 2.5, 0.1, 4),
    "statistics": lambda name: StepStatistics(
        7, torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), directions(name), torch.tensor([0.5, 0.25])
    ),
    "interchange": lambda name: Interchange((Transfer(name, range(4), score(0.9375)),), (name,), 4, 2, 0.0),
    "paths result": paths,
    "faithfulness": faithful,
    "checked": checked_edges,
    "sufficiency": sufficient,
    "stability of graphs": lambda name: GraphStability(score(0.5625), None, 6.5, 5, 7),
    "feature effect": lambda name: FeatureEffect(
        name, name, (0.0, 4.0), (score(-0.5), score(1.25)), np.zeros((2, 3)), np.zeros((2, 3)), np.full(3, 2.5)
    ),
    "feature paths": lambda name: FeaturePaths(
        name, 4.0, name, score(1.25), score(0.25), (name, f"{name}2"), (score(0.375), score(-0.75)), np.zeros((2, 2)), graph(name)
    ),
    "lift": lambda name: lifts(name).lifts[0],
    "lifts": lifts,
    "edit score": edit_score,
    "dose response": lambda name: DoseResponse((0.5, 1.0), (score(0.5), score(1.125)), score(0.8125), (score(0.75), score(0.25)), 2),
    "directions result": directions_result,
    "concept tree": lambda name: tree(),
    "neighbour": lambda name: Neighbour(name, -0.9375, None),
    "neighbourhood": nearest,
    "comparison": compared,
    "reliability": lambda name: Reliability(score(0.9375), {name: 0.9375, f"{name}2": 0.625, "x": NAN}, (name,), (f"{name}2", "x")),
}
