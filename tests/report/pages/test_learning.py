"""The page of learning dynamics: onsets planted in runs come back in figures, tables and verdict,
and no text of it acts in a browser.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import needs_browser, requested
from learning_runs import (
    ARM_STEPS,
    HOSTILE,
    NEVER,
    RULE,
    STEPS,
    language,
    run,
    stepping,
    weak_and_strong,
)

from interp.dynamics.learning_times import LearningTime
from interp.report import write_dynamics
from interp.report.figures import learning as dynamics_figures
from interp.report.figures.features import GREY
from interp.report.figures.learning_axes import height, step_ticks
from interp.report.tables import learning as dynamics_tables
from interp.report.words.learning import findings, verdict
from interp.studies.learning import (
    LearningResult,
    Plane,
    study_language,
    study_learning,
    study_signal,
)
from interp.studies.learning.groups import arms_of
from interp.testbeds.concepts import ConceptRun


@pytest.fixture(scope="module")
def runs() -> list[ConceptRun]:
    return weak_and_strong()


@pytest.fixture(scope="module")
def found(runs: list[ConceptRun]) -> LearningResult:
    return study_learning(runs, language=language(), rule=RULE)


def said_of(runs: list[ConceptRun]) -> str:
    return verdict(study_learning(runs, rule=RULE))


def test_a_verdict_is_no_stronger_than_the_runs(runs: list[ConceptRun]) -> None:
    assert said_of(runs) == (
        "Colour is learned sooner the stronger its signal; at Δcolour 0.2 6 of 6 trajectories turn "
        "(of straight ways 1 in 20 would); "
        "there a linear shift of colour elicits the held-out class before it comes as asked, and "
        "before random directions do."
    )
    same = [run(signal, seed, 900, 900, 900) for signal in (0.2, 0.8) for seed in range(6)]
    said = said_of(same)
    assert "colour is not clearly learned sooner" in said.lower()
    assert "does not clearly elicit" in said
    chance = [run(0.2, seed, 1900, 900, 900) for seed in range(6)]
    assert said_of(chance).endswith(
        "before it comes as asked, but not clearly before random directions do."
    )
    assert "too few runs" in said_of(chance[:4])
    reverse = [
        run(1 - one.signal, one.seed, 300 if one.signal == 0.8 else 1900, 500, 500) for one in runs
    ]
    assert said_of(reverse).startswith("Colour is learned later the stronger its signal")


def test_a_language_models_verdict_counts_concepts_whose_intervals_lie_apart() -> None:
    early, late = (
        study_learning([], language=one, rule=RULE) for one in (language(), language(400, 100))
    )
    assert "brings 2 of 2 concepts about before they come as asked, random directions 0" in verdict(
        early
    )
    assert "brings 0 of 2 concepts about before they come as asked, random directions 2" in verdict(
        late
    )
    said = findings(early)
    assert said[1] == (
        "“number” comes as asked from step 400 [400, 400]; steered with its own direction from 200 "
        "[200, 200], "
        "with random directions from > 1,600 [> 1,600, > 1,600]."
    )
    assert "(with checkpoints shuffled 0.12, p = 0.005)" in said[2]


def test_times_that_were_not_reached_stay_censored_in_table_and_figure(
    found: LearningResult,
) -> None:
    table = dynamics_tables.times_table(found)
    # Onsets 1900, 2100 and 2300 of two runs each, of which the last are too late to be held three
    # times.
    assert table.rows[0] == (
        "0.2", "2,100 [1,900, > 2,400], 4 of 6", "500 [500, 500], 6 of 6",
        "2,100 [1,900, > 2,400], 4 of 6", "300 [300, 300], 6 of 6"
    )  # fmt: skip
    assert table.rows[1][1] == "300 [300, 300], 6 of 6"
    single, medians, *_ = dynamics_figures.learning_against_signal(found).data
    assert list(single.marker.symbol) == ["circle"] * 4 + ["triangle-up-open"] * 2 + ["circle"] * 6
    assert (
        list(single.y[:6])
        == [math.sqrt(1900)] * 2 + [math.sqrt(2100)] * 2 + [height(None, 2400)] * 2
    )
    assert list(medians.y) == [math.sqrt(2100), math.sqrt(300)]
    assert medians.error_y.array[0] == pytest.approx(height(None, 2400) - math.sqrt(2100))
    assert dynamics_tables.step_cell(LearningTime(None, 2400.0)) == "> 2,400"
    short = run(0.2, 9, NEVER, 900, 1500)
    uneven = replace(
        short,
        steps=STEPS[:12],
        naive={name: curve[:12] for name, curve in short.naive.items()},
        settings=replace(short.settings, seed=10),
        coordinates={},
    )
    assert (
        dynamics_tables.times_table(study_learning([short, uneven], rule=RULE)).rows[0][1]
        == "> 2,400 [> 2,400, > 2,400], 0 of 2"
    ), "watched for different times"


def test_lags_are_those_planted_with_the_random_arm_muted(
    runs: list[ConceptRun], found: LearningResult
) -> None:
    table = dynamics_tables.lags_table(found)
    assert table is not None
    # Asked at 1900, 2100 and (at the checkpoints of the arms) never; the best linear shift at 900,
    # at value 2.
    once, lag = "900 [900, 900], 6 of 6", "beyond [1,000, beyond]"
    assert table.rows[0] == (
        "0.2, linear shift of colour",
        once,
        f"{once} (at 2)",
        lag,
        "1.00 [1.00, 1.00]",
    )
    assert table.rows[1][:3] == (
        "0.2, random directions",
        "1,500 [1,500, 1,500], 6 of 6",
        "> 2,300 [> 2,300, > 2,300], 0 of 6 (at 2)",
    )
    assert table.muted == {1, 3}
    assert table.rows[2][3] == "0 [0, 0]"
    lost = [replace(one, arms={"linear": {2.0: np.zeros(len(ARM_STEPS))}}) for one in runs[6:]]
    failed = dynamics_tables.lags_table(study_learning(lost, rule=RULE))
    assert failed is not None
    assert failed.rows[0][3:] == ("below [below, below]", "0.00 [0.00, 0.00]")
    bare = study_learning([replace(one, arms={}) for one in runs], rule=RULE)
    assert dynamics_tables.lags_table(bare) is None


def test_the_lag_is_shaded_between_the_onsets_and_random_directions_are_grey() -> None:
    group = [run(0.2, seed, 1500, 900, 1300) for seed in range(5)]
    figure = dynamics_figures.elicitation_curves(study_signal(group, RULE), RULE)
    (shade,) = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert (shade.x0, shade.x1) == (30, math.sqrt(1500))
    named = {trace.name: trace for trace in figure.data if trace.name}
    assert named["random directions"].line.color == GREY
    assert list(named["linear shift of colour"].y) == list(stepping(ARM_STEPS, 900))
    assert list(named["prompted (naive)"].y) == list(stepping(STEPS, 1500))
    legend = dynamics_figures.image_legend(arms_of(group))
    assert [title for title, _, _ in legend] == [
        "prompted (naive)",
        "linear shift of colour",
        "random directions",
        "seen classes, prompted",
    ]
    late = dynamics_figures.elicitation_curves(
        study_signal([run(0.8, seed, 300, 900, 900) for seed in range(5)], RULE), RULE
    )
    assert [shape for shape in late.layout.shapes if shape.type == "rect"] == []


def test_the_way_is_the_mean_over_seeds_with_time_as_colour_and_turns_where_they_were_planted(
    runs: list[ConceptRun], tmp_path: Path
) -> None:
    weak = runs[:6]
    plane = Plane(
        axes=("a", "b"),
        steps=[one.steps for one in weak],
        ways=[one.way for one in weak],
        turns=[one.turn for one in weak],
        names=[str(one) for one in weak],
    )
    figure = dynamics_figures.concept_space(plane, 2400)
    *seeds, mean, stars, now = figure.data
    assert len(seeds) == 6
    assert list(mean.x) == pytest.approx(np.mean([one.way[:, 0] for one in weak], axis=0))
    assert list(mean.marker.color) == pytest.approx(np.sqrt(STEPS))
    assert len(stars.x) == 6
    assert all(
        abs(one.turn.step - 1200) <= 100 and one.turn.before > 60 and one.turn.after < 30
        for one in weak
        if one.turn
    )
    assert now.meta == "now"
    diagonal = np.linspace(0, 1, len(STEPS))
    straight = run(0.2, 0, 500, 500, 500, coordinates={"colour": diagonal, "size": diagonal})
    assert straight.turn is not None
    assert not straight.turn.found
    assert (
        replace(
            straight,
            steps=STEPS[:8],
            naive={k: v[:8] for k, v in straight.naive.items()},
            coordinates={},
        ).turn
        is None
    )


def test_features_are_bars_and_births_that_say_nothing_are_in_brackets() -> None:
    found = study_language(language(), RULE)
    table = dynamics_tables.births_table(found)
    assert table is not None
    assert table.rows[0][2:] == ("200", "400 [400, 400]")
    assert table.rows[1][2] == "(lived too short)"
    bars, own, cross = dynamics_figures.birth_chart(found).data
    # The others live from 0 to 400 and from 100 to 800; that of the concept from 200 to the end.
    assert [value for value in bars.x if value is not None] == [0, 20, 10, math.sqrt(800)]
    assert list(own.x) == [math.sqrt(200), 40]
    assert list(cross.x) == [20]
    assert "<script>" not in own.name


def test_ticks_are_round_and_do_not_crowd() -> None:
    assert step_ticks(2400)[0] == 0
    assert step_ticks(2400)[-1] == 2400
    roots = np.sqrt(step_ticks(2400))
    assert np.diff(roots).min() >= 0.1 * roots[-1]
    assert step_ticks(5) == [0, 1, 2, 3, 5]


def test_the_page_is_written_beside_its_numbers_for_images_language_or_both(
    tmp_path: Path, runs: list[ConceptRun], found: LearningResult
) -> None:
    both = write_dynamics(found, tmp_path / "both").read_text(encoding="utf-8")
    assert HOSTILE not in both
    assert "&lt;script&gt;window.__pwned" in both
    for said in (
        "n = 6 seeds",
        "n = 4 prompts",
        "seed 0",
        "seed 3",
        "&gt; 2,400",
        "at least 0.8 at 3 checkpoints in a row",
        "p = 0.005",
    ):
        assert said in both
    numbers = json.loads((tmp_path / "both" / "dynamics.json").read_text(encoding="utf-8"))
    assert numbers["tables"]["times"]["rows"][1][1] == "300 [300, 300], 6 of 6"
    assert numbers["verdict"] == verdict(found)
    bare = study_learning([], language=replace(language(), history=None, features=()))
    alone = write_dynamics(bare, tmp_path / "language").read_text(encoding="utf-8")
    assert 'id="space"' not in alone
    assert 'id="births"' not in alone
    images = write_dynamics(study_learning(runs[:2]), tmp_path / "images").read_text(
        encoding="utf-8"
    )
    assert 'id="language"' not in images


@needs_browser
def test_in_a_browser_the_slider_moves_the_point_and_the_samples_and_no_text_runs(
    tmp_path: Path, runs: list[ConceptRun], driver: Any
) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    sheets = {step: np.full((6, 12, 3), step // 10, np.uint8) for step in STEPS}
    pictured = [replace(runs[0], sheets=sheets), *runs[1:6]]
    page = write_dynamics(study_learning(pictured, language=language()), tmp_path)
    driver.get("about:blank")
    driver.get_log("performance")
    driver.get(page.as_uri())
    WebDriverWait(driver, 30).until(
        lambda d: d.execute_script(
            "return document.querySelectorAll('.plot .main-svg').length >= 8"
        )
    )
    assert driver.execute_script("return window.__pwned === undefined")
    assert driver.get_log("browser") == []
    last = driver.execute_script("return document.getElementById('space-sheet').src")
    driver.execute_script(
        "const s = document.getElementById('space-slider'); s.value = 5; s.dispatchEvent(new "
        "Event('input'))"
    )
    assert (
        driver.execute_script("return document.getElementById('space-step').textContent")
        == "step 600"
    )
    assert driver.execute_script("return document.getElementById('space-sheet').src") != last
    place = (
        "return (([t]) => [t.x[0], t.y[0]])(document.querySelector('[data-figure=\"space "
        "0.2\"]').data.filter((t) => t.meta === 'now'))"
    )
    expected = np.mean([one.way[5] for one in runs[:6]], axis=0)
    assert driver.execute_script(place) == pytest.approx(expected, abs=1e-3)
    driver.execute_script("document.getElementById('theme').click()")
    assert driver.execute_script(place) == pytest.approx(expected, abs=1e-3)
    for width in (1280, 500):
        driver.set_window_size(width, 900)
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    asked = requested(driver)
    assert page.as_uri() in asked
    assert [
        url for url in asked if url != page.as_uri() and not url.startswith(("data:", "blob:"))
    ] == []
