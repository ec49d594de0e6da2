"""Statistics that never see all samples at once: the same as in memory, planted components, parts
that do not belong together.
"""

import weakref
from collections.abc import Iterator

import pytest
import torch
from small_generator import untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.components import pca_directions
from interp.diffusion.directions.streamed import (
    StepStatistics,
    record_statistics,
    streamed_statistics,
)
from interp.diffusion.records.activations import StepActivations, record_steps


def activations(values: Tensor, site: str = "mid") -> StepActivations:
    steps = tuple(range(values.shape[1]))
    return StepActivations(
        values=values,
        steps=steps,
        timesteps=tuple(900 - 100 * s for s in steps),
        images=torch.zeros(len(values), 1, 2, 2),
        site=site,
        total=len(steps),
        seed=0,
    )


def planted(count: int = 300, noise: float = 0.0, seed: int = 0) -> StepActivations:
    """Three components of sd 4, 2 and 1 in 2 × 6 × 2 × 2 numbers, around a large mean."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.linalg.qr(torch.randn(48, 3, generator=generator)).Q.T
    places = torch.randn(count, 3, generator=generator) * torch.tensor([4.0, 2.0, 1.0])
    rows = 50 + places @ unit + noise * torch.randn(count, 48, generator=generator)
    return activations(rows.reshape(count, 2, 6, 2, 2))


def in_parts(acts: StepActivations, size: int) -> list[StepActivations]:
    return [activations(part, acts.site) for part in acts.values.split(size)]


def same(
    found: StepStatistics, acts: StepActivations, components: int, tolerance: float = 1e-4
) -> None:
    wanted = pca_directions(acts, components)
    assert found.count == len(acts)
    assert torch.allclose(found.mean, acts.values.mean(dim=0), atol=tolerance)
    assert torch.allclose(found.sd, acts.values.std(dim=0), atol=tolerance)
    assert torch.allclose(found.directions.values, wanted.values, atol=tolerance)
    assert found.directions.names == wanted.names
    whole = acts.values.flatten(1).double().var(dim=0).sum()
    assert torch.allclose(
        found.explained.double(), wanted.norms.double().square() / whole, atol=tolerance
    )


@pytest.mark.parametrize("size", [7, 100, 300])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_parts_are_the_whole(size: int, noise: float) -> None:
    acts = planted(noise=noise)
    same(streamed_statistics(iter(in_parts(acts, size)), 3), acts, 3)


def test_few_kept_are_exact_while_no_more_vary_and_close_else() -> None:
    acts = planted()
    same(streamed_statistics(in_parts(acts, 20), 3, kept=3), acts, 3)
    noisy = planted(noise=0.3)
    wanted = pca_directions(noisy, 3).flat
    found = streamed_statistics(in_parts(noisy, 20), 3, kept=12).directions.flat
    assert float(torch.nn.functional.cosine_similarity(found, wanted).min()) > 0.99
    assert not torch.allclose(found, wanted, atol=1e-4), "control: something was let go"
    assert torch.allclose(found.norm(dim=1), wanted.norm(dim=1), rtol=0.02)


def test_of_a_network_they_are_those_of_its_recording() -> None:
    model = untrained()
    acts = record_steps(model, 20, seed=3, steps=3, window=range(1, 3))
    found = record_statistics(
        model, 20, seed=3, components=4, steps=3, window=range(1, 3), batch_size=6
    )
    same(found, acts, 4)
    assert (found.directions.steps, found.directions.timesteps, found.directions.total) == (
        acts.steps,
        acts.timesteps,
        3,
    )
    other = record_statistics(
        model, 20, seed=4, components=4, steps=3, window=range(1, 3), batch_size=6
    )
    assert not torch.allclose(other.mean, found.mean, atol=1e-4), "control: other images"


def test_labels_are_those_of_each_batch() -> None:
    model = untrained(classes=3)
    labels = torch.arange(10) % 3
    acts = record_steps(model, 10, seed=0, steps=2, labels=labels)
    same(
        record_statistics(model, 10, seed=0, components=2, steps=2, labels=labels, batch_size=4),
        acts,
        2,
    )


def test_no_part_is_held() -> None:
    """Every part is gone by the time the second after it is asked for."""
    alive: list[weakref.ref[StepActivations]] = []
    most = 0

    def parts() -> Iterator[StepActivations]:
        nonlocal most
        for place in range(6):
            most = max(most, sum(ref() is not None for ref in alive))
            part = planted(64, seed=place)
            alive.append(weakref.ref(part))
            yield part
            del part

    assert streamed_statistics(parts(), 3).count == 6 * 64
    assert most <= 2, "the first (which says where from) and the last"


def test_wrong_arguments_get_one_line() -> None:
    acts = planted(20)
    with pytest.raises(InputError, match="parts differ in site: mid and up0"):
        streamed_statistics([acts, activations(acts.values, "up0")], 3)
    with pytest.raises(InputError, match="parts differ in shape"):
        streamed_statistics([acts, activations(acts.values[:, :, :5])], 3)
    with pytest.raises(InputError, match="not finite"):
        streamed_statistics([activations(acts.values * torch.nan)], 3)
    with pytest.raises(InputError, match="vary along fewer than 4 directions"):
        streamed_statistics([acts], 4)
    with pytest.raises(InputError, match="give more than 20 samples"):
        streamed_statistics([acts], 20)
    with pytest.raises(InputError, match="too few"):
        streamed_statistics([], 3)
    with pytest.raises(InputError, match="5 components with 4 kept"):
        streamed_statistics([acts], 5, kept=4)
    with pytest.raises(InputError, match="unknown site"):
        record_statistics(untrained(), 4, "middle", seed=0, components=2, steps=2)
    with pytest.raises(InputError, match="batch_size is 0"):
        record_statistics(untrained(), 4, seed=0, components=2, steps=2, batch_size=0)
