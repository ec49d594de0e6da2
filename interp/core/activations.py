"""Activations of a site, row by row, and the context of each row."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interp.core.display.markup import Html, block, element, facts, foreign, numeral, shaded, table
from interp.core.errors import InputError
from interp.core.provenance import Provenance
from interp.core.rows import row_chunks


@dataclass(frozen=True)
class Window:
    """A row's token with the tokens around it; `rows` holds each one's row number, -1 if it was not
    recorded.
    """

    before: tuple[str, ...]
    token: str
    after: tuple[str, ...]
    rows: tuple[int, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens of the window in order."""
        return (*self.before, self.token, *self.after)


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """What each row was.

    `item [row]` numbers the input (a text, an image), `position [row]` the token (or flattened
    pixel) in it, `step [row]` the sampling step of a diffusion network (0 elsewhere). `items` holds
    the texts, or names of images; `tokens` each text's tokens as strings (empty for images).
    """

    item: Int[np.ndarray, " row"]
    position: Int[np.ndarray, " row"]
    step: Int[np.ndarray, " row"]
    items: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.item)

    def take(self, rows: Int[np.ndarray, " kept"] | Bool[np.ndarray, " row"]) -> "Contexts":
        """The contexts of some rows, by number or mask; inputs keep their numbers."""
        rows = _row_numbers(rows)
        return replace(
            self, item=self.item[rows], position=self.position[rows], step=self.step[rows]
        )

    def token(self, row: int) -> str:
        """The token of a row; for an image, the number of its position."""
        item, position = int(self.item[row]), int(self.position[row])
        return self.tokens[item][position] if self.tokens else f"#{position}"

    def window(self, row: int, radius: int = 15) -> Window:
        """A row's token with at most `radius` tokens of the same text on either side."""
        item, position = int(self.item[row]), int(self.position[row])
        if not self.tokens:
            return Window((), self.token(row), (), (row,))
        tokens = self.tokens[item]
        start, stop = max(0, position - radius), min(len(tokens), position + radius + 1)
        here = {int(self.position[r]): int(r) for r in np.flatnonzero(self.item == item)}
        rows = tuple(here.get(p, -1) for p in range(start, stop))
        return Window(tokens[start:position], tokens[position], tokens[position + 1 : stop], rows)

    def describe(self, row: int) -> str:
        """A row in words, for error messages."""
        item, position = int(self.item[row]), int(self.position[row])
        name = self.items[item] if self.items else str(item)
        short = name if len(name) <= 60 else name[:57] + "..."
        place = f"token {self.token(row)!r} at position {position}"
        return f"row {row}: {place} of input {item} ({short!r})"


def values_of(acts: object) -> Tensor:
    """The rows of activations, or a bare tensor as it is.

    Raises:
        InputError: it is neither; for an array or the activations of several sites the message says
            what to write.

    Example:
        >>> values_of(acts).shape
    """
    if isinstance(acts, Activations):
        return acts.values
    if isinstance(acts, Tensor):
        return acts
    if isinstance(acts, Mapping):
        named = ", ".join(repr(name) for name in acts)
        raise InputError(
            f"activations of several sites were given ({named}); give one of them, as "
            f"acts[{next(iter(acts), 'site')!r}]"
        )
    remedy = (
        "torch.from_numpy(acts) makes it one"
        if isinstance(acts, np.ndarray)
        else "interp.record makes activations"
    )
    raise InputError(
        f"activations are a {type(acts).__name__}; expected Activations or a tensor [row, d]; "
        f"{remedy}"
    )


def _row_numbers(rows: np.ndarray) -> np.ndarray:
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)


