"""What every dictionary promises, whatever made it."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import planted
import pytest
import torch

from interp.core import Activations, Contexts, InputError, Provenance
from interp.decompose import (
    Dictionary,
    fit_difference_in_means_many,
    fit_pca,
    fit_sae,
    fit_snmf,
    load_dictionary,
    random_dictionary,
)

WIDTH, N_FEATURES = 24, 4
Fit = Callable[[Activations | torch.Tensor], Dictionary]

METHODS: dict[str, Fit] = {
    "snmf": lambda acts: fit_snmf(acts, N_FEATURES, sparsity=0.25, seed=3),
    "sae": lambda acts: fit_sae(acts, N_FEATURES, k=2, steps=150, batch_size=64, seed=3),
    "pca": lambda acts: fit_pca(acts, N_FEATURES, seed=3),
    "random": lambda acts: random_dictionary(acts, N_FEATURES, sparsity=0.25, seed=3),
    "difference_in_means": lambda acts: fit_difference_in_means_many(
        {str(i): part(acts, i) for i in range(4)}, part(acts, 4)
    ),
}
SEEDED = sorted(set(METHODS) - {"difference_in_means"})
COUNTED = {
    "snmf": lambda acts, n: fit_snmf(acts, n),
    "sae": lambda acts, n: fit_sae(acts, n, k=1, steps=1),
    "pca": lambda acts, n: fit_pca(acts, n),
    "random": lambda acts, n: random_dictionary(acts, n),
}


def part(acts: Activations | torch.Tensor, index: int) -> Activations | torch.Tensor:
    rows = np.arange(index, len(acts), 5)
    return acts.take(rows) if isinstance(acts, Activations) else acts[torch.from_numpy(rows)]


def recorded(values: torch.Tensor, site: str = "L1.mlp") -> Activations:
    n = len(values)
    contexts = Contexts(
        item=np.arange(n) // 8,
        position=np.arange(n) % 8,
        step=np.zeros(n, dtype=int),
        items=tuple(f"text {i}" for i in range(n // 8 + 1)),
        tokens=(),
    )
    return Activations(
        values,
        contexts,
        site,
        Provenance("record", model="tiny", corpus_hash="abc", site=site, selection="all tokens"),
    )


@pytest.fixture(scope="module")
def acts() -> Activations:
    values, _ = planted.mixture(0, n_rows=200, width=WIDTH, n_features=N_FEATURES, support=6)
    return recorded(values)


@pytest.fixture(params=sorted(METHODS))
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def fitted_once(acts) -> Callable[[str], Dictionary]:
    return functools.lru_cache(lambda method: METHODS[method](acts))


@pytest.fixture
def fitted(fitted_once, method) -> Dictionary:
    return fitted_once(method)


def tensors(dictionary: Dictionary) -> dict[str, torch.Tensor]:
    return {
        name: value for name, value in vars(dictionary).items() if isinstance(value, torch.Tensor)
    }


def test_shapes_and_unit_norms(fitted, method, acts):
    dictionary = fitted
    coefficients = dictionary.encode(acts)
    assert (dictionary.method, len(dictionary)) == (method, N_FEATURES)
    assert dictionary.directions.shape == (N_FEATURES, WIDTH)
    assert dictionary.offset.shape == (WIDTH,)
    assert coefficients.shape == (len(acts), N_FEATURES)
    assert dictionary.decode(coefficients).shape == acts.values.shape
    assert {tensor.dtype for tensor in tensors(dictionary).values()} == {torch.float32}
    torch.testing.assert_close(dictionary.directions.norm(dim=1), torch.ones(N_FEATURES))


@pytest.mark.parametrize("method", ["snmf", "sae", "pca"])
def test_reconstruction_beats_the_mean_and_random_directions_do_not(fitted_once, method, acts):
    def error(dictionary: Dictionary) -> float:
        return float((acts.values - dictionary.decode(dictionary.encode(acts))).square().sum())

    best_constant = float((acts.values - acts.values.mean(dim=0)).square().sum())
    assert error(fitted_once(method)) < 0.7 * best_constant
    assert error(fitted_once("random")) > 0.7 * best_constant


def test_the_same_seed_gives_the_same_bits_and_touches_no_global_state(method, acts):
    torch_state, numpy_state, before = (
        torch.get_rng_state(),
        np.random.get_state()[1].copy(),  # noqa: NPY002
        acts.values.clone(),
    )
    first = METHODS[method](acts)
    assert torch.equal(torch.get_rng_state(), torch_state)
    second = METHODS[method](acts)
    second.encode(acts)
    for name, tensor in tensors(first).items():
        assert torch.equal(tensor, tensors(second)[name]), name
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(acts.values, before)
    assert not first.directions.requires_grad


def test_recorded_rows_and_bare_rows_give_the_same(method, acts):
    bare = METHODS[method](acts.values)
    assert torch.equal(bare.directions, METHODS[method](acts).directions)
    assert bare.site == ""
    assert torch.equal(bare.encode(acts), bare.encode(acts.values))


def test_provenance_says_from_what_and_how(fitted, method, acts):
    provenance = fitted.provenance
    assert (provenance.method, provenance.site, provenance.model) == (method, "L1.mlp", "tiny")
    assert (provenance.corpus_hash, provenance.selection) == ("abc", "all tokens")
    assert provenance.seed == (3 if method in SEEDED else None)
    assert provenance.parameters["rows"] > 0
    assert provenance.to_dict()["parameters"]


def test_a_dictionary_is_frozen(fitted, method, acts):
    with pytest.raises(dataclasses.FrozenInstanceError):
        fitted.directions = torch.zeros(1, 1)


def test_another_site_another_width_and_nan_are_refused(fitted, method, acts):
    dictionary = fitted
    with pytest.raises(InputError, match=r"'L2\.mlp'.*'L1\.mlp'"):
        dictionary.encode(recorded(acts.values, "L2.mlp"))
    with pytest.raises(InputError, match="25 wide, the dictionary 24"):
        dictionary.encode(torch.zeros(3, WIDTH + 1))
    with pytest.raises(InputError, match="5 wide, the dictionary has 4"):
        dictionary.decode(torch.zeros(3, N_FEATURES + 1))
    with pytest.raises(InputError, match="row 1 "):
        dictionary.encode(torch.stack([torch.zeros(WIDTH), torch.full((WIDTH,), torch.inf)]))
    assert dictionary.encode(acts.values[:0]).shape == (0, N_FEATURES)


def test_fitting_refuses_nan_by_its_context_and_empty_and_zero(method, acts):
    broken = acts.values.clone()
    broken[10, 3] = torch.nan
    # Difference in means is fitted on every fifth row, where row 10 is the third of its part.
    with pytest.raises(
        InputError, match=r"row \d+: token '#2' at position 2 of input 1 \('text 1'\)"
    ):
        METHODS[method](recorded(broken))
    with pytest.raises(InputError, match="empty"):
        METHODS[method](recorded(acts.values[:0]))
    with pytest.raises(InputError, match="zero"):
        METHODS[method](recorded(torch.zeros(50, WIDTH)))


@pytest.mark.parametrize("method", sorted(COUNTED))
def test_impossible_numbers_of_features_are_refused(method, acts):
    with pytest.raises(InputError, match="n_features is 0"):
        COUNTED[method](acts, 0)
    if method != "random":
        with pytest.raises(InputError, match="n_features is 201"):
            COUNTED[method](acts, 201)


def test_a_saved_dictionary_comes_back_bit_for_bit(fitted, method, acts, tmp_path):
    dictionary = fitted
    dictionary.save(tmp_path / "saved")
    loaded = load_dictionary(tmp_path / "saved")
    assert type(loaded) is type(dictionary)
    assert loaded.provenance.to_dict() == dictionary.provenance.to_dict()
    for name, value in vars(dictionary).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(loaded, name), value), name
        elif name != "provenance":
            assert getattr(loaded, name) == value
    assert torch.equal(loaded.encode(acts), dictionary.encode(acts))


def test_constant_columns_and_zero_rows_are_handled(method, acts):
    values = acts.values.clone()
    values[:, 0], values[:, 1] = 0.0, 7.0
    values[20:40] = 0.0
    dictionary = METHODS[method](recorded(values))
    assert bool(torch.isfinite(dictionary.encode(recorded(values))).all())
    torch.testing.assert_close(dictionary.directions.norm(dim=1), torch.ones(N_FEATURES))


def test_it_shows_itself_with_its_site_escaped(method, acts):
    page = METHODS[method](recorded(acts.values, "<script>"))._repr_html_()
    assert "&lt;script&gt;" in page
    assert "4 features × 24" in page
