"""Every result shows itself in a notebook: harmless whatever its names say, small whatever its
size, with its own numbers.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny
from displayed import (
    BUILT,
    NAN,
    UNDEFINED,
    activations,
    checked_edges,
    dictionary,
    directions,
    edit_score,
    faithful,
    feature,
    graph,
    lifts,
    nearest,
    steering,
    trajectories,
    tree,
)
from html_checks import ATTACK, SEEN, checked

import interp
from interp.core import Activations, Provenance, Sites
from interp.dynamics import Trajectories
from interp.features import Feature
from interp.steering import Reliability
from interp.steering.judges.reliability import UNMEASURED

NAMELESS = {"reconstruction", "stability", "stability of graphs", "concept tree", "dose response"}
NUMBERS = {
    "score": ["0.750 [0.500, 0.875]", "n 12", "control 0.125", "seed 7"],
    "comparison": [
        "0.750 [0.500, 0.875]",
        "0.125 [0.062, 0.250]",
        "+0.500",
        "3 of 100 judgements failed",
        "axis 0 to 1",
        "seed 7",
    ],
    "sites": ["n × 8", "4 × n × n", "2 sites"],
    "activations": ["9 rows × 4", "inputs 3", "1.000 (none) to 9.000 (full)"],
    "activations of images": ["9 rows × 4", "5.000"],
    "unet": [f"parameters {sum(p.numel() for p in tiny.unet().parameters()):,}", "2 levels"],
    "module": ["parameters 6", "ModuleDict"],
    "dictionary": [
        "3 features × 8",
        "neurons per direction 12.5%",
        "offset none",
        "seed 7",
        "seconds 1.5",
    ],
    "feature": [
        "random-1",
        "fires on 37.5% of rows",
        "neurons 1 of 8 (12.5%)",
        "+9.500",
        "Top 2 of 2 contexts, coefficients up to 15.000",
    ],
    "reconstruction": [
        "0.500 [0.438, 0.562]",
        "control 0.125",
        "active per row 3.500",
        "25.0%",
        "12.5% of features",
    ],
    "stability": ["0.550", "1 of 2", "of 2 features"],
    "hierarchy": ["04", "12", "2.0 of level 0"],
    "detection": [
        "by feature 3",
        "0.875 [0.812, 0.938]",
        "– (none: too few)",
        "0.938",
        "maximal cosines –",
    ],
    "probe": ["features 3, 5", "0.625", "0.688"],
    "loss recovered": ["0.812 [0.750, 0.875]", "3.125", "5.500", "6.250", "tokens 1,234"],
    "steering": [
        "1 of 3 targets steer beyond the best control",
        "1.250 [1.188, 1.312]",
        "−0.750",
        "5 of 200 (2.5%)",
        "0.25, 0.5, 1",
    ],
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
    "gate": [
        "FAILED",
        "+0.438",
        "0.625",
        "1e−07",
        "25.00%",
        "n 512",
        "fails: off-range pixels: 25.0%",
    ],
    "projection": ["0.125 ", "strength 0.5", "images dropped 3"],
    "directions": ["4.243", "steps 2 of 4", "1 × 1 × 1"],
    "label efficiency": ["+0.500", "0.625", "length 2.5", "wrong labels 10%", "draws 3"],
    "statistics": ["7 samples", "50.0%", "25.0%"],
    "interchange": ["0-3", "0.938", "pairs dropped 2"],
    "paths result": [
        "The graph is more faithful than random graphs",
        "the model is right 0.938 [0.875, 1.000]",
        "CMD, small is good 0.250",
        "CMD of random graphs 0.812",
        "Spearman 0.875",
        "graphs of other examples 0.562",
        "examples judged on 40",
        "3 parts, 3 edges",
    ],
    "faithfulness": [
        "More faithful than",
        "5.0%6 0.375",
        "100.0%128",
        "n 40",
        "metric as it is 3.500",
        "random graphs 5",
        "seed 7",
    ],
    "checked": [
        "rank as predicted",
        "9 strongest and 3 random",
        "The first 10 of 12 edges",
        "−0.312",
        "+0.500",
        "control 0.125",
    ],
    "sufficiency": [
        "of 6 of 128 edges",
        "only the graph 2.750",
        "control 0.500",
        "0.688",
        "50.0% 0.438",
        "0.188",
        "random graphs 3",
    ],
    "stability of graphs": [
        "halves of the examples 0.562",
        "control 0.125",
        "other seeds–",
        "edges, mean 6.5",
        "splits 5",
    ],
    "feature effect": ["0 −0.500", "4 +1.250", "control +0.125", "without any change 2.500"],
    "feature paths": [
        "all paths +1.250",
        "straight to the output +0.250",
        "through name2 −0.750",
        "set to 4",
        "2 strongest of 2",
    ],
    "lift": ["+1.500 [+1.438, +1.562]", "100.0000.100", "0.5"],
    "lifts": [
        "1 of 3 targets lift",
        "50.0000.600940",
        "not reached––90",
        "2 of concepts, 1 neutral, at most 24 tokens",
        "seed 7",
    ],
    "edit score": [
        "0.938",
        "leak, name2 0.688",
        "asked way 0.812",
        "control 0.500",
        "strength 0.5",
        "selectivity 0.750",
        "dropped 4",
    ],
    "dose response": [
        "0.5 +0.500",
        "1 +1.125",
        "0.750",
        "strength with factor 0.812",
        "images dropped 2",
    ],
    "directions result": [
        "1 of 3 factors are moved as far as was asked",
        "gate passed",
        "0.875 [0.812, 0.938] control 0.12575%1 of 2401.5",
        "name, curved −0.500",
        "0.375",
        "NOT REACHED",
        "left out: name",
        "pairs dropped 2",
    ],
    "concept tree": [
        "12, 8, 4",
        "4 of 4 features of level 2",
        "level 2, feature 3 level 1, feature 3 1.000level 0, feature 3 1.000",
    ],
    "neighbour": ["−0.938", "coactivation –"],
    "neighbourhood": ["2 of 3 features have", "name-0name-1−0.9380.4380.625"],
    "reliability": [
        "1 of 3 concepts",
        "0.938 [0.875, 1.000]",
        "x–refused",
        "name20.625refused",
        "name0.938accepted",
    ],
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
    "sites": lambda: Sites(
        {f"module:{'ab'[i % 2]}{i * i}.{'x' * (i % 40)}": (None, i % 300) for i in range(5000)}
    ),
    "activations": lambda: activations(" word", texts=400, length=300),
    "activations of images": lambda: activations("image", texts=400, length=100, image=True),
    "dictionary": lambda: dictionary("name" * 50, 4000, 64),
    "feature": lambda: feature(" word", contexts=500),
    "strip": lambda: interp.show([feature(" word", 25)] * 300),
    "steering": lambda: steering("name", 40),
    "causal graph": lambda: graph("layer", 12, wide=12),
    "trajectories": lambda: trajectories("axis", 30, 400),
    "directions": lambda: directions("name", 500),
    "lifts": lambda: lifts("name", 300),
    "concept tree": lambda: tree(5, 40),
    "neighbourhood": lambda: nearest("name", 3000),
    "reliability": lambda: Reliability(
        UNDEFINED, {f"{i}": i / 500 for i in range(500)}, (), tuple(f"{i}" for i in range(500))
    ),
    "provenance": lambda: Provenance(
        "x", parameters={f"key {i}": "value" * 100 for i in range(40)}
    ),
}


@pytest.mark.parametrize("kind", BIG)
def test_large_results_stay_small(kind: str) -> None:
    checked(BIG[kind]()._repr_html_())


def test_sites_of_all_layers_are_said_once() -> None:
    shapes = {"embed": (None, 8)} | {
        f"L{i}.{kind}": (None, width)
        for i in range(30)
        for kind, width in (("mlp", 32), ("resid_post", 8))
    }
    shapes |= {f"L{i}.head{h}": (None, 8) for i in range(30) for h in range(4)} | {
        "logits": (None, 99)
    }
    page = checked(Sites(shapes)._repr_html_())
    assert page.text.count("L0 … L29") == 1
    assert page.elements.count("tr") == 1 + 4
    assert "–embedn × 81L0" in page.text
    assert "–logitsn × 991" in page.text
    assert "mlpn × 3230resid_post, head0 … head3n × 8150" in page.text
    assert f"{len(shapes)} sites" in page.text
    with_gap = checked(Sites({f"L{i}.mlp": (None, 8) for i in (0, 1, 3)})._repr_html_())
    assert "…" not in with_gap.text, "a range would claim a layer that is not there"
    assert (
        "…" not in checked(Sites({f"step_000{i}": (None, 8) for i in range(3)})._repr_html_()).text
    )


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
    dead = Feature(dictionary=dictionary("site"), index=0)
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
    assert widths == pytest.approx([1 + 4 * share for share in (0.25, 0.5, 1.0)]), (
        "the strongest last, so that it lies on top"
    )
    colours = re.findall(r'<path[^>]*stroke="(#\w+)"', html)
    assert colours[2] == colours[0] != colours[1]


def test_a_learning_time_is_marked_where_it_is() -> None:
    html = trajectories("axis", 1)._repr_html_()
    assert 'stroke-dasharray="4 3"' not in html, "0.75 and 1 are not three checkpoints above 0.8"
    learned = Trajectories(
        steps=(0, 10, 20, 30), samples={"a": np.array([[0.0], [1.0], [1.0], [1.0]])}
    )._repr_html_()
    (line,) = re.findall(r'<line x1="([\d.]+)"[^>]*stroke-dasharray="4 3"', learned)
    assert float(line) == pytest.approx(40 + (230 - 40 - 12) / 3, abs=0.1)


def test_the_ends_of_a_run_share_an_axis() -> None:
    run = Trajectories(
        steps=(0, 10),
        samples={
            "a": np.array([[0.25, 0.25], [0.25, 0.25]]),
            "b": np.array([[0.03, 0.03], [1.0, 1.0]]),
        },
    )
    places = [float(place) for place in re.findall(r'<circle cx="([\d.]+)"', run._repr_html_())]
    assert places == pytest.approx([32, 32, 4 + 112 * 0.03, 116], abs=0.1)


def test_a_verdict_needs_its_whole_interval() -> None:
    assert "Not clearly more faithful" in checked(faithful("name", 0.75)._repr_html_()).text, (
        "0.75 to 0.81 reaches that of random graphs"
    )
    assert (
        "do not clearly rank as predicted"
        in checked(checked_edges("name", 0.0625)._repr_html_()).text
    )
    assert "NOT REACHED" in checked(edit_score("name", reached=False)._repr_html_()).text
    assert [
        edit_score("name", change).beats_control for change in (-0.25, -0.125, 0.125, 0.25)
    ] == [True, False, False, True]


def test_an_unmeasured_judge_says_so() -> None:
    assert "has not been measured" in checked(UNMEASURED._repr_html_()).text


def test_the_heaviest_branches_of_a_tree_come_first() -> None:
    page = checked(tree(2, 20)._repr_html_())
    assert page.elements.count("li") == 6 + 6 * 4
    assert (
        page.text.index("feature 0 1.000")
        < page.text.index("feature 1 0.500")
        < page.text.index("feature 2 0.250")
    )
