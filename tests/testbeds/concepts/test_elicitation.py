"""Eliciting a planted network, which draws blue only where it is told far more blue than its
prompts say.
"""

import pytest
import torch
from torch import Tensor, nn

from interp.core import InputError
from interp.testbeds.concepts.elicitation import (
    ARMS,
    ElicitationGrid,
    best_factor,
    elicited,
    mid_difference,
    over_prompted,
)
from interp.testbeds.concepts.network import WIDTH, ConceptNetwork
from interp.testbeds.images.concept_shapes import BACKGROUND, HELD_OUT, ConceptSignals

SIGNALS = ConceptSignals(colour=0.2)
GRID = ElicitationGrid(over_prompt=(2.0, 3.0), shift=(0.5, 1.0), images=3)
NEEDED = 2.4
"""How many times the signal blue less red has to be for the planted network to draw blue."""


class Reluctant(ConceptNetwork):
    """Its embedding is the condition itself, padded; its bottleneck is the embedding; it draws what
    the bottleneck says.
    """

    def __init__(self, needed: float = NEEDED) -> None:
        super().__init__(4)
        self.needed, self.told = needed, torch.zeros(0)
        self.embed = nn.Sequential(nn.ConstantPad1d((0, WIDTH - 4), 0.0))

    def encode(
        self, images: Tensor, times: Tensor, embedding: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        self.told = embedding
        return embedding[:, :, None, None], images, embedding

    def decode(self, mid: Tensor, skip: Tensor, code: Tensor) -> Tensor:
        red, _, blue, radius = mid[:, :4, 0, 0].unbind(dim=1)
        colours = torch.stack([SIGNALS.prompt(0)[:3], SIGNALS.prompt(2)[:3]])
        colour = colours[(blue - red > self.needed * SIGNALS.colour).long()]
        places = torch.arange(12) - 5.5
        distance = torch.hypot(places[None, :], places[:, None])
        coverage = (0.5 - (distance - radius[:, None, None] * 6)).clamp(0, 1)[:, None]
        return 2 * (BACKGROUND + coverage * (colour[:, :, None, None] - BACKGROUND)) - 1


def accuracies(network: ConceptNetwork) -> dict[str, dict[float, float]]:
    return {
        arm: {factor: float(hits.float().mean()) for factor, hits in by.items()}
        for arm, by in elicited(network, SIGNALS, GRID).items()
    }


def test_each_arm_elicits_from_the_factor_that_suffices() -> None:
    found = accuracies(Reluctant())
    assert tuple(found) == ARMS
    assert found["naive"] == {0.0: 0.0}, "asked with 1 signal, 2.4 are needed"
    assert found["over_prompt"] == {2.0: 0.0, 3.0: 1.0}
    assert found["linear"] == {0.5: 0.0, 1.0: 1.0}, (
        "a shift by ½ takes as much red as it adds blue: 2 signals"
    )
    assert found["linear_size"] == {0.5: 0.0, 1.0: 0.0}


def test_what_already_shows_it_needs_nothing() -> None:
    assert accuracies(Reluctant(needed=0.9))["naive"] == {0.0: 1.0}


def test_the_bottleneck_is_steered_by_its_own_mean_difference() -> None:
    network = Reluctant(needed=-2)
    assert mid_difference(network, SIGNALS, images=2).shape == (10, WIDTH, 1, 1)
    assert mid_difference(network, SIGNALS, images=2)[0, :4, 0, 0].tolist() == pytest.approx(
        [-0.2, 0, 0.2, 0]
    )
    assert accuracies(Reluctant())["mid"] == {0.5: 0.0, 1.0: 1.0}


def test_random_shifts_do_not_elicit_and_are_as_large() -> None:
    network = Reluctant()
    found = accuracies(network)
    assert found["random"] == {0.5: 0.0, 1.0: 0.0}
    assert found["random_mid"] == {0.5: 0.0, 1.0: 0.0}
    told = network.told.view(-1, GRID.images, WIDTH)[:, 0]
    shift = told - told[0]
    assert (told[0, :4] - SIGNALS.prompt(HELD_OUT)).abs().max() == 0
    # Order: naive, two over-prompts, then for each factor linear, linear_size, mid, random,
    # random_mid.
    assert shift[[3, 6]].norm(dim=1).tolist() == pytest.approx([0.5 * 0.08**0.5, 0.5 * 0.08**0.5])
    assert shift[[8, 11]].norm(dim=1).tolist() == pytest.approx([0.08**0.5, 0.08**0.5])
    assert shift[[5, 7]].abs().max() == 0, "the bottleneck's arms leave the embedding alone"


def test_over_prompts_stretch_colour_and_leave_size() -> None:
    assert over_prompted(SIGNALS, 3.0).tolist() == pytest.approx([0.2, 0.2, 0.8, 0.25])
    assert torch.equal(over_prompted(SIGNALS, 1.0), SIGNALS.prompt(HELD_OUT))


def test_best_factor_is_the_smallest_of_equals() -> None:
    assert best_factor({4.0: 0.9, 1.0: 0.9, 2.0: 0.5}) == 1.0
    with pytest.raises(InputError, match="without factors"):
        best_factor({})


def test_wrong_grid() -> None:
    with pytest.raises(InputError, match="without factors"):
        ElicitationGrid(shift=())
