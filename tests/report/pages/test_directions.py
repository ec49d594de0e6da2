"""The page of directions: its figures hold the numbers, its verdict follows them, and no text of it
acts in a browser.
"""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browsing import needs_browser, requested
from PIL import Image

from interp.core import Provenance, Score
from interp.diffusion.bottleneck.interchange import Interchange, Transfer
from interp.diffusion.directions.step_directions import StepDirections
from interp.diffusion.images.gate import FactorGate, Gate
from interp.diffusion.scores.dose import DoseResponse
from interp.diffusion.scores.effects import EditScore
from interp.report.figures import directions as direction_figures
from interp.report.figures.features import GREY
from interp.report.pages.directions import data_uri, findings, verdict, write_directions
from interp.report.tables.directions import (
    comparison_table,
    effects_table,
    gate_table,
    interchange_table,
    scores_table,
)
from interp.studies.directions.result import Contact, DirectionsResult, MethodResult

HOSTILE = "<script>window.__pwned = 1</script><b>radius</b>"
FACTORS = ("x", HOSTILE)


def score(value: float, control: float | None = 0.01, half: float = 0.05, n: int = 32) -> Score:
    return Score(value, value - half, value + half, n=n, seed=103, control=control)


def picture(seed: int, columns: int = 3) -> Any:
    return np.random.default_rng(seed).integers(0, 256, size=(20, 10 * columns, 3), dtype=np.uint8)


def method(
    name: str,
    effects: list[list[float]],
    separation: float,
    supervised: bool = False,
    spanned: float = 0.5,
) -> MethodResult:
    names = FACTORS if supervised else tuple(f"{name} {HOSTILE if i else 0}" for i in range(2))
    directions = StepDirections(
        values=torch.ones(2, 1, 1, 1, 1),
        names=names,
        steps=(0,),
        timesteps=(999,),
        site="mid",
        total=1,
        method=name,
        seed=100,
    )
    table = {
        own: {factor: score(value) for factor, value in zip(FACTORS, row, strict=True)}
        for own, row in zip(names, effects, strict=True)
    }
    sheets = tuple(Contact(own, (-2.0, 0.0, 2.0), picture(i)) for i, own in enumerate(names))
    return MethodResult(
        method=name,
        supervised=supervised,
        directions=directions,
        strengths=(1.5, 2.5),
        reached=(True, False),
        effects=table,
        purity=dict.fromkeys(names, 0.8),
        coverage=1.0,
        separation=score(separation, 0.6),
        spanned=dict.fromkeys(FACTORS, spanned),
        chance=0.002,
        sheets=sheets,
        seconds=3.0,
    )


def edit_score(factor: str, right: float = 0.99, reached: bool = True) -> EditScore:
    others = {name: score(0.06) for name in FACTORS if name != factor}
    return EditScore(
        target=factor,
        strength=1.25,
        change=score(0.52, n=200),
        right_sign=score(right, 0.5, 0.01),
        leak=score(0.06),
        leaks=others,
        dropped=0,
        reached=reached,
    )


def gate(mean: float = 0.05) -> Gate:
    return Gate(
        {name: FactorGate(score(mean), score(0.97, 1.0), 0.04, 0.3) for name in FACTORS},
        0.001,
        0.0,
        512,
    )


def interchange(*slopes: float) -> Interchange:
    rows = [
        Transfer(name, window, score(slope / (1 + part)))
        for part, window in enumerate((range(6), range(3)))
        for name, slope in zip(FACTORS, slopes, strict=True)
    ]
    return Interchange(rows=tuple(rows), sites=("mid",), steps=6, dropped=3, unchanged=1e-7)


def made_up(**changed: Any) -> DirectionsResult:
    curve = DoseResponse(
        strengths=(-2.5, -1.25, 1.25, 2.5),
        changes=tuple(score(value) for value in (-0.9, -0.5, 0.5, 0.9)),
        monotone=score(0.98),
        kept=(score(0.9),) * 4,
        dropped=0,
    )
    parameters = {
        "steps": 6, "samples": 512, "choose": 32, "report": 200, "matrix": 32,
        "curve": 32, "pairs": 128, "shown": 2, "controls": 1,
        "gate_seed": 50,
        "directions_seed": 100, "strengths_seed": 101, "report_seed": 103, "interchange_seed": 20,
        "curved_steps": 3, "degree": 3,
    }  # fmt: skip
    made = DirectionsResult(
        model="made-up",
        site="mid",
        factors=FACTORS,
        known=True,
        gate=gate(),
        interchange=interchange(0.9, 0.8),
        methods=(
            method("regression", [[0.5, 0.02], [-0.03, 0.5]], 0.95, True, 1.0),
            method("pca", [[0.5, 0.4], [-0.4, 0.5]], 0.56),
            method("ica", [[0.5, 0.1], [0.1, -0.5]], 0.83, spanned=0.7),
            method("random", [[0.1, 0.5], [0.5, 0.4]], 0.6),
        ),
        scored_method="regression",
        scores={name: edit_score(name) for name in FACTORS},
        curved={name: edit_score(name) for name in FACTORS},
        curves=dict.fromkeys(FACTORS, curve),
        sheets=tuple(Contact(name, (-2.0, -1.0, 0.0, 1.0, 2.0), picture(9, 5)) for name in FACTORS),
        samples=picture(3, 12),
        wanted=0.5,
        notes=("snmf: left out, it was not asked for.",),
        provenance=Provenance(
            "directions",
            parameters=parameters,
            seed=100,
            model="made-up",
            cost={"seconds": 12.0, "evaluations": 3456.0},
        ),
    )
    return replace(made, **changed)


