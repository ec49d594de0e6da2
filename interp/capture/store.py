"""Activations on disk: values as safetensors, contexts as Arrow, provenance as json, no pickle."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from interp.capture.shards import VALUES, Shards, open_shards
from interp.core import Activations, Contexts, InputError, Provenance, UnavailableError, text_hash
from interp.core.files import read_json, replacing_folder, write_json
from interp.core.rows import ROW_MEMORY, Rows

SHARD_BYTES = 256 * 2**20
NOTE = "activations.json"


def save_activations(acts: Activations, folder: str | Path) -> Path:
    """Write activations to a folder, whole or not at all; `load_activations` reads the same bits.

    Raises:
        InputError: the folder holds something else, which would be lost.
        UnavailableError: the disk is full or the folder cannot be written.
    """
    with appending_activations(folder) as append:
        append(acts)
    return Path(folder)


@contextmanager
def appending_activations(folder: str | Path) -> Iterator[Callable[[Activations], None]]:
    """Write activations that do not fit in memory to a folder, piece by piece, whole or not at all.

    The function that `with` gives appends rows; their inputs are numbered on, and costs add up. The
    folder appears at the end, as one `save_activations` of all rows would write it, up to the sizes
    of the shards.

    Raises:
        InputError: the folder holds something else, which would be lost; a piece is of another
            site, width or type than the first; there was no piece.
        UnavailableError: the disk is full or the folder cannot be written.

    Cost: memory for all contexts and twice 256 MB of values.

    Example:
        >>> with appending_activations("acts") as append:
        ...     for texts in parts:
        ...         append(interp.record(model, texts, "L15.mlp"))
    """
    with replacing_folder(Path(folder), NOTE) as temporary:
        writer = _Writer(folder=temporary)
        yield writer.append
        writer.finish()


def load_activations(folder: str | Path) -> Activations:
    """Activations from a folder, in memory; a single shard is memory-mapped.

    Raises:
        UnavailableError: the folder holds no activations, or a shard is missing, short, or of
            another width or type than the first.
    """
    import safetensors.torch

    acts, shards = _opened(Path(folder), ROW_MEMORY)
    if len(shards.paths) > 1:
        return acts.in_memory()
    return replace(acts, values=safetensors.torch.load_file(shards.paths[0])[VALUES])


def open_activations(folder: str | Path, *, memory: int = ROW_MEMORY) -> Activations:
    """Activations whose values stay on disk: every `fit_*`, `encode` and `reconstruction` reads
    them chunk by chunk.

    Results are the same as with `load_activations`, to the bit if chunks have as many rows (widths
    up to 4096 by default), else up to float32 rounding. `acts.take(rows)` reads some rows into
    memory, `acts.in_memory()` all.

    Args:
        memory: bytes of values, in float32, to read at a time. Contexts are in memory, as is what a
            method keeps for every row (a semi-NMF's fit: `8·row·feature` bytes).

    Raises:
        UnavailableError: the folder holds no activations, or a shard is missing, short, or of
            another width or type than the first.
        InputError: `memory` does not hold one row.

    Cost: the contexts and every shard's header; each chunk is read when it is used.

    Example:
        >>> acts = interp.open_activations("acts")
        >>> snmf = interp.fit_snmf(acts, 100)
    """
    return _opened(Path(folder), memory)[0]


def _opened(folder: Path, memory: int) -> tuple[Activations, Shards]:
    import pyarrow

    note = read_json(folder / NOTE)
    try:
        shards = open_shards(
            [folder / f"values-{number:05d}.safetensors" for number in range(int(note["shards"]))]
        )
        contexts = _read_contexts(folder)
        if len(contexts) != shards.shape[0]:
            raise UnavailableError(
                f"cannot read {folder}: its shards have {shards.shape[0]} rows, its contexts "
                f"{len(contexts)}; record again"
            )
        provenance = Provenance.from_dict(note["provenance"])
        return Activations(Rows(shards, memory), contexts, note["site"], provenance), shards
    except (OSError, KeyError, TypeError, pyarrow.ArrowInvalid) as error:
        if isinstance(error, UnavailableError):
            raise
        raise UnavailableError(
            f"cannot read {folder}: {error}; record again or restore the missing file"
        ) from error


@dataclass(kw_only=True)
class _Writer:
    """Puts full shards on disk; rows that do not fill one wait."""

    folder: Path
    kind: tuple[int, torch.dtype] = (0, torch.float32)
    shards: int = 0
    waiting: list[Tensor] = field(default_factory=list)
    contexts: list[Contexts] = field(default_factory=list)
    sources: list[tuple[str, Provenance]] = field(default_factory=list)

    def append(self, acts: Activations) -> None:
        if self.sources:
            self._require_same_kind(acts)
        self.kind = (acts.values.shape[1], acts.values.dtype)
        self.sources.append((acts.site, acts.provenance))
        self.contexts.append(acts.contexts)
        rows = max(1, SHARD_BYTES // (acts.values.shape[1] * acts.values.element_size()))
        for start in range(0, max(1, len(acts)), rows):
            self._take(acts.values[start : start + rows], rows)

    def _take(self, piece: Tensor, rows: int) -> None:
        if sum(len(values) for values in self.waiting) + len(piece) > rows:
            self._write()
        self.waiting.append(piece)
        if len(piece) == rows:
            self._write()
        else:
            # A view would keep all of the activations alive and follow their owner's changes.
            self.waiting[-1] = piece.clone()

    def finish(self) -> None:
        if not self.sources:
            raise InputError(f"nothing was appended to {self.folder.name}; append at least one row")
        if self.waiting:
            self._write()
        contexts = _joined(self.contexts)
        _write_contexts(contexts, self.folder)
        site, provenance = self.sources[0]
        if len(self.sources) > 1:
            costs = [source.cost for _, source in self.sources]
            total = {name: sum(cost.get(name, 0.0) for cost in costs) for name in provenance.cost}
            corpus = provenance.corpus_hash and text_hash(contexts.items)
            provenance = replace(provenance, cost=total, corpus_hash=corpus)
        note = {"site": site, "shards": self.shards, "provenance": provenance.to_dict()}
        write_json(self.folder / NOTE, note)

    def _write(self) -> None:
        values = self.waiting[0] if len(self.waiting) == 1 else torch.cat(self.waiting)
        _write_shard(values, self.folder / f"values-{self.shards:05d}.safetensors")
        self.shards += 1
        self.waiting = []

    def _require_same_kind(self, acts: Activations) -> None:
        site, first = self.sources[0]
        before = (site, _source(first), bool(self.contexts[0].tokens))
        if before != (acts.site, _source(acts.provenance), bool(acts.contexts.tokens)):
            raise InputError(
                f"rows of {acts.site} by {acts.provenance.method} cannot follow rows of {site}: "
                "all must come from the same site, network and settings; write them to another "
                "folder"
            )
        kind = (acts.values.shape[1], acts.values.dtype)
        if self.kind != kind:
            raise InputError(
                f"rows are {kind[0]} wide of {kind[1]}, those before {self.kind[0]} of "
                f"{self.kind[1]}; record alike"
            )


def _source(provenance: Provenance) -> Provenance:
    """What all rows of one recording share: not the texts, nor the cost."""
    return replace(provenance, cost={}, corpus_hash=None)


def _joined(pieces: list[Contexts]) -> Contexts:
    """Contexts one after the other; inputs are numbered on."""
    starts = np.cumsum([0, *(len(piece.items) for piece in pieces[:-1])])
    items = [piece.item + start for piece, start in zip(pieces, starts, strict=True)]
    return Contexts(
        item=np.concatenate(items),
        position=np.concatenate([piece.position for piece in pieces]),
        step=np.concatenate([piece.step for piece in pieces]),
        items=tuple(item for piece in pieces for item in piece.items),
        tokens=tuple(tokens for piece in pieces for tokens in piece.tokens),
    )


def _write_shard(values: Tensor, path: Path) -> None:
    import safetensors
    import safetensors.torch

    try:
        safetensors.torch.save_file({VALUES: values.contiguous()}, path)
    except safetensors.SafetensorError as error:
        raise UnavailableError(
            f"cannot write {path.parent}: {error}; free some space or choose another folder"
        ) from error


def _write_contexts(contexts: Contexts, folder: Path) -> None:
    import pyarrow
    import pyarrow.feather

    rows = pyarrow.table(
        {"item": contexts.item, "position": contexts.position, "step": contexts.step}
    )
    tokens = list(contexts.tokens) if contexts.tokens else [None] * len(contexts.items)
    try:
        columns = {
            "item": pyarrow.array(contexts.items, pyarrow.string()),
            "tokens": pyarrow.array(tokens, pyarrow.list_(pyarrow.string())),
        }
        pyarrow.feather.write_feather(rows, str(folder / "rows.arrow"))
        pyarrow.feather.write_feather(pyarrow.table(columns), str(folder / "items.arrow"))
    except UnicodeEncodeError as error:
        raise InputError(
            f"a text holds a character that cannot be stored ({error.reason}); clean it and record "
            "again"
        ) from error


def _read_contexts(folder: Path) -> Contexts:
    import pyarrow.feather

    rows = pyarrow.feather.read_table(str(folder / "rows.arrow"))
    items = pyarrow.feather.read_table(str(folder / "items.arrow"))
    tokens = items["tokens"].to_pylist()
    known = tuple(tuple(row) for row in tokens) if tokens and tokens[0] is not None else ()
    return Contexts(
        item=np.asarray(rows["item"]),
        position=np.asarray(rows["position"]),
        step=np.asarray(rows["step"]),
        items=tuple(items["item"].to_pylist()),
        tokens=known,
    )
