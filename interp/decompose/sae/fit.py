"""Sparse autoencoders on recorded activations: top-k, batch-top-k, JumpReLU and gated."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, InputError, Progress, silent
from interp.core.activations import values_of
from interp.core.names import require_known
from interp.decompose.checks import (
    fitted_from,
    require_n_features,
    require_positive,
    require_rows,
    row_chunks,
)
from interp.decompose.dictionary import Dictionary, Method
from interp.decompose.sae.rules import Variant
from interp.decompose.sae.training import Settings, Trained, top_k, train
from interp.decompose.storage import stored

L0_ROWS = 8192


@stored
@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sae(Dictionary):
    """A sparse autoencoder:
    `coefficients = gain · activation((acts − offset) @ encoder + encoder_bias)`, decoded by unit
    directions plus the offset.

    The activation of "topk" is ReLU, then the row's `k` largest; of other variants, ReLU where the
    latent exceeds its feature's `threshold` (which covers tied gated autoencoders: Rajamanoharan et
    al. 2024, section 3.2). `encoder [d, feature]`, `encoder_bias` and `threshold [feature]` act on
    raw activations. `gain [feature]` is 1 unless a public autoencoder's decoder rows have other
    norms. `k` is the number of active coefficients trained for (0: not known). `trace [step]` is
    the relative squared error of each training batch (empty if trained elsewhere).
    """

    encoder: Float[Tensor, "d feature"]
    encoder_bias: Float[Tensor, " feature"]
    threshold: Float[Tensor, " feature"]
    gain: Float[Tensor, " feature"]
    variant: str
    k: int
    trace: Float[Tensor, " step"]

    method: ClassVar[Method] = "sae"

    @property
    def l0(self) -> float | None:
        """The mean number of active coefficients reached on at most 8,192 of the fitted rows; None
        if not known.
        """
        reached = self.provenance.parameters.get("l0")
        return None if reached is None else float(reached)

    def _encode(self, values: Float[Tensor, "row d"]) -> Float[Tensor, "row feature"]:
        latents = (values - self.offset) @ self.encoder + self.encoder_bias
        if self.variant == "topk":
            return self.gain * top_k(latents, self.k)
        return self.gain * torch.where(latents > self.threshold, latents.relu(), 0.0)


def fit_sae(
    acts: Activations | Float[Tensor, "row d"],
    n_features: int,
    *,
    variant: Variant = "topk",
    k: int = 8,
    steps: int = 3000,
    batch_size: int = 512,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: Progress = silent,
) -> Sae:
    """Train a sparse autoencoder.

    `min E‖acts − decode(activation(encode(acts − offset)))‖²/energy + auxiliary/32`, where the
    auxiliary loss lets dead latents reconstruct the residual and `energy` is the squared distance
    of the rows from their mean. Inputs are scaled by one number, folded back at the end; the
    decoder starts as the encoder's transpose and keeps rows of unit norm; the learning rate warms
    up over the first 5 % of the steps and decays linearly over the last 20 %. The variants reach
    `k` active features per row (`sae.l0` says how closely) in different ways:

    - "topk": the k largest of every row;
    - "batch_topk": the k·batch largest of a batch; for single rows one threshold, the mean of the
    smallest value kept in 16 batches;
    - "jumprelu": a learned threshold per feature (rectangular kernel), with penalty `(L0/k − 1)²`;
    - "gated": a gate and a magnitude with tied weights, and an L1 penalty on the gate whose weight
    adapts until L0 is about k.

    Args:
        acts: `[row, d]`; batches are drawn with replacement and converted to float32.
        n_features: at most the number of rows.
        k: active features per row, at most `n_features`; an upper bound for "topk", otherwise a
            mean.
        steps: steps of Adam.
        learning_rate: for rows scaled to a root mean square of 1 per entry.

    Raises:
        InputError: an argument is out of range, or the activations are empty, not finite or all
            zero.

    Source: Gao et al. 2024 (arXiv 2406.04093), sections 2.3 and A; Bussmann et al. 2024
    (2412.06410), section 3; Rajamanoharan et al. 2024 (2407.14435), sections 3 and 4; Rajamanoharan
    et al. 2024 (2404.16014), section 3. Cost: `2·steps·batch·d·(feature + 5·k)` FLOP, gated `2·k`
    more; memory 4 × the parameters.

    Example:
        >>> sae = fit_sae(acts, 100, k=8, seed=0)
        >>> (sae.encode(acts) > 0).sum(dim=1).max()
    """
    (sae,) = sweep_sae(
        acts,
        n_features,
        (k,),
        variant=variant,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        progress=progress,
    )
    return sae


def sweep_sae(
    acts: Activations | Float[Tensor, "row d"],
    n_features: int,
    ks: Sequence[int] = (4, 8, 16, 32),
    *,
    variant: Variant = "topk",
    steps: int = 3000,
    batch_size: int = 512,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Sae, ...]:
    """Train one sparse autoencoder for each of `ks` in one pass over the data.

    Each equals `fit_sae` with that `k` and the same other arguments; batches are read and scaled
    once for all.

    Raises:
        InputError: as `fit_sae`; or no `k` is given.

    Example:
        >>> [
        ...     (sae.k, interp.decompose.reconstruction(sae, held_out).explained_variance.value)
        ...     for sae in sweep_sae(acts, 400)
        ... ]
    """
    values = require_rows(acts)
    require_n_features(n_features, len(values), "the number of rows")
    require_positive({"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate})
    require_known("variant", variant, get_args(Variant))
    if not ks:
        raise InputError("no k was given; give at least one number of active features")
    for k in ks:
        if not 1 <= k <= n_features:
            raise InputError(f"k is {k}; expected between 1 and n_features={n_features}")
    started = time.perf_counter()
    settings = Settings(
        n_features=n_features,
        variant=variant,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
    )
    trained = train(values, tuple(ks), settings, seed, progress)
    cost = {"seconds": time.perf_counter() - started, "trained_together": len(ks)}
    return tuple(
        _finished(acts, own, asdict(settings) | {"k": k}, seed, cost)
        for own, k in zip(trained, ks, strict=True)
    )


def _finished(
    acts: Activations | Float[Tensor, "row d"],
    trained: Trained,
    parameters: Mapping[str, Any],
    seed: int,
    cost: Mapping[str, float],
) -> Sae:
    parameters = {**parameters, "scale": trained.scale}
    sae = Sae(
        directions=trained.decoder,
        offset=trained.offset,
        provenance=fitted_from(acts, "sae", parameters, seed, cost),
        encoder=trained.encoder,
        encoder_bias=trained.bias,
        threshold=trained.threshold,
        gain=torch.ones_like(trained.bias),
        variant=parameters["variant"],
        k=parameters["k"],
        trace=trained.trace,
    )
    parameters["l0"] = _mean_active(sae, values_of(acts))
    return replace(sae, provenance=fitted_from(acts, "sae", parameters, seed, cost))


def _mean_active(sae: Sae, values: Float[Tensor, "row d"]) -> float:
    """The mean number of active coefficients of evenly spaced rows."""
    rows = values[:: -(-len(values) // L0_ROWS)]
    return sum(int((sae.encode(chunk) > 0).sum()) for _, chunk in row_chunks(rows)) / len(rows)
