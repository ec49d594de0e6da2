"""The page of a generator's directions: sanity gate, interchange at the site, and effects."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from interp.core.files import write_json, write_text
from interp.core.plain import plain
from interp.report.figures import directions as direction_figures
from interp.report.figures.captions import json_for_page, page_heights
from interp.report.figures.directions import method_title, unit_words
from interp.report.pages.features import embed_json, self_contained
from interp.report.tables.directions import (
    comparison_table,
    effects_table,
    exchanged,
    gate_table,
    interchange_table,
    scores_table,
)
from interp.report.tables.features import control_cell, score_cell
from interp.studies.directions.result import Contact, DirectionsResult, MethodResult

SCRIPTS = ("charts.js", "figures.js", "paths.js")
SURE = 0.95
"""The share of images that must move in the requested direction."""

THROUGH, NOT_THROUGH = 0.5, 0.1
"""A factor goes through a site if its slope's interval lies above the first, and does not if below
the second.
"""

METHODS = {
    "regression": (
        "least squares of h on all factors at every step: what changes with one factor while the "
        "others stay"
    ),
    "mean difference": (
        "the mean h of the samples with most of a factor less that of those with least "
        "(Haas et al. 2024)"
    ),
    "pca": "principal components of h over all steps (Haas et al. 2024)",
    "ica": "independent components within the principal ones (FastICA; Hyvärinen 1999)",
    "snmf": "features of a semi-NMF of h, with sparse directions (Ding, Li & Jordan 2010)",
    "sae": "features of a sparse autoencoder of h (top-k)",
    "noiseclr": (
        "directions trained to have the same effect on different images, and different effects "
        "from each other (Dalva & Yanardag 2024)"
    ),
    "jacobian": (
        "singular vectors of the answer's derivative by h, for one image (Haas et al. 2024)"
    ),
    "random": (
        "normal numbers of equal norm at every step: the control, also at a strength of equal "
        "effect"
    ),
}


def write_directions(result: DirectionsResult, folder: Path) -> Path:
    """Write `index.html`, a self-contained page, and return its path; beside it `directions.json`,
    every number of the page.

    Raises:
        UnavailableError: the folder cannot be written.

    Cost: less than a second; 2 MB, beside the contact sheets.

    Example:
        >>> write_directions(result, Path("directions"))
        PosixPath('directions/index.html')
    """
    figures = {
        "effects": direction_figures.effect_map(result),
        "separations": direction_figures.separations(result),
    }
    if result.curves:
        figures["dose"] = direction_figures.dose_curves(result)
    values = {
        "title": f"What do directions at {result.site} of {Path(result.model).name} move?",
        "result": result,
        "verdict": verdict(result),
        "findings": findings(result),
        "unit": unit_words(result),
        "facts": facts(result),
        "gate": gate_table(result),
        "interchange": interchange_table(result),
        "scores": scores_table(result),
        "effects": effects_table(result),
        "comparison": comparison_table(result),
        "samples": data_uri(result.samples),
        "sheets": [_shown(sheet) for sheet in result.sheets],
        "method_sheets": [
            (method_title(found.method), [_shown(sheet) for sheet in found.sheets])
            for found in result.methods
        ],
        "methods": [
            (method_title(found.method), METHODS.get(found.method, "")) for found in result.methods
        ],
        "scored": None if result.scored_method is None else method_title(result.scored_method),
        "protocol": result.provenance.parameters,
        "provenance": json.dumps(result.provenance.to_dict(), indent=1, ensure_ascii=False),
        "heights": page_heights(figures),
        "embedded_figures": embed_json(json_for_page(figures)),
    }
    text = self_contained("directions.html.j2", SCRIPTS, values)
    write_json(folder / "directions.json", plain(result))
    write_text(folder / "index.html", text)
    return folder / "index.html"


def verdict(result: DirectionsResult) -> str:
    """Whether the network is sound, which factors go through the site, and how many move as
    requested.

    Example:
        >>> verdict(result)
        'The network passes its sanity gate; all of x go through mid; 1 of 1 straight directions
        move as requested in at least 95 % of images.'
    """
    parts = [_gate(result), _through(result)]
    named = ((result.scores, "straight directions"), (result.curved, "edits along curves"))
    for scores, how in named:
        if scores:
            good = sum(one.reached and one.right_sign.value >= SURE for one in scores.values())
            parts.append(
                f"{good} of {len(scores)} {how} move as requested in at least {100 * SURE:.0f} % "
                "of images"
            )
    return "; ".join(parts) + "."


def findings(result: DirectionsResult) -> list[str]:
    """What the verdict rests on, no stronger than its intervals."""
    said = []
    if result.gate is not None and not result.gate.passed:
        said.append(
            f"The gate fails: {'; '.join(result.gate.failures)}. What follows is about the images "
            "that this network makes, not about its data."
        )
    if not result.known:
        said.append(
            "The factors of these images are unknown. Plain measures of a picture (brightness, "
            "contrast, where the light is) stand in for them: they tell what a direction does to "
            "the picture, not to what is in it. The contact sheets are there to be looked at."
        )
    return [*said, *_scored(result), *_best(result), *_spans(result), *result.notes]


def _gate(result: DirectionsResult) -> str:
    if result.gate is None:
        return "Without its data the network could not be put through the sanity gate"
    return (
        "The network passes its sanity gate"
        if result.gate.passed
        else "The network FAILS its sanity gate"
    )


def _through(result: DirectionsResult) -> str:
    slopes = {factor: result.interchange[factor] for factor in exchanged(result)}
    through = [factor for factor, slope in slopes.items() if slope.low > THROUGH]
    nothing = [factor for factor, slope in slopes.items() if slope.high < NOT_THROUGH]
    rest = [factor for factor in slopes if factor not in through + nothing]
    if not through and not rest:
        return f"nothing of {', '.join(slopes)} goes through {result.site}"
    if len(through) == len(slopes):
        return f"all of {', '.join(slopes)} go through {result.site}"
    parts = [f"mostly through {result.site}: {', '.join(through)}"] if through else []
    parts += [f"in part: {', '.join(rest)}"] if rest else []
    parts += [f"not at all: {', '.join(nothing)}"] if nothing else []
    return ", ".join(parts)


def _scored(result: DirectionsResult) -> list[str]:
    if not result.scores or result.scored_method is None:
        return []
    moved = ", ".join(
        f"{name} by {score_cell(score.change, signed=True)}"
        for name, score in result.scores.items()
    )
    scores = result.scores.values()
    worst = max(scores, key=lambda score: score.leak.value)
    random = max(abs(score.change.control or 0.0) for score in scores)
    sure = min(score.right_sign.value for score in scores)
    return [
        f"Directions by {method_title(result.scored_method)}, with strengths chosen on other "
        f"images, move {moved} ({unit_words(result)}, n = {worst.leak.n}), in the right direction "
        f"for at least {100 * sure:.0f} % of images. The other factors change by at most "
        f"{score_cell(worst.leak)} on average (under {worst.target}); random directions of equal "
        f"norm move a target by at most {random:.2f}.",
        *_curved(result),
    ]


def _curved(result: DirectionsResult) -> list[str]:
    if not result.curved:
        return []
    scores = result.curved.values()
    worst = max(scores, key=lambda score: score.leak.value)
    sure = min(score.right_sign.value for score in scores)
    changes = [abs(score.change.value) for score in scores]
    return [
        "Edits along curves (the site as a polynomial of the factors, at the last steps only) move "
        f"each factor by {min(changes):.2f} to {max(changes):.2f} {unit_words(result)}, "
        f"in the right direction for at least {100 * sure:.0f} % of images; the others change by "
        f"at most {score_cell(worst.leak)} (under {worst.target})."
    ]


def _unsupervised(result: DirectionsResult) -> list[MethodResult]:
    return [found for found in result.methods if not found.supervised and found.method != "random"]


def _best(result: DirectionsResult) -> list[str]:
    unsupervised = _unsupervised(result)
    if not unsupervised:
        return []
    best = max(unsupervised, key=lambda found: found.separation.value)
    said = (
        f"Without labels, {method_title(best.method)} separates the factors best: "
        f"{score_cell(best.separation)} (1: every factor has a "
        f"direction of its own; random tables reach {control_cell(best.separation)})"
    )
    tied = [
        method_title(found.method)
        for found in unsupervised
        if found is not best and found.separation.high > best.separation.low
    ]
    said += f", not clearly better than {', '.join(tied)}" if tied else ""
    return [f"{said}. It moves {'; '.join(_pure(best, factor) for factor in result.factors)}."]


def _pure(found: MethodResult, factor: str) -> str:
    """The direction that moves a factor most."""
    name = max(found.effects, key=lambda direction: abs(found.effects[direction][factor].value))
    return f"{factor} by {score_cell(found.effects[name][factor], signed=True)} ({name})"


def _spans(result: DirectionsResult) -> list[str]:
    unsupervised = _unsupervised(result)
    if not unsupervised:
        return []
    best = max(unsupervised, key=lambda found: float(np.mean(list(found.spanned.values()))))
    shares = ", ".join(f"{factor} {share:.2f}" for factor, share in best.spanned.items())
    return [
        f"The span of the {len(best.directions)} directions of {method_title(best.method)} holds, "
        f"of the squared length of each direction by regression, {shares} (by chance "
        f"{best.chance:.3f}). What is spanned need not be separated."
    ]


def facts(result: DirectionsResult) -> list[tuple[str, str]]:
    """The model, site, samples and cost."""
    protocol, cost = result.provenance.parameters, result.provenance.cost
    said = [
        ("Model", result.model),
        ("Site", result.site),
        ("Sampler", f"DDIM, {protocol['steps']} steps"),
        ("Factors", ", ".join(result.factors)),
        ("Found in", f"{protocol['samples']} images (seed {protocol['directions_seed']})"),
        ("Strengths chosen on", f"{protocol['choose']} others (seed {protocol['strengths_seed']})"),
        ("Reported on", f"{protocol['report']} others still (seed {protocol['report_seed']})"),
    ]
    if "evaluations" in cost:
        said.append(("Cost", f"{cost['evaluations']:,.0f} evaluations, {cost['seconds']:.0f} s"))
    return said


def data_uri(picture: UInt8[np.ndarray, "down across 3"]) -> str:
    """A picture as the data URI of a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _shown(sheet: Contact) -> dict[str, object]:
    strengths = [
        "as it is" if strength == 0 else f"{strength:+.3g}".replace("-", "−")
        for strength in sheet.strengths
    ]
    return {
        "direction": sheet.direction,
        "strengths": strengths,
        "picture": data_uri(sheet.picture),
    }
