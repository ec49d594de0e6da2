import numpy as np
import pytest
import torch

from interp.core import Activations, Contexts, InputError, Provenance
from interp.decompose import RandomDirections, fit_pca, random_dictionary, reconstruction


def test_explained_variance_is_pcas_share():
    acts = torch.randn(3000, 10, generator=torch.Generator().manual_seed(0)) * torch.linspace(
        4, 1, 10
    )
    pca = fit_pca(acts, 3)
    measured = reconstruction(pca, acts)
    share = float(pca.variance.sum() / acts.var(dim=0, correction=0).sum())
    assert measured.explained_variance.value == pytest.approx(share, abs=1e-4)
    assert measured.explained_variance.low < share < measured.explained_variance.high
    assert measured.explained_variance.control < 0
    assert (measured.l0, measured.dead_fraction, measured.direction_density) == (3.0, 0.0, 1.0)


def test_counts_of_active_dead_and_dense_are_those_of_a_hand_made_dictionary():
    directions = torch.tensor(
        [[1.0, 0.0, 0.0, 0.0], [0.0, 0.6, 0.8, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, -1.0]]
    )
    dictionary = RandomDirections(directions, torch.zeros(4), Provenance("random"))
    acts = torch.tensor([[1.0, 0.0, 0.0, 0.0], [2.0, 0.6, 0.8, 0.0]])
    measured = reconstruction(dictionary, acts)
    assert (measured.l0, measured.dead_fraction, measured.direction_density) == (1.5, 0.5, 5 / 16)
    assert measured.explained_variance.value == pytest.approx(1, abs=1e-6)


def test_the_resampled_unit_is_the_input():
    values = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    contexts = Contexts(
        item=np.repeat(np.arange(10), 20),
        position=np.tile(np.arange(20), 10),
        step=np.zeros(200, dtype=int),
        items=("text",) * 10,
    )
    acts = Activations(values, contexts, "L0.mlp", Provenance("record", site="L0.mlp"))
    pca = fit_pca(acts, 2)
    assert reconstruction(pca, acts).explained_variance.n == 10
    assert reconstruction(fit_pca(values, 2), values).explained_variance.n == 200


def test_rows_without_variance_are_refused():
    acts = torch.ones(20, 4)
    with pytest.raises(InputError, match="no variance"):
        reconstruction(random_dictionary(acts, 2), acts)