@pytest.fixture(scope="module")
def result() -> DirectionsResult:
    return made_up()


def test_the_verdict_says_whether_it_is_sound_what_goes_through_and_what_is_moved(
    result: DirectionsResult,
) -> None:
    moved = "move as requested in at least 95 % of images"
    assert verdict(result) == (
        f"The network passes its sanity gate; all of x, {HOSTILE} go through mid; "
        f"2 of 2 straight directions {moved}; 2 of 2 edits along curves {moved}."
    )
    failing = replace(result, gate=gate(0.2))
    assert verdict(failing).startswith("The network FAILS its sanity gate; ")
    assert findings(failing)[0].startswith("The gate fails: x: mean +0.20 sd of the data")
    assert verdict(replace(result, gate=None)).startswith(
        "Without its data the network could not be put through the sanity gate"
    )
    assert "nothing of x" in verdict(replace(result, interchange=interchange(0.01, -0.02)))
    mixed = verdict(replace(result, interchange=interchange(0.9, 0.0)))
    assert f"mostly through mid: x, not at all: {HOSTILE}" in mixed
    assert "in part: x" in verdict(replace(result, interchange=interchange(0.3, 0.9)))
    unsure = {"x": edit_score("x", 0.9), HOSTILE: edit_score(HOSTILE, reached=False)}
    assert verdict(replace(result, scores=unsure, curved={})).endswith(
        f"0 of 2 straight directions {moved}."
    )
    assert "move as requested" not in verdict(
        replace(result, scores={}, curved={}, curves={}, scored_method=None)
    )


def test_findings_name_the_best_method_without_labels_and_are_no_stronger_than_their_intervals(
    result: DirectionsResult,
) -> None:
    said = " ".join(findings(result))
    assert "Without labels, ICA separates the factors best: 0.83 [0.78, 0.88]" in said
    assert "not clearly better" not in said
    assert "ica 0" in said
    assert "x by +0.50 [+0.45, +0.55] (ica 0)" in said
    assert "snmf: left out" in said
    assert "0.70" in said
    close = replace(result["pca"], separation=score(0.8, 0.6))
    assert "not clearly better than PCA" in " ".join(
        findings(replace(result, methods=(close, *result.methods[2:])))
    )
    assert any(
        "Plain measures of a picture" in sentence
        for sentence in findings(replace(result, known=False))
    )


def test_the_map_holds_every_effect_with_its_interval_and_control(result: DirectionsResult) -> None:
    figure = direction_figures.effect_map(result)
    (cells,) = figure.data
    assert [list(row) for row in cells.z[2:4]] == [[0.5, 0.4], [-0.4, 0.5]]
    assert cells.zmin == -0.5
    assert cells.zmax == 0.5
    assert cells.customdata[3][0].endswith(
        "x −0.40 [−0.45, −0.35], n = 32<br>random direction +0.01"
    )
    assert "<script>" not in cells.customdata[3][0]
    assert [note.text for note in figure.layout.annotations[:4]] == [
        "+0.50",
        "+0.02",
        "−0.03",
        "+0.50",
    ]
    assert figure.layout.yaxis.ticktext[2] == "PCA · pca 0"
    assert [shape.y0 for shape in figure.layout.shapes] == [1.5, 3.5, 5.5]


def test_the_curves_are_drawn_beside_their_controls_in_multiples_of_the_strength(
    result: DirectionsResult,
) -> None:
    random, own, *_ = direction_figures.dose_curves(result).data
    assert list(own.y) == [-0.9, -0.5, 0.5, 0.9]
    assert [round(value - own.x[0]) for value in own.x] == [0, 1, 3, 4]
    assert list(random.y) == [0.01] * 4
    assert random.line.color == GREY
    assert own.error_y.array == pytest.approx([0.05] * 4)
    assert own.customdata[0][2] == "-2.5"


