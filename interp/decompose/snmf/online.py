"""Semi-NMF of a stream: each batch is seen once, and only two sums are kept."""

import math
import time
import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, ConvergenceWarning, InputError
from interp.core.activations import values_of
from interp.decompose.checks import (
    fitted_from,
    require_n_features,
    require_positive,
    require_rows,
    require_sparsity,
    row_chunks,
)
from interp.decompose.snmf.alternation import winners
from interp.decompose.snmf.fit import Snmf, fit_snmf
from interp.decompose.snmf.nnls import solve_nnls
from interp.decompose.snmf.scaled import MASSIVE

FIRST_ROWS = 4096
FIRST_PER_FEATURE = 40
SWEEPS = 5
UNUSED = 1e-6


class SnmfStream:
    """A semi-NMF updated batch by batch, for activations that are not stored.

    `min Σ over rows seen of weight · ‖row − coefficients @ directions‖²` under the constraints of
    `fit_snmf`, which fits the first rows (4096, or 40 per feature). Each later batch is encoded by
    the current directions and added to `gram = Σ coefficientsᵀ coefficients` and
    `cross = Σ coefficientsᵀ rows`, in which older rows fade; each direction in turn then becomes
    the best one for the sums. Features without weight restart from the worst explained row. Rows
    that are massive compared to the first ones enter at an ordinary norm.

    Args:
        n_features: at most the number of first rows.
        sparsity: fraction of the d entries that a direction keeps.
        window: number of rows that count: the sums are multiplied by `1 − batch/window` before a
            batch is added.
        seed: of the first fit.

    Raises:
        InputError: an argument is out of range.

    Source: Mairal, Bach, Ponce & Sapiro 2010 (JMLR 11, algorithms 1 and 2), with winner-take-all.
    Cost: `4·row·d·feature` FLOP per batch and `10·feature²·d` for the directions; memory
    `feature·(feature + d)`.

    Example:
        >>> stream = SnmfStream(100)
        >>> for texts in parts:
        ...     stream.update(interp.record(model, texts, "L15.mlp"))
        >>> snmf = stream.finish()
    """

    def __init__(
        self, n_features: int, *, sparsity: float = 0.01, window: int = 200_000, seed: int = 0
    ) -> None:
        require_n_features(n_features)
        require_sparsity(sparsity)
        require_positive({"window": window})
        self.n_features, self.sparsity, self.window, self.seed = n_features, sparsity, window, seed
        self.rows = 0
        self.trace: list[float] = []
        self._started = time.perf_counter()
        self._source: Activations | Tensor | None = None
        self._gathered: list[Tensor] = []
        self._first: Snmf | None = None

    def update(self, batch: Activations | Float[Tensor, "row d"]) -> float | None:
        """Learn from a batch; the relative squared error on it before, or None while the first rows
        are gathered.

        Raises:
            InputError: the batch is empty, not finite, all zero, or of another site or width than
                the first.
        """
        values = require_rows(batch)
        self._require_same_source(batch)
        self.rows += len(values)
        if self._first is not None:
            errors = [self._learn(chunk) for _, chunk in row_chunks(values)]
            self.trace.append(sum(errors) / len(errors))
            return self.trace[-1]
        self._gathered.append(values[:].detach().to(torch.float32, copy=True))
        if sum(len(part) for part in self._gathered) >= max(
            FIRST_ROWS, FIRST_PER_FEATURE * self.n_features
        ):
            self._begin()
        return None

    def finish(self) -> Snmf:
        """The semi-NMF so far; the stream may go on.

        Its `trace` is each batch's error before learning from it; it counts as converged when the
        last update moved the directions by less than 1 %.

        Raises:
            InputError: fewer rows were seen than there are features.
        """
        if self._first is None:
            self._begin()
        assert self._first is not None
        assert self._source is not None
        parameters = {
            **self._first.provenance.parameters,
            "rows": self.rows,
            "window": self.window,
            "batches": len(self.trace),
            "streamed": True,
        }
        cost = {"seconds": time.perf_counter() - self._started}
        provenance = fitted_from(self._source, "snmf", parameters, self.seed, cost)
        return Snmf(
            directions=self._directions.clone(),
            offset=torch.zeros_like(self._directions[0]),
            provenance=provenance,
            trace=torch.tensor(self.trace or self._first.trace.tolist()),
            n_iterations=len(self.trace) or self._first.n_iterations,
            converged=self._moved < 0.01,
        )

    def _require_same_source(self, batch: Activations | Float[Tensor, "row d"]) -> None:
        if self._source is None:
            # One row is all that provenance needs.
            self._source = (
                batch.take(torch.zeros(1, dtype=torch.int64).numpy())
                if isinstance(batch, Activations)
                else batch[:1].clone()
            )
        site, width = _kind(self._source)
        own_site, own_width = _kind(batch)
        if (site, width) != (own_site, own_width):
            raise InputError(
                f"a batch of {own_site or 'bare rows'}, {own_width} wide, in a stream of "
                f"{site or 'bare rows'}, {width} wide; give every site a stream of its own"
            )

    @torch.no_grad()
    def _begin(self) -> None:
        """Fit the gathered rows and start the sums with them."""
        if not self._gathered:
            raise InputError(
                "the stream has seen no rows; update it with at least as many as there are features"
            )
        gathered, self._gathered = torch.cat(self._gathered), []
        with warnings.catch_warnings():
            # Later rows continue an unconverged first fit.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._first = fit_snmf(
                gathered,
                self.n_features,
                sparsity=self.sparsity,
                seed=self.seed,
                max_iterations=100,
            )
        self._directions, self._moved = self._first.directions, 0.0
        self._limit = float(self._first.provenance.parameters["massive_above_norm"])
        self._gram = torch.zeros(self.n_features, self.n_features, device=gathered.device)
        self._cross = torch.zeros_like(self._directions)
        for _, chunk in row_chunks(gathered):
            self._add(self._encoded(chunk), self._scaled(chunk))

    @torch.no_grad()
    def _learn(self, chunk: Float[Tensor, "row d"]) -> float:
        rows = self._scaled(chunk)
        coefficients = self._encoded(rows)
        residual = rows - coefficients.T @ self._directions
        error = float(
            residual.square().sum() / rows.square().sum().clamp(min=torch.finfo(rows.dtype).tiny)
        )
        self._add(coefficients, rows)
        self._refresh(residual)
        return error

    def _scaled(self, rows: Float[Tensor, "row d"]) -> Float[Tensor, "row d"]:
        """Massive rows at an ordinary norm."""
        norms = rows.norm(dim=1, keepdim=True)
        return torch.where(
            norms > self._limit, rows * (self._limit / MASSIVE) / norms.clamp(min=self._limit), rows
        )

    def _encoded(self, rows: Float[Tensor, "row d"]) -> Float[Tensor, "feature row"]:
        return solve_nnls(self._directions @ rows.T, self._directions @ self._directions.T)

    def _add(
        self, coefficients: Float[Tensor, "feature row"], rows: Float[Tensor, "row d"]
    ) -> None:
        kept = max(0.0, 1 - len(rows) / self.window)
        self._gram.mul_(kept).addmm_(coefficients, coefficients.T)
        self._cross.mul_(kept).addmm_(coefficients, rows)

    def _refresh(self, residual: Float[Tensor, "row d"]) -> None:
        """Minimise over each direction in turn; lengths move to the coefficients."""
        directions, curvature = self._directions.clone(), self._gram.diagonal().tolist()
        kept = math.ceil(self.sparsity * directions.shape[1] - 1e-9)
        used = [bend > UNUSED * max(curvature) for bend in curvature]
        for _ in range(SWEEPS):
            for feature, bend in enumerate(curvature):
                if used[feature]:
                    slope = self._cross[feature] - self._gram[feature] @ directions
                    wanted = directions[feature] + slope / bend
                    directions[feature] = winners(wanted[None], kept)[0]
        norms = directions.norm(dim=1)
        unused = [
            feature for feature, known in enumerate(used) if not known or float(norms[feature]) == 0
        ]
        norms[unused] = 0.0
        self._restart(directions, unused, residual, kept)
        lengths = directions.norm(dim=1).clamp(min=torch.finfo(norms.dtype).tiny)
        before, self._directions = self._directions, directions / lengths[:, None]
        self._gram *= norms[:, None] * norms
        self._cross *= norms[:, None]
        self._moved = float(1 - (before * self._directions).sum(dim=1).mean())

    def _restart(
        self,
        directions: Float[Tensor, "feature d"],
        unused: list[int],
        residual: Float[Tensor, "row d"],
        kept: int,
    ) -> None:
        """Point features without weight at residuals of the worst explained rows, in place."""
        worst = residual.norm(dim=1).topk(min(len(unused), len(residual)))
        for feature, size, row in zip(
            unused, worst.values.tolist(), worst.indices.tolist(), strict=False
        ):
            directions[feature] = (
                winners(residual[row][None], kept)[0] if size > 0 else self._directions[feature]
            )


def _kind(acts: Activations | Tensor) -> tuple[str, int]:
    return acts.site if isinstance(acts, Activations) else "", values_of(acts).shape[1]
