"""Unsupervised directions on planted factors: PCA spans them, ICA separates them; dictionaries;
what a table of effects says.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from interp.core import InputError, Score
from interp.decompose.pca import fit_pca
from interp.decompose.sae.fit import fit_sae
from interp.diffusion.directions.components import ica_directions, pca_directions
from interp.diffusion.directions.from_dictionary import dictionary_directions, image_rows
from interp.diffusion.directions.projection import overlap
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.records.activations import StepActivations
from interp.diffusion.scores.separation import separation, separation_at

SIZES = torch.tensor([1.0, 1.05, 0.95])


def planted(noise: float = 0.02) -> tuple[StepActivations, Tensor, Tensor]:
    """Three even, independent factors of nearly equal variance along orthogonal directions of 2
    steps × 16 numbers.
    """
    generator = torch.Generator().manual_seed(0)
    factors = (2 * torch.rand(600, 3, generator=generator) - 1) * 3**0.5
    rows = torch.linalg.qr(torch.randn(32, 3, generator=generator)).Q.T * SIZES[:, None]
    values = factors @ rows + noise * torch.randn(600, 32, generator=generator) + 5
    acts = StepActivations(
        values=values.reshape(600, 2, 4, 2, 2),
        steps=(0, 1),
        timesteps=(999, 499),
        images=torch.zeros(600, 3, 8, 8),
        site="mid",
        total=2,
        seed=0,
    )
    return acts, factors, rows


def cosines(directions: StepDirections, rows: Tensor) -> Tensor:
    return (
        torch.nn.functional.normalize(directions.flat, dim=1)
        @ torch.nn.functional.normalize(rows, dim=1).T
    ).abs()


def test_pca_is_that_of_decompose_and_spans_the_factors() -> None:
    acts, _, rows = planted()
    found, known = pca_directions(acts, 3), fit_pca(acts.values.flatten(1), 3)
    assert torch.allclose(cosines(found, known.directions).diagonal(), torch.ones(3), atol=1e-3)
    assert found.norms.square().tolist() == pytest.approx(
        (known.variance * 600 / 599).tolist(), rel=1e-3
    )
    truth = directions_like(acts, rows, ("a", "b", "c"), "by hand")
    assert float(overlap(truth, found).min()) > 0.995
    assert float(cosines(found, rows).max(dim=1).values.min()) < 0.95, (
        "it mixes factors of like variance"
    )


def test_ica_separates_what_pca_mixes() -> None:
    acts, _, rows = planted()
    found = ica_directions(acts, 3, seed=1)
    assert float(cosines(found, rows).max(dim=1).values.min()) > 0.99
    assert sorted(cosines(found, rows).argmax(dim=1).tolist()) == [0, 1, 2]
    assert sorted(found.norms.tolist()) == pytest.approx(sorted(SIZES.tolist()), rel=0.05)
    assert torch.equal(found.values, ica_directions(acts, 3, seed=1).values)


def test_components_are_followed_from_step_to_step() -> None:
    generator = torch.Generator().manual_seed(1)
    factors = torch.randn(300, 2, generator=generator)
    axes = torch.linalg.qr(torch.randn(16, 2, generator=generator)).Q.T
    # The second factor overtakes the first, with the other sign.
    early, late = (
        factors @ (axes * torch.tensor([[2.0], [1.0]])),
        factors @ (axes * torch.tensor([[-1.0], [3.0]])),
    )
    acts = StepActivations(
        values=torch.stack([early, late], dim=1).reshape(300, 2, 4, 2, 2),
        steps=(0, 1),
        timesteps=(999, 499),
        images=torch.zeros(300, 3, 8, 8),
        site="mid",
        total=2,
        seed=0,
    )
    found = pca_directions(acts, 2, mode="per_step")
    first = found.values[0].flatten(1)
    assert abs(float(torch.nn.functional.cosine_similarity(first[0], axes[0], dim=0))) > 0.95
    assert float(torch.nn.functional.cosine_similarity(first[0], -first[1], dim=0)) > 0.95, (
        "the same factor, turned with it"
    )
    assert float(first[1].norm()) < float(found.values[1, 1].norm())


def test_dictionary_features_are_of_their_own_sd() -> None:
    acts, _, _ = planted()
    pca = fit_pca(image_rows(acts), 3)
    assert torch.allclose(
        dictionary_directions(acts, pca).values.abs(),
        pca_directions(acts, 3).values.abs(),
        atol=2e-3,
    )
    sae = fit_sae(image_rows(acts), 8, k=2, steps=60, seed=0)
    found = dictionary_directions(acts, sae, count=3)
    assert found.method == "sae"
    assert len(found) == 3
    assert found.norms.tolist() == sorted(found.norms.tolist(), reverse=True)


def table(effects: list[list[float]]) -> dict[str, dict[str, Score]]:
    return {
        f"d{i}": {
            f"f{j}": Score(float(value), float(value), float(value), n=9, seed=0)
            for j, value in enumerate(row)
        }
        for i, row in enumerate(effects)
    }


def test_separation_of_known_tables() -> None:
    perfect = separation(table([[0, -2], [1, 0], [0.1, 0.1]]))
    assert (perfect.separation, perfect.coverage) == (1.0, 1.0)
    assert perfect.pairs == {"f0": "d1", "f1": "d0"}
    assert perfect.purity == {"d0": 1.0, "d1": 1.0, "d2": 0.5}
    same = separation(table([[1, 0], [2, 0]]))
    assert (same.coverage, same.separation) == (0.5, 0.5)
    mixed = separation(table([[1, 1], [1, -1]]))
    assert mixed.separation == 0.5
    with pytest.raises(InputError, match="is empty"):
        separation({})


def test_separation_has_an_interval_and_a_control() -> None:
    generator = np.random.default_rng(0)
    effects = {f"d{i}": np.eye(3)[i] + 0.3 * generator.standard_normal((50, 3)) for i in range(3)}
    found = separation_at(effects, seed=0)
    assert found.low <= found.value <= found.high
    assert found.value > 0.8
    assert 0.4 < (found.control or 0) < 0.7
    assert separation_at({"a": np.ones((3, 2)), "b": np.ones((4, 2))}, seed=0).n == 3
    with pytest.raises(InputError, match="the same factors"):
        separation_at({"a": np.ones((3, 2)), "b": np.ones((3, 4))}, seed=0)


def test_too_many_components_are_refused() -> None:
    acts, _, _ = planted(noise=0.0)
    with pytest.raises(InputError, match="vary along fewer than 5"):
        pca_directions(acts, 5)
    with pytest.raises(InputError, match="give 1 to 599"):
        ica_directions(acts, 600)
