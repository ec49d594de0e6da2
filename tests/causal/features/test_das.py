"""Distributed alignment search on networks whose variable lies in a known, rotated subspace."""

from itertools import product

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.causal.features.das import Alignment, align
from interp.causal.features.high_level import HighLevel
from interp.causal.features.interchange import (
    Interchanges,
    Place,
    interchange_accuracy,
    random_subspace,
)
from interp.core import InputError
from interp.models import ModuleModel

BASE, WIDTH = 3, 16
MODULAR = HighLevel(
    {"sum": lambda v: (v["a"] + v["b"]) % BASE, "answer": lambda v: (v["sum"] + v["c"]) % BASE},
    "answer",
)
"""(a + b) + c modulo 3: the variable that is looked for is the sum of the first two."""


class Hidden(nn.Module):
    """One-hot: the sum of a and b, c, a (which nothing reads); in axes turned at random."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.turn = nn.Parameter(random_subspace(WIDTH, WIDTH, seed=seed))

    def forward(self, digits: Int[Tensor, "row 3"]) -> Float[Tensor, "row d"]:
        total = (digits[:, 0] + digits[:, 1]) % BASE
        parts = [
            nn.functional.one_hot(part, BASE).float()
            for part in (total, digits[:, 2], digits[:, 0])
        ]
        return nn.functional.pad(torch.cat(parts, dim=1), (0, WIDTH - 3 * BASE)) @ self.turn


class Modular(nn.Module):
    """The answer by a table: a neuron for every pair of the sum and c."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.hidden = Hidden(seed)
        self.table = nn.Parameter(torch.zeros(BASE * BASE, WIDTH))
        self.answer = nn.Parameter(torch.zeros(BASE, BASE * BASE))
        with torch.no_grad():
            for neuron, (total, digit) in enumerate(product(range(BASE), repeat=2)):
                self.table[neuron, [total, BASE + digit]] = 1.0
                self.answer[(total + digit) % BASE, neuron] = 6.0

    def forward(self, digits: Int[Tensor, "row 3"]) -> Float[Tensor, "row answer"]:
        return (self.hidden(digits) @ self.hidden.turn.T @ self.table.T - 1).relu() @ self.answer.T

    @property
    def planted(self) -> Float[Tensor, "2 d"]:
        """Where sums differ: the plane of the sum's three axes in which they add up to nothing."""
        plane = torch.linalg.qr(torch.eye(BASE)[:, :2] - 1 / BASE).Q.T
        return (plane @ self.hidden.turn[:BASE]).detach()


def named(digits: Tensor) -> dict[str, int]:
    return dict(zip("abc", digits.tolist(), strict=True))


def pairs(n: int, seed: int) -> Interchanges:
    base, source = torch.randint(BASE, (2, n, 3), generator=torch.Generator().manual_seed(seed))
    expected = [
        MODULAR.interchanged(named(one), named(other), "sum")
        for one, other in zip(base, source, strict=True)
    ]
    return Interchanges(base, source, torch.tensor(expected))


def found(
    seed: int = 0, *, n: int = 1000, n_dims: int = 2, epochs: int = 3
) -> tuple[Modular, Alignment]:
    module = Modular(seed)
    return module, align(
        ModuleModel(module),
        pairs(n, 1),
        pairs(300, 2),
        "hidden",
        n_dims=n_dims,
        epochs=epochs,
        seed=seed,
    )


def largest_angle(subspace: Tensor | None, planted: Tensor) -> float:
    """Between two planes, in degrees."""
    assert subspace is not None
    return float(np.degrees(np.arccos(torch.linalg.svdvals(subspace @ planted.T).min().item())))


def test_the_network_does_the_task() -> None:
    every = torch.tensor(list(product(range(BASE), repeat=3)))
    assert Modular()(every).argmax(-1).tolist() == [
        MODULAR.run(named(digits))["answer"] for digits in every
    ]


@pytest.mark.parametrize("seed", range(3))
def test_the_planted_subspace_is_found(seed: int) -> None:
    module, alignment = found(seed)
    assert alignment.accuracy.value > 0.99
    assert alignment.accuracy.n == 300
    # A random plane holds as little as chance: the answer is one of three.
    assert alignment.accuracy.control is not None
    assert alignment.accuracy.control < 0.6
    subspace = alignment.place.subspace
    assert subspace is not None
    torch.testing.assert_close(subspace @ subspace.T, torch.eye(2), atol=1e-5, rtol=0)
    assert alignment.losses[-5:].mean() < 0.3 * alignment.losses[:5].mean()
    # All pairs are right long before the plane has turned all the way.
    assert largest_angle(subspace, module.planted) < 30
    assert largest_angle(random_subspace(2, WIDTH, seed=seed), module.planted) > 60


def test_with_more_epochs_the_subspace_is_the_planted_one() -> None:
    module, alignment = found(epochs=30)
    assert largest_angle(alignment.place.subspace, module.planted) < 5
    assert alignment.accuracy.value == 1.0


def test_the_planted_subspace_itself_is_right_and_its_complement_wrong() -> None:
    """What the search is looking for exists, and the interchange tells it from everything else."""
    module, held_out = Modular(), pairs(300, 2)
    assert (
        interchange_accuracy(ModuleModel(module), held_out, Place("hidden", module.planted)).value
        == 1.0
    )
    rest = torch.linalg.qr(torch.cat([module.planted, torch.eye(WIDTH)]).T).Q.T[2:]
    assert interchange_accuracy(ModuleModel(module), held_out, Place("hidden", rest)).value < 0.6
    # All of the site carries c along.
    assert interchange_accuracy(ModuleModel(module), held_out, Place("hidden")).value < 0.6


def test_one_dimension_is_too_few_and_more_than_the_width_is_the_width() -> None:
    assert found(n_dims=1)[1].accuracy.value < 0.95
    _, whole = found(n=100, n_dims=32)
    assert whole.place.subspace is not None
    assert whole.place.subspace.shape == (WIDTH, WIDTH)
    assert whole.provenance.parameters["n_dims"] == WIDTH
    # Any basis of the whole site is the whole site, which carries c along.
    assert whole.accuracy.value < 0.6


def test_the_same_seed_gives_the_same_numbers_and_nothing_else_is_touched() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    module, first = found(4, n=100)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in module.parameters())
    assert not module.hidden._forward_hooks
    second = found(4, n=100)[1]
    assert np.array_equal(first.losses, second.losses)
    assert first.place.subspace is not None
    assert torch.equal(first.place.subspace, second.place.subspace)
    assert first.accuracy == second.accuracy
    assert not np.array_equal(first.losses, found(5, n=100)[1].losses)
    assert not first.place.subspace.requires_grad
    assert first.provenance.site == "hidden"
    assert first.provenance.seed == 4
    assert first.provenance.cost["steps"] == len(first.losses) == 3 * 4


@pytest.mark.parametrize(
    ("option", "value"), [("n_dims", 0), ("epochs", 0), ("batch_size", 0), ("learning_rate", 0.0)]
)
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match=option):
        align(ModuleModel(Modular()), pairs(4, 0), pairs(4, 1), "hidden", **{option: value})
