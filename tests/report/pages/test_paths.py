"""The page of causal paths: its figures hold the numbers, its verdict follows them, and no text of
it acts in a browser.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import needs_browser, requested

from interp.causal.checks.faithfulness import FRACTIONS, Faithfulness
from interp.causal.checks.normalised import Normalised
from interp.causal.checks.prediction_check import PredictionCheck, correlation
from interp.causal.checks.stability import Stability
from interp.causal.checks.sufficiency import Standing, Sufficiency
from interp.causal.graph.graph import CausalGraph
from interp.causal.wiring.wiring import Node, Port
from interp.core import Provenance, Score, bootstrap_mean
from interp.core.display import layout
from interp.report.figures import paths as path_figures
from interp.report.figures.features import GREY, PALETTE
from interp.report.pages.paths import findings, verdict, write_paths
from interp.studies.paths.result import PathsResult

HOSTILE = "<script>window.__pwned = 1</script><b>task</b>"


def transformer(blocks: int, heads: int = 3, seed: int = 0, examples: int = 8) -> CausalGraph:
    """A made-up graph of a transformer with shared keys: a few strong edges, many weak ones."""
    nodes, ports, edges = [Node("embed", 0)], [], []
    for block in range(blocks):
        seen = len(nodes)
        own = tuple(f"L{block}.head{head}" for head in range(heads))
        new = [Port(f"{name}.q", (name,), 2 * block + 1) for name in own]
        new += [Port(f"L{block}.kv0.{kind}", own, 2 * block + 1) for kind in "kv"]
        nodes += [Node(name, 2 * block + 1) for name in own]
        edges += [
            (source, len(ports) + place) for place in range(len(new)) for source in range(seen)
        ]
        ports += new
        edges += [(source, len(ports)) for source in range(len(nodes))]
        ports.append(Port(f"L{block}.mlp.in", (f"L{block}.mlp",), 2 * block + 2))
        nodes.append(Node(f"L{block}.mlp", 2 * block + 2))
    edges += [(source, len(ports)) for source in range(len(nodes))]
    ports.append(Port("logits", ("logits",), 2 * blocks + 1))
    generator = np.random.default_rng(seed)
    table = np.array(edges)
    size = np.exp(1.5 * generator.standard_normal(len(nodes))) * np.where(
        np.arange(len(nodes)) == 0, 4, 1
    )
    feeds = np.array(
        [
            max(
                (size[place] for place, node in enumerate(nodes) if node.name in port.nodes),
                default=9.0,
            )
            for port in ports
        ]
    )
    means = -0.002 * size[table[:, 0]] * feeds[table[:, 1]] * generator.standard_normal(len(edges))
    effects = (means + 0.01 * generator.standard_normal((examples, len(edges)))).astype(np.float32)
    provenance = Provenance("eap", parameters={"value": "resample"}, seed=0, model="made-up")
    clean, replaced = 3 + generator.random(examples), generator.random(examples) - 2
    return CausalGraph(
        nodes=tuple(nodes),
        ports=tuple(ports),
        edges=table,
        per_example=effects,
        clean=clean,
        replaced=replaced,
        method="eap",
        value="resample",
        metric="logit difference",
        provenance=provenance,
    )


def judged(graph: CausalGraph, rise: float = 0.02) -> Faithfulness:
    generator = np.random.default_rng(1)
    shares = np.array(FRACTIONS)
    own = np.minimum(1, shares / rise)[:, None] * (graph.clean - graph.replaced) + graph.replaced
    random = (
        (shares**2)[None, :, None] * (graph.clean - graph.replaced)
        + graph.replaced
        + 0.1 * generator.standard_normal((3, 10, 1))
    )
    normal = Normalised(clean=graph.clean, replaced=graph.replaced, own=own, random=random)
    (cpr, random_cpr), (cmd, random_cmd) = (
        normal.area(shares, distance=distance) for distance in (False, True)
    )
    clean, replaced = (bootstrap_mean(values, seed=0) for values in (graph.clean, graph.replaced))
    edges = (shares * len(graph.edges)).astype(int)
    return Faithfulness(
        fractions=shares,
        edges=edges,
        curve=normal.curve(),
        random_curve=normal.random_curve(),
        cpr=cpr,
        cmd=cmd,
        random_cpr=random_cpr,
        random_cmd=random_cmd,
        clean=clean,
        replaced=replaced,
        method=graph.method,
        value=graph.value,
        metric=graph.metric,
        random=3,
        seed=0,
    )


def measured(graph: CausalGraph, noise: float = 0.02) -> PredictionCheck:
    generator = np.random.default_rng(2)
    numbers = np.concatenate([graph.strongest(20), graph.strongest(len(graph.edges))[30:40]])
    predicted = graph.effects[numbers].astype(float)
    found = predicted + noise * generator.standard_normal(len(numbers))
    scores = tuple(
        Score(float(value), float(value) - 0.02, float(value) + 0.03, n=8, seed=0)
        for value in found
    )
    compared = [correlation(predicted, found, ranks=ranks, seed=0) for ranks in (True, False)]
    names = tuple(graph.edge(int(number)) for number in numbers)
    top = np.arange(30) < 20
    return PredictionCheck(
        names=names,
        numbers=numbers,
        predicted=predicted,
        measured=scores,
        is_top=top,
        spearman=compared[0],
        pearson=compared[1],
        among_top=compared[0],
        among_random=None,
        value=graph.value,
        metric=graph.metric,
        method=graph.method,
        seed=0,
    )


def made_up(blocks: int = 5, **changed: Any) -> PathsResult:
    graph = transformer(blocks)
    score = Score(0.6, 0.5, 0.7, n=5, seed=0, control=0.03)
    standing = Standing(
        Score(2.5, 2.1, 2.9, n=8, seed=0, control=-1.2),
        Score(0.9, 0.8, 1.0, n=8, seed=0, control=0.2),
    )
    both = Sufficiency(
        edges=12,
        total=len(graph.edges),
        whole=standing,
        only=standing,
        without=standing,
        nothing=standing,
        fractions=np.array([0.5]),
        insertion=(score,),
        deletion=(score,),
        value="resample",
        metric="m",
        random=3,
        seed=0,
    )
    made = PathsResult(
        graph=graph,
        faithfulness=judged(graph),
        checked=measured(graph),
        stability=Stability(halves=score, seeds=None, edges=12.0, splits=5, seed=0),
        sufficiency=both,
        task=HOSTILE,
        accuracy=Score(0.97, 0.9, 1.0, n=40, seed=0, control=0.5),
        items=(HOSTILE,) * 3,
    )
    return replace(made, **changed)


@pytest.fixture(scope="module")
def result() -> PathsResult:
    return made_up()


def test_the_graph_figure_draws_the_strongest_edges_as_wide_as_they_are_strong(
    result: PathsResult,
) -> None:
    graph = result.graph
    figure = path_figures.path_graph(graph, 25, measured=result.checked)
    *lines, hover, names = figure.data
    numbers = path_figures.shown_edges(graph, 25)
    widths = [line.line.width for line in lines]
    assert widths == sorted(widths)
    assert max(widths) == path_figures.WIDEST
    strongest = int(numbers[0])
    carries = graph.effects[strongest] * (graph.replaced.mean() - graph.clean.mean()) > 0
    assert lines[-1].line.color == (PALETTE[0] if carries else PALETTE[1])
    texts = set(hover.text)
    assert len(texts) == 25
    said = next(text for text in texts if str(graph.edge(strongest)) in text)
    assert f"{graph.effects[strongest]:+.4g} [" in said
    assert "n = 8" in said
    assert "value resample" in said
    assert "measured" in said
    layer = {node.name: node.layer for node in graph.nodes} | {"logits": graph.ports[-1].layer}
    across = dict(zip(names.text, names.x, strict=True))
    for number in numbers:
        source, port = graph.nodes[graph.edges[number, 0]].name, graph.ports[graph.edges[number, 1]]
        assert all(
            across[source] < across[name]
            for name in port.nodes
            if name in across and layer[name] >= port.layer
        )


def test_a_method_that_keeps_edges_shows_only_these(result: PathsResult) -> None:
    graph = result.graph
    kept = np.zeros(len(graph.edges), dtype=bool)
    kept[[3, 50, 70]] = True
    assert set(path_figures.shown_edges(replace(graph, kept=kept), 60)) == {3, 50, 70}
    nothing = replace(graph, per_example=np.zeros_like(graph.per_example))
    assert len(path_figures.path_graph(nothing).data) == 2


@pytest.mark.parametrize("seed", range(3))
def test_no_two_names_of_a_large_graph_overlap(seed: int) -> None:
    figure = path_figures.path_graph(transformer(30, 9, seed), 60)
    names = figure.data[-1]
    assert len(names.text) > 15
    boxes = [
        (x * layout.WIDTH, y, layout.LETTER * len(name) / 2)
        for name, x, y in zip(names.text, names.x, names.y, strict=True)
    ]
    for place, (x, y, half) in enumerate(boxes):
        assert all(y != b or abs(x - a) >= half + c for a, b, c in boxes[:place])


def test_edges_of_a_path_lie_on_one_level_and_parallel_ones_apart() -> None:
    layers = {"a": 0, "b": 1, "c": 2}
    assert set(layout.rows(layers, [("a", "b"), ("b", "c")], np.ones(2)).values()) == {0}
    # An edge that skips a part does not run through it.
    skipping = layout.rows(layers, [("a", "c"), ("a", "b"), ("b", "c")], np.ones(3))
    assert skipping["b"] != (skipping["a"] + skipping["c"]) / 2
    assert layout.rows({}, [], np.ones(0)) == {}


def test_the_curves_hold_every_share_and_the_band_is_that_of_random_graphs(
    result: PathsResult,
) -> None:
    item = result.faithfulness
    other = replace(item, method="eap-ig-inputs")
    low, high, mean, own, second = path_figures.faithfulness_curve([item, other]).data
    assert list(own.x) == pytest.approx([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100])
    assert list(own.y) == [score.value for score in item.curve]
    assert list(low.y) == [score.low for score in item.random_curve]
    assert list(high.y) == [score.high for score in item.random_curve]
    assert list(mean.y) == [score.value for score in item.random_curve]
    assert (own.name, second.name, mean.line.color) == ("eap", "eap-ig-inputs", GREY)


def test_predicted_and_measured_are_drawn_group_by_group(result: PathsResult) -> None:
    found = result.checked
    assert found is not None
    random, top, line = path_figures.predicted_measured(found).data
    assert list(top.x) == found.predicted[:20].tolist()
    assert list(random.y) == [score.value for score in found.measured[20:]]
    assert top.customdata[0][0].replace("&gt;", ">") == str(found.names[0])
    assert list(line.x) == list(line.y)


def test_the_verdict_says_what_failed() -> None:
    good = made_up()
    assert verdict(good).startswith(
        "The graph stands every check made: it is more faithful than random graphs, measured "
        "effects rank"
    )
    by_chance = replace(
        good, faithfulness=replace(good.faithfulness, cmd=good.faithfulness.random_cmd)
    )
    assert "stands in part: it is not clearly more faithful than random graphs" in verdict(
        by_chance
    )
    weak = Score(0.2, -0.1, 0.5, n=30, seed=0, control=0.15)
    assert good.checked is not None
    assert "do not rank as predicted; but" in verdict(
        replace(good, checked=replace(good.checked, spearman=weak))
    )
    unable = replace(
        by_chance,
        accuracy=Score(0.5, 0.4, 0.6, n=40, seed=0, control=0.5),
        checked=None,
        stability=None,
    )
    assert verdict(unable) == (
        "The graph does not stand: it is not clearly more faithful than random graphs, "
        "and the model does not do the task better than chance."
    )
    bare = replace(good, checked=None, stability=None, sufficiency=None, accuracy=None)
    assert (
        verdict(bare)
        == "The graph stands every check made: it is more faithful than random graphs."
    )
    assert len(findings(bare)) == 3


def test_the_page_and_the_graph_are_written_and_hold_the_numbers(
    tmp_path: Path, result: PathsResult
) -> None:
    page = write_paths(result, tmp_path / "out").read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "&lt;script&gt;window.__pwned" in page
    for said in (
        "CMD",
        "Replacement value",
        "resample",
        "logit difference",
        "3 random graphs",
        "seed 0",
        "made-up",
        "Syed et al. 2023",
    ):
        assert said in page
    assert result.checked is not None
    numbers = json.loads((tmp_path / "out" / "paths.json").read_text(encoding="utf-8"))
    assert numbers["faithfulness"]["cmd"]["value"] == result.faithfulness.cmd.value
    assert numbers["checked"]["names"][0] == str(result.checked.names[0])
    assert numbers["stability"]["halves"]["control"] == 0.03
    assert numbers["others"] == []
    again = CausalGraph.load(tmp_path / "out" / "graph.json")
    assert again.per_example.tobytes() == result.graph.per_example.tobytes()
    assert (tmp_path / "out" / "graph.graphml").is_file()
    bare = replace(result, checked=None, stability=None, sufficiency=None, accuracy=None, items=())
    assert "Predicted and measured" not in write_paths(bare, tmp_path / "bare").read_text(
        encoding="utf-8"
    )


@needs_browser
def test_in_a_browser_the_figures_are_drawn_hover_tells_an_edge_and_no_text_runs(
    tmp_path: Path, result: PathsResult, driver: Any
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    page = write_paths(result, tmp_path)
    driver.get("about:blank")
    driver.get_log("performance")
    driver.get(page.as_uri())
    WebDriverWait(driver, 20).until(
        lambda d: d.execute_script(
            "return document.querySelectorAll('.plot .main-svg').length >= 3"
        )
    )
    assert HOSTILE in driver.execute_script("return document.querySelector('h1').innerText")
    assert driver.execute_script("return window.__pwned === undefined")
    assert driver.get_log("browser") == []
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    show = (
        "const plot = document.querySelector('[data-figure=graph]'); const hover = "
        "plot.data.length - 2;"
        "Plotly.Fx.hover(plot, [{curveNumber: hover, pointNumber: 5}]); return "
        "plot.data[hover].text[5]"
    )
    text = driver.execute_script(show)
    told = WebDriverWait(driver, 10).until(
        lambda d: d.execute_script("return document.querySelector('.hoverlayer')?.textContent")
    )
    assert text.split("</b>")[0].removeprefix("<b>").replace("&gt;", ">") in told
    asked = requested(driver)
    assert page.as_uri() in asked
    assert [
        url for url in asked if url != page.as_uri() and not url.startswith(("data:", "blob:"))
    ] == []
