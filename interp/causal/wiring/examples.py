"""Inputs and their counterfactuals, batch by batch, with the replacements of contributions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interp.causal.wiring.replacement import (
    Added,
    Changes,
    ProjectedOut,
    Swap,
    Value,
    Zero,
    averaged,
)
from interp.causal.wiring.wiring import Wiring
from interp.core import InputError
from interp.core.names import require_known
from interp.models.protocol import Batch, Prepared


@dataclass(frozen=True)
class Part:
    """One batch, the changes of its contributions, its examples' numbers and counterfactuals."""

    batch: Batch
    changes: Changes
    rows: Int[Tensor, " row"]
    other: Batch | None = None


class Examples:
    """Examples of a behaviour as batches with replacement values; can be iterated repeatedly.

    `value` is what replaces a contribution: `resample` the same part's output on the example's
    counterfactual, `mean` its mean over the counterfactuals (over the inputs if there are none),
    `zero` nothing, `project out` and `add` the value without or plus the source's vector in
    `directions`.

    Raises:
        InputError: a counterfactual is missing, or differs from its input in shape or number of
            tokens (the message gives both tokenisations).
    """

    def __init__(
        self,
        wiring: Wiring,
        inputs: Any,
        counterfactuals: Any | None = None,
        *,
        value: Value = "resample",
        directions: Mapping[str, Tensor] | None = None,
        batch_size: int | None = None,
    ) -> None:
        self.wiring, self.value = wiring, value
        self._prepared = wiring.model.prepare(inputs, batch_size)
        self._size = batch_size
        self._directions = self._by_source(directions or {})
        if value in ("project out", "add") and not directions:
            raise InputError(
                f"value {value!r} needs directions, by the names of sources: "
                f"directions={{'L3.mlp': vector}}"
            )
        self._others = (
            None
            if counterfactuals is None
            else self._aligned(wiring.model.prepare(counterfactuals, batch_size))
        )
        if value == "resample" and self._others is None:
            raise InputError(
                "value 'resample' takes a part's output on a counterfactual; give counterfactuals, "
                "or value='mean' or 'zero'"
            )

    @property
    def items(self) -> tuple[str, ...]:
        """The examples' names (their texts)."""
        return self._prepared.items

    def __len__(self) -> int:
        return len(self._prepared.items)

    def __iter__(self) -> Iterator[Part]:
        if self._only is not None:
            yield self._only
            return
        for number in range(len(self._prepared.batches)):
            yield self._part(number)

    def take(self, rows: Int[np.ndarray, " row"]) -> "Examples":
        """Some of the examples (for halves and resamples), renumbered from 0.

        A metric with a value per example needs the same selection.
        """
        return _Subset(self, rows)

    @cached_property
    def _only(self) -> Part | None:
        """A single batch, observed once and cached."""
        return self._part(0) if len(self._prepared.batches) == 1 else None

    def _part(self, number: int) -> Part:
        batch = self._prepared.batches[number]
        other = None if self._others is None else self._others[number]
        return Part(batch, self._changes(number), torch.from_numpy(batch.items), other)

    def _changes(self, number: int) -> Changes:
        if self.value == "zero":
            return Zero()
        if self.value == "mean":
            return Swap(self._mean, "mean")
        if self.value == "resample":
            assert self._others is not None
            return Swap(self.wiring.observe(self._others[number]))
        return (ProjectedOut if self.value == "project out" else Added)(
            self._directions, self.wiring.feature_axis
        )

    @cached_property
    def _mean(self) -> list[Tensor]:
        """Over the reference set, batches weighted by their number of rows (or tokens)."""
        total: list[Tensor] = []
        weight = 0.0
        for batch in self._others or self._prepared.batches:
            keep = None if batch.keep is None else batch.keep.float()
            own = float(len(batch.items) if keep is None else keep.sum())
            means = averaged(self.wiring.observe(batch), keep)
            total = (
                [own * mean for mean in means]
                if not total
                else [old + own * mean for old, mean in zip(total, means, strict=True)]
            )
            weight += own
        return [value / weight for value in total]

    def _by_source(self, directions: Mapping[str, Tensor]) -> dict[int, Tensor]:
        names = {node.name: number for number, node in enumerate(self.wiring.sources)}
        return {
            names[require_known("source", name, names)]: vector
            for name, vector in directions.items()
        }

    def _aligned(self, others: Prepared) -> list[Batch]:
        """The counterfactuals' batches, checked to match the inputs'."""
        if len(others.items) != len(self._prepared.items):
            raise InputError(
                f"{len(self._prepared.items)} inputs but {len(others.items)} counterfactuals; give "
                "one for each input"
            )
        for number, (own, other) in enumerate(
            zip(self._prepared.tokens, others.tokens, strict=True)
        ):
            if len(own) != len(other):
                raise InputError(
                    f"input {number} and its counterfactual differ in their number of tokens, "
                    f"{len(own)} and {len(other)}: {' | '.join(own)} // {' | '.join(other)}; every "
                    "position needs its counterpart"
                )
        if [list(batch.items) for batch in self._prepared.batches] != [
            list(batch.items) for batch in others.batches
        ]:
            raise InputError(
                "inputs and counterfactuals fall into different batches; give inputs of one shape "
                "each"
            )
        return list(others.batches)


def whole_examples(prepared: Prepared) -> Prepared:
    """Check that every input is one sequence.

    Raises:
        InputError: one was split.
    """
    for batch in prepared.batches:
        if batch.offsets.any():
            item = int(batch.items[batch.offsets > 0][0])
            raise InputError(
                f"input {item} is longer than the network takes in one run; give shorter inputs: "
                "each is one example"
            )
    return prepared


class _Subset(Examples):
    """Some rows of examples already prepared."""

    def __init__(self, whole: Examples, rows: Int[np.ndarray, " row"]) -> None:
        self.wiring, self.value, self._size = whole.wiring, whole.value, whole._size
        self._directions = whole._directions
        self._prepared = _chosen(whole._prepared, whole._prepared.batches, rows)
        self._others = (
            None
            if whole._others is None
            else list(_chosen(whole._prepared, whole._others, rows).batches)
        )


def _chosen(prepared: Prepared, batches: Any, rows: Int[np.ndarray, " row"]) -> Prepared:
    """The given examples of every batch (repeats allowed); empty batches are dropped."""
    found = []
    for batch in batches:
        places = [
            (place, new)
            for new, row in enumerate(rows)
            for place in np.flatnonzero(batch.items == row)
        ]
        if places:
            index = torch.tensor([place for place, _ in places])
            found.append(
                Batch(
                    inputs={
                        key: value[index] if isinstance(value, Tensor) else value
                        for key, value in batch.inputs.items()
                    },
                    items=np.array([new for _, new in places]),
                    offsets=batch.offsets[index.numpy()],
                    keep=None if batch.keep is None else batch.keep[index],
                    special=None if batch.special is None else batch.special[index],
                )
            )
    items = tuple(prepared.items[row] for row in rows)
    tokens = tuple(prepared.tokens[row] for row in rows) if prepared.tokens else ()
    return Prepared(items, tokens, found)
