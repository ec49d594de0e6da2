"""Jacobian vectors equal those of the Jacobian written out; regions; the count of evaluations;
directions along an image's way.
"""

import pytest
import torch
from small_generator import pictures, untrained
from torch import Tensor

from interp.core import InputError
from interp.diffusion.directions.jacobian import (
    Linearised,
    away_from,
    jacobian_directions,
    singular_vectors,
)
from interp.diffusion.edits.straight import answer
from interp.models import UNetModel
from interp.models.adapters.skips import remove_skips

TIME = 500


def dense(model: UNetModel, image: Tensor, mask: Tensor | None = None) -> Tensor:
    """`∂ answer / ∂ h`, one number of h at a time, `[answer, h]`."""
    held = Linearised(model, image, TIME, "mid", None).value

    def from_held(value: Tensor) -> Tensor:
        found = answer(model, image, TIME, {"mid": lambda old, call: value})
        return (found if mask is None else found * mask).flatten()

    return torch.autograd.functional.jacobian(from_held, held).flatten(1)


def test_equal_to_a_dense_decomposition() -> None:
    model = untrained()
    image = pictures(1, seed=2)
    exact = torch.linalg.svd(dense(model, image), full_matrices=False)
    found = singular_vectors(model, image, TIME, 3, tolerance=1e-6, most_iterations=60)
    assert torch.allclose(found.values, exact.S[:3], rtol=1e-4)
    for i in range(3):
        assert abs(float(found.directions[i].flatten() @ exact.Vh[i])) == pytest.approx(
            1.0, abs=1e-4
        )
        assert abs(float(found.responses[i].flatten() @ exact.U[:, i])) == pytest.approx(
            1.0, abs=1e-4
        )
    assert found.evaluations <= 2 * found.iterations + 2


def test_products_with_the_jacobian_are_transposes() -> None:
    model = untrained()
    jacobian = Linearised(model, pictures(1), TIME, "mid", None)
    generator = torch.Generator().manual_seed(0)
    right, left = (
        torch.randn(2, *jacobian.value.shape[1:], generator=generator),
        torch.randn(2, 3, 8, 8, generator=generator),
    )
    forth, back = jacobian.times(right), jacobian.back(left)
    assert torch.allclose(
        (forth * left).flatten(1).sum(dim=1), (back * right).flatten(1).sum(dim=1), rtol=1e-4
    )
    assert all(not part._forward_hooks for part in model.module.modules())
    assert all(parameter.grad is None for parameter in model.module.parameters())


def test_masks_make_them_a_regions() -> None:
    model = untrained()
    image = pictures(1, seed=2)
    mask = torch.zeros(8, 8)
    mask[:3, :3] = 1
    found = singular_vectors(model, image, TIME, 2, mask=mask, tolerance=1e-6, most_iterations=60)
    exact = torch.linalg.svd(dense(model, image, mask), full_matrices=False)
    assert torch.allclose(found.values, exact.S[:2], rtol=1e-4)
    assert float(found.responses[:, :, 3:, :].abs().max()) == 0
    unmasked = singular_vectors(model, image, TIME, 2, tolerance=1e-6, most_iterations=60)
    whole = Linearised(model, image, TIME, "mid", None)

    def inside(directions: Tensor) -> float:
        moved = whole.times(directions[:1])
        return float((moved * mask).square().sum() / moved.square().sum())

    assert inside(found.directions) > inside(unmasked.directions), "control"
    rest = singular_vectors(
        model, image, TIME, 6, mask=1 - mask, tolerance=1e-6, most_iterations=60
    )
    apart = away_from(found, rest)
    assert inside(apart) > inside(found.directions)
    assert float((apart.flatten(1) @ rest.directions.flatten(1).T).abs().max()) < 1e-4
    with pytest.raises(InputError, match="protect fewer"):
        away_from(found, found)


def test_one_step_at_a_time_along_an_images_way() -> None:
    model = untrained()
    found = jacobian_directions(model, 2, seed=3, steps=4, window=range(1, 4), most_iterations=10)
    assert found.values.shape == (2, 3, 8, 2, 2)
    assert (found.steps, found.total, found.names) == ((1, 2, 3), 4, ("vector 0", "vector 1"))
    assert torch.allclose(found.values.flatten(2).norm(dim=2), torch.ones(2, 3), atol=1e-4)
    assert torch.equal(
        found.values,
        jacobian_directions(
            model, 2, seed=3, steps=4, window=range(1, 4), most_iterations=10
        ).values,
    )
    overlaps = (found.values[:, 1:] * found.values[:, :-1]).flatten(2).sum(dim=2)
    assert bool((overlaps >= 0).all())


def test_wrong_arguments_get_one_line() -> None:
    model = untrained()
    with pytest.raises(InputError, match="give 1 to 32"):
        singular_vectors(model, pictures(1), TIME, 33)
    with pytest.raises(InputError, match="a mask of"):
        singular_vectors(model, pictures(1), TIME, 1, mask=torch.ones(4, 4))
    with pytest.raises(InputError, match="not empty"):
        singular_vectors(model, pictures(1), TIME, 1, mask=torch.zeros(8, 8))
    with pytest.raises(InputError, match="unknown site"):
        singular_vectors(model, pictures(1), TIME, 1, site="bottom")


def test_without_skips_the_answer_still_depends_on_the_bottleneck() -> None:
    model = untrained()
    remove_skips(model.module, 6)
    assert float(singular_vectors(model, pictures(1), TIME, 1).values[0]) > 0
