import numpy as np
import pytest
import torch

from interp.core import InputError
from interp.decompose import fit_pca


def test_directions_and_variances_are_those_of_numpys_svd():
    acts = (
        torch.randn(500, 12, generator=torch.Generator().manual_seed(0)) * torch.linspace(3, 1, 12)
        + 5
    )
    pca = fit_pca(acts, 4)
    centred = acts.double().numpy() - acts.double().numpy().mean(axis=0)
    _, singular, vectors = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(
        np.abs((pca.directions.double().numpy() * vectors[:4]).sum(axis=1)), 1, atol=1e-4
    )
    np.testing.assert_allclose(pca.variance.numpy(), singular[:4] ** 2 / 500, rtol=1e-3)


def test_signs_are_fixed_by_the_largest_entry():
    acts = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    for pca in (fit_pca(acts, 6), fit_pca(-acts, 6)):
        largest = pca.directions.gather(1, pca.directions.abs().argmax(dim=1, keepdim=True))
        assert bool((largest > 0).all())
    torch.testing.assert_close(
        fit_pca(acts, 6).directions, fit_pca(-acts, 6).directions, atol=1e-4, rtol=1e-3
    )


def test_all_components_reconstruct_everything():
    acts = torch.randn(50, 6, generator=torch.Generator().manual_seed(2)) + 1
    pca = fit_pca(acts, 6)
    torch.testing.assert_close(pca.decode(pca.encode(acts)), acts, atol=1e-4, rtol=1e-4)


def test_more_components_than_dimensions_are_refused():
    with pytest.raises(InputError, match="at most 6"):
        fit_pca(torch.ones(50, 6), 7)
