"""record(): run a network over inputs and keep the activations of some sites."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from interp.capture.selection import TokenSelection
from interp.core import Activations, Contexts, InputError, Progress, Provenance, silent, text_hash
from interp.models.protocol import Batch, Call, Model, Prepared


@overload
def record(
    model: Model,
    inputs: Any,
    sites: str,
    *,
    selection: TokenSelection = ...,
    batch_size: int | None = ...,
    progress: Progress = ...,
) -> Activations: ...


@overload
def record(
    model: Model,
    inputs: Any,
    sites: Sequence[str],
    *,
    selection: TokenSelection = ...,
    batch_size: int | None = ...,
    progress: Progress = ...,
) -> dict[str, Activations]: ...


@torch.no_grad()
def record(
    model: Model,
    inputs: Any,
    sites: str | Sequence[str],
    *,
    selection: TokenSelection = TokenSelection(),  # noqa: B008 - frozen
    batch_size: int | None = None,
    progress: Progress = silent,
) -> Activations | dict[str, Activations]:
    """The activations of one site (or several, in one pass) while the network runs over the inputs.

    One row per token that `selection` keeps (language), per pixel and sampling step (UNet, images),
    or per input (vectors), in the order of the inputs. Nothing after the last site is computed.

    Args:
        inputs: what the network takes: texts, chats or token ids; a sampling plan; image tensors.
        sites: one site gives `Activations`, a list of sites a dict of them by the given names.
        batch_size: sequences (or images) per forward call (default: by length).

    Raises:
        InputError: a site does not exist, or no row is left.

    Cost: one forward pass per batch up to the last site; peak memory about 2 × the activations.

    Example:
        >>> acts = interp.record(model, ["The sea was calm.", "Stir the soup."], "L15.mlp")
    """
    several = isinstance(sites, Iterable) and not isinstance(sites, str)
    wanted: list[Any] = list(sites) if several else [sites]
    for site in wanted:
        if not isinstance(site, str):
            raise InputError(
                f"site is {site!r}; expected a name, like {next(iter(model.sites), 'L0.mlp')!r}; "
                "`model.sites` lists them"
            )
    if not wanted:
        raise InputError("no site was given; `model.sites` lists them")
    names = [model.sites.resolve(site) for site in wanted]
    start = time.perf_counter()
    prepared = model.prepare(inputs, batch_size)
    collectors = {name: _Collector(name, selection) for name in names}
    hooks = {name: collector.hook for name, collector in collectors.items()}
    for number, batch in enumerate(prepared.batches):
        model.run(batch, hooks, stop_after=names)
        progress("record", number + 1, len(prepared.batches), "batch")
    provenance = Provenance(
        "record",
        model=model.name,
        weight_hash=model.weight_hash,
        corpus_hash=text_hash(prepared.items),
        selection=str(selection) if prepared.tokens else "every position",
        cost={"seconds": time.perf_counter() - start, "forward_batches": len(prepared.batches)},
    )
    finished = {
        name: collector.finish(prepared, provenance) for name, collector in collectors.items()
    }
    if isinstance(sites, str):
        return finished[names[0]]
    return {site: finished[name] for site, name in zip(wanted, names, strict=True)}


@dataclass
class _Rows:
    """The rows of one hook call with their contexts."""

    values: Tensor
    item: np.ndarray
    position: np.ndarray
    step: int


@dataclass
class _Collector:
    """Gathers the rows of one site over batches."""

    site: str
    selection: TokenSelection
    rows: list[_Rows] = field(default_factory=list)
    seen: tuple[int, int] | None = None

    def hook(self, value: Tensor, call: Call) -> None:
        assert call.batch is not None
        now = (id(call.batch), call.step)
        # A module may run several times per forward call (a shared rectifier); the first counts,
        # as when it is recorded alone.
        if now != self.seen:
            self.rows.append(rows_of(value, call, call.batch, self.selection))
        self.seen = now

    def finish(self, prepared: Prepared, provenance: Provenance) -> Activations:
        item = np.concatenate([np.empty(0, int), *(rows.item for rows in self.rows)])
        position = np.concatenate([np.empty(0, int), *(rows.position for rows in self.rows)])
        step = np.concatenate(
            [np.empty(0, int), *(np.full(len(rows.item), rows.step) for rows in self.rows)]
        )
        if len(item) == 0:
            raise InputError(self._emptiness(prepared, provenance))
        order = np.lexsort((position, step, item))
        contexts = Contexts(
            item=item[order],
            position=position[order],
            step=step[order],
            items=prepared.items,
            tokens=prepared.tokens,
        )
        derived = provenance.derive("record", site=self.site, cost=provenance.cost)
        acts = Activations(self._ordered(order), contexts, self.site, derived)
        if not (prepared.tokens and self.selection.which == "last"):
            return acts
        # Every piece of a long text gave its last token; only the text's own last one is meant.
        return acts.take(np.flatnonzero(np.diff(contexts.item, append=-1)))

    def _emptiness(self, prepared: Prepared, provenance: Provenance) -> str:
        if not self.rows and prepared.batches:
            return f"the network ran without reaching {self.site}; choose a site that it uses"
        return (
            f"no row is left at {self.site}: {provenance.selection}; give longer texts or another "
            f"TokenSelection ({len(prepared.items)} inputs, longest "
            f"{max(map(len, prepared.tokens), default=0)} tokens)"
        )

    def _ordered(self, order: np.ndarray) -> Tensor:
        destination = torch.empty(len(order), dtype=torch.long)
        destination[torch.from_numpy(order)] = torch.arange(len(order))
        first = self.rows[0].values
        result = torch.empty(len(order), first.shape[1], dtype=first.dtype)
        start = 0
        for rows in self.rows:
            result[destination[start : start + len(rows.item)]] = rows.values
            start += len(rows.item)
            # Dropped once placed, so that memory peaks at twice the activations.
            rows.values = first[:0]
        return result


def rows_of(value: Tensor, call: Call, batch: Batch, selection: TokenSelection) -> _Rows:
    """A site's value as rows: selected tokens of `[batch, position, d]`, pixels of
    `[batch, d, y, x]`, elements of `[batch, d]`.

    Raises:
        InputError: the value has another number of axes.
    """
    if value.ndim == 3:
        return _token_rows(value, call, batch, selection)
    if value.ndim == 4:
        last = rearrange(value, "batch d y x -> batch y x d")
        # A copy even where a view would do: the network may overwrite its activation in place.
        copied = last.clone(memory_format=torch.contiguous_format)
        return _all_rows(rearrange(copied, "batch y x d -> batch (y x) d"), call, batch)
    if value.ndim == 2:
        return _Rows(value.cpu().clone(), batch.items, np.zeros(len(batch.items), int), call.step)
    raise InputError(
        f"{call.site} holds a value of shape {tuple(value.shape)}; rows can be made of 2, 3 or 4 "
        "axes, choose another site"
    )


def _all_rows(value: Float[Tensor, "batch position d"], call: Call, batch: Batch) -> _Rows:
    count, length, _ = value.shape
    return _Rows(
        rearrange(value, "batch position d -> (batch position) d").cpu(),
        batch.items.repeat(length),
        np.tile(np.arange(length), count),
        call.step,
    )


def _token_rows(value: Tensor, call: Call, batch: Batch, selection: TokenSelection) -> _Rows:
    if call.positions is None:
        return _all_rows(value.cpu().clone(), call, batch)
    mask = selection.mask(batch, call.positions)
    element = torch.nonzero(mask, as_tuple=True)[0].cpu().numpy()
    position = call.positions[mask].cpu().numpy() + batch.offsets[element]
    return _Rows(value[mask].cpu(), batch.items[element], position, call.step)
