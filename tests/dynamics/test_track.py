"""Following planted networks: coordinates are what was planted, one checkpoint is held at a time,
and wrong input is refused by name.
"""

import gc
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from interp.core import InputError, Score, UnavailableError
from interp.dynamics.checkpoints import Checkpoint, checkpoints_of
from interp.dynamics.learning_times import LearningRule
from interp.dynamics.track import Axis, track
from interp.dynamics.trajectories import Trajectories, load_trajectories

STEPS = (0, 10, 40, 90, 160)


def network(step: int, width: int = 1) -> torch.nn.Module:
    """Its one weight is the share of training done."""
    module = torch.nn.Linear(1, width, bias=False)
    torch.nn.init.constant_(module.weight, step / STEPS[-1])
    return module


def weight(model: torch.nn.Module) -> np.ndarray:
    return np.full(4, float(next(model.parameters()).detach()[0]))


def late(model: torch.nn.Module) -> np.ndarray:
    return np.array([1.0, 1.0, 0.0, 0.0]) * (weight(model) > 0.5) + 0.0


def test_coordinates_are_what_was_planted() -> None:
    run = track(
        [(step, partial(network, step)) for step in STEPS],
        {"weight": weight, "late": Axis(late)},
        name="planted",
    )
    assert run.steps == STEPS
    assert run.coordinates[:, 0] == pytest.approx(np.array(STEPS) / 160)
    assert run.coordinates[:, 1].tolist() == [0, 0, 0, 0.5, 0.5]
    assert run.joint() == pytest.approx(run.coordinates[:, 0] * run.coordinates[:, 1])
    assert run.learning_times(LearningRule(threshold=0.5, hold=2))["late"].step == 90
    assert run.learning_times()["late"].step is None
    assert run.speed()[0] == pytest.approx(1 / 160), (
        "the weight grows by 1/160 a step; the other axis rests"
    )
    assert run.at("late", 4).n == 4
    assert "planted" in run._repr_html_()


def test_one_checkpoint_is_held_at_a_time() -> None:
    alive: list[weakref.ref[torch.nn.Module]] = []

    def load(step: int) -> torch.nn.Module:
        gc.collect()
        assert all(reference() is None for reference in alive), (
            "the checkpoint before is still held"
        )
        module = network(step)
        alive.append(weakref.ref(module))
        return module

    track([(step, partial(load, step)) for step in STEPS], {"weight": weight})
    assert len(alive) == len(STEPS)


def test_runs_are_written_and_read_back(tmp_path: Path) -> None:
    run = track(
        [(step, partial(network, step)) for step in STEPS], {"weight": weight}, name="<b>", seed=3
    )
    again = load_trajectories(run.save(tmp_path / "run.json"))
    assert again.steps == run.steps
    assert again.seed == 3
    assert np.allclose(again.coordinates, run.coordinates, atol=1e-6)
    assert "<b>" not in run._repr_html_().replace("<p><b>", "")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InputError, match="holds no trajectories"):
        load_trajectories(tmp_path / "other.json")


def test_a_folder_of_checkpoints_is_read_in_order(tmp_path: Path) -> None:
    for step in (100, 20, 3):
        (tmp_path / f"step_{step:06d}.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    found = checkpoints_of(tmp_path, load=lambda path: path.name)
    assert [point.step for point in found] == [3, 20, 100]
    assert found[1].load() == "step_000020.safetensors"
    with pytest.raises(UnavailableError, match="no checkpoint of step 50"):
        checkpoints_of(tmp_path, steps=[3, 50, 100])
    with pytest.raises(UnavailableError, match="is no folder"):
        checkpoints_of(tmp_path / "nothing")


def test_hub_revisions_are_not_loaded_before_they_are_asked_for() -> None:
    found = checkpoints_of("EleutherAI/pythia-70m", steps=[0, 1, 1000])
    assert [str(point) for point in found] == [
        f"EleutherAI/pythia-70m@step{step}" for step in (0, 1, 1000)
    ]


def test_wrong_input_is_refused() -> None:
    def run(*steps: int) -> list[Checkpoint]:
        return [Checkpoint(step, partial(network, step)) for step in steps]

    with pytest.raises(InputError, match="step 5 comes after step 10"):
        track(run(0, 10, 5), {"weight": weight})
    with pytest.raises(InputError, match="1 checkpoints"):
        track(run(0), {"weight": weight})
    with pytest.raises(InputError, match="no concept"):
        track(run(0, 1), {})
    mixed = [
        Checkpoint(0, partial(network, 0)),
        Checkpoint(1, partial(network, 1, width=2), "second"),
    ]
    with pytest.raises(InputError, match=r"second: parameter 'weight' is \(2, 1\)"):
        track(mixed, {"weight": weight})
    blind = Axis(weight, oracle=Score(0.55, 0.4, 0.7, n=50, seed=0, control=0.5))
    with pytest.raises(
        InputError, match=r"'colour' is not told apart by its reader: accuracy 0.550"
    ):
        track(run(0, 1), {"colour": blind})
    with pytest.raises(InputError, match="from 0 to 1"):
        track(run(0, 320), {"weight": weight})
    with pytest.raises(InputError, match="measure the same samples"):
        track(
            run(0, 160),
            {"odd": lambda model: np.zeros(1 + int(float(next(model.parameters()).detach()[0])))},
        )
    with pytest.raises(InputError, match="rising"):
        Trajectories(steps=(3, 1), samples={"a": np.zeros((2, 1))})
    with pytest.raises(InputError, match="2 checkpoints"):
        Trajectories(steps=(1, 3), samples={"a": np.zeros((3, 1))})
