"""Planted copies are nearest, planted companions fire together, and chance is what shuffled
features reach.
"""

import numpy as np
import pytest
import torch

from interp.core import InputError, Provenance
from interp.decompose.random_directions import RandomDirections
from interp.features.neighbours import neighbourhood, partners


def dictionary(directions: torch.Tensor, site: str = "L0.mlp") -> RandomDirections:
    return RandomDirections(
        directions, torch.zeros(directions.shape[1]), Provenance("random", site=site)
    )


def unit(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(
        torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)), dim=1
    )


FIRST = unit(8, 64, 0)
ORDER = [3, 0, 7, 1, 6, 2, 5, 4]


def test_a_copy_in_another_dictionary_is_the_nearest_with_its_sign() -> None:
    found = neighbourhood({"a": dictionary(FIRST), "b": dictionary(-FIRST[ORDER])}, count=3)
    for place, own in enumerate(ORDER):
        nearest = found.nearest[f"b-{place}"][0]
        assert nearest.id == f"a-{own}"
        assert nearest.cosine == pytest.approx(-1.0, abs=1e-5)
        assert nearest.coactivation is None
    assert all(len(near) == 3 for near in found.nearest.values())
    assert all(own not in [other.id for other in near] for own, near in found.nearest.items())


def test_neighbours_are_those_of_brute_force() -> None:
    found = neighbourhood({"a": dictionary(FIRST)}, count=7)
    for own in range(8):
        cosines = {
            f"a-{other}": float(FIRST[own] @ FIRST[other]) for other in range(8) if other != own
        }
        expected = sorted(cosines, key=lambda name: -abs(cosines[name]))
        assert [near.id for near in found.nearest[f"a-{own}"]] == expected


def test_coactivation_is_the_correlation_of_coefficients_and_none_where_one_is_constant() -> None:
    rng = np.random.default_rng(0)
    codes = rng.gamma(1.0, 1.0, (50, 8)).astype(np.float32)
    codes[:, 2] = 1.0
    found = neighbourhood({"a": dictionary(FIRST)}, {"a": torch.from_numpy(codes)}, count=7)
    expected = np.corrcoef(codes[:, 0], codes[:, 5])[0, 1]
    assert {near.id: near.coactivation for near in found.nearest["a-0"]}["a-5"] == pytest.approx(
        expected, abs=1e-5
    )
    assert all(near.coactivation is None for near in found.nearest["a-2"])


def test_chance_is_below_a_copy_and_above_nothing() -> None:
    found = neighbourhood({"a": dictionary(FIRST), "b": dictionary(FIRST)})
    assert set(found.control) == set(found.nearest)
    assert all(0.1 < value < 0.7 for value in found.control.values())


def test_a_feature_of_one_neuron_comes_near_others_by_chance_and_a_broad_one_does_not() -> None:
    directions = torch.zeros(9, 16)
    directions[:8] = torch.eye(16)[:8]
    directions[8] = 0.25
    found = neighbourhood({"a": dictionary(directions)})
    assert found.control["a-0"] == pytest.approx(1.0)
    assert found.control["a-8"] == pytest.approx(0.25)


def test_partners_undo_a_permutation_and_the_control_does_not() -> None:
    matching, mean = partners(dictionary(FIRST), dictionary(FIRST[ORDER]))
    assert [ORDER[second] for second in matching.second] == list(matching.first)
    assert mean.value == pytest.approx(1.0, abs=1e-5)
    assert mean.n == 8
    assert mean.control is not None
    assert mean.control < 0.6


def test_an_empty_direction_has_no_partner_and_no_neighbour() -> None:
    blank = FIRST.clone()
    blank[4] = 0
    matching, mean = partners(dictionary(blank), dictionary(FIRST))
    assert 4 not in matching.first
    assert mean.n == 7
    assert neighbourhood({"a": dictionary(blank)}).nearest["a-4"] == ()


def test_flipped_signs_match_where_signs_mean_nothing() -> None:
    assert partners(dictionary(FIRST), dictionary(-FIRST), signed=False)[1].value == pytest.approx(
        1.0, abs=1e-5
    )


@pytest.mark.parametrize(
    ("dictionaries", "codes", "count", "message"),
    [
        ({}, {}, 1, "at least one"),
        ({"a": dictionary(FIRST), "b": dictionary(FIRST, "L1.mlp")}, {}, 1, "same site"),
        ({"a": dictionary(FIRST)}, {}, 0, "count is 0"),
        (
            {"a": dictionary(FIRST), "b": dictionary(FIRST)},
            {"a": torch.zeros(3, 8), "b": torch.zeros(4, 8)},
            1,
            "rows",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    dictionaries: dict, codes: dict, count: int, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        neighbourhood(dictionaries, codes, count=count)
