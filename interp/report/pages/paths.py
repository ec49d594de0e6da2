"""The page of causal paths: the graph, and the checks on it beside their controls."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from interp.causal.checks.faithfulness import Faithfulness
from interp.causal.graph.selection import SHARE
from interp.core import Score
from interp.core.display.markup import MISSING
from interp.core.files import write_json, write_text
from interp.report.figures import paths as path_figures
from interp.report.figures.captions import json_for_page, page_heights
from interp.report.pages.features import embed_json, self_contained
from interp.report.tables.features import Table, control_cell, score_cell
from interp.studies.paths.result import PathsResult

SCRIPTS = ("charts.js", "figures.js", "paths.js")
SHOWN = 60
"""Edges in the picture."""

LISTED = 30
"""Edges in tables."""

METHODS = {
    "exact": (
        "every edge replaced on its own and the metric measured (direct path patching; "
        "Goldowsky-Dill et al. 2023)"
    ),
    "eap": (
        "edge attribution patching: the change of a contribution times the metric's gradient at "
        "the clean run (Syed et al. 2023)"
    ),
    "eap-ig-inputs": (
        "edge attribution patching with gradients averaged on the way from "
        "counterfactual to clean inputs (Hanna et al. 2024)"
    ),
    "eap-ig-activations": (
        "edge attribution patching with gradients averaged on the way of each "
        "part's own output (Hanna et al. 2024)"
    ),
    "eap-qk": (
        "edge attribution patching with the softmax recomputed at queries and keys (AtP*; "
        "Kramár et al. 2024)"
    ),
    "eap-graddrop": (
        "edge attribution patching averaged over backward passes that each leave out a "
        "layer (AtP*; Kramár et al. 2024)"
    ),
    "acdc": (
        "ACDC: from the output backwards, edges whose removal changes the metric less than a "
        "threshold are dropped (Conmy et al. 2023)"
    ),
    "interventional": (
        "interventions from the output down, with paired Wilcoxon tests and "
        "Benjamini–Hochberg control of false discoveries"
    ),
    "regression": (
        "regression of each part's size on its inputs' (Narendra et al. 2018): a "
        "correlational baseline, not an intervention"
    ),
}


def write_paths(result: PathsResult, folder: Path) -> Path:
    """Write `index.html`, a self-contained page, and return its path; beside it `paths.json`,
    `graph.json` and `graph.graphml`.

    Raises:
        UnavailableError: the folder cannot be written.

    Cost: bootstrap intervals of the drawn edges; about a second, and 2 MB beside the graph.

    Example:
        >>> write_paths(result, Path("paths"))
        PosixPath('paths/index.html')
    """
    graph = result.graph
    figures = {
        "graph": path_figures.path_graph(graph, SHOWN, measured=result.checked),
        "curve": path_figures.faithfulness_curve([result.faithfulness, *result.others]),
    }
    if result.checked is not None:
        figures["checked"] = path_figures.predicted_measured(result.checked)
    values = {
        "title": f"Which edges carry “{result.task}”?",
        "result": result,
        "findings": findings(result),
        "shown": len(path_figures.shown_edges(graph, SHOWN)),
        "model": graph.provenance.model or "a network",
        "accuracy": None if result.accuracy is None else score_cell(result.accuracy),
        "edges": edges_table(result),
        "curve": curve_table(result),
        "standing": standing_table(result),
        "sides": sides_table(result),
        "checks": checked_table(result),
        "method": METHODS[graph.method],
        "provenance": json.dumps(graph.provenance.to_dict(), indent=1, ensure_ascii=False),
        "heights": page_heights(figures),
        "embedded_figures": embed_json(json_for_page(figures)),
    }
    text = self_contained("paths.html.j2", SCRIPTS, values)
    write_json(folder / "paths.json", result.to_dict())
    graph.to_json(folder / "graph.json")
    graph.to_graphml(folder / "graph.graphml", path_figures.shown_edges(graph, SHOWN))
    write_text(folder / "index.html", text)
    return folder / "index.html"


def findings(result: PathsResult) -> list[str]:
    """The verdict and what it rests on, no stronger than its intervals."""
    return [
        verdict(result),
        *_task(result),
        _carried(result.faithfulness),
        _areas(result.faithfulness),
        *_checks(result),
    ]


def verdict(result: PathsResult) -> str:
    """Whether the graph beats random graphs, its predictions are confirmed, and other examples give
    it again.

    Example:
        >>> verdict(result)
        'The graph stands every check made: it is more faithful than random graphs, and its
        predictions were confirmed.'
    """
    tests = list(_tests(result))
    passed = [good for holds, good, _ in tests if holds]
    failed = [bad for holds, _, bad in tests if not holds]
    if not failed:
        return f"The graph stands every check made: {_listed(passed)}."
    start = "The graph does not stand" if not passed else "The graph stands in part"
    return f"{start}: {_listed(failed)}" + (f"; but {_listed(passed)}." if passed else ".")


def _tests(result: PathsResult) -> Iterable[tuple[bool, str, str]]:
    """For each test made: whether it holds, the words if so, and those if not."""
    yield (
        result.faithfulness.beats_random,
        "it is more faithful than random graphs",
        "it is not clearly more faithful than random graphs",
    )
    if result.checked is not None:
        yield (
            result.checked.spearman.low > 0,
            "measured effects rank as predicted",
            "measured effects do not rank as predicted",
        )
    if result.stability is not None:
        halves = result.stability.halves
        yield (
            halves.low > (halves.control or 0.0),
            "other examples give it again more than chance",
            "other examples do not give it again more than chance",
        )
    if result.accuracy is not None and result.accuracy.control is not None:
        yield (
            result.accuracy.low > result.accuracy.control,
            "the model does the task",
            "the model does not do the task better than chance",
        )


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])}, and {parts[-1]}"


def _task(result: PathsResult) -> list[str]:
    if result.accuracy is None:
        return []
    chance = "" if result.accuracy.control is None else f"; chance is {result.accuracy.control:.2f}"
    return [
        f"The model itself is right on {score_cell(result.accuracy)} of "
        f"{result.accuracy.n} examples of the task{chance}."
    ]


def _carried(judged: Faithfulness) -> str:
    place = int(np.argmin(np.abs(judged.fractions - SHARE)))
    own, chance = judged.curve[place], judged.random_curve[place]
    return (
        f"The strongest {100 * judged.fractions[place]:g} % of the edges ({judged.edges[place]:,} "
        f"on paths) keep {score_cell(own)} of what replacing everything takes away; "
        f"random graphs with as many edges per layer keep {score_cell(chance)}."
    )


def _areas(judged: Faithfulness) -> str:
    return (
        f"Over all sizes CMD is {score_cell(judged.cmd, 3)} (0 is best) against "
        f"{score_cell(judged.random_cmd, 3)} of random graphs, and CPR {score_cell(judged.cpr, 3)} "
        f"against {score_cell(judged.random_cpr, 3)}."
    )


def _checks(result: PathsResult) -> list[str]:
    said = []
    if result.checked is not None:
        found = result.checked
        said.append(
            f"Of {len(found.names)} edges ({int(found.is_top.sum())} strongest, "
            f"{int((~found.is_top).sum())} random others) that were measured, the rank correlation "
            f"with the prediction is {score_cell(found.spearman)}, Pearson's "
            f"{score_cell(found.pearson)}; permuted predictions reach "
            f"{control_cell(found.spearman)}."
        )
    if result.stability is not None:
        again = result.stability
        seeds = (
            f"; over seeds {score_cell(again.seeds)}, by chance {control_cell(again.seeds)}"
            if again.seeds
            else ""
        )
        said.append(
            f"Graphs of two halves of the examples overlap by {score_cell(again.halves)} "
            f"(Jaccard, {again.edges:.0f} edges, "
            f"{again.splits} splits), random ones by {control_cell(again.halves)}{seeds}."
        )
    if result.sufficiency is not None:
        both = result.sufficiency
        said.append(
            f"With only the graph ({both.edges:,} of {both.total:,} edges) {both.metric} is "
            f"{score_cell(both.only.metric)}, without it {score_cell(both.without.metric)}; it is "
            f"{score_cell(both.whole.metric)} in the whole network, "
            f"{score_cell(both.nothing.metric)} with all replaced."
        )
    return said


def edges_table(result: PathsResult) -> Table:
    """The strongest edges, predicted and measured."""
    graph = result.graph
    numbers = path_figures.shown_edges(graph, LISTED)
    found = path_figures.measured_effects(result.checked)
    rows = tuple(
        (str(graph.edge(number)), _effect(score), _effect(found.get(number)))
        for number, score in zip(numbers.tolist(), graph.scores(numbers), strict=True)
    )
    return Table(
        f"The {len(rows)} strongest edges", ("Edge", f"Effect ({graph.method})", "Measured"), rows
    )


def _effect(score: Score | None) -> str:
    if score is None:
        return MISSING
    return f"{score.value:+.3g} [{score.low:+.3g}, {score.high:+.3g}]".replace("-", "−")


def curve_table(result: PathsResult) -> Table:
    """Faithfulness at every size, and its areas, beside random graphs."""
    judged = result.faithfulness
    methods = [judged, *result.others]
    header = ("Edges kept", "On paths", *(item.method for item in methods), "Random graphs")
    rows = [
        (
            f"{100 * share:g} %",
            f"{judged.edges[place]:,}",
            *(score_cell(item.curve[place]) for item in methods),
            score_cell(judged.random_curve[place]),
        )
        for place, share in enumerate(judged.fractions)
    ]
    cpr = [*(item.cpr for item in methods), judged.random_cpr]
    cmd = [*(item.cmd for item in methods), judged.random_cmd]
    for name, areas in (("CPR", cpr), ("CMD", cmd)):
        rows.append((name, "", *(score_cell(area, 3) for area in areas)))
    return Table("Faithfulness f, and the areas under it (CPR) and to 1 (CMD)", header, tuple(rows))


def standing_table(result: PathsResult) -> Table | None:
    """Metric and accuracy with the whole network, only the graph, without it, and all replaced."""
    both = result.sufficiency
    if both is None:
        return None
    states = (
        ("Whole network", both.whole),
        (f"Only the graph ({both.edges:,} edges)", both.only),
        ("Without the graph", both.without),
        ("All replaced", both.nothing),
    )
    rows = tuple(
        (
            title,
            score_cell(state.metric),
            control_cell(state.metric),
            score_cell(state.accuracy),
            control_cell(state.accuracy),
        )
        for title, state in states
    )
    return Table(
        "What is left", ("State", both.metric, "Random graphs", "Accuracy", "Random graphs"), rows
    )


def sides_table(result: PathsResult) -> Table | None:
    """Insertion (only the strongest edges) and deletion (without them) by size."""
    both = result.sufficiency
    if both is None:
        return None
    rows = tuple(
        (
            f"{100 * share:g} %",
            score_cell(only),
            control_cell(only),
            score_cell(without),
            control_cell(without),
        )
        for share, only, without in zip(both.fractions, both.insertion, both.deletion, strict=True)
    )
    header = ("Strongest edges", "Only these", "Random graphs", "Without these", "Random graphs")
    return Table("f by size", header, rows)


def checked_table(result: PathsResult) -> Table | None:
    """Correlations of predicted with measured effects."""
    found = result.checked
    if found is None:
        return None
    pairs = (
        ("Spearman, all measured", found.spearman),
        ("Pearson, all measured", found.pearson),
        ("Spearman among the strongest", found.among_top),
        ("Spearman among random others", found.among_random),
    )
    rows = tuple(
        (title, MISSING, MISSING, MISSING)
        if score is None
        else (title, score_cell(score), str(score.n), control_cell(score))
        for title, score in pairs
    )
    return Table("Predicted against measured", ("Correlation", "Value", "Edges", "Permuted"), rows)
