"""Semi-NMF and sparse autoencoders as scikit-learn transformers, for pipelines and grid searches.

`transform` is `Dictionary.encode`, `inverse_transform` is `Dictionary.decode`, parameters are those
of `fit_snmf` and `fit_sae`, and the fitted `Dictionary` is the attribute `dictionary_`. Importing
this module imports scikit-learn.

`sklearn.utils.estimator_checks.check_estimator` passes. Arithmetic and results are float32 for any
input; the tag `preserves_dtype` says so, which skips the check that float64 stays float64.
"""

from typing import Any, TypeVar, no_type_check

import numpy as np
import torch
from jaxtyping import Float32
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from interp.decompose.dictionary import Dictionary
from interp.decompose.sae.fit import fit_sae
from interp.decompose.sae.rules import Variant
from interp.decompose.snmf.fit import fit_snmf
from interp.decompose.snmf.one_fit import DirectionStep, Solver
from interp.decompose.snmf.starts import Init

Fitted = TypeVar("Fitted", bound="_Decomposition")


class _Decomposition(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Shared: checking rows, and encoding and decoding with the fitted dictionary."""

    dictionary_: Dictionary

    def fit(self: Fitted, X: object, y: object = None) -> Fitted:
        """Fit to anything array-like `[row, d]`; `y` is ignored. Errors and warnings are those of
        the wrapped function.
        """
        rows = validate_data(self, X, dtype=np.float32, ensure_min_samples=2)
        # A copy: scikit-learn may give read-only arrays, which torch refuses.
        self.dictionary_ = self._fitted(torch.tensor(rows))
        return self

    def transform(self, X: object) -> Float32[np.ndarray, "row feature"]:
        """The coefficients of rows: `dictionary_.encode`."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float32, reset=False)
        coefficients: np.ndarray = self.dictionary_.encode(torch.tensor(rows)).numpy()
        return coefficients

    def inverse_transform(self, X: object) -> Float32[np.ndarray, "row d"]:
        """Rows from coefficients: `dictionary_.decode`."""
        check_is_fitted(self)
        rows: np.ndarray = self.dictionary_.decode(
            torch.tensor(np.asarray(X, dtype=np.float32))
        ).numpy()
        return rows

    def _fitted(self, rows: torch.Tensor) -> Dictionary:
        raise NotImplementedError

    @property
    def _n_features_out(self) -> int:
        return len(self.dictionary_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


class SemiNMF(_Decomposition):
    """`interp.fit_snmf` as a transformer, with the same parameters.

    Example:
        >>> make_pipeline(SemiNMF(50, sparsity=0.02), LogisticRegression()).fit(rows, labels)
    """

    # No checks here, not even of annotations: scikit-learn expects them in `fit`.
    @no_type_check
    def __init__(
        self,
        n_features: int = 8,
        *,
        sparsity: float = 0.01,
        coefficient_sparsity: float = 0.0,
        solver: Solver = "hals",
        direction_step: DirectionStep = "least_squares",
        init: Init = "kmeans",
        start: Any = None,
        max_iterations: int = 500,
        tolerance: float = 1e-4,
        patience: int = 10,
        annealing: int = 20,
        restarts: int = 1,
        seed: int = 0,
    ) -> None:
        self.n_features = n_features
        self.sparsity = sparsity
        self.coefficient_sparsity = coefficient_sparsity
        self.solver = solver
        self.direction_step = direction_step
        self.init = init
        self.start = start
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.patience = patience
        self.annealing = annealing
        self.restarts = restarts
        self.seed = seed

    def _fitted(self, rows: torch.Tensor) -> Dictionary:
        options = self.get_params(deep=False)
        if options["start"] is not None:
            options["start"] = torch.as_tensor(options["start"])
        return fit_snmf(rows, **options)


class SparseAutoencoder(_Decomposition):
    """`interp.fit_sae` as a transformer, with the same parameters.

    Example:
        >>> SparseAutoencoder(50, k=4).fit_transform(rows)
    """

    @no_type_check
    def __init__(
        self,
        n_features: int = 8,
        *,
        variant: Variant = "topk",
        k: int = 8,
        steps: int = 3000,
        batch_size: int = 512,
        learning_rate: float = 2e-3,
        seed: int = 0,
    ) -> None:
        self.n_features = n_features
        self.variant = variant
        self.k = k
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.seed = seed

    def _fitted(self, rows: torch.Tensor) -> Dictionary:
        return fit_sae(rows, **self.get_params(deep=False))
