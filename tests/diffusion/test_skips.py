"""Skips: what is removed no longer matters, what is dropped is dropped for its image alone, and a
recipe brings a network back whole.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from small_generator import SETTINGS, pictures, untrained

from interp.core import InputError
from interp.diffusion.sampling.ddim import sample
from interp.models.adapters.skips import dropped_skips, remove_skips, removed_skips, skip_count
from interp.testbeds.generators.network import load_generator
from interp.testbeds.generators.training import train_generator


def skips_seen(module: Any) -> list[float]:
    """The largest value of every skip as the way up gets it, the first convolution's first (a plain
    torch hook of the test).
    """
    seen: list[list[float]] = []

    def look(block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        skips = kwargs.get("res_hidden_states_tuple") or args[1]
        seen.append([float(skip.abs().max()) for skip in skips])

    handles = [
        block.register_forward_pre_hook(look, with_kwargs=True) for block in module.up_blocks
    ]
    with torch.no_grad():
        module(pictures(2), 500)
    for handle in handles:
        handle.remove()
    return [value for block in reversed(seen) for value in block]


@pytest.mark.parametrize("removed", [0, 1, 2, 3, 6])
def test_the_highest_resolutions_are_removed_and_no_others(removed: int) -> None:
    module = remove_skips(untrained().module, removed)
    largest = skips_seen(module)
    assert len(largest) == skip_count(module) == 6
    assert [value == 0 for value in largest] == [True] * removed + [False] * (6 - removed)
    assert removed_skips(module) == removed


def test_without_any_skip_all_goes_through_the_bottleneck() -> None:
    for removed, same in ((6, True), (5, False)):
        module = remove_skips(untrained().module, removed)
        handle = module.mid_block.register_forward_hook(
            lambda part, args, output: torch.ones_like(output)
        )
        with torch.no_grad():
            first, second = (
                module(pictures(1, seed=1), 500).sample,
                module(pictures(1, seed=2), 500).sample,
            )
        handle.remove()
        assert torch.equal(first, second) == same


def test_dropping_is_for_the_marked_images_alone() -> None:
    module, bare = untrained().module, remove_skips(untrained().module, 6)
    images = pictures(3)
    with torch.no_grad():
        whole, without = module(images, 500).sample, bare(images, 500).sample
        with dropped_skips(module, torch.tensor([False, True, False])):
            mixed = module(images, 500).sample
        assert torch.allclose(mixed[1], without[1], atol=1e-5)
        assert torch.allclose(mixed[[0, 2]], whole[[0, 2]], atol=1e-5)
        assert not torch.allclose(whole[1], without[1], atol=1e-3), "control: skips matter"
        assert torch.equal(module(images, 500).sample, whole), "nothing is left behind"


def test_a_shipped_folder_comes_back_with_its_skips_removed(tmp_path: Path) -> None:
    folder = train_generator(
        pictures(), replace(SETTINGS, removed_skips=2, steps=2), folder=tmp_path / "made"
    )
    model = load_generator(folder)
    assert removed_skips(model.module) == 2
    assert skips_seen(model.module)[:2] == [0, 0]
    plain = UNet2DModel.from_pretrained(folder).eval()
    assert skips_seen(plain)[0] > 0, "control: the file alone does not know"
    with torch.no_grad():
        assert not torch.allclose(
            plain(pictures(1), 500).sample, model.module(pictures(1), 500).sample, atol=1e-4
        )
    assert sample(model, 2, seed=0, steps=2).shape == (2, 3, 8, 8)


def test_removing_twice_is_refused() -> None:
    module = remove_skips(untrained().module, 2)
    assert remove_skips(module, 2) is module
    with pytest.raises(InputError, match="2 skips of this network are removed already"):
        remove_skips(module, 3)
    with pytest.raises(InputError, match="7 skips were to be removed of 6"):
        remove_skips(module, 7)
