"""Training the concept network: checkpoints where they were asked for, a run that is what its seed
says, prompts that hide a concept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp.core import InputError, UnavailableError
from interp.dynamics.checkpoints import checkpoints_of
from interp.dynamics.learning_times import LearningRule
from interp.dynamics.track import track
from interp.testbeds.concepts.network import (
    ConceptNetwork,
    load_network,
    sample_bottlenecks,
    sample_images,
    save_network,
    starting_noise,
)
from interp.testbeds.concepts.run import (
    MEASURES,
    ConceptRun,
    ConceptTrainingSettings,
    load_concept_run,
    run_name,
)
from interp.testbeds.concepts.training import concept_axes, train_concepts
from interp.testbeds.images.concept_shapes import ConceptSignals

TINY = ConceptTrainingSettings(
    colour=0.8, steps=40, checkpoints=3, first=10, per_class=64, images=12, arm_images=2, channels=4
)


class Certain(ConceptNetwork):
    """Sees the same image in whatever it is shown."""

    def decode(self, mid: Tensor, skip: Tensor, code: Tensor) -> Tensor:
        return torch.linspace(-1, 1, 432).view(1, 3, 12, 12).expand(len(mid), -1, -1, -1)


def first_weight(network: ConceptNetwork) -> Tensor:
    return network.get_parameter("embed.0.weight").detach()


def test_sampling_ends_at_the_image_that_is_predicted() -> None:
    network = Certain(4)
    told = network.embed(ConceptSignals().prompt(3).repeat(2, 1)).detach()
    for steps in (1, 10):
        images = sample_images(network, told, starting_noise(2), steps=steps)
        assert torch.allclose(images[0], torch.linspace(-1, 1, 432).view(3, 12, 12), atol=1e-6)


def test_a_shift_of_the_bottleneck_by_nothing_changes_nothing() -> None:
    network = ConceptNetwork(4, seed=1)
    told, noise = network.embed(ConceptSignals().prompt(0).repeat(3, 1)).detach(), starting_noise(3)
    images, held = sample_bottlenecks(network, told, noise)
    assert held.shape == (10, 3, 8, 6, 6)
    assert torch.equal(
        images, sample_images(network, told, noise, mid_shifts=list(torch.zeros_like(held)))
    )
    assert not torch.allclose(
        images, sample_images(network, told, noise, mid_shifts=list(torch.ones_like(held)))
    )
    with pytest.raises(InputError, match="a shift per step"):
        sample_images(network, told, noise, mid_shifts=[held[0]])


def test_checkpoints_are_even_in_the_square_root() -> None:
    steps = ConceptTrainingSettings().kept_steps()
    assert (steps[0], steps[-1], len(steps)) == (20, 2400, 34)
    assert np.diff(np.sqrt(steps)) == pytest.approx(np.diff(np.sqrt(steps)).mean(), abs=0.13)


def test_a_run_is_what_its_seed_says_and_is_read_once_finished(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    run = train_concepts(TINY, tmp_path / "run.json", checkpoints=tmp_path / "run")
    assert torch.equal(before, torch.get_rng_state()), "global random state is left alone"
    assert run.steps == run.arm_steps == (10, 22, 40)
    assert run.losses[-1] < run.losses[0]
    assert {len(values) for by in run.arms.values() for values in by.values()} == {3}
    written = (tmp_path / "run.json").stat().st_mtime_ns
    again = train_concepts(TINY, tmp_path / "run.json")
    assert (tmp_path / "run.json").stat().st_mtime_ns == written, (
        "a finished run is not trained again"
    )
    twin = train_concepts(TINY, tmp_path / "twin.json")
    assert again.losses == twin.losses == run.losses
    assert again.to_dict()["arms"] == twin.to_dict()["arms"] == run.to_dict()["arms"]
    with pytest.raises(InputError, match="other settings"):
        train_concepts(replace(TINY, seed=1), tmp_path / "run.json")
    # What was measured in training is what is measured of the checkpoints that were kept (in half
    # precision).
    axes = concept_axes(TINY.signals, images=12)
    tracked = track(checkpoints_of(tmp_path / "run", load=load_network), axes)
    assert tracked.steps == run.steps
    assert tracked.coordinates == pytest.approx(run.trajectories().coordinates, abs=0.02)


def test_hidden_colour_teaches_the_embedding_nothing_of_colour(tmp_path: Path) -> None:
    start = first_weight(ConceptNetwork(4))
    settings = replace(TINY, steps=20, checkpoints=2, hidden="colour", hide=1.0)
    train_concepts(settings, tmp_path / "run.json", checkpoints=tmp_path / "run")
    weight = first_weight(load_network(tmp_path / "run" / "step_000020.safetensors"))
    decayed = start * (1 - settings.learning_rate * settings.weight_decay) ** 20
    # Parts that are always zero have no gradient: only decay moves their weights.
    assert torch.allclose(weight[:, :3], decayed[:, :3], atol=3e-4)
    assert (weight[:, 3] - decayed[:, 3]).abs().max() > 2e-3


def test_a_run_that_was_broken_off_goes_on_to_the_same_weights_and_measures(
    tmp_path: Path,
) -> None:
    def stop(stage: str, done: int, total: int, unit: str) -> None:
        if done == 30:
            raise InterruptedError

    whole = train_concepts(TINY, tmp_path / "whole.json", checkpoints=tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train_concepts(TINY, tmp_path / "run.json", checkpoints=tmp_path / "run", progress=stop)
    begun = load_concept_run(tmp_path / "run.json")
    assert (begun.steps, begun.finished) == ((10, 22), False)
    steps: list[int] = []
    run = train_concepts(
        TINY,
        tmp_path / "run.json",
        checkpoints=tmp_path / "run",
        progress=lambda stage, done, total, unit: steps.append(done),
    )
    assert steps == list(range(23, 41)), "it goes on from the checkpoint of step 22"
    changing = {"seconds", "versions"}
    first, second = (
        {name: value for name, value in one.to_dict().items() if name not in changing}
        for one in (whole, run)
    )
    assert first == second
    last = "step_000040.safetensors"
    assert (tmp_path / "run" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()
    assert not list(tmp_path.glob("*.state.safetensors"))


def planted(
    steps: int, arms: Mapping[float, Sequence[float]], **naive: Sequence[float]
) -> ConceptRun:
    """A run of which some curves are given, and all others are 0."""
    at = tuple(10 * (place + 1) for place in range(steps))
    return ConceptRun(
        settings=TINY,
        steps=at,
        naive={name: np.array(naive.get(name, [0.0] * steps)) for name in MEASURES},
        arms={"linear": {factor: np.array(values) for factor, values in arms.items()}},
        arm_steps=at,
    )


def test_learned_and_elicited_follow_the_rule() -> None:
    arms = {1.0: [0.0, 0.9, 0.0, 0.9], 2.0: [0.0, 0.0, 0.9, 0.0]}
    run = planted(4, arms, joint=[0.0, 0.5, 0.9, 0.9])
    rule = LearningRule(threshold=0.8, hold=2)
    assert run.learned("joint", rule).step == 30
    assert run.elicited("linear", rule).step == 20, "the best factor of each checkpoint"
    assert run.elicited("linear", rule, 2.0).step is None
    with pytest.raises(InputError, match="not measured at 3"):
        run.elicited("linear", rule, 3.0)


def test_what_is_lost_again_was_not_learned_for_good() -> None:
    run = planted(
        7,
        {1.0: [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]},
        colour=[1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        size=[0.0, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0],
    )
    rule = LearningRule(threshold=0.8, hold=2)
    assert run.learned("colour", rule).step == 10
    good = LearningRule(threshold=0.8, hold=2, for_good=True)
    assert run.learned("colour", good).step == 50
    assert run.learned("size", good).step == 20, "one dip is forgiven"
    assert run.elicited("linear", good).step is None


def test_names_say_what_is_not_the_default() -> None:
    assert run_name(ConceptTrainingSettings(colour=0.2, seed=3)) == "colour0.2_seed3"
    assert (
        run_name(ConceptTrainingSettings(hidden="colour", hide=0.5))
        == "colour0.2_colourhidden0.5_seed0"
    )


def test_wrong_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="colour is not told apart"):
        train_concepts(replace(TINY, colour=0.0), tmp_path / "run.json")
    with pytest.raises(InputError, match="hide is 2"):
        replace(TINY, hide=2.0)
    with pytest.raises(InputError, match=r"'none' is hidden from a share 0\.5"):
        replace(TINY, hide=0.5)
    with pytest.raises(InputError, match="1 checkpoints"):
        replace(TINY, checkpoints=1)
    with pytest.raises(InputError, match="multiple of 4"):
        ConceptNetwork(6)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="no run of train_concepts"):
        load_concept_run(tmp_path / "other.json")
    (tmp_path / "other.safetensors").write_bytes(b"no weights")
    with pytest.raises(UnavailableError, match="cannot read a concept network"):
        load_network(tmp_path / "other.safetensors")


def test_weights_survive_in_half_precision(tmp_path: Path) -> None:
    network = ConceptNetwork(8, seed=2)
    save_network(network, tmp_path / "network.safetensors")
    read = load_network(tmp_path / "network.safetensors")
    assert read.channels == 8
    assert all(
        torch.allclose(a, b, atol=2e-4)
        for a, b in zip(network.parameters(), read.parameters(), strict=True)
    )


@pytest.mark.parametrize(
    ("colour", "first", "second"), [(0.2, "size", "colour"), (0.8, "colour", "size")]
)
def test_the_stronger_signal_is_learned_first(
    tmp_path: Path, colour: float, first: str, second: str
) -> None:
    settings = ConceptTrainingSettings(
        colour=colour, steps=180, checkpoints=2, images=24, arm_images=2
    )
    places = train_concepts(settings, tmp_path / "run.json").coordinates
    assert places[first][-1] > places[second][-1] + 0.15
