"""The scikit-learn façade: scikit-learn's own checks, and that it adds nothing to the functions it
wraps.
"""

import inspect
import warnings

import numpy as np
import planted
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from interp.core import InputError
from interp.decompose import fit_sae, fit_snmf
from interp.decompose.estimators import SemiNMF, SparseAutoencoder

VALUES, _ = planted.mixture(0, n_rows=90, width=12, n_features=3, support=4)
ROWS = VALUES.numpy()
QUICK = {"steps": 30, "batch_size": 16}
WRAPPED = [
    (SemiNMF(3, sparsity=0.4, seed=2), fit_snmf, {"sparsity": 0.4}),
    (SparseAutoencoder(3, k=1, seed=2, **QUICK), fit_sae, {"k": 1, **QUICK}),
]
BOTH = pytest.mark.parametrize(("estimator", "fit", "options"), WRAPPED, ids=["snmf", "sae"])


@pytest.mark.parametrize(
    "estimator",
    [
        SemiNMF(2, sparsity=1.0, max_iterations=5, annealing=2),
        SparseAutoencoder(2, k=1, steps=5, batch_size=8),
    ],
    ids=repr,
)
def test_the_checks_of_scikit_learn_pass(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    counts = {
        status: [own["check_name"] for own in results if own["status"] == status]
        for status in ("passed", "skipped")
    }
    wrong = {
        own["check_name"]: str(own["exception"]) for own in results if own["status"] not in counts
    }
    assert not wrong
    # The only one left out asks for arrays of other libraries, and only where SCIPY_ARRAY_API is
    # set.
    assert set(counts["skipped"]) <= {"check_array_api_input"}
    assert len(counts["passed"]) > 40


@BOTH
def test_it_is_the_function_it_wraps(estimator, fit, options):
    fitted = clone(estimator).fit(ROWS)
    dictionary = fit(VALUES, 3, seed=2, **options)
    assert torch.equal(fitted.dictionary_.directions, dictionary.directions)
    codes = fitted.transform(ROWS)
    assert np.array_equal(codes, dictionary.encode(VALUES).numpy())
    assert np.array_equal(
        fitted.inverse_transform(codes), dictionary.decode(torch.from_numpy(codes)).numpy()
    )
    assert fitted.dictionary_.provenance.parameters == dictionary.provenance.parameters


@BOTH
def test_rows_that_cannot_be_written_to_are_taken_without_a_warning(estimator, fit, options):
    rows = ROWS.copy()
    rows.flags.writeable = False
    assert np.array_equal(
        clone(estimator).fit_transform(rows), clone(estimator).fit_transform(ROWS)
    )


@BOTH
def test_its_parameters_are_those_of_the_function_with_their_defaults(estimator, fit, options):
    wanted = dict(inspect.signature(fit).parameters)
    del wanted["acts"], wanted["progress"]
    offered = inspect.signature(type(estimator)).parameters
    assert set(offered) == set(wanted)
    for name in set(wanted) - {"n_features"}:
        assert offered[name].default == wanted[name].default, name


@BOTH
def test_another_seed_is_another_fit_and_the_same_one_the_same(estimator, fit, options):
    first, again, other = (
        clone(estimator).set_params(seed=seed).fit_transform(ROWS) for seed in (2, 2, 7)
    )
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_it_works_in_a_pipeline_under_a_search():
    # Whether the second of two planted features is on: one direction for both cannot tell.
    on = np.random.default_rng(0).random((60, 2)) * np.tile([[1, 0], [0, 1]], (30, 1)) + 0.1
    rows = on @ np.eye(2, 6)
    pipeline = make_pipeline(SemiNMF(2, sparsity=1.0), LogisticRegression(C=100.0))
    search = GridSearchCV(pipeline, {"seminmf__n_features": [1, 2]}, cv=2).fit(
        rows, np.tile([0, 1], 30)
    )
    assert search.best_params_ == {"seminmf__n_features": 2}
    assert search.best_score_ > 0.9
    assert search.best_estimator_[0].get_feature_names_out().tolist() == ["seminmf0", "seminmf1"]


@BOTH
def test_mistakes_are_the_function_s_own_or_scikit_learn_s(estimator, fit, options):
    with pytest.raises(NotFittedError):
        clone(estimator).transform(ROWS)
    with pytest.raises(InputError, match="n_features is 0"):
        clone(estimator).set_params(n_features=0).fit(ROWS)
    with pytest.raises(ValueError, match="11 features, but"):
        clone(estimator).fit(ROWS).transform(ROWS[:, 1:])
    with pytest.raises(InputError, match="4 wide, the dictionary has 3 features"):
        clone(estimator).fit(ROWS).inverse_transform(np.ones((2, 4)))


def test_semi_nmf_starts_from_directions_given_as_an_array():
    rows = torch.as_tensor(ROWS)
    first = fit_snmf(rows, 3, sparsity=1.0)
    started = SemiNMF(3, sparsity=1.0, start=first.directions.numpy())
    again = fit_snmf(rows, 3, sparsity=1.0, start=first.directions)
    assert np.array_equal(started.fit(ROWS).dictionary_.directions, again.directions)
