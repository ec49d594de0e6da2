"""Activations on disk: safetensors for values, Arrow for contexts, json for provenance; never pickle."""

from pathlib import Path

import numpy as np
import torch

from interp.core import Activations, Contexts, InputError, Provenance, UnavailableError
from interp.core.files import read_json, replacing_folder, write_json

SHARD_BYTES = 256 * 2**20
NOTE = "activations.json"


def save_activations(acts: Activations, folder: str | Path) -> Path:
    """Write activations to a folder, whole or not at all; `load_activations` reads them back bit for bit.

    Raises:
        InputError: the folder holds something else, which would be lost.
        UnavailableError: the disk is full or the folder cannot be written.
    """
    target = Path(folder)
    rows = max(1, SHARD_BYTES // (acts.values.shape[1] * acts.values.element_size()))
    starts = range(0, len(acts), rows)
    with replacing_folder(target, NOTE) as temporary:
        for number, start in enumerate(starts):
            _write_shard(acts.values[start : start + rows], temporary / f"values-{number:05d}.safetensors")
        _write_contexts(acts.contexts, temporary)
        write_json(temporary / NOTE, {"site": acts.site, "shards": len(starts), "provenance": acts.provenance.to_dict()})
    return target


def load_activations(folder: str | Path) -> Activations:
    """Activations from a folder; a single shard is memory-mapped.

    Raises:
        UnavailableError: the folder does not hold activations, or a shard is missing.
    """
    import safetensors
    import safetensors.torch

    source = Path(folder)
    note = read_json(source / NOTE)
    try:
        paths = [source / f"values-{number:05d}.safetensors" for number in range(int(note["shards"]))]
        shards = [safetensors.torch.load_file(path)["values"] for path in paths]
        values = shards[0] if len(shards) == 1 else torch.cat(shards)
        return Activations(values, _read_contexts(source), note["site"], Provenance.from_dict(note["provenance"]))
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise UnavailableError(f"cannot read {source}: {error}; record again or restore the missing file") from error


def _write_shard(values: torch.Tensor, path: Path) -> None:
    import safetensors
    import safetensors.torch

    try:
        safetensors.torch.save_file({"values": values.contiguous()}, path)
    except safetensors.SafetensorError as error:
        raise UnavailableError(f"cannot write {path.parent}: {error}; free some space or choose another folder") from error


def _write_contexts(contexts: Contexts, folder: Path) -> None:
    import pyarrow
    import pyarrow.feather

    rows = pyarrow.table({"item": contexts.item, "position": contexts.position, "step": contexts.step})
    tokens = list(contexts.tokens) if contexts.tokens else [None] * len(contexts.items)
    try:
        columns = {
            "item": pyarrow.array(contexts.items, pyarrow.string()),
            "tokens": pyarrow.array(tokens, pyarrow.list_(pyarrow.string())),
        }
        pyarrow.feather.write_feather(rows, str(folder / "rows.arrow"))
        pyarrow.feather.write_feather(pyarrow.table(columns), str(folder / "items.arrow"))
    except UnicodeEncodeError as error:
        raise InputError(f"a text holds a character that cannot be stored ({error.reason}); clean it and record again") from error


def _read_contexts(folder: Path) -> Contexts:
    import pyarrow.feather

    rows = pyarrow.feather.read_table(str(folder / "rows.arrow"))
    items = pyarrow.feather.read_table(str(folder / "items.arrow"))
    tokens = items["tokens"].to_pylist()
    known = tuple(tuple(row) for row in tokens) if tokens and tokens[0] is not None else ()
    item, position, step = (np.asarray(rows[name]) for name in ("item", "position", "step"))
    return Contexts(item, position, step, tuple(items["item"].to_pylist()), known)
