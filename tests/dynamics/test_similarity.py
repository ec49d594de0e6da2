"""HSIC equals its definition as a U-statistic; CKA and relative representations see no rotation or
scale, and nothing in noise.
"""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from interp.core import InputError
from interp.dynamics.similarity import hsic, linear_cka, relative_agreement, relative_representation


def noise(rows: int, width: int, seed: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def rotation(width: int, seed: int = 9) -> Tensor:
    return torch.linalg.qr(noise(width, width, seed).double()).Q.float()


def test_debiased_hsic_is_the_mean_over_all_quadruples_of_distinct_rows() -> None:
    first, second = (side @ side.T for side in (noise(6, 3, 0).double(), noise(6, 4, 1).double()))
    terms = [
        first[i, j] * (second[i, j] + second[q, r] - 2 * second[i, q])
        for i, j, q, r in permutations(range(6), 4)
    ]
    assert hsic(first, second) == pytest.approx(float(torch.stack(terms).mean()), rel=1e-10)


def test_biased_hsic_is_the_trace_of_centred_kernels() -> None:
    first, second = (side @ side.T for side in (noise(7, 3, 0).double(), noise(7, 4, 1).double()))
    centre = torch.eye(7, dtype=torch.float64) - 1 / 7
    expected = float(torch.trace(first @ centre @ second @ centre)) / 36
    assert hsic(first, second, debiased=False) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("debiased", [True, False])
def test_cka_sees_no_rotation_scale_or_shift(debiased: bool) -> None:
    values = noise(40, 10, 0)
    assert linear_cka(values, 3 * values @ rotation(10) + 2, debiased=debiased) == pytest.approx(
        1, abs=1e-5
    )
    stretched = values * torch.linspace(0.1, 5, 10)
    assert linear_cka(values, stretched, debiased=debiased) < 0.9


def test_debiased_cka_of_independent_noise_is_zero_where_the_biased_one_is_not() -> None:
    pairs = [(noise(24, 200, seed), noise(24, 200, 100 + seed)) for seed in range(20)]
    debiased = torch.tensor([linear_cka(*pair) for pair in pairs])
    biased = torch.tensor([linear_cka(*pair, debiased=False) for pair in pairs])
    assert abs(float(debiased.mean())) < 0.05
    assert float(biased.min()) > 0.8


def test_relative_representations_see_no_rotation_or_scale() -> None:
    values, turn = noise(30, 8, 0), rotation(8)
    torch.testing.assert_close(
        relative_representation(values, values[:5]),
        relative_representation(3 * values @ turn, 2 * values[:5] @ turn),
        atol=1e-5,
        rtol=0,
    )
    assert relative_agreement(values, 3 * values @ turn + 1, n_anchors=10) == pytest.approx(
        1, abs=1e-5
    )
    assert abs(relative_agreement(noise(200, 8, 0), noise(200, 8, 1), n_anchors=50)) < 0.1


def test_an_anchor_is_wholly_like_itself() -> None:
    values = noise(6, 4, 2)
    torch.testing.assert_close(relative_representation(values, values).diagonal(), torch.ones(6))


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="same inputs"):
        linear_cka(noise(5, 3, 0), noise(6, 3, 0))
    with pytest.raises(InputError, match="at least 4"):
        linear_cka(noise(3, 3, 0), noise(3, 3, 0))
    with pytest.raises(InputError, match="no variance"):
        linear_cka(torch.ones(8, 3), noise(8, 3, 0))
    with pytest.raises(InputError, match="not finite"):
        linear_cka(torch.full((8, 3), torch.inf), noise(8, 3, 0))
    with pytest.raises(InputError, match="same site"):
        relative_representation(noise(5, 3, 0), noise(5, 4, 0))
    with pytest.raises(InputError, match="all zero"):
        relative_representation(torch.zeros(5, 3), noise(5, 3, 0))
    with pytest.raises(InputError, match="n_anchors"):
        relative_agreement(noise(5, 3, 0), noise(5, 3, 1), n_anchors=5)
    with pytest.raises(InputError, match="same rows"):
        hsic(torch.ones(5, 5), torch.ones(6, 6))
