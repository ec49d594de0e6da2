"""Interchange interventions: does a place in a network hold a high-level model's variable?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from scipy.stats import binomtest
from torch import Tensor

from interp.causal.wiring.examples import whole_examples
from interp.core import InputError, Score
from interp.models.protocol import Batch, Call, Hook, Model, Prepared

TOLERANCE = 1e-3


@dataclass(frozen=True)
class Interchanges:
    """Pairs of inputs with the high-level model's answer to the base when its variable has the
    source's value: `expected [pair]`, token ids or classes. Inputs are a sequence or a tensor.

    Raises:
        InputError: bases, sources and answers differ in number, or there are none.
    """

    base: Any
    source: Any
    expected: Int[Tensor, " pair"]

    def __post_init__(self) -> None:
        sizes = len(self.base), len(self.source), len(self.expected)
        if len(set(sizes)) != 1 or not sizes[0]:
            raise InputError(
                f"{sizes[0]} bases, {sizes[1]} sources and {sizes[2]} answers were given; give one "
                "of each for every pair"
            )

    def __len__(self) -> int:
        return len(self.expected)

    def take(self, pairs: Int[np.ndarray, " chosen"]) -> "Interchanges":
        """Some of the pairs."""
        return Interchanges(
            _taken(self.base, pairs),
            _taken(self.source, pairs),
            self.expected[torch.from_numpy(pairs)],
        )

    def split(self, share: float = 0.5, *, seed: int) -> tuple["Interchanges", "Interchanges"]:
        """Two disjoint sets, the first with `share` of the pairs, drawn at random.

        Raises:
            InputError: one of them would be empty.
        """
        first = round(share * len(self))
        if not 0 < first < len(self):
            raise InputError(
                f"share {share} of {len(self)} pairs leaves one side empty; give more pairs or "
                "another share"
            )
        order = np.random.default_rng(seed).permutation(len(self))
        return self.take(order[:first]), self.take(order[first:])


@dataclass(frozen=True)
class Place:
    """Where a variable may lie: a site, a token position (negative from each input's last token;
    None: all), a subspace of the site.

    `subspace [k, d]` holds orthonormal rows; None is the whole site. At image sites
    `[batch, channel, y, x]` every pixel is meant, whatever `position` says.

    Raises:
        InputError: the rows are not orthonormal.
    """

    site: str
    subspace: Float[Tensor, "k d"] | None = None
    position: int | None = -1

    def __post_init__(self) -> None:
        if self.subspace is None:
            return
        off = float(
            (
                self.subspace.detach() @ self.subspace.detach().T
                - torch.eye(len(self.subspace)).to(self.subspace)
            )
            .abs()
            .max()
        )
        if not off < TOLERANCE:
            raise InputError(
                f"the rows of a subspace must be orthonormal, these are off by {off:.3g}; "
                "torch.linalg.qr(rows.T).Q.T makes them so"
            )


def interchange_accuracy(
    model: Model,
    pairs: Interchanges,
    place: Place,
    *,
    control: Place | None = None,
    seed: int = 0,
    batch_size: int | None = None,
) -> Score:
    """IIA: the share of pairs where the network, run on the base with the source's value in place,
    answers as the high-level model does.

    The answer is the largest logit, at each input's last token for a language model. The value is
    replaced by `x + P (x' − x)`, with P the projection on the subspace and x' the source's value.
    The control is the same share with `control` in place of `place` (an unrelated site, say); by
    default a random subspace of the same size, drawn with `seed`, and for a whole site no
    interchange. The interval is exact (Clopper & Pearson 1934).

    Raises:
        InputError: a site or position does not exist, base and source differ in length (all
            positions), or the subspace is not as wide as the site.

    Source: Geiger et al. 2021 (interchange interventions), 2023 (of subspaces).

    Cost: one forward pass over the sources up to the place and one over the bases; the same for
    the control.

    Example:
        >>> interchange_accuracy(
        ...     model, Interchanges(prompts, others, answers), Place("L8.resid_post")
        ... )
    """
    hits = _hits(model, pairs, place, batch_size)
    other = control or _random_place(place, seed)
    chance = (
        _hits(model, pairs, other, batch_size) if other else _unchanged(model, pairs, batch_size)
    )
    between = binomtest(int(hits.sum()), len(pairs)).proportion_ci(0.95, method="exact")
    value, low, high = float(hits.float().mean()), float(between.low), float(between.high)
    return Score(
        value,
        low,
        high,
        n=len(pairs),
        seed=seed,
        control=float(chance.float().mean()),
        interval="exact binomial 95%",
    )


def random_subspace(k: int, d: int, *, seed: int) -> Float[Tensor, "k d"]:
    """Orthonormal rows that span a uniformly random subspace.

    Raises:
        InputError: `k` is not between 1 and `d`.
    """
    if not 1 <= k <= d:
        raise InputError(
            f"a subspace of {k} dimensions was asked for; a site of width {d} has subspaces of 1 "
            f"to {d}"
        )
    drawn = torch.randn(d, k, generator=torch.Generator().manual_seed(seed))
    return torch.linalg.qr(drawn).Q.T.contiguous()


@torch.no_grad()
def values_at(
    model: Model, inputs: Any, place: Place, batch_size: int | None = None
) -> list[Float[Tensor, "_ d"]]:
    """The site's value on every input, at the place's positions.

    Raises:
        InputError: the site or the position does not exist.

    Cost: one forward pass as far as the site.
    """
    prepared = whole_examples(model.prepare(inputs, batch_size))
    found: dict[int, Tensor] = {}
    for batch in prepared.batches:
        model.run(batch, {place.site: _keeping(found, batch, place)}, stop_after=place.site)
    return [found[item] for item in range(len(prepared.items))]


def interchanged_output(
    model: Model, batch: Batch, stored: Sequence[Float[Tensor, "_ d"]], place: Place
) -> Float[Tensor, "row out"]:
    """The network's output (for a language model at each input's last token) on a batch of bases
    with the sources' values in place; `stored` are those of all inputs, by number.

    Gradients reach the subspace.
    """
    return answers(model.run(batch, {place.site: _swapping(stored, batch, place)}), batch)


def answers(output: Float[Tensor, "row *axes"], batch: Batch) -> Float[Tensor, "row out"]:
    """The logits that hold a network's answer: a classifier's, or a language model's at each
    input's last token.

    Raises:
        InputError: the output is neither.
    """
    if output.ndim not in (2, 3):
        raise InputError(
            f"the network's output has shape {tuple(output.shape)}; logits [row, class] or [row, "
            "position, token] are needed"
        )
    if output.ndim == 2:
        return output
    places = torch.arange(output.shape[1], device=output.device)
    last = (
        len(places) - 1
        if batch.keep is None
        else (batch.keep.to(output.device) * places).argmax(dim=1)
    )
    return output[torch.arange(len(output), device=output.device), last]


@torch.no_grad()
def _hits(
    model: Model, pairs: Interchanges, place: Place, batch_size: int | None
) -> Bool[Tensor, " pair"]:
    stored = values_at(model, pairs.source, place, batch_size)
    return _right(
        pairs,
        whole_examples(model.prepare(pairs.base, batch_size)),
        lambda batch: interchanged_output(model, batch, stored, place),
    )


@torch.no_grad()
def _unchanged(model: Model, pairs: Interchanges, batch_size: int | None) -> Bool[Tensor, " pair"]:
    return _right(
        pairs,
        whole_examples(model.prepare(pairs.base, batch_size)),
        lambda batch: answers(model.run(batch), batch),
    )


def _right(
    pairs: Interchanges, prepared: Prepared, run: Callable[[Batch], Tensor]
) -> Bool[Tensor, " pair"]:
    found = torch.empty(len(pairs), dtype=torch.long)
    for batch in prepared.batches:
        found[torch.from_numpy(batch.items)] = run(batch).argmax(dim=-1).cpu()
    return found == pairs.expected.cpu()


def _random_place(place: Place, seed: int) -> Place | None:
    """A random subspace of the same size; None where that is the whole site."""
    if place.subspace is None or place.subspace.shape[0] == place.subspace.shape[1]:
        return None
    return Place(
        place.site,
        random_subspace(*place.subspace.shape, seed=seed).to(place.subspace),
        place.position,
    )


def _keeping(found: dict[int, Tensor], batch: Batch, place: Place) -> Hook:
    def hook(value: Tensor, call: Call) -> None:
        rows = _as_rows(value)
        for item, row, chosen in zip(
            batch.items.tolist(), rows, _chosen(value, rows, call, batch, place), strict=True
        ):
            found[item] = row[chosen].detach()

    return hook


def _swapping(stored: Sequence[Tensor], batch: Batch, place: Place) -> Hook:
    def hook(value: Tensor, call: Call) -> Tensor:
        rows = _as_rows(value)
        chosen = _chosen(value, rows, call, batch, place)
        other = rows.detach().clone()
        other[chosen] = torch.cat(_fitting(stored, batch, chosen)).to(rows)
        change = other - rows
        if place.subspace is not None:
            change = _projected(change, place)
        return _shaped_as(value, torch.where(chosen[..., None], rows + change, rows))

    return hook


def _projected(
    change: Float[Tensor, "row position d"], place: Place
) -> Float[Tensor, "row position d"]:
    assert place.subspace is not None
    if place.subspace.shape[1] != change.shape[-1]:
        raise InputError(
            f"the subspace is {place.subspace.shape[1]} wide but {place.site} {change.shape[-1]}; "
            "use a subspace of that site"
        )
    basis = place.subspace.to(change)
    return (change @ basis.T) @ basis


def _fitting(
    stored: Sequence[Tensor], batch: Batch, chosen: Bool[Tensor, "row position"]
) -> list[Tensor]:
    """The sources' values for a batch, checked to have the bases' number of positions."""
    values = [stored[item] for item in batch.items.tolist()]
    for item, value, count in zip(
        batch.items.tolist(), values, chosen.sum(dim=1).tolist(), strict=True
    ):
        if len(value) != count:
            raise InputError(
                f"base {item} has {count} positions and its source {len(value)}; give sources as "
                "long as their bases, or one position"
            )
    return values


def _chosen(
    value: Tensor, rows: Tensor, call: Call, batch: Batch, place: Place
) -> Bool[Tensor, "row position"]:
    """Which positions belong to the place."""
    plain = torch.arange(rows.shape[1], device=rows.device).expand(rows.shape[:2])
    positions = plain if call.positions is None else call.positions.to(rows.device)
    if place.position is None or value.ndim == 4:
        return positions >= 0
    lengths = positions.amax(dim=1, keepdim=True) + 1
    chosen = positions == (place.position if place.position >= 0 else lengths + place.position)
    # Padding has position −1, which a negative position before the first token may equal.
    chosen = chosen & (positions >= 0)
    missing = torch.nonzero(~chosen.any(dim=1))[:, 0]
    if len(missing):
        item, length = int(batch.items[int(missing[0])]), int(lengths[missing[0]])
        raise InputError(
            f"position {place.position} does not exist in input {item} of {length} positions; give "
            f"one from {-length} to {length - 1}"
        )
    return chosen


def _as_rows(value: Float[Tensor, "row *axes"]) -> Float[Tensor, "row position d"]:
    """Features last, everything between rows and features in one axis."""
    return rearrange(
        value, "row d y x -> row (y x) d" if value.ndim == 4 else "row ... d -> row (...) d"
    )


def _shaped_as(
    value: Float[Tensor, "row *axes"], rows: Float[Tensor, "row position d"]
) -> Float[Tensor, "row *axes"]:
    if value.ndim != 4:
        return rows.reshape(value.shape)
    return rearrange(rows, "row (y x) d -> row d y x", y=value.shape[2])


def _taken(inputs: Any, chosen: Int[np.ndarray, " chosen"]) -> Any:
    return (
        inputs[torch.from_numpy(chosen)]
        if isinstance(inputs, Tensor)
        else [inputs[number] for number in chosen.tolist()]
    )
