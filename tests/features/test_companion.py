"""Companions: the coefficient-weighted mean elsewhere, minus the mean."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from interp.core import InputError
from interp.features import Feature, companion, companions

THERE = "L1.resid_post"


def test_closed_form_on_three_rows(axes, recorded):
    acts = recorded(["a b c d"], [[1.0, 0.0], [3.0, 2.0], [0.0, -5.0]])
    elsewhere = recorded(["a b c d"], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], THERE)
    # Feature 0: (1·e0 + 3·e1)/4 − (e0 + e1 + e2)/3; feature 1: e1 − (e0 + e1 + e2)/3, its negative
    # coefficient counts for nothing.
    raw = torch.tensor([[1 / 4 - 1 / 3, 3 / 4 - 1 / 3, -1 / 3], [-1 / 3, 2 / 3, -1 / 3]])
    expected = raw / raw.norm(dim=1, keepdim=True)
    torch.testing.assert_close(companions(axes(2, 2), acts, elsewhere), expected)


def test_a_planted_companion_comes_back(axes, recorded):
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.rand(3000, 3, generator=generator) * (
        torch.rand(3000, 3, generator=generator) < 0.2
    )
    planted = torch.nn.functional.normalize(torch.randn(3, 32, generator=generator), dim=1)
    mean = 50 * torch.randn(32, generator=generator)
    values = coefficients @ planted + 0.1 * torch.randn(3000, 32, generator=generator) + mean
    text = " ".join("x" * 3001)
    found = companions(axes(3, 3), recorded([text], coefficients), recorded([text], values, THERE))
    cosines = found @ planted.T
    assert (cosines.diagonal() > 0.95).all()
    assert cosines[~torch.eye(3, dtype=bool)].abs().max() < 0.6, "each is its own and not another's"


def test_shuffled_rows_have_no_companion(axes, recorded):
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.rand(3000, 1, generator=generator)
    planted = torch.nn.functional.normalize(torch.randn(1, 64, generator=generator), dim=1)
    values = coefficients[torch.randperm(3000, generator=generator)] @ planted + 0.1 * torch.randn(
        3000, 64, generator=generator
    )
    text = " ".join("x" * 3001)
    assert (
        abs(
            float(
                companions(
                    axes(1, 1), recorded([text], coefficients), recorded([text], values, THERE)
                )
                @ planted.T
            )
        )
        < 0.7
    )


def test_a_feature_that_never_fires_has_a_zero_companion(axes, recorded):
    acts = recorded(["a b c"], [[1.0, 0.0, -1.0], [2.0, 0.0, -2.0]])
    found = companions(axes(3, 3), acts, recorded(["a b c"], [[1.0, 0.0], [0.0, 1.0]], THERE))
    assert found[0].norm() == pytest.approx(1.0)
    assert (found[1:] == 0).all()


def test_one_feature_by_name_of_the_site(axes, recorded):
    dictionary = axes(2, 2)
    acts = {
        "L0.mlp": recorded(["a b c d"], [[1.0, 0.0], [3.0, 2.0], [0.0, 1.0]]),
        THERE: recorded(
            ["a b c d"], torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), THERE
        ),
    }
    torch.testing.assert_close(
        companion(Feature(dictionary=dictionary, index=1), acts, THERE),
        companions(dictionary, acts["L0.mlp"], acts[THERE])[1],
    )
    with pytest.raises(
        InputError, match=r"'L2\.mlp' was not recorded, only L0\.mlp, L1\.resid_post"
    ):
        companion(Feature(dictionary=dictionary, index=1), acts, "L2.mlp")


@pytest.mark.parametrize("change", ["text", "position", "step", "count"])
def test_recordings_of_other_rows_are_refused(axes, recorded, change):
    acts = recorded(["a b c"], [[1.0], [2.0]])
    elsewhere = recorded(["a b c"], [[1.0], [0.0]], THERE)
    companions(axes(1, 1), acts, elsewhere)
    contexts = elsewhere.contexts
    changed = {
        "text": lambda: replace(elsewhere, contexts=replace(contexts, items=("a b d",))),
        "position": lambda: replace(
            elsewhere, contexts=replace(contexts, position=contexts.position[::-1].copy())
        ),
        "step": lambda: replace(elsewhere, contexts=replace(contexts, step=contexts.step + 1)),
        "count": lambda: elsewhere.take(np.array([0])),
    }[change]()
    with pytest.raises(InputError, match="recorded on different rows"):
        companions(axes(1, 1), acts, changed)


def test_activations_of_another_site_than_the_dictionarys_are_refused(axes, recorded):
    wrong = recorded(["a b"], [[1.0]], "L5.mlp")
    with pytest.raises(InputError, match=r"'L5\.mlp'.*'L0\.mlp'"):
        companions(axes(1, 1), wrong, recorded(["a b"], [[1.0]], THERE))


def test_values_that_are_not_finite_are_refused_with_their_row(axes, recorded):
    good, bad = (
        recorded(["a b c"], [[1.0], [2.0]]),
        recorded(["a b c"], [[1.0], [float("nan")]], THERE),
    )
    with pytest.raises(InputError, match=r"row 1: token ' c'"):
        companions(axes(1, 1), good, bad)
