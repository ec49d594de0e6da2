"""Distributed alignment search: learn the subspace of a site whose interchange swaps a variable."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.features.interchange import (
    Interchanges,
    Place,
    interchange_accuracy,
    interchanged_output,
    random_subspace,
    values_at,
)
from interp.causal.wiring.examples import whole_examples
from interp.core import InputError, Progress, Provenance, Score, silent, text_hash
from interp.models.protocol import Model


@dataclass(frozen=True)
class Alignment:
    """A learned subspace and how well it holds its variable on held-out pairs.

    `accuracy` is the interchange accuracy there, its control that of a random subspace of the same
    size. `losses [step]` is the training cross-entropy in nats.
    """

    place: Place
    accuracy: Score
    losses: Float[np.ndarray, " step"]
    provenance: Provenance


def align(
    model: Model,
    fit: Interchanges,
    held_out: Interchanges,
    site: str,
    *,
    position: int | None = -1,
    n_dims: int = 32,
    epochs: int = 3,
    learning_rate: float = 1e-2,
    batch_size: int = 32,
    seed: int = 0,
    progress: Progress = silent,
) -> Alignment:
    """The `n_dims` dimensions of a site (at most its width) whose interchange makes the network
    answer as the high-level model does.

    Minimises, over subspaces with orthonormal basis R, the cross-entropy of the network's output
    with `x + RᵀR (x' − x)` at the place against `fit.expected`, by Adam. R is the Q of a QR
    decomposition, so it is orthonormal at every step. The network's weights stay fixed. Accuracy
    reaches 1 before the subspace converges: if its directions matter, take more epochs.

    Args:
        fit: pairs to learn from; `held_out`: other pairs, to measure the accuracy on.
        position: the token position to interchange, negative from the end; None: all.

    Raises:
        InputError: a number is out of range, or as `interchange_accuracy` raises.

    Source: Geiger et al. 2023; dimensions, epochs, rate and batch of the MIB benchmark (Mueller et
    al. 2025).

    Cost: `epochs` forward and backward passes over the bases of `fit`, one forward pass over its
    sources, whose activations stay in memory.

    Example:
        >>> fit, held_out = Interchanges(prompts, others, answers).split(seed=0)
        >>> print(align(model, fit, held_out, "L8.resid_post", n_dims=1).accuracy)
    """
    for name, value in (("n_dims", n_dims), ("epochs", epochs), ("batch_size", batch_size)):
        if value < 1:
            raise InputError(f"{name} is {value}; give at least 1")
    if not learning_rate > 0:
        raise InputError(
            f"learning_rate is {learning_rate}; give a positive number (1e-2 is usual)"
        )
    start = time.perf_counter()
    stored = values_at(model, fit.source, Place(site, None, position))
    width = stored[0].shape[-1]
    search = _Search(
        model,
        fit,
        stored,
        Place(site, random_subspace(min(n_dims, width), width, seed=seed), position),
        learning_rate,
    )
    losses: list[float] = []
    for epoch in range(epochs):
        losses += search.epoch(
            np.random.default_rng([seed, epoch]).permutation(len(fit)), batch_size
        )
        progress("distributed alignment search", epoch + 1, epochs, "epoch")
    place = search.place
    # Not the seed of the start: the control must be unrelated to where the search began.
    accuracy = interchange_accuracy(model, held_out, place, seed=seed + 1)
    parameters = {
        "n_dims": min(n_dims, width),
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
    }
    provenance = Provenance(
        "das",
        parameters=parameters | {"fit": len(fit), "held_out": len(held_out)},
        seed=seed,
        model=model.name,
        weight_hash=model.weight_hash,
        corpus_hash=text_hash(model.prepare(fit.base).items),
        site=site,
        selection="every position" if position is None else f"position {position}",
        cost={"seconds": time.perf_counter() - start, "steps": len(losses)},
    )
    return Alignment(place, accuracy, np.array(losses), provenance)


class _Search:
    """A matrix whose orthonormalised columns span the subspace, and its optimiser."""

    def __init__(
        self,
        model: Model,
        fit: Interchanges,
        stored: list[Float[Tensor, "_ d"]],
        start: Place,
        learning_rate: float,
    ) -> None:
        assert start.subspace is not None
        self._model, self._fit, self._stored, self._start = model, fit, stored, start
        self._matrix = start.subspace.T.clone().to(stored[0].device).requires_grad_()
        self._optimiser = torch.optim.Adam([self._matrix], lr=learning_rate)

    @property
    def place(self) -> Place:
        """The subspace as it is now."""
        with torch.no_grad():
            return self._at(self._basis().clone())

    def epoch(self, order: np.ndarray, batch_size: int) -> list[float]:
        """One pass over the pairs; the loss of every step."""
        losses = []
        for begin in range(0, len(order), batch_size):
            chosen = order[begin : begin + batch_size]
            pairs, stored = self._fit.take(chosen), [self._stored[number] for number in chosen]
            losses.append(self._step(pairs, stored))
        return losses

    def _step(self, pairs: Interchanges, stored: list[Float[Tensor, "_ d"]]) -> float:
        # One step per call, however many batches the model splits the pairs into: each batch's loss
        # is divided by the number of pairs, and the gradients add up.
        total, gradient = 0.0, torch.zeros_like(self._matrix)
        for batch in whole_examples(self._model.prepare(pairs.base)).batches:
            with torch.enable_grad():
                output = interchanged_output(self._model, batch, stored, self._at(self._basis()))
                expected = pairs.expected[torch.from_numpy(batch.items)].to(output.device)
                loss = torch.nn.functional.cross_entropy(
                    output.float(), expected, reduction="sum"
                ) / len(pairs)
                # Not backward(): the network's parameters must not collect gradients.
                gradient += torch.autograd.grad(loss, self._matrix)[0]
            total += loss.item()
        self._matrix.grad = gradient
        self._optimiser.step()
        return total

    def _basis(self) -> Float[Tensor, "k d"]:
        # Recomputed for every batch, because taking its gradient frees the graph.
        basis: Tensor = torch.linalg.qr(self._matrix).Q.T
        return basis

    def _at(self, subspace: Float[Tensor, "k d"]) -> Place:
        return Place(self._start.site, subspace, self._start.position)
