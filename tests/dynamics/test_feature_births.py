"""A planted feature is born and dies at the checkpoints where it was planted; drift and the null of
shuffled checkpoints are told.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from interp.core import InputError
from interp.dynamics.feature_births import BirthRule, FeatureHistory, feature_births
from interp.dynamics.feature_chains import Chain, chains_of

ROWS, WIDTH, FEATURES, CHECKPOINTS = 300, 40, 6, 9
BORN, DIED = 5, 4
STEPS = [10 * place for place in range(CHECKPOINTS)]


def planted(turning: float = 0.0) -> list[Tensor]:
    """Six sparse features; number 0 is there from checkpoint 5 on, number 1 until checkpoint 3;
    `turning` mixes them step by step.
    """
    generator = torch.Generator().manual_seed(0)
    directions = torch.zeros(FEATURES, WIDTH)
    for feature in range(FEATURES):
        places = torch.randperm(WIDTH, generator=generator)[:4]
        directions[feature, places] = torch.randn(4, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    coefficients = torch.rand(ROWS, FEATURES, generator=generator) * (
        torch.rand(ROWS, FEATURES, generator=generator) < 0.3
    )
    drift = torch.randn(FEATURES, WIDTH, generator=generator) / WIDTH**0.5
    acts = []
    for place in range(CHECKPOINTS):
        there = torch.ones(FEATURES)
        there[0], there[1] = float(place >= BORN), float(place < DIED)
        moved = directions + turning * place * drift
        acts.append(
            (coefficients * there) @ moved + 0.002 * torch.randn(ROWS, WIDTH, generator=generator)
        )
    return acts


@pytest.fixture(scope="module")
def history() -> FeatureHistory:
    return feature_births(
        STEPS, planted(), FEATURES - 1, sparsity=0.1, rule=BirthRule(share=0.01), seed=0
    )


def test_the_planted_birth_and_death_are_found_and_nothing_else(history: FeatureHistory) -> None:
    assert sorted(born for born in history.births if born is not None) == [STEPS[BORN]]
    assert [died for died in history.deaths if died is not None] == [STEPS[DIED]]
    assert len(history.chains) == FEATURES
    assert float(history.errors.max()) < 0.01


def test_features_that_stay_do_not_drift(history: FeatureHistory) -> None:
    for chain in history.chains:
        assert history.drift(chain)[-1] == pytest.approx(1, abs=1e-6)
        assert history.drift(chain).min() > 0.99


def test_a_turning_dictionary_drifts_and_its_order_is_not_that_of_a_shuffle() -> None:
    found = feature_births(
        STEPS,
        planted(turning=0.25),
        FEATURES - 1,
        sparsity=1.0,
        rule=BirthRule(share=0.01, same=0.8),
        shuffles=300,
    )
    longest = max(found.chains, key=lambda chain: len(chain.features))
    assert found.drift(longest)[0] < 0.9
    assert found.links.control is not None
    assert found.links.value > found.links.control
    assert found.p_value < 0.05


def test_equal_checkpoints_give_no_order(history: FeatureHistory) -> None:
    acts = [planted()[-1]] * 5
    found = feature_births(STEPS[:5], acts, FEATURES - 1, sparsity=0.1, rule=BirthRule(share=0.01))
    assert found.births == [None] * len(found.chains) == found.deaths
    assert found.p_value == 1


def test_encoding_and_json_hold_what_was_fitted(history: FeatureHistory) -> None:
    values = planted()[-1]
    coefficients = history.encode(CHECKPOINTS - 1, values)
    error = (values - coefficients @ history.directions[-1]).square().sum() / values.square().sum()
    assert float(error) == pytest.approx(float(history.errors[-1]), abs=1e-5)
    told = history.to_dict()
    assert told["steps"] == STEPS
    assert len(told["chains"]) == len(history.chains)  # type: ignore[arg-type]


def test_chains_follow_links_and_short_ones_are_left_out() -> None:
    links = np.array([[1, -1], [-1, 0]])
    present = np.array([[True, False], [False, True], [True, True]])
    assert chains_of(links, present, 1) == (Chain(0, (0, 1, 0)), Chain(2, (1,)))
    assert chains_of(links, present, 2) == (Chain(0, (0, 1, 0)),)
    assert Chain(0, (0, 1, 0)).last == 2


def test_bad_input_is_refused() -> None:
    acts = planted()[:3]
    with pytest.raises(InputError, match="rise"):
        feature_births([0, 20, 10], acts, 3)
    with pytest.raises(InputError, match="at least 3"):
        feature_births([0, 10], acts[:2], 3)
    with pytest.raises(InputError, match="2 activations for 3 steps"):
        feature_births([0, 10, 20], acts[:2], 3)
    with pytest.raises(InputError, match="more activations"):
        feature_births([0, 10, 20], [*acts, acts[0]], 3)
    with pytest.raises(InputError, match="same tokens"):
        feature_births([0, 10, 20], [acts[0], acts[1][:10], acts[2]], 3)
    with pytest.raises(InputError, match="share"):
        BirthRule(share=2.0)
