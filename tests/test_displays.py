"""Every result shows itself in a notebook: harmless whatever its names say, small whatever its size, with its own numbers."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import interp
from interp.causal import CausalGraph, Node, Port
from interp.core import Activations, Contexts, Provenance, Score, Sites
from interp.decompose import Hierarchy, RandomDirections, Reconstruction, Stability
from interp.detection import Detection
from interp.detection.probing import Probe
from interp.diffusion import FactorGate, Gate, Interchange, StepDirections, Transfer
from interp.diffusion.carriers import Carried, CarrierShares
from interp.diffusion.label_efficiency import CountEffect, LabelEfficiency
from interp.diffusion.projection_effect import ProjectionScore
from interp.diffusion.readable import Readability, Reading, ReadWrite, ReadWriteTable
from interp.diffusion.streamed import StepStatistics
from interp.dynamics import Trajectories
from interp.features import Feature, FeatureContext, LossRecovered, TokenEffect
from interp.steering import FamilyResult, Protocol, SteeringResult, Target, TargetResult
from tests import tiny
from tests.html_checks import ATTACK, SEEN, checked

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
}
NAMELESS = {"reconstruction", "stability"}
NUMBERS = {
    "score": ["0.750 [0.500, 0.875]", "n 12", "control 0.125", "seed 7"],
    "sites": ["n × 8", "4 × n × n", "2 sites"],
    "activations": ["9 rows × 4", "inputs 3", "1.000 (none) to 9.000 (full)"],
    "activations of images": ["9 rows × 4", "5.000"],
    "unet": [f"parameters {sum(p.numel() for p in tiny.unet().parameters()):,}", "2 levels"],
    "module": ["parameters 6", "ModuleDict"],
    "dictionary": ["3 features × 8", "neurons per direction 12.5%", "offset none", "seed 7", "seconds 1.5"],
    "feature": ["random-1", "fires on 37.5% of rows", "neurons 1 of 8 (12.5%)", "+9.500", "Top 2 of 2 contexts, coefficients up to 15.000"],
    "reconstruction": ["0.500 [0.438, 0.562]", "control 0.125", "active per row 3.500", "25.0%", "12.5% of features"],
    "stability": ["0.550", "1 of 2", "of 2 features"],
    "hierarchy": ["04", "12", "2.0 of level 0"],
    "detection": ["by feature 3", "0.875 [0.812, 0.938]", "– (none: too few)", "0.938", "maximal cosines –"],
    "probe": ["features 3, 5", "0.625", "0.688"],
    "loss recovered": ["0.812 [0.750, 0.875]", "3.125", "5.500", "6.250", "tokens 1,234"],
    "steering": ["1 of 3 targets steer beyond the best control", "1.250 [1.188, 1.312]", "−0.750", "5 of 200 (2.5%)", "0.25, 0.5, 1"],
    "causal graph": [
        "3 parts, 3 edges",
        "+1.000 [+1.000, +1.000]",
        "−0.500",
        "n 2",
        "metric as it is 3.500",
        "replaced 0.750",
        "2 of 3 edges",
    ],
    "trajectories": [
        "5 checkpoints to step 40",
        "1.000 [1.000, 1.000]",
        "0.500 [0.500, 0.500]",
        "> 40",
        "at least 0.8 at 3 checkpoints in a row",
    ],
    "carriers": ["0.812", "+1.500", "none: too few"],
    "readability": ["0.438", "−0.250", "30 images to fit, 2 left out"],
    "read and written": ["neither", "0.250", "0.375", "−0.500"],
    "gate": ["FAILED", "+0.438", "0.625", "1e−07", "25.00%", "n 512", "fails: off-range pixels: 25.0%"],
    "projection": ["0.125 ", "strength 0.5", "images dropped 3"],
    "directions": ["4.243", "steps 2 of 4", "1 × 1 × 1"],
    "label efficiency": ["+0.500", "0.625", "length 2.5", "wrong labels 10%", "draws 3"],
    "statistics": ["7 samples", "50.0%", "25.0%"],
    "interchange": ["0-3", "0.938", "pairs dropped 2"],
}


@pytest.mark.parametrize("kind", BUILT)
def test_hostile_names_are_shown_as_text(kind: str) -> None:
    page = checked(BUILT[kind](ATTACK)._repr_html_())
    assert kind in NAMELESS or SEEN.replace(" ", "") in page.text.replace(" ", "")


@pytest.mark.parametrize("kind", NUMBERS)
def test_the_numbers_shown_are_those_of_the_object(kind: str) -> None:
    page = checked(BUILT[kind]("name")._repr_html_())
    for expected in NUMBERS[kind]:
        assert expected in page.text, page.text
    assert "nan" not in page.text


BIG: dict[str, Callable[[], Any]] = {
    "sites": lambda: Sites({f"module:{'ab'[i % 2]}{i * i}.{'x' * (i % 40)}": (None, i % 300) for i in range(5000)}),
    "activations": lambda: activations(" word", texts=400, length=300),
    "activations of images": lambda: activations("image", texts=400, length=100, image=True),
    "dictionary": lambda: dictionary("name" * 50, 4000, 64),
    "feature": lambda: feature(" word", contexts=500),
    "strip": lambda: interp.show([feature(" word", 25)] * 300),
    "steering": lambda: steering("name", 40),
    "causal graph": lambda: graph("layer", 12, wide=12),
    "trajectories": lambda: trajectories("axis", 30, 400),
    "directions": lambda: directions("name", 500),
    "provenance": lambda: Provenance("x", {f"key {i}": "value" * 100 for i in range(40)}),
}


@pytest.mark.parametrize("kind", BIG)
def test_large_results_stay_small(kind: str) -> None:
    checked(BIG[kind]()._repr_html_())


def test_sites_of_all_layers_are_said_once() -> None:
    shapes = {"embed": (None, 8)} | {f"L{i}.{kind}": (None, width) for i in range(30) for kind, width in (("mlp", 32), ("resid_post", 8))}
    shapes |= {f"L{i}.head{h}": (None, 8) for i in range(30) for h in range(4)} | {"logits": (None, 99)}
    page = checked(Sites(shapes)._repr_html_())
    assert page.text.count("L0 … L29") == 1
    assert page.elements.count("tr") == 1 + 4
    assert "–embedn × 81L0" in page.text
    assert "–logitsn × 991" in page.text
    assert "mlpn × 3230resid_post, head0 … head3n × 8150" in page.text
    assert f"{len(shapes)} sites" in page.text
    with_gap = checked(Sites({f"L{i}.mlp": (None, 8) for i in (0, 1, 3)})._repr_html_())
    assert "…" not in with_gap.text, "a range would claim a layer that is not there"
    assert "…" not in checked(Sites({f"step_000{i}": (None, 8) for i in range(3)})._repr_html_()).text


def test_tokens_are_tinted_by_the_norm_of_their_row() -> None:
    acts = activations("t", texts=1, length=6)
    html = acts._repr_html_()
    tints = [int(level) for level in re.findall(r"background:#d71(\d)", html)]
    assert tints == [2, 4, 6, 8], "norms 1 to 5: none, a quarter, a half, three quarters, full"
    assert '<span class="interp-muted">t0</span>' in html, "the first token was not recorded"
    flat = Activations(acts.values * 0 + 1, acts.contexts, "x", acts.provenance)
    assert "#d71" not in flat._repr_html_()
    undefined = Activations(acts.values * NAN, acts.contexts, "x", acts.provenance)
    assert "#d71" not in undefined._repr_html_()


def test_only_the_rows_that_are_shown_are_read(tmp_path: Any) -> None:
    acts = activations("t", texts=50, length=20)
    interp.save_activations(acts, tmp_path / "acts")
    assert interp.load_activations(tmp_path / "acts")._repr_html_() == acts._repr_html_()


def test_empty_activations_show_themselves() -> None:
    empty = activations("t").take(np.array([], dtype=int))
    assert "0 rows × 4" in checked(empty._repr_html_()).text


def test_a_feature_outlines_its_peak_and_a_dead_one_says_so() -> None:
    page = checked(feature("w", 1)._repr_html_())
    assert ("b", "w15") in page.texts
    dead = Feature(dictionary("site"), 0)
    assert "fired on no row" in checked(dead._repr_html_()).text


def test_controls_are_faint_and_missing_scores_are_dashes() -> None:
    html = steering("name")._repr_html_()
    faint = [row for row in html.split("<tr")[1:] if row.startswith(' class="interp-muted"')]
    assert len(faint) == 2
    assert "name1" in faint[0]
    assert "not reached" in faint[1]
    assert "–" in faint[1]


def test_the_graph_is_drawn_from_left_to_right() -> None:
    html = graph("n", 3)._repr_html_()
    at = {name: float(x) for x, name in re.findall(r'<text x="([\d.]+)"[^>]*>([^<]+)</text>', html)}
    assert at["n0.0"] < at["n1.0"] < at["n2.0"]
    widths = [float(width) for width in re.findall(r'<path[^>]*stroke-width="([\d.]+)"', html)]
    assert widths == pytest.approx([1 + 4 * share for share in (0.25, 0.5, 1.0)]), "the strongest last, so that it lies on top"
    colours = re.findall(r'<path[^>]*stroke="(#\w+)"', html)
    assert colours[2] == colours[0] != colours[1]


def test_a_learning_time_is_marked_where_it_is() -> None:
    html = trajectories("axis", 1)._repr_html_()
    assert 'stroke-dasharray="4 3"' not in html, "0.75 and 1 are not three checkpoints above 0.8"
    learned = Trajectories((0, 10, 20, 30), {"a": np.array([[0.0], [1.0], [1.0], [1.0]])})._repr_html_()
    (line,) = re.findall(r'<line x1="([\d.]+)"[^>]*stroke-dasharray="4 3"', learned)
    assert float(line) == pytest.approx(40 + (230 - 40 - 12) / 3, abs=0.1)


def test_the_ends_of_a_run_share_an_axis() -> None:
    run = Trajectories((0, 10), {"a": np.array([[0.25, 0.25], [0.25, 0.25]]), "b": np.array([[0.03, 0.03], [1.0, 1.0]])})
    places = [float(place) for place in re.findall(r'<circle cx="([\d.]+)"', run._repr_html_())]
    assert places == pytest.approx([32, 32, 4 + 112 * 0.03, 116], abs=0.1)
