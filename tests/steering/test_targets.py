"""Targets' controls and the protocol."""

import pytest
import torch

from interp.core import InputError
from interp.steering import Protocol, Target
from interp.steering.targets import random_targets


def target(site, direction):
    return Target(
        family="planted native",
        method="planted",
        route="native",
        site=site,
        direction=torch.as_tensor(direction, dtype=torch.float32),
        concept="sea",
        feature_id="planted-0",
    )


def test_every_site_gets_random_directions_dense_and_with_the_sparsest_support():
    sparse = torch.zeros(50)
    sparse[[3, 7, 20]] = 1.0
    sparser = torch.zeros(50)
    sparser[[1, 2]] = 1.0
    found = random_targets(
        [
            target("L0.mlp", sparse),
            target("L0.mlp", sparser),
            target("L1.resid_post", torch.ones(8)),
        ],
        3,
        0,
    )
    families = {
        family: [one for one in found if one.family == family]
        for family in dict.fromkeys(one.family for one in found)
    }
    assert {family: len(members) for family, members in families.items()} == {
        "random dense at L0.mlp": 3,
        "random sparse at L0.mlp": 3,
        "random dense at L1.resid_post": 3,
    }
    assert {int((one.direction != 0).sum()) for one in families["random sparse at L0.mlp"]} == {2}
    assert {int((one.direction != 0).sum()) for one in families["random dense at L0.mlp"]} == {50}
    assert all(
        float(one.direction.norm()) == pytest.approx(1.0) and one.route == "random" for one in found
    )
    assert len({one.feature_id for one in found}) == 9
    assert abs(float(found[0].direction @ found[1].direction)) < 0.9


def test_the_seed_decides():
    one, same, other = (
        random_targets([target("L0.mlp", torch.ones(50))], 2, seed) for seed in (1, 1, 2)
    )
    assert all((a.direction == b.direction).all() for a, b in zip(one, same, strict=True))
    assert not any((a.direction == b.direction).all() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"selection_prompts": ("a", "b"), "report_prompts": ("b", "c")},
            r"must be non-empty and differ; both hold \['b'\]",
        ),
        ({"report_prompts": ()}, "must be non-empty"),
        ({"strengths": ()}, r"strengths \(\)"),
        ({"strengths": (0.1, -0.1)}, r"strengths \(0\.1, -0\.1\)"),
        ({"samples": 0}, "samples 0"),
        ({"n_random": 0}, "n_random 0"),
        ({"signs": (1, 2)}, r"signs are \(1, 2\)"),
        ({"signs": ()}, r"signs are \(\)"),
    ],
)
def test_a_protocol_that_measures_nothing_is_refused(change, complaint):
    with pytest.raises(InputError, match=complaint):
        Protocol(**change)
    assert Protocol().n_random >= 1
