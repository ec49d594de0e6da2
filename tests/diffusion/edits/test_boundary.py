"""Boundaries on planted classes, crossing them as written, and the contrast of known changes."""

import math

import pytest
import torch
from small_generator import brightness, untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.noiseclr import contrast, contrastive_directions
from interp.diffusion.edits.boundary import (
    Passing,
    cross_boundaries,
    fit_boundary,
    mixing_step,
    record_passing,
)
from interp.diffusion.records.activations import record_steps
from interp.diffusion.sampling.ddim import sample
from interp.models import Call


def planted() -> tuple[Passing, Tensor, Tensor]:
    """Two groups of samples, apart along one direction from step 1 on."""
    generator = torch.Generator().manual_seed(0)
    factor = torch.where(torch.arange(200) % 2 == 0, 1.0, -1.0) + 0.2 * torch.randn(
        200, generator=generator
    )
    direction = torch.nn.functional.normalize(torch.randn(16, generator=generator), dim=0)
    held = 0.1 * torch.randn(200, 2, 16, generator=generator)
    held[:, 1] += 3 * factor[:, None] * direction
    passing = Passing(
        values=held.reshape(200, 2, 4, 2, 2),
        noised=torch.randn(200, 2, 3, 4, 4),
        images=torch.zeros(200, 3, 4, 4),
        timesteps=(999, 499),
        site="mid",
    )
    return passing, factor, direction


def test_a_planted_boundary_is_found_where_it_is() -> None:
    passing, factor, direction = planted()
    found = fit_boundary(passing, factor, 1)
    assert float(found.normal.flatten() @ direction) > 0.9
    assert found.accuracy.value > 0.95
    assert found.accuracy.n == 50
    assert abs(found.intercept) < 0.5
    assert found.spread == pytest.approx(3.0, rel=0.15)
    early = fit_boundary(passing, factor, 0)
    assert early.accuracy.low < 0.5 < early.accuracy.high + 0.1, (
        "control: nothing to be found at step 0"
    )
    assert fit_boundary(passing, factor, 1, space="image").accuracy.value < 0.8, "control"
    assert mixing_step({0: early.accuracy.value, 1: found.accuracy.value}) == 1
    assert mixing_step({0: 0.5, 1: 0.89, 2: 0.9}) == 1


def test_crossing_moves_to_the_asked_distance_at_one_step_only() -> None:
    model = untrained()
    passing = record_passing(model, 40, seed=0, steps=3)
    assert torch.allclose(passing.images, sample(model, 40, seed=0, steps=3), atol=1e-5)
    assert torch.equal(
        passing.values, record_steps(model, 40, seed=0, steps=3, batch_size=40).values
    )
    label = brightness(passing.images)["mean"]
    in_site, in_image = (
        fit_boundary(passing, label, 1, space=space) for space in ("site", "image")
    )
    made = cross_boundaries(model, 4, [in_site], 2.0, seed=1)

    def across(value: Tensor, call: Call) -> Tensor | None:
        if call.step != 1:
            return None
        rows = value.flatten(1)
        normal = in_site.normal.flatten()
        return (
            rows + torch.outer(2 * in_site.spread - in_site.intercept - rows @ normal, normal)
        ).reshape(value.shape)

    assert torch.allclose(made, sample(model, 4, seed=1, steps=3, hooks={"mid": across}), atol=1e-5)
    plain = sample(model, 4, seed=1, steps=3)
    assert not torch.allclose(made, plain, atol=1e-4)
    both = cross_boundaries(model, 4, [in_site, in_image], 2.0, seed=1)
    alone = cross_boundaries(model, 4, [in_image], 2.0, seed=1)
    assert not torch.allclose(both, alone, atol=1e-4)
    assert not torch.allclose(both, made, atol=1e-4)


def test_the_contrast_of_known_changes() -> None:
    # Two directions that do the same to every image, and the opposite of each other: cosines 1 and
    # −1.
    change = torch.ones(1, 3, 5)
    apart = contrast(torch.cat([change, -change]))
    assert float(apart) == pytest.approx(-4.0, abs=1e-4)
    assert float(contrast(torch.cat([change, 2 * change]))) == pytest.approx(0.0, abs=1e-5)
    right_angle = torch.stack(
        [torch.tensor([[1.0, 0]]).expand(3, 2), torch.tensor([[0, 1.0]]).expand(3, 2)]
    )
    assert float(contrast(right_angle, temperature=0.25)) == pytest.approx(-4.0, abs=1e-4)
    with pytest.raises(InputError, match="needs two of each"):
        contrast(change)


def test_learning_lowers_the_contrast_and_leaves_the_network() -> None:
    model = untrained()
    acts = record_steps(model, 12, seed=0, steps=3)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    rounds: list[int] = []
    start = contrastive_directions(model, acts, 3, iterations=0)
    found = contrastive_directions(
        model, acts, 3, iterations=25, progress=lambda stage, done, total, unit: rounds.append(done)
    )
    assert rounds[-1] == 25
    assert all(
        torch.equal(value, before[name]) for name, value in model.module.state_dict().items()
    )
    assert all(parameter.grad is None for parameter in model.module.parameters())

    def between(values: Tensor) -> float:
        unit = torch.nn.functional.normalize(values.flatten(1), dim=1)
        return float((unit @ unit.T - torch.eye(3)).sum() / 6)

    assert between(found.values) < between(start.values), "directions part"
    assert torch.equal(found.values, contrastive_directions(model, acts, 3, iterations=25).values)
    assert math.isclose(
        float(found.values[0, 0].norm()),
        float(acts.values.std(dim=0).flatten(1).norm(dim=1)[0]),
        rel_tol=1e-4,
    )


def test_wrong_arguments_get_one_line() -> None:
    passing, factor, _ = planted()
    with pytest.raises(InputError, match="give 0 to 1"):
        fit_boundary(passing, factor, 2)
    with pytest.raises(InputError, match="20 are needed"):
        fit_boundary(passing, torch.where(torch.arange(200) < 9, factor, torch.nan), 1)
    with pytest.raises(InputError, match="different steps"):
        cross_boundaries(untrained(), 2, [], 1.0, seed=0)
    with pytest.raises(InputError, match="no accuracies"):
        mixing_step({})
