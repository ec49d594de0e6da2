"""Activations to and from the rows of a `datasets.Dataset`."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import Activations, Contexts, InputError, Provenance

VALUES = "values"
NUMBERS = ("item", "position", "step")
NOTE = "interp_activations"
FORMAT = 1
CHUNK = 4096
DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}


def activations_to_dataset(acts: Activations) -> Any:
    """Activations as a `datasets.Dataset` with a row per row: `values` (a list of d numbers),
    `item`, `position`, `step` and `token`.

    `values` keep their type, except that Arrow holds bfloat16 as float32, from which it comes back
    unchanged. The inputs' texts and tokens, the site and the provenance are json in
    `dataset.info.description`, which `select`, `filter`, `map`, `save_to_disk` and `load_from_disk`
    keep.

    Cost: one copy of the values, in memory.

    Example:
        >>> dataset = activations_to_dataset(interp.record(model, texts, "L15.mlp"))
        >>> dataset.filter(lambda row: row["token"] == " sea").save_to_disk("sea")
    """
    import pyarrow
    from datasets import Dataset, DatasetInfo

    contexts = acts.contexts
    columns = {
        VALUES: pyarrow.chunked_array(
            [_arrow(acts.values[start : start + CHUNK]) for start in range(0, len(acts), CHUNK)],
            type=_arrow(acts.values[:0]).type,
        ),
        **{name: pyarrow.array(getattr(contexts, name).astype(np.int64)) for name in NUMBERS},
        "token": pyarrow.array(map(contexts.token, range(len(acts))), type=pyarrow.string()),
    }
    note = {
        NOTE: FORMAT,
        "site": acts.site,
        "dtype": str(acts.values.dtype).removeprefix("torch."),
        "items": contexts.items,
        "tokens": contexts.tokens,
        "provenance": acts.provenance.to_dict(),
    }
    about = DatasetInfo(description=json.dumps(note, ensure_ascii=False))
    return Dataset(pyarrow.table(columns), info=about)


def activations_from_dataset(
    dataset: Any, *, site: str | None = None, column: str = VALUES
) -> Activations:
    """Rows of a `datasets.Dataset` as activations, in the dataset's order.

    A dataset from `activations_to_dataset`, or any part of it, comes back with its contexts and
    provenance. Any other needs `site`; its `item`, `position` and `step` columns are used where
    they exist, otherwise every row is a separate input.

    Args:
        dataset: a `datasets.Dataset`, not a streamed one.
        site: where the values were recorded; overrides what the dataset says.
        column: the column of the values, lists of floating-point numbers of one length.

    Raises:
        InputError: the column is missing or holds something else, rows differ in length, no site is
            known, the dataset was joined from several, or an input's number is out of range.

    Cost: one copy of the values, in memory.

    Example:
        >>> activations_from_dataset(datasets.load_from_disk("sea")).site
        'L15.mlp'
    """
    note = _note(dataset)
    place = site or note.get("site")
    if not place:
        raise InputError(
            "the dataset does not say at which site its values were recorded; give site='L15.mlp', "
            "say"
        )
    values = _values(dataset, column)
    provenance = _provenance(note["provenance"]) if note else Provenance("dataset", site=place)
    return Activations(
        values.to(DTYPES[note["dtype"]]) if note else values,
        _contexts(dataset, note),
        place,
        provenance,
    )


def _arrow(values: Float[Tensor, "row d"]) -> Any:
    import pyarrow

    plain = values.detach().cpu()
    plain = plain.float() if plain.dtype == torch.bfloat16 else plain
    flat = pyarrow.array(plain.contiguous().numpy().ravel())
    return pyarrow.FixedSizeListArray.from_arrays(flat, plain.shape[1])


def _note(dataset: Any) -> Mapping[str, Any]:
    """What `activations_to_dataset` wrote; empty for other datasets."""
    text = dataset.info.description or ""
    if NOTE not in text:
        return {}
    try:
        note = json.loads(text)
    except ValueError as error:
        raise InputError(
            "the dataset was joined from several recordings; turn each into activations by itself"
        ) from error
    keys = {NOTE, "site", "dtype", "items", "tokens", "provenance"}
    if not isinstance(note, dict) or not keys <= note.keys() or note["dtype"] not in DTYPES:
        raise InputError(
            "the dataset's description is not what activations_to_dataset writes; convert the "
            "activations again"
        )
    return note


def _provenance(noted: Any) -> Provenance:
    try:
        return Provenance.from_dict(noted)
    except TypeError as error:
        raise InputError(
            f"the dataset's provenance cannot be read: {error}; convert the activations again"
        ) from error


def _values(dataset: Any, column: str) -> Float[Tensor, "row d"]:
    if column not in dataset.column_names:
        raise InputError(
            f"the dataset has no column {column!r}; its columns are "
            f"{', '.join(dataset.column_names)}"
        )
    rows = dataset.with_format("arrow")
    pieces = [
        _piece(rows[start : start + CHUNK].column(column), column)
        for start in range(0, len(rows), CHUNK)
    ]
    widths = sorted({piece.shape[1] for piece in pieces})
    if len(widths) != 1:
        what = (
            "it has no rows"
            if not pieces
            else f"rows of {column!r} have {widths[0]} to {widths[-1]} numbers, expected one length"
        )
        raise InputError(f"the dataset cannot be activations: {what}; select other rows")
    return torch.cat(pieces)


def _piece(cells: Any, column: str) -> Float[Tensor, "row d"]:
    import pyarrow

    whole = cells.combine_chunks()
    kind = whole.type
    types = pyarrow.types
    listed = types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)
    if not listed or not types.is_floating(kind.value_type):
        raise InputError(
            f"column {column!r} holds {kind}; expected lists of floating-point numbers, a row's "
            "activations each"
        )
    flat = whole.flatten()
    lengths = {len(cell) if cell.is_valid else 0 for cell in whole}
    if len(lengths) != 1 or flat.null_count or whole.null_count:
        raise InputError(
            f"rows of column {column!r} have {sorted(lengths)} numbers or gaps; expected one "
            "length and a number everywhere"
        )
    values = np.array(flat.to_numpy(zero_copy_only=False))
    return torch.from_numpy(values).reshape(len(whole), lengths.pop())


def _contexts(dataset: Any, note: Mapping[str, Any]) -> Contexts:
    zero = np.zeros(len(dataset), dtype=np.int64)
    item = _numbers(dataset, "item", np.arange(len(dataset)))
    position, step = _numbers(dataset, "position", zero), _numbers(dataset, "step", zero)
    count = int(item.max()) + 1 if len(item) else 0
    items = tuple(note["items"]) if note else tuple(f"input {number}" for number in range(count))
    if len(item) and not 0 <= int(item.min()) <= int(item.max()) < len(items):
        raise InputError(
            f"item goes from {item.min()} to {item.max()}, but there are {len(items)} inputs; keep "
            "the column as it was"
        )
    tokens = tuple(tuple(own) for own in note["tokens"]) if note else ()
    return Contexts(item=item, position=position, step=step, items=items, tokens=tokens)


def _numbers(dataset: Any, name: str, default: Int[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    if name not in dataset.column_names:
        return default
    return np.array(dataset.with_format("arrow")[:].column(name).to_numpy(), dtype=np.int64)
