"""Procrustes recovers a rotation that was made, carries directions along it, and says so on
held-out rows; a random rotation does not.
"""

import pytest
import torch
from tiny import language
from torch import Tensor

from interp.core import InputError
from interp.dynamics.transport import fit_transport


def rows(count: int = 200, width: int = 12, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.5, 3, width)
    return torch.randn(count, width, generator=generator) * spread + torch.randn(
        width, generator=generator
    )


def rotation(width: int = 12, seed: int = 1) -> Tensor:
    drawn = torch.randn(
        width, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return torch.linalg.qr(drawn).Q.float()


def test_a_rotation_is_recovered_and_the_random_one_explains_nothing() -> None:
    source, turn = rows(), rotation()
    target = 1.7 * source @ turn + 5
    found = fit_transport(source, target)
    torch.testing.assert_close(found.rotation, turn, atol=1e-5, rtol=0)
    assert found.scale == pytest.approx(1.7, abs=1e-5)
    assert found.explained.low > 0.9999
    assert found.explained.control is not None
    assert found.explained.control < 0.3
    assert found.unmoved.value < 0.5
    torch.testing.assert_close(found.apply(source), target, atol=1e-3, rtol=0)


def test_a_direction_goes_where_the_rotation_takes_it_with_its_norm() -> None:
    source, turn = rows(), rotation()
    direction = torch.randn(12, generator=torch.Generator().manual_seed(3))
    moved = fit_transport(source, source @ turn).direction(direction)
    torch.testing.assert_close(moved, direction @ turn, atol=1e-4, rtol=0)
    assert float(moved.norm()) == pytest.approx(float(direction.norm()), rel=1e-5)


def test_independent_rows_are_not_explained_on_rows_that_were_held_out() -> None:
    found = fit_transport(rows(seed=0), rows(seed=5))
    assert found.explained.value < 0.2
    assert fit_transport(rows(), rows()).unmoved.value == pytest.approx(1, abs=1e-9)


@torch.no_grad()
def test_the_rotated_residual_stream_of_a_network_is_recovered() -> None:
    # GPT-2 without LayerNorm's gain and shift, and with columns that are orthogonal to the ones
    # vector: LayerNorm then only scales, and a rotation that keeps the ones vector goes through it.
    module = language("gpt2")
    width = module.config.n_embd
    turn = keeping_ones(width)
    first = residual(module)
    for name, weights in module.named_parameters():
        weights.copy_(rotated(name, weights, turn))
    second = residual(module)
    found = fit_transport(first, second)
    torch.testing.assert_close(first @ turn, second, atol=1e-3, rtol=1e-4)
    assert float((found.rotation - turn).abs().max()) < 1e-5
    assert float((fit_transport(first, first @ rotation(width)).rotation - turn).abs().max()) > 0.1


def keeping_ones(width: int) -> Tensor:
    """A rotation that leaves the vector of ones as it is."""
    ones = torch.ones(width, 1, dtype=torch.float64)
    drawn = torch.randn(
        width, width - 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64
    )
    basis = torch.linalg.qr(torch.cat([ones, drawn], dim=1)).Q
    inner = torch.block_diag(torch.ones(1, 1, dtype=torch.float64), rotation(width - 1, 7).double())
    return (basis @ inner @ basis.T).float()


def rotated(name: str, weights: Tensor, turn: Tensor) -> Tensor:
    """Parameters of GPT-2 in turned axes (its linear layers multiply from the right); LayerNorms
    become plain.
    """
    if ".ln_" in name:
        return torch.ones_like(weights) if name.endswith("weight") else torch.zeros_like(weights)
    if name.endswith(("wte.weight", "wpe.weight", "c_proj.weight")):
        return weights @ turn
    if name.endswith(("c_attn.weight", "c_fc.weight")):
        return turn.T @ weights
    return weights @ turn if name.endswith("c_proj.bias") else weights


def residual(module: object) -> Tensor:
    from interp.models import wrap

    kept: list[Tensor] = []
    model = wrap(module)  # type: ignore[arg-type]
    for name, weights in module.named_parameters():  # type: ignore[attr-defined]
        if ".ln_" in name:
            weights.fill_(1.0 if name.endswith("weight") else 0.0)
    ids = torch.randint(3, 300, (20, 30), generator=torch.Generator().manual_seed(0)).tolist()
    for batch in model.prepare(ids).batches:
        model.run(
            batch,
            {"L1.resid_post": lambda value, call: kept.append(value)},
            stop_after="L1.resid_post",
        )  # type: ignore[func-returns-value]
    return torch.cat([value.flatten(0, 1) for value in kept])


@pytest.mark.parametrize(
    ("source", "target", "held_out", "match"),
    [
        (rows(10), rows(11), 0.25, "same inputs"),
        (rows(10), rows(10), 1.0, "between 0 and 1"),
        (rows(2), rows(2), 0.5, "more rows"),
        (torch.ones(10, 3), torch.ones(10, 3), 0.25, "all rows of source are equal"),
        (torch.full((10, 3), torch.nan), torch.ones(10, 3), 0.25, "not finite"),
    ],
)
def test_bad_input_is_refused(source: Tensor, target: Tensor, held_out: float, match: str) -> None:
    with pytest.raises(InputError, match=match):
        fit_transport(source, target, held_out=held_out)


def test_a_direction_of_another_width_is_refused() -> None:
    with pytest.raises(InputError, match="12"):
        fit_transport(rows(), rows()).direction(torch.ones(5))
