"""Interchange: 1 where all goes through the bottleneck, 0 where nothing does, the right number
where half does.
"""

import pytest
import torch
from small_generator import brightness, untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.bottleneck.interchange import interchange
from interp.diffusion.sampling.ddim import timesteps
from interp.models import UNetModel
from interp.models.adapters.skips import remove_skips


class Halves(torch.nn.Module):
    """A clean image that is `share` times what its bottleneck passes on, and the rest of its input
    itself: a network by hand.
    """

    def __init__(self, module: torch.nn.Module, share: float) -> None:
        super().__init__()
        self.down_blocks, self.up_blocks = torch.nn.ModuleList(), torch.nn.ModuleList()
        self.mid_block, self.share = torch.nn.Identity(), share
        self.config, self.device, self.dtype = module.config, module.device, module.dtype

    def forward(self, images: Tensor, timestep: Tensor) -> object:
        from diffusers.models.unets.unet_2d import UNet2DOutput

        return UNet2DOutput(sample=self.share * self.mid_block(images) + (1 - self.share) * images)


def by_hand(share: float) -> UNetModel:
    model = untrained()
    return UNetModel(Halves(model.module, share), model.scheduler)


def test_all_or_nothing() -> None:
    result = interchange(by_hand(1.0), brightness, pairs=32, seed=1, steps=4)
    assert result["mean"].value == pytest.approx(1.0, abs=1e-4)
    assert result["lean"].value == pytest.approx(1.0, abs=1e-4)
    assert result["mean"].control == pytest.approx(0.0, abs=1e-4)
    assert result.unchanged == 0
    nothing = interchange(by_hand(0.0), brightness, pairs=32, seed=1, steps=4)
    assert nothing["mean"].value == pytest.approx(0.0, abs=1e-6)


def test_one_step_of_a_known_share() -> None:
    # With one step the image is the answer to the noise: `share` of B's noise and the rest of A's.
    result = interchange(by_hand(0.3), brightness, pairs=32, seed=1, steps=1)
    for factor in ("mean", "lean"):
        assert result[factor].value == pytest.approx(0.3, abs=1e-4)
        assert result[factor].low <= 0.3001
        assert result[factor].high >= 0.2999
        assert result[factor].control == pytest.approx(0.0, abs=1e-4)
        assert result[factor].n == 32


def test_a_real_network_without_skips_carries_all_by_its_bottleneck() -> None:
    model = untrained()
    assert interchange(model, brightness, pairs=24, seed=0, steps=3)["lean"].value < 0.9, "control"
    remove_skips(model.module, 6)
    assert interchange(model, brightness, pairs=24, seed=0, steps=3)["lean"].value == pytest.approx(
        1.0, abs=1e-3
    )


def expected(model: UNetModel, window: range, steps: int) -> float:
    """The slope of a network that answers with its own input: every image is a multiple of A's and
    of B's noise, step by step (DDIM).
    """
    alphas, times = model.scheduler.alphas_cumprod.double(), timesteps(model, steps)
    from_a, from_b, other = 1.0, 0.0, 1.0
    for step, (now, after) in enumerate(zip(times, [*times[1:], -1], strict=True)):
        kept, left = float(alphas[now]), float(alphas[after]) if after >= 0 else 1.0
        noise = ((1 - left) / (1 - kept)) ** 0.5

        def moved(
            value: float, clean: float, kept: float = kept, left: float = left, noise: float = noise
        ) -> float:
            return left**0.5 * clean + noise * (value - kept**0.5 * clean)

        shown = (0.0, other) if step in window else (from_a, from_b)
        from_a, from_b, other = (
            moved(from_a, shown[0]),
            moved(from_b, shown[1]),
            moved(other, other),
        )
    return from_b / other


def test_windows_are_tested_alone() -> None:
    windows = (range(2), range(2, 4), range(1, 3))
    result = interchange(by_hand(1.0), brightness, pairs=24, seed=0, steps=4, windows=windows)
    assert expected(untrained(), range(4), 4) == pytest.approx(1.0)
    for window in windows:
        assert result.at(window)["mean"].value == pytest.approx(
            expected(untrained(), window, 4), abs=1e-3
        )
    assert result.at(windows[0])["mean"].value < 0.8, "control: windows differ"
    assert len(result.rows) == 8
    assert "steps 2-3" in str(result)


def test_labels_are_those_of_each_pair() -> None:
    model = untrained(classes=2)
    labels = torch.arange(16) % 2
    result = interchange(model, brightness, pairs=16, seed=0, steps=2, labels=labels, batch_size=6)
    assert result.unchanged < 1e-5


def test_pairs_that_cannot_be_read_are_counted() -> None:
    def reader(images: Tensor) -> dict[str, Tensor]:
        mean = brightness(images)["mean"]
        return {"mean": torch.where(mean > mean.quantile(0.95), torch.nan, mean)}

    result = interchange(by_hand(1.0), reader, pairs=32, seed=0, steps=1)
    assert 0 < result.dropped < 24
    assert result["mean"].n == 32 - result.dropped
    with pytest.raises(InputError, match="0 of 16 pairs could be read"):
        interchange(
            by_hand(1.0),
            lambda images: {"mean": images.mean(dim=(1, 2, 3)) * torch.nan},
            pairs=16,
            seed=0,
            steps=1,
        )


def test_wrong_arguments_get_one_line() -> None:
    with pytest.raises(InputError, match="unknown site"):
        interchange(untrained(), brightness, sites=("middle",), pairs=8, steps=1)
    with pytest.raises(InputError, match="does not lie within"):
        interchange(untrained(), brightness, pairs=8, steps=2, windows=(range(1, 5),))
    with pytest.raises(InputError, match="no factor 'size'"):
        interchange(by_hand(1.0), brightness, pairs=8, steps=1)["size"]
