"""The page of learning dynamics: when each concept was learned, how a run turned, and from when on
it could have been elicited.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interp.core.files import write_json, write_text
from interp.dynamics import learning_times as learning
from interp.dynamics.learning_times import LearningRule
from interp.report.figures import learning as dynamics_figures
from interp.report.figures.captions import json_for_page, page_heights
from interp.report.pages.directions import data_uri
from interp.report.pages.features import embed_json, self_contained
from interp.report.tables import learning as dynamics_tables
from interp.report.tables.features import Table
from interp.report.words.learning import facts, findings, verdict
from interp.studies.learning.result import ImageRun, LanguageRun, Plane, by_signal, main_runs

SCRIPTS = ("charts.js", "figures.js", "dynamics.js")
CORNERS = ("red, large", "blue, large", "red, small", "blue, small")


def write_dynamics(
    runs: Sequence[ImageRun],
    folder: Path,
    *,
    language: LanguageRun | None = None,
    rule: LearningRule = learning.RULE,
) -> Path:
    """Write `index.html`, a self-contained page, and return its path; beside it `dynamics.json`,
    every number of its tables.

    Args:
        runs: of the shapes experiment (`interp.studies.learning.files.load_image_runs`); none for a
            language model alone.
        language: a language model's tracks and features; None for image runs alone.
        rule: what counts as learned.

    Raises:
        InputError: neither is given, or a run twice.
        UnavailableError: the folder cannot be written.

    Cost: some seconds, most of them bootstraps; 2 MB, beside sample sheets.

    Example:
        >>> write_dynamics(load_image_runs("data/dynamics/shapes"), Path("dynamics"))
        PosixPath('dynamics/index.html')
    """
    dynamics_tables.require_runs(runs, language)
    own = main_runs(runs)
    planes = _image_planes(own) | _language_planes(language)
    figures = _figures(own, language, planes, rule)
    tables = _tables(runs, language, rule)
    found = {"verdict": verdict(own, language, rule), "findings": findings(own, language, rule)}
    about = facts(own, language, rule)
    sliders = _sliders(own, planes)
    values = {
        **found,
        "title": "When was it learned, and when could it have been elicited?",
        "facts": about,
        "rule": str(rule),
        "runs": own,
        "signals": {f"{signal:g}": len(group) for signal, group in by_signal(own).items()},
        "language": language,
        "planes": [name for name in planes if name.startswith("language")],
        "legends": {
            "image": dynamics_figures.image_legend(own),
            "language": dynamics_figures.language_legend(),
        },
        "tables": tables,
        "sliders": sliders,
        "embedded_sliders": embed_json(sliders),
        "last": max([run.steps[-1] for run in own], default=0),
        "heights": page_heights(figures),
        "embedded_figures": embed_json(json_for_page(figures)),
    }
    text = self_contained("dynamics.html.j2", SCRIPTS, values)
    shown = {
        name: {"caption": table.caption, "header": table.header, "rows": table.rows}
        for name, table in tables.items()
    }
    write_json(
        folder / "dynamics.json",
        {**found, "rule": str(rule), "facts": dict(about), "tables": shown},
    )
    write_text(folder / "index.html", text)
    return folder / "index.html"


def _image_planes(runs: Sequence[ImageRun]) -> dict[str, Plane]:
    axes = ("Colour: from red to blue", "Size: from large to small")
    return {
        f"space {signal:g}": Plane(
            axes=axes,
            steps=[run.steps for run in group],
            ways=[run.way for run in group],
            turns=[run.turn for run in group],
            names=[str(run) for run in group],
            corners=CORNERS,
        )
        for signal, group in by_signal(runs).items()
    }


def _language_planes(language: LanguageRun | None) -> dict[str, Plane]:
    """Concepts two by two, as shares of the right continuation."""
    if language is None or len(language.track.concepts) < 2:
        return {}
    concepts = language.track.concepts
    pairs = [(concepts[place], concepts[place + 1]) for place in range(0, len(concepts) - 1, 2)]
    return {
        f"language {place}": Plane(
            axes=(f"“{first.name}”, asked", f"“{second.name}”, asked"),
            steps=[language.track.steps],
            ways=[np.stack([first.naive.mean(axis=1), second.naive.mean(axis=1)], axis=1)],
            turns=[None],
            names=[language.name],
        )
        for place, (first, second) in enumerate(pairs)
    }


def _figures(
    runs: Sequence[ImageRun],
    language: LanguageRun | None,
    planes: dict[str, Plane],
    rule: LearningRule,
) -> dict[str, Any]:
    last = max([run.steps[-1] for run in runs], default=0)
    figures = {
        name: dynamics_figures.concept_space(
            plane, plane.grid[-1] if name.startswith("language") else last
        )
        for name, plane in planes.items()
    }
    for signal, group in by_signal(runs).items():
        figures[f"elicited {signal:g}"] = dynamics_figures.elicitation_curves(group, rule)
    if runs:
        figures["times"] = dynamics_figures.learning_against_signal(runs, rule)
    if language is not None:
        figures |= {
            f"concept {concept.name}": dynamics_figures.concept_curves(language, concept.name, rule)
            for concept in language.track.concepts
        }
        figures["likeness"] = dynamics_figures.representation(language)
        if language.history is not None:
            figures["births"] = dynamics_figures.birth_chart(language, rule)
    return figures


def _tables(
    runs: Sequence[ImageRun], language: LanguageRun | None, rule: LearningRule
) -> dict[str, Table]:
    tables: dict[str, Table | None] = {}
    if runs:
        own = main_runs(runs)
        tables |= {
            "times": dynamics_tables.times_table(own, rule),
            "turns": dynamics_tables.turns_table(own),
        }
        tables |= {
            "lags": dynamics_tables.lags_table(own, rule),
            "runs": dynamics_tables.runs_table(own, rule),
        }
        tables |= {"variants": dynamics_tables.variants_table(runs, rule)}
    if language is not None:
        tables |= {"onsets": dynamics_tables.onsets_table(language, rule)}
        tables |= {
            "right": dynamics_tables.onsets_table(language, rule, right=True),
            "shifts": dynamics_tables.shifts_table(language),
        }
        tables |= {
            "births": dynamics_tables.births_table(language, rule),
            "likeness": dynamics_tables.likeness_table(language),
        }
    return {name: table for name, table in tables.items() if table is not None}


def _sliders(runs: Sequence[ImageRun], planes: dict[str, Plane]) -> list[dict[str, Any]]:
    """What each slider of the page moves: points of figures and, where a run has them, generated
    samples.
    """
    sheets = next((run for run in runs if run.sheets), None)
    sliders: list[dict[str, Any]] = []
    for kind in ("space", "language"):
        own = {name: plane for name, plane in planes.items() if name.startswith(kind)}
        if not own:
            continue
        pictured = sheets if kind == "space" else None
        kept = sorted(pictured.sheets) if pictured else []
        steps = sorted({*kept, *(step for plane in own.values() for step in plane.grid)})
        sliders.append(
            {
                "name": kind,
                "steps": steps,
                "points": {name: _points(plane, steps) for name, plane in own.items()},
                "sheets": [data_uri(pictured.sheets[step]) for step in kept] if pictured else [],
                # Between the checkpoints that were kept, and after them, the last one before stays.
                "shown": [max(0, sum(one <= step for one in kept) - 1) for step in steps],
                "run": str(pictured or ""),
                "shifted": pictured is not None and pictured.checkpoints is not None,
            }
        )
    return sliders


def _points(plane: Plane, steps: Sequence[int]) -> list[list[float]]:
    mean = [np.interp(steps, plane.grid, plane.mean[:, axis]) for axis in (0, 1)]
    return [[round(float(x), 4), round(float(y), 4)] for x, y in zip(*mean, strict=True)]
