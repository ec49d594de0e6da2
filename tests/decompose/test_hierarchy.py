"""Levels keep their constraints, multiply, and group features that share neurons."""

import warnings
from functools import partial

import numpy as np
import planted
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from interp.core import (
    Activations,
    Contexts,
    ConvergenceWarning,
    InputError,
    Provenance,
    UnavailableError,
)
from interp.decompose import fit_pca, fit_snmf, match_directions
from interp.decompose.hierarchy import Hierarchy, fit_hierarchy, load_hierarchy
from interp.decompose.random_directions import RandomDirections

WIDTH, FAMILIES, MEMBERS, CORE, OWN = 120, 4, 5, 6, 4
KEPT = CORE + OWN
SPARSITY = KEPT / WIDTH
TRUTH = np.arange(FAMILIES * MEMBERS) // MEMBERS


def family_directions(seed, *, shared=True):
    """Unit directions, half of each on neurons that its whole family shares (or, for the control,
    that no one shares).
    """
    generator = torch.Generator().manual_seed(seed)
    made = torch.zeros(FAMILIES * MEMBERS, WIDTH)

    def draw(count, taken):
        free = torch.randperm(WIDTH, generator=generator)
        values = torch.randn(count, generator=generator)
        return free[~torch.isin(free, taken)][:count], values / values.norm() / 2**0.5

    nothing = torch.tensor([], dtype=torch.long)
    for family in range(FAMILIES):
        places, values = draw(CORE, nothing)
        for member in range(family * MEMBERS, (family + 1) * MEMBERS):
            if not shared:
                places, values = draw(CORE, nothing)
            own, own_values = draw(OWN, places)
            made[member, places], made[member, own] = values, own_values
    return made


@pytest.fixture(scope="module")
def mixture():
    directions = family_directions(0)
    values = planted.noisy(
        planted.coefficients(1500, len(TRUTH), 1, active=0.05) @ directions, 0.02, 2
    )
    item = np.arange(1500) // 10
    contexts = Contexts(
        item=item,
        position=np.arange(1500) % 10,
        step=np.zeros(1500, int),
        items=tuple(f"text {number}" for number in range(150)),
    )
    return Activations(
        values, contexts, "L1.mlp", Provenance("record", model="tiny", site="L1.mlp")
    ), directions


@pytest.fixture(scope="module")
def fitted(mixture):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fit_hierarchy(
            mixture[0], partial(fit_snmf, sparsity=SPARSITY, tolerance=1e-3, seed=0), (20, 4, 2)
        )


def test_families_that_share_neurons_are_found_from_activations(mixture, fitted):
    matching = match_directions(mixture[1], fitted.levels[0].directions)
    assert matching.mean_cosine > 0.95
    groups = fitted.weights[0].argmax(dim=1)[torch.from_numpy(matching.second)]
    assert adjusted_rand_score(TRUTH, groups.numpy()) >= 0.9


@pytest.mark.parametrize("seed", range(3))
def test_families_are_found_only_where_neurons_are_shared(seed):
    def agreement(directions):
        known = RandomDirections(directions, torch.zeros(WIDTH), Provenance("planted"))
        hierarchy = fit_hierarchy(
            directions,
            lambda rows, n: known if n == 20 else fit_snmf(rows, n, sparsity=SPARSITY),
            (20, 4),
        )
        return adjusted_rand_score(TRUTH, hierarchy.weights[0].argmax(dim=1).numpy())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert agreement(family_directions(seed)) >= 0.9
        assert agreement(family_directions(seed, shared=False)) < 0.3


def test_every_level_keeps_the_constraints(mixture, fitted):
    assert fitted.sizes == (20, 4, 2)
    for level in fitted.levels:
        assert int((level.directions != 0).sum(dim=1).max()) <= KEPT
        assert torch.allclose(level.directions.norm(dim=1), torch.ones(len(level)), atol=1e-5)
        assert bool((level.encode(mixture[0]) >= 0).all())
    assert all(bool((own >= 0).all()) for own in fitted.weights)
    assert [tuple(own.shape) for own in fitted.weights] == [(20, 4), (4, 2)]


