"""Planted features are found again; what a dictionary has beyond them is found no better than its
control.
"""

import numpy as np
import planted
import pytest
import torch

from interp.core import Activations, Contexts, InputError, Provenance
from interp.decompose import fit_snmf, match_directions
from interp.decompose.random_directions import RandomDirections
from interp.decompose.stability import stability

ROWS, WIDTH, PLANTED, FITTED, SUPPORT = 900, 96, 8, 12, 8


def fit(acts, seed):
    return fit_snmf(acts, FITTED, sparsity=SUPPORT / WIDTH, seed=seed)


@pytest.fixture(scope="module")
def mixture():
    values, truth = planted.mixture(
        0, n_rows=ROWS, width=WIDTH, n_features=PLANTED, support=SUPPORT
    )
    item = np.arange(ROWS) // 6
    contexts = Contexts(
        item=item,
        position=np.arange(ROWS) % 6,
        step=np.zeros(ROWS, int),
        items=tuple(f"text {number}" for number in range(ROWS // 6)),
    )
    return Activations(values, contexts, "L0.mlp", Provenance("record", site="L0.mlp")), truth


def test_planted_features_are_stable_and_surplus_ones_are_not(mixture):
    acts, truth = mixture
    reference = fit(acts, 0)
    found = stability(fit, acts, reference, seeds=2, seed=0)
    matching = match_directions(reference.directions, truth)
    assert matching.cosines.min() > 0.98
    real = np.isin(np.arange(FITTED), matching.first)
    assert found.seeds is not None
    assert found.halves is not None
    for own in (found.seeds, found.halves):
        assert own[real].min() > 0.95
        assert own[~real].mean() < found.control[~real].mean() + 0.2
    assert found.control.max() < 0.8
    assert found.over_seeds.value == pytest.approx(found.seeds.mean())
    assert found.over_halves.control == pytest.approx(found.control.mean())
    assert found.over_halves.n == FITTED


def named(directions, seed=0):
    return RandomDirections(
        directions, torch.zeros(directions.shape[1]), Provenance("hand-made", seed=seed)
    )


class Refits:
    """A method that gives prepared dictionaries, and keeps what it was asked for."""

    def __init__(self, *directions):
        self.directions, self.asked = list(directions), []

    def __call__(self, acts, seed):
        self.asked.append((acts, seed))
        return named(self.directions[(len(self.asked) - 1) % len(self.directions)], seed)


def test_a_features_number_is_the_mean_cosine_with_its_partners():
    turned = torch.eye(4)[[2, 0, 1]] + torch.tensor([[0, 0, 0, 1.0], [0, 0, 0, 0], [0, 0, 0, 0]])
    refits = Refits(torch.eye(3, 4), turned)
    found = stability(
        refits, torch.eye(4), named(torch.eye(3, 4), 1), seeds=2, halves=False, seed=0
    )
    assert found.seeds == pytest.approx([1, 1, (1 + 0.5**0.5) / 2])
    assert found.halves is None
    assert found.over_halves is None
    assert [seed for _, seed in refits.asked] == [0, 2]


def test_halves_share_no_input_and_lose_no_row(mixture):
    acts, _ = mixture
    refits = Refits(torch.eye(3, WIDTH))
    found = stability(refits, acts, named(torch.eye(3, WIDTH)), seeds=0, seed=5)
    first, second = (part for part, _ in refits.asked)
    items = [set(part.contexts.item.tolist()) for part in (first, second)]
    assert not items[0] & items[1]
    assert [len(own) for own in items] == [75, 75]
    assert len(first) + len(second) == len(acts)
    assert found.seeds is None
    assert found.halves == pytest.approx([1, 1, 1])
    again, other = Refits(torch.eye(3, WIDTH)), Refits(torch.eye(3, WIDTH))
    stability(again, acts, named(torch.eye(3, WIDTH)), seeds=0, seed=5)
    stability(other, acts, named(torch.eye(3, WIDTH)), seeds=0, seed=6)
    assert torch.equal(again.asked[0][0].values, first.values)
    assert not torch.equal(other.asked[0][0].values, first.values)


def test_a_tensor_is_halved_in_runs_of_rows():
    rows = torch.arange(4000.0)[:, None] + torch.zeros(1, 3)
    refits = Refits(torch.eye(3))
    stability(refits, rows, named(torch.eye(3)), seeds=0)
    first, second = (part[:, 0] for part, _ in refits.asked)
    assert sorted([*first.tolist(), *second.tolist()]) == rows[:, 0].tolist()
    assert int((first.diff() == 1).sum()) >= 3 * len(first) // 4 - 1


def test_flipped_and_missing_features():
    flipped = Refits(-torch.eye(3))
    signed = stability(flipped, torch.eye(3), named(torch.eye(3)), seeds=1, halves=False)
    assert signed.seeds == pytest.approx([0, 0, 0])
    unsigned = stability(
        flipped, torch.eye(3), named(torch.eye(3)), seeds=1, halves=False, signed=False
    )
    assert unsigned.seeds == pytest.approx([1, 1, 1])
    fewer = stability(
        Refits(torch.eye(3)[[2, 1]] * torch.tensor([[1.0], [0.0]])),
        torch.eye(3),
        named(torch.eye(3)),
        seeds=1,
        halves=False,
    )
    assert fewer.seeds == pytest.approx([0, 0, 1])


def test_the_control_knows_that_popular_neurons_recur():
    generator = torch.Generator().manual_seed(0)
    rare = planted.directions(30, 200, 5, 1)
    popular = torch.zeros(30, 200)
    popular[:, 0] = 1
    popular[torch.arange(30), torch.randperm(199, generator=generator)[:30] + 1] = 0.3
    low, high = (
        stability(Refits(one), torch.rand(4, 200), named(one), seeds=1, halves=False).control
        for one in (rare, popular)
    )
    assert high.min() > 0.9
    assert low.mean() < high.mean() - 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0, "halves": False}, "ask for at least one"),
        ({"seeds": -1}, "seeds is -1"),
        ({"draws": 0}, "draws is 0"),
    ],
)
def test_asking_for_nothing_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        stability(Refits(torch.eye(3)), torch.eye(3), named(torch.eye(3)), **options)


def test_what_cannot_be_halved_or_is_of_another_width_is_refused(mixture):
    acts, _ = mixture
    with pytest.raises(InputError, match="cannot be halved"):
        stability(Refits(torch.eye(3, WIDTH)), acts.take(np.arange(6)), named(torch.eye(3, WIDTH)))
    with pytest.raises(InputError, match="96 wide"):
        stability(Refits(torch.eye(3)), acts, named(torch.eye(3)))