def test_methods_are_ordered_by_separation_and_random_directions_are_grey(
    result: DirectionsResult,
) -> None:
    figure = direction_figures.separations(result)
    ticks, labelled, unlabelled = figure.data
    assert list(figure.layout.yaxis.ticktext) == ["PCA", "random directions", "ICA", "regression"]
    assert list(ticks.x) == [0.6] * 4
    assert (list(labelled.x), list(labelled.y)) == ([0.95], [3])
    assert list(unlabelled.x) == [0.56, 0.6, 0.83]
    assert unlabelled.marker.color[1] == GREY


def test_tables_hold_the_numbers(result: DirectionsResult) -> None:
    assert gate_table(replace(result, gate=None)) is None
    table = gate_table(result)
    assert table is not None
    assert table.rows[0] == (
        "x",
        "+0.05 [0.00, +0.10]",
        "0.01",
        "0.97 [0.92, 1.02]",
        "1.00",
        "0.040 (p 0.3)",
        "passes",
    )
    assert interchange_table(result).header[-1] == "Steps 0–2"
    assert interchange_table(result).rows[1] == (
        HOSTILE,
        "0.80 [0.75, 0.85]",
        "0.01",
        "0.40 [0.35, 0.45]",
    )
    scores = scores_table(result)
    assert scores is not None
    assert scores.rows[0][2:7] == ("1.25", "+0.52 [+0.47, +0.57]", "+0.01", "99.0 %", "50 %")
    missed = scores_table(replace(result, scores={"x": edit_score("x", reached=False)}))
    assert missed is not None
    assert missed.rows[0][2] == "1.25 (not reached)"
    assert effects_table(result).rows[1][1] == "2.5 (not reached)"
    assert [row[0] for row in comparison_table(result).rows] == [
        "regression",
        "ICA",
        "random directions",
        "PCA",
    ]
    assert comparison_table(result).muted == {2}


def test_a_picture_comes_back_from_its_address_pixel_by_pixel() -> None:
    head, text = data_uri(picture(1)).split(",")
    assert head == "data:image/png;base64"
    assert np.array_equal(np.array(Image.open(io.BytesIO(base64.b64decode(text)))), picture(1))


def test_the_page_is_written_beside_its_numbers(tmp_path: Path, result: DirectionsResult) -> None:
    page = write_directions(result, tmp_path / "out").read_text(encoding="utf-8")
    assert HOSTILE not in page
    assert "&lt;script&gt;window.__pwned" in page
    for said in (
        "sanity gate",
        "seed 103",
        "seed 20",
        "125 pairs",
        "n = 512",
        "Kwon, Jeong",
        "3,456 evaluations, 12 s",
        "random tables",
    ):
        assert said in page
    # Two per method, one per factor, and the samples.
    assert page.count("data:image/png;base64") == 8 + 2 + 1
    numbers = json.loads((tmp_path / "out" / "directions.json").read_text(encoding="utf-8"))
    assert numbers["methods"][1]["effects"]["pca 0"]["x"]["value"] == 0.5
    assert numbers["interchange"]["rows"][0]["window"] == [0, 1, 2, 3, 4, 5]
    assert numbers["gate"]["factors"]["x"]["sd"]["value"] == 0.97
    assert "sheets" not in numbers["methods"][0]
    bare = replace(
        result, gate=None, scores={}, curves={}, sheets=(), scored_method=None, known=False
    )
    text = write_directions(bare, tmp_path / "bare").read_text(encoding="utf-8")
    assert 'id="scored"' not in text
    assert "there is no sanity gate" in text
    assert "sd of generated images" in text


@needs_browser
def test_in_a_browser_figures_and_sheets_are_drawn_and_no_text_runs(
    tmp_path: Path, result: DirectionsResult, driver: Any
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    page = write_directions(result, tmp_path)
    driver.get("about:blank")
    driver.get_log("performance")
    driver.get(page.as_uri())
    WebDriverWait(driver, 20).until(
        lambda d: d.execute_script(
            "return document.querySelectorAll('.plot .main-svg').length >= 3"
        )
    )
    assert HOSTILE in driver.execute_script("return document.querySelector('.lede').innerText")
    assert driver.execute_script("return window.__pwned === undefined")
    assert driver.get_log("browser") == []
    assert driver.execute_script(
        "return [...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    )
    for width in (1280, 500):
        driver.set_window_size(width, 900)
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    asked = requested(driver)
    assert page.as_uri() in asked
    assert [
        url for url in asked if url != page.as_uri() and not url.startswith(("data:", "blob:"))
    ] == []
