"""A whole study on a network of seconds: what must hold whatever was learned, what is refused, and
directions that survive the disk.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_generator import brightness, pictures, untrained

from interp.core import InputError, UnavailableError
from interp.core.plain import plain
from interp.diffusion.directions.regression import regression_directions
from interp.diffusion.directions.step_directions import StepDirections, random_like
from interp.diffusion.directions.storage import load_directions, save_directions
from interp.diffusion.edits.straight import Edit
from interp.diffusion.images.plain_measures import read_layout
from interp.diffusion.records.activations import record_steps
from interp.diffusion.sampling.ddim import sample
from interp.diffusion.sampling.labels import Labels
from interp.diffusion.scores.effects import Trial, fresh_trial, judge_of, odd_changes
from interp.diffusion.scores.matching_strength import NEAR, common_strength
from interp.models import UNetModel
from interp.studies.directions.measures import contact_sheet, counting
from interp.studies.directions.protocol import DirectionsProtocol
from interp.studies.directions.result import DirectionsResult
from interp.studies.directions.run import _parts, study_directions

SMALL = DirectionsProtocol(
    methods=("regression", "pca", "random"),
    steps=3,
    samples=24,
    gate=24,
    pairs=10,
    windows=1,
    choose=8,
    report=10,
    matrix=8,
    curve=8,
    shown=2,
    wanted=0.02,
    iterations=2,
)


def study(
    model: UNetModel,
    labels: Labels | None = None,
    read: Any = brightness,
    data: Any = None,
    **changed: Any,
) -> DirectionsResult:
    return study_directions(model, read, data, replace(SMALL, **changed), labels=labels)


@pytest.fixture(scope="module")
def result() -> DirectionsResult:
    return study(untrained(), data=pictures(40))


def test_every_part_is_measured_and_holds_what_is_known_beforehand(
    result: DirectionsResult,
) -> None:
    assert [found.method for found in result.methods] == ["regression", "pca", "random"]
    assert result.factors == ("mean", "lean")
    assert result.gate is not None
    assert not result.gate.passed, "an untrained network does not make its data"
    assert result.interchange.unchanged < 1e-5
    # The supervised directions lie in their own span; random ones of a space of 96 hardly do.
    assert list(result["regression"].spanned.values()) == pytest.approx([1, 1], abs=1e-5)
    assert max(result["random"].spanned.values()) < 0.2
    assert result["random"].chance == pytest.approx(2 / result["random"].directions.flat.shape[1])
    for found in result.methods:
        assert found.directions.norms.tolist() == pytest.approx([1, 1], abs=1e-5)
        assert [contact.direction for contact in found.sheets] == list(found.directions.names)
        assert all(
            contact.strengths[1] == 0 and contact.strengths[0] == -contact.strengths[2]
            for contact in found.sheets
        )
    assert result.scored_method == "regression"
    assert list(result.scores) == list(result.curves) == list(result.curved) == ["mean", "lean"]
    assert result.curves["mean"].strengths[2] == pytest.approx(result.scores["mean"].strength)
    assert all(score.change.n == 10 for score in result.scores.values())
    assert all(score.n == 8 for row in result["pca"].effects.values() for score in row.values())
    with pytest.raises(
        InputError, match="no method 'sae' was measured; there are regression, pca, random"
    ):
        result["sae"]


def test_scores_are_those_of_other_images_than_the_strengths_were_chosen_on(
    result: DirectionsResult,
) -> None:
    model, found = untrained(), result.scores["mean"]
    again = fresh_trial(
        model,
        judge_of(brightness, pictures(40)),
        SMALL.report,
        seed=SMALL.report_seed,
        steps=SMALL.steps,
    )
    edit = Edit(result["regression"].directions["mean"], (found.strength,))
    assert float(again.changes(edit)[:, 0].mean()) == pytest.approx(found.change.value, abs=1e-6)
    assert float(again.first(8).changes(edit)[:, 0].mean()) == pytest.approx(
        result.curves["mean"].changes[2].value, abs=1e-6
    )


def test_the_same_study_gives_the_same_numbers_and_counts_what_it_cost() -> None:
    first, again = (plain(study(untrained(), methods=("pca",))) for _ in range(2))
    for values in (first, again):
        values["provenance"]["cost"].pop("seconds")
        for method in values["methods"]:
            method.pop("seconds")
    assert json.dumps(first, allow_nan=False) == json.dumps(again, allow_nan=False)
    assert first["provenance"]["cost"]["evaluations"] > SMALL.steps * (
        SMALL.samples + 8 * SMALL.pairs
    )
    model = untrained()
    with counting(model.module) as counted:
        sample(model, 5, seed=0, steps=3)
    sample(model, 5, seed=0, steps=3)
    assert counted == [15]


def test_without_a_reader_plain_measures_stand_in_and_the_result_says_so() -> None:
    found = study(untrained(), read=None, methods=("pca",))
    assert not found.known
    assert found.gate is None
    assert found.factors == ("brightness", "contrast", "lean right", "lean down", "warmth")
    assert len(found["pca"].directions) == 5
    assert found.scored_method is None
    assert found.scores == {}


def test_plain_measures_of_a_picture_are_what_their_names_say() -> None:
    image = torch.full((1, 3, 4, 6), -1.0)
    image[:, 0, 2:, 3:] = 1
    found = {name: float(value) for name, value in read_layout(image).items()}
    assert found["brightness"] == pytest.approx(-1 + 2 / 12)
    assert found["lean right"] == pytest.approx(2 / 6)
    assert found["lean down"] == pytest.approx(2 / 6)
    assert found["warmth"] == pytest.approx(0.5)
    assert "warmth" not in read_layout(image[:, :1])


def test_a_network_of_classes_is_studied_with_its_labels_and_says_what_is_left_out() -> None:
    model = untrained(classes=2)
    found = study(model, labels=torch.arange(24) % 2, methods=("pca", "jacobian"))
    assert [method.method for method in found.methods] == ["pca"]
    assert any("jacobian: left out" in note for note in found.notes)
    with pytest.raises(InputError, match="10 labels were given; give 24"):
        study(model, labels=torch.arange(10) % 2)


def test_a_method_that_finds_nothing_is_noted_and_the_rest_goes_on() -> None:
    found = study(untrained(), methods=("pca",), count=30)
    assert found.methods == ()
    assert found.notes == (
        "pca: left out, 30 components of 24 samples were asked for; give 1 to 23.",
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"methods": ()}, "no method was given"),
        ({"methods": ("regresion",)}, "unknown method 'regresion'; nearest: regression"),
        ({"report": 4}, "give at least 8 of each"),
        ({"report_seed": 101}, "must be reported on others"),
        ({"wanted": 0.0}, "give positive numbers"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(changed: dict[str, Any], said: str) -> None:
    # The types forbid some of these; what a user without a type checker meets is the message.
    with pytest.raises((InputError, TypeError)) as caught:
        replace(SMALL, **changed)
    assert said in str(caught.value) or "methods" in changed


def test_images_that_cannot_be_read_are_told_even_where_there_is_no_gate() -> None:
    def half_blind(images: torch.Tensor) -> dict[str, torch.Tensor]:
        found = brightness(images)
        return {
            **found,
            "mean": torch.where(torch.arange(len(images)) % 12 == 11, torch.nan, found["mean"]),
        }

    notes = study(untrained(), read=half_blind, methods=("pca",)).notes
    assert notes[0].startswith(
        "Of the 24 images that directions were found in (seed 100), 8.3 % have a factor that "
        "cannot be read"
    )


def test_windows_are_equal_parts() -> None:
    assert _parts(20, 3) == (range(7), range(7, 13), range(13, 20))
    assert _parts(2, 2) == (range(1), range(1, 2))
    assert _parts(5, 0) == ()


@pytest.fixture(scope="module")
def trial() -> Trial:
    model = untrained()
    judge = judge_of(brightness, sample(model, 40, seed=5, steps=3))
    return fresh_trial(model, judge, 10, seed=6, steps=3)


@pytest.fixture(scope="module")
def regressed() -> StepDirections:
    acts = record_steps(untrained(), 24, seed=1, steps=3)
    return regression_directions(acts, brightness(acts.images)).scaled(1.0)


def test_a_common_strength_has_the_wanted_effect_and_says_where_it_has_not(
    trial: Trial, regressed: StepDirections
) -> None:
    direction = regressed["mean"]
    found = common_strength(trial, direction, 0.02, start=1.0, most=1000.0)
    assert found.reached
    again = common_strength(trial, direction, 0.02, start=found.strength, most=1000.0)
    assert again.strength == found.strength
    assert NEAR < 0.5
    weak = random_like(direction, seed=3)
    assert not common_strength(trial, weak, 50.0, start=1e-3, most=1e-2).reached


def test_the_odd_part_leaves_out_what_both_signs_do(
    trial: Trial, regressed: StepDirections, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Up 0.3, down −0.1: 0.2 is odd and 0.1 is even.
    shifts = {1.0: 0.3, -1.0: -0.1}
    monkeypatch.setattr(Trial, "made", lambda self, edit: self.images + shifts[edit.strengths[0]])
    moved = odd_changes(trial, regressed["mean"], 1.0)[:, 0] * trial.judge.spread["mean"]
    assert moved == pytest.approx(np.full(10, 0.2), abs=1e-5)
    shifts.update({1.0: float("nan")})
    with pytest.raises(InputError, match="0 of 10 edited images could be read"):
        odd_changes(trial, regressed["mean"], 1.0)


def test_a_contact_sheet_has_the_image_as_it_is_in_its_middle(
    trial: Trial, regressed: StepDirections
) -> None:
    few = trial.first(2)
    found = contact_sheet(
        few.model, few.images, regressed["mean"], (-200.0, 0.0, 200.0), seed=few.seed
    )
    down, across = found.picture.shape[0] // 2, found.picture.shape[1] // 3
    cells = [
        [
            found.picture[row * down : (row + 1) * down, column * across : (column + 1) * across]
            for column in range(3)
        ]
        for row in range(2)
    ]
    shown = (
        ((few.images[1].clamp(-1, 1) + 1) * 127.5)
        .round()
        .to(torch.uint8)
        .repeat_interleave(8, 1)
        .repeat_interleave(8, 2)
    )
    assert np.array_equal(cells[1][1][:64, :64], shown.permute(1, 2, 0).numpy())
    assert not np.array_equal(cells[1][0], cells[1][1])
    assert not np.array_equal(cells[0][2], cells[0][1])


def test_directions_come_back_from_disk_as_they_were(
    tmp_path: Path, regressed: StepDirections
) -> None:
    path = save_directions(regressed, tmp_path / "found.safetensors")
    back = load_directions(path)
    assert back.values.numpy().tobytes() == regressed.values.numpy().tobytes()
    assert replace(back, values=regressed.values).__dict__ == regressed.__dict__
    said = json.loads((tmp_path / "found.json").read_text())
    assert (said["names"], said["shape"]) == (["mean", "lean"], list(regressed.values.shape))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["found.json", "found.safetensors"]


def test_files_that_hold_no_directions_are_refused(
    tmp_path: Path, regressed: StepDirections
) -> None:
    with pytest.raises(
        InputError, match=r"does not end in \.safetensors; name it found\.safetensors"
    ):
        save_directions(regressed, tmp_path / "found.pt")
    with pytest.raises(UnavailableError, match="cannot read directions"):
        load_directions(tmp_path / "missing.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"values": regressed.values.contiguous()}, other)
    with pytest.raises(UnavailableError, match="holds no directions"):
        load_directions(other)
    save_file(
        {"values": regressed.values.contiguous()},
        other,
        metadata={"format": "interp directions 1", "about": '{"names": ["a"]}'},
    )
    with pytest.raises(UnavailableError, match="does not say what its directions belong to"):
        load_directions(other)
    whole = save_directions(regressed, tmp_path / "whole.safetensors").read_bytes()
    other.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnavailableError, match="cannot read directions"):
        load_directions(other)
