"""The page of learning dynamics: when concepts were learned, turns, and earlier elicitation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interp.core.files import write_json, write_text
from interp.report.figures import learning as figures
from interp.report.figures.captions import json_for_page, page_heights
from interp.report.pages.directions import data_uri
from interp.report.pages.features import embed_json, self_contained
from interp.report.tables import learning as tables
from interp.report.tables.features import Table
from interp.report.words.learning import facts, findings, verdict
from interp.studies.learning.result import LanguageResult, LearningResult, Plane

SCRIPTS = ("charts.js", "figures.js", "dynamics.js")


def write_dynamics(found: LearningResult, folder: Path) -> Path:
    """Write `index.html`, a self-contained page, and return its path; beside it `dynamics.json`,
    every number of its tables.

    Args:
        found: of runs of the shapes experiment, of a language model, or of both.

    Raises:
        UnavailableError: the folder cannot be written.

    Cost: a second; 2 MB, beside sample sheets.

    Example:
        >>> runs = load_image_runs("data/dynamics/shapes")
        >>> write_dynamics(study_learning(runs), Path("dynamics"))
        PosixPath('dynamics/index.html')
    """
    drawn, tabled, planes = _figures(found), _tables(found), _planes(found)
    said = {"verdict": verdict(found), "findings": findings(found), "rule": str(found.rule)}
    about, sliders = facts(found), _sliders(found, planes)
    values = {
        **said,
        "title": "When was it learned, and when could it have been elicited?",
        "facts": about,
        "runs": found.runs,
        "signals": {f"{group.signal:g}": len(group.runs) for group in found.signals},
        "language": None if found.language is None else found.language.run,
        "planes": [name for name in planes if name.startswith("language")],
        "legends": {
            "image": figures.image_legend(found.arms),
            "language": figures.language_legend(),
        },
        "tables": tabled,
        "sliders": sliders,
        "embedded_sliders": embed_json(sliders),
        "last": found.last,
        "heights": page_heights(drawn),
        "embedded_figures": embed_json(json_for_page(drawn)),
    }
    text = self_contained("dynamics.html.j2", SCRIPTS, values)
    cells = {
        name: {"caption": table.caption, "header": table.header, "rows": table.rows}
        for name, table in tabled.items()
    }
    write_json(folder / "dynamics.json", {**said, "facts": dict(about), "tables": cells})
    write_text(folder / "index.html", text)
    return folder / "index.html"


def _planes(found: LearningResult) -> dict[str, Plane]:
    planes = {f"space {group.signal:g}": group.plane for group in found.signals}
    own = () if found.language is None else found.language.planes
    return planes | {f"language {place}": plane for place, plane in enumerate(own)}


def _figures(found: LearningResult) -> dict[str, Any]:
    drawn = {}
    for group in found.signals:
        name = f"{group.signal:g}"
        drawn[f"space {name}"] = figures.concept_space(group.plane, found.last)
        drawn[f"elicited {name}"] = figures.elicitation_curves(group, found.rule)
    if found.signals:
        drawn["times"] = figures.learning_against_signal(found)
    if found.language is not None:
        drawn |= _language_figures(found.language, found)
    return drawn


def _language_figures(language: LanguageResult, found: LearningResult) -> dict[str, Any]:
    drawn = {
        f"language {place}": figures.concept_space(plane, plane.grid[-1])
        for place, plane in enumerate(language.planes)
    }
    for concept in language.concepts:
        drawn[f"concept {concept.name}"] = figures.concept_curves(
            language, concept.name, found.rule
        )
    drawn["likeness"] = figures.representation(language.run.track)
    if language.run.history is not None:
        drawn["births"] = figures.birth_chart(language)
    return drawn


def _tables(found: LearningResult) -> dict[str, Table]:
    made: dict[str, Table | None] = {}
    if found.signals:
        made |= {
            "times": tables.times_table(found),
            "turns": tables.turns_table(found),
            "lags": tables.lags_table(found),
            "runs": tables.runs_table(found),
            "variants": tables.variants_table(found),
        }
    if found.language is not None:
        made |= {
            "onsets": tables.onsets_table(found.language, found.rule),
            "right": tables.onsets_table(found.language, found.rule, right=True),
            "shifts": tables.shifts_table(found.language),
            "births": tables.births_table(found.language),
            "likeness": tables.likeness_table(found.language.run.track),
        }
    return {name: table for name, table in made.items() if table is not None}


def _sliders(found: LearningResult, planes: Mapping[str, Plane]) -> list[dict[str, Any]]:
    """What each slider moves: points of figures and, if a run has them, sheets of samples."""
    sheets = next((run for run in found.runs if run.sheets), None)
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
                # A step without a sheet shows the last one before it.
                "shown": [max(0, sum(one <= step for one in kept) - 1) for step in steps],
                "run": str(pictured or ""),
                "shifted": pictured is not None and pictured.checkpoints is not None,
            }
        )
    return sliders


def _points(plane: Plane, steps: Sequence[int]) -> list[list[float]]:
    mean = [np.interp(steps, plane.grid, plane.mean[:, axis]) for axis in (0, 1)]
    return [[round(float(x), 4), round(float(y), 4)] for x, y in zip(*mean, strict=True)]