def test_weights_are_the_best_non_negative_ones(fitted):
    fine, broad, weights = (
        fitted.levels[0].directions,
        fitted.levels[1].directions,
        fitted.weights[0],
    )
    # At the optimum no weight can grow for the better, and none above zero can change for the
    # better.
    slope = (weights @ broad - fine) @ broad.T
    assert float(slope.min()) > -1e-4
    assert float((slope * weights).abs().max()) < 1e-4


def test_coefficients_of_a_level_are_the_product_of_those_below(mixture, fitted):
    acts = mixture[0]
    first = fitted.levels[0].encode(acts)
    assert torch.equal(fitted.coefficients(acts, 0), first)
    assert torch.allclose(
        fitted.coefficients(acts, 2),
        first @ fitted.weights[0] @ fitted.weights[1],
        rtol=1e-4,
        atol=1e-5,
    )
    assert not torch.allclose(
        fitted.coefficients(acts, 1), fitted.levels[1].encode(acts), atol=1e-2
    )
    with pytest.raises(InputError, match="levels 0 to 2"):
        fitted.coefficients(acts, 3)


def test_every_level_is_of_the_site_of_the_activations(fitted):
    assert [level.site for level in fitted.levels] == ["L1.mlp"] * 3
    assert [level.provenance.model for level in fitted.levels] == ["tiny"] * 3
    assert [level.provenance.parameters.get("level") for level in fitted.levels] == [None, 1, 2]
    assert fitted.levels[2].provenance.parameters["rows"] == 4


def test_a_saved_hierarchy_comes_back_bit_by_bit(fitted, mixture, tmp_path):
    fitted.save(tmp_path / "saved")
    back = load_hierarchy(tmp_path / "saved")
    assert back.sizes == fitted.sizes
    assert all(
        torch.equal(one, other) for one, other in zip(back.weights, fitted.weights, strict=True)
    )
    assert torch.equal(back.coefficients(mixture[0], 2), fitted.coefficients(mixture[0], 2))
    fitted.save(tmp_path / "saved")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(InputError, match="something else"):
        fitted.save(tmp_path / "other")


@pytest.mark.parametrize(
    "damage", ["weights.safetensors", "hierarchy.json", "level1/dictionary.safetensors"]
)
def test_a_damaged_folder_is_refused(fitted, tmp_path, damage):
    fitted.save(tmp_path / "saved")
    (tmp_path / "saved" / damage).write_bytes(b"{}")
    with pytest.raises(UnavailableError, match="saved"):
        load_hierarchy(tmp_path / "saved")


def test_levels_of_another_hierarchy_are_refused(fitted, tmp_path):
    fitted.save(tmp_path / "saved")
    fitted.levels[2].save(tmp_path / "saved" / "level1")
    with pytest.raises(UnavailableError, match="do not fit each other"):
        load_hierarchy(tmp_path / "saved")


@pytest.mark.parametrize("sizes", [(), (4, 4), (3, 5), (4, 0)])
def test_sizes_must_fall(sizes):
    with pytest.raises(InputError, match="each below the one before"):
        fit_hierarchy(torch.rand(30, 8), partial(fit_snmf, sparsity=0.5), sizes)


def test_signed_coefficients_and_offsets_are_refused(fitted):
    acts = torch.rand(30, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match=r"offset|negative"):
        fit_hierarchy(acts, fit_pca, (4, 2))
    with pytest.raises(InputError, match="negative or undefined"):
        Hierarchy(fitted.levels[:2], (-fitted.weights[0],))
    with pytest.raises(InputError, match=r"expected \[\(20, 4\)\]"):
        Hierarchy(fitted.levels[:2], (fitted.weights[1],))
