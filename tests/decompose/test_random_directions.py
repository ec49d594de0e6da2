import pytest
import torch

from interp.decompose import random_dictionary


@pytest.mark.parametrize(("sparsity", "entries"), [(1.0, 200), (0.05, 10), (0.001, 1)])
def test_every_direction_has_its_number_of_entries(sparsity, entries):
    control = random_dictionary(torch.ones(3, 200), 30, sparsity=sparsity)
    assert (control.directions != 0).sum(dim=1).tolist() == [entries] * 30


def test_dense_directions_are_spread_over_the_sphere():
    directions = random_dictionary(torch.ones(3, 400), 200, seed=1).directions
    cosines = (directions @ directions.T)[~torch.eye(200, dtype=torch.bool)]
    assert abs(float(cosines.mean())) < 0.002
    assert float(cosines.std()) == pytest.approx(1 / 20, rel=0.05)


def test_seeds_differ():
    first, second = (
        random_dictionary(torch.ones(3, 50), 4, seed=seed).directions for seed in (0, 1)
    )
    assert float((first * second).sum(dim=1).abs().max()) < 0.9