@dataclass(frozen=True)
class Activations:
    """The values `[row, d]` of one site, with the contexts of the rows and the provenance.

    Raises:
        InputError: values and contexts differ in length.

    Example:
        >>> acts = interp.record(model, ["The sea was calm."], "L15.mlp")
        >>> acts.values.shape, acts.contexts.token(0)
    """

    values: Float[Tensor, "row d"]
    contexts: Contexts
    site: str
    provenance: Provenance

    def __post_init__(self) -> None:
        if len(self.values) != len(self.contexts):
            raise InputError(
                f"values has {len(self.values)} rows but contexts {len(self.contexts)}; they must "
                "describe the same rows"
            )

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        # The generated repr would print every text.
        rows, width = self.values.shape
        return (
            f"Activations({self.site}: {rows:,} rows × {width:,}, {len(self.contexts.items):,} "
            f"inputs, {self.values.dtype})"
        )

    def take(self, rows: Int[np.ndarray, " kept"] | Bool[np.ndarray, " row"]) -> "Activations":
        """Some rows, by number or mask, with their contexts."""
        rows = _row_numbers(rows)
        kept = self.values[torch.from_numpy(rows)]
        return replace(self, values=kept, contexts=self.contexts.take(rows))

    def in_memory(self) -> "Activations":
        """The same activations with all values in memory."""
        return replace(self, values=self.values[:])

    def of_items(self, items: Int[np.ndarray, " item"]) -> "Activations":
        """The rows of some inputs, by number of input."""
        return self.take(np.flatnonzero(np.isin(self.contexts.item, items)))

    def require_finite(self) -> None:
        """Check every value.

        Raises:
            InputError: a value is NaN or infinite; the message describes the first such row.
        """
        finite = torch.ones(len(self), dtype=torch.bool)
        for rows, chunk in row_chunks(self.values):
            finite[rows] = torch.isfinite(chunk).all(dim=1).cpu()
        if not bool(finite.all()):
            row = int(torch.nonzero(~finite)[0])
            raise InputError(
                f"{int((~finite).sum())} of {len(self)} rows of {self.site} are not finite, first "
                f"{self.contexts.describe(row)}; record again in float32 or leave those inputs out"
            )

    def _repr_html_(self) -> str:
        rows, width = self.values.shape
        about = facts(
            [
                ("inputs", f"{len(self.contexts.items):,}"),
                ("selection", self.provenance.selection),
                ("model", self.provenance.model and foreign(self.provenance.model)),
                ("type", str(self.values.dtype).removeprefix("torch.")),
            ]
        )
        return block(
            "Activations",
            about,
            *_first_inputs(self),
            name=self.site,
            about=f"{rows:,} rows × {width:,}",
        )


FIRST, TOKENS = 4, 40


def _first_inputs(acts: Activations) -> tuple[Html, ...]:
    """The first inputs with the norms of their rows; no other row is read."""
    contexts = acts.contexts
    items = list(dict.fromkeys(contexts.item[: FIRST * 4096].tolist()))[:FIRST]
    rows = [np.flatnonzero(contexts.item == item)[:TOKENS] for item in items]
    if not rows:
        return ()
    norms = [acts.values[torch.from_numpy(own)].float().norm(dim=1).tolist() for own in rows]
    if not contexts.tokens:
        means = (
            (foreign(contexts.items[item]), numeral(sum(own) / len(own)), len(own))
            for item, own in zip(items, norms, strict=True)
        )
        header = ("input", "mean norm of its first rows", "rows read")
        return (table(header, means, caption="The first inputs"),)
    known = [norm for own in norms for norm in own if math.isfinite(norm)] or [0.0]
    low, high = min(known), max(known)
    lines = [
        _shaded(contexts, item, own, norm, (low, high))
        for item, own, norm in zip(items, rows, norms, strict=True)
    ]
    legend = (
        f"Tint: the norm of a token's row, {numeral(low)} (none) to {numeral(high)} (full); faint "
        "tokens were not recorded"
    )
    return (element("p", legend, kind="muted"), element("ul", *lines, kind="texts"))


def _shaded(
    contexts: Contexts, item: int, rows: np.ndarray, norms: list[float], ends: tuple[float, float]
) -> Html:
    norm_at = dict(zip(contexts.position[rows].tolist(), norms, strict=True))
    tokens = contexts.tokens[item][:TOKENS]
    scale = (ends[1] - ends[0]) or 1.0
    weights = [
        (norm_at[place] - ends[0]) / scale if math.isfinite(norm_at.get(place, math.nan)) else 0.0
        for place in range(len(tokens))
    ]
    unknown = [place for place in range(len(tokens)) if place not in norm_at]
    rest = ("…",) if len(contexts.tokens[item]) > TOKENS else ()
    return element("li", shaded(tokens, weights, unknown=unknown), *rest)
