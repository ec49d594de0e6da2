"""The study of learning dynamics: runs come back from their files, and what cannot be studied is
refused.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_runs import RULE, stepping, weak_and_strong
from PIL import Image

from interp.core import InputError, UnavailableError
from interp.core.files import write_json
from interp.report.tables.learning import variants_table
from interp.studies.learning import (
    LearningProtocol,
    load_image_runs,
    prompt_onset,
    study_learning,
)
from interp.studies.learning.groups import arms_of, fixed_factor
from interp.studies.learning.result import main_arm, mean_curve
from interp.testbeds.concepts import ConceptRun


@pytest.fixture(scope="module")
def runs() -> list[ConceptRun]:
    return weak_and_strong()


def test_a_run_that_stopped_keeps_its_last_value_in_means() -> None:
    assert mean_curve(
        [1, 2, 3], [[1, 2], [1, 2, 3]], [np.array([0.0, 1.0]), np.array([0.0, 0.0, 0.5])]
    ).tolist() == [0, 0.5, 0.75]


def test_onsets_over_prompts_have_the_interval_of_prompts_that_differ() -> None:
    steps = (1, 2, 3, 4, 5, 6)
    values = np.stack(
        [stepping(steps, 2), stepping(steps, 2), stepping(steps, 4), stepping(steps, 4)], axis=1
    )
    at, low, high = prompt_onset(steps, values, RULE)
    assert (at.step, low.step, high.step) == (4, 2, 4)


def test_runs_come_back_from_their_files_with_variants_apart_and_bad_ones_named(
    tmp_path: Path, runs: list[ConceptRun]
) -> None:
    def write(name: str, one: ConceptRun, **more: Any) -> None:
        arms = {
            arm: {value: curve.tolist() for value, curve in grid.items()}
            for arm, grid in one.arms.items()
        }
        naive = {key: curve.tolist() for key, curve in one.naive.items()}
        soft = {key: curve.tolist() for key, curve in one.coordinates.items()}
        base = {
            "signal": one.signal,
            "seed": one.seed,
            "steps": one.steps,
            "naive": naive,
            "coordinates": soft,
        }
        write_json(tmp_path / name, {**base, "arms": arms, "arm_steps": one.arm_steps, **more})

    with pytest.raises(UnavailableError, match="holds no runs"):
        load_image_runs(tmp_path)
    write("b.json", runs[6])
    write("a.json", runs[1])
    write("c.json", runs[1], settings={"size": 0.4, "hidden": "colour", "hide": 0.5})
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((4, 8, 3), 7, np.uint8)).save(tmp_path / "a" / "step_000100.png")
    found = load_image_runs(tmp_path)
    assert [str(one) for one in found] == [
        "Δ 0.2, seed 1",
        "Δ 0.2, seed 1, colour hidden in 50 % of prompts",
        "Δ 0.8, seed 0",
    ]
    assert np.array_equal(found[0].way, runs[1].way)
    assert found[0].sheets[100].shape == (4, 8, 3)
    variants = study_learning(found, rule=RULE).variants
    assert [(one.signal, one.variant) for one in variants] == [
        (0.2, None),
        (0.2, "colour hidden in 50 % of prompts"),
    ]
    table = variants_table(study_learning(found, rule=RULE))
    assert table is not None
    assert [row[0] for row in table.rows] == [
        "0.2, as it is",
        "0.2, colour hidden in 50 % of prompts",
    ]
    write("d.json", runs[2], finished=False)
    with pytest.warns(UserWarning, match=r"d.json is not finished and is left out"):
        assert len(load_image_runs(tmp_path)) == 3
    write("d.json", runs[2], arms={"linear": {"1": [0.5]}})
    with pytest.raises(
        InputError, match=r"'linear' at 1 of run Δ 0.2, seed 2 has \(1,\) values for 12 checkpoints"
    ):
        load_image_runs(tmp_path)
    write_json(tmp_path / "d.json", {"signal": 1})
    with pytest.raises(InputError, match=r"d.json is no run .* lacks arm_steps"):
        load_image_runs(tmp_path)


def test_bad_runs_are_refused_in_one_line(runs: list[ConceptRun]) -> None:
    with pytest.raises(InputError, match="nothing to show"):
        study_learning([])
    with pytest.raises(InputError, match="prompts is 0"):
        LearningProtocol(prompts=0)
    with pytest.raises(InputError, match=r"seed 0 is given twice"):
        study_learning([runs[0], runs[0]])
    with pytest.raises(InputError, match="no curve 'seen'"):
        replace(runs[0], naive={name: runs[0].naive[name] for name in ("colour", "size", "joint")})
    with pytest.raises(InputError, match=r"values from 0 to 2; give finite ones from 0 to 1"):
        replace(runs[0], naive={**runs[0].naive, "seen": 2 * runs[0].naive["seen"]})


def test_arms_put_controls_last_and_the_linear_shift_first_in_verdicts(
    runs: list[ConceptRun],
) -> None:
    assert arms_of(runs) == ["linear", "random"]
    assert main_arm(["over_prompt", "linear", "random"]) == "linear"
    assert main_arm(["mid", "random"]) == "mid"
    assert main_arm(["random"]) is None
    assert fixed_factor(runs, "linear") == 2
