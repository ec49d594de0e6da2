"""Sites: the places in a network whose activation can be read or changed."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from interp.core.display.markup import MISSING, Html, block, foreign, table
from interp.core.names import require_known


@dataclass(frozen=True)
class Sites(Mapping[str, tuple[int | None, ...]]):
    """The sites of one network: canonical names to the shape of one example's activation there.

    `None` is an axis as long as the input: `(None, 576)` is a token axis and a width,
    `(64, None, None)` a width and two image axes. `aliases` maps other names (TransformerLens hook
    names) to canonical ones.

    Example:
        >>> sites = Sites({"L0.mlp": (None, 64)}, {"blocks.0.mlp.hook_post": "L0.mlp"})
        >>> sites.resolve("blocks.0.mlp.hook_post")
        'L0.mlp'
    """

    shapes: Mapping[str, tuple[int | None, ...]]
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> tuple[int | None, ...]:
        return self.shapes[self.resolve(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def __contains__(self, name: object) -> bool:
        # Mapping's own would raise for a missing site, as __getitem__ does.
        return name in self.shapes or name in self.aliases

    def resolve(self, name: str) -> str:
        """The canonical name of a site.

        Raises:
            InputError: the site does not exist; the message names the nearest ones.
        """
        if name in self.shapes:
            return name
        if name in self.aliases:
            return self.aliases[name]
        return require_known(
            "site", name, self.shapes, "`interp sites MODEL` or `model.sites` lists all"
        )

    def width(self, name: str) -> int:
        """The length of a site's feature axis (the first of an image's three axes, else the last),
        0 if unknown.
        """
        shape = self[name]
        return (shape[0] if len(shape) == 3 else shape[-1]) or 0

    def _repr_html_(self) -> str:
        return block("Sites", self.table())

    def table(self) -> Html:
        """The sites for a notebook, those of all layers in one row."""
        rows = _grouped(self.shapes)
        listed = rows[:ROWS]
        places = [None, *(row.where for row in listed)]
        lines = [
            (
                "" if row.where == above else foreign(_spelled(row.where) or MISSING),
                foreign(_listed(row.leaves)),
                row.shape,
                f"{row.count:,}",
            )
            for row, above in zip(listed, places, strict=False)
        ]
        rest = sum(row.count for row in rows[ROWS:])
        cut = f"; {rest:,} more sites are not shown, list(model.sites) names them" if rest else ""
        is_open = any(None in shape for shape in self.shapes.values())
        open_axes = "; n: as many as the input has" if is_open else ""
        title = f"{len(self):,} sites{open_axes}{cut}"
        header = ("in", "site", "shape", "count")
        if any(row.where for row in listed):
            return table(header, lines, caption=title, wrapped={1})
        return table(header[1:], [line[1:] for line in lines], caption=title, wrapped={0})


ROWS, LEAVES = 40, 24
_NUMBER = re.compile("[0-9]{1,9}")
_ONE_RANGE = re.compile(r"([^0-9.:]*)([0-9]+)…([0-9]+)")


@dataclass(frozen=True)
class _Row:
    """Sites of one shape at one place (`L0…29`): the last parts of their names, and their count."""

    where: str
    leaves: tuple[str, ...]
    shape: str
    count: int


def _grouped(shapes: Mapping[str, tuple[int | None, ...]]) -> list[_Row]:
    """Sites by place and shape, numbers of layers and heads as ranges."""
    alike: dict[tuple[str, tuple[int | None, ...]], list[str]] = {}
    for name, shape in shapes.items():
        alike.setdefault((_NUMBER.sub("\0", name), shape), []).append(name)
    rows: dict[tuple[str, str], _Row] = {}
    for (_, shape), names in alike.items():
        words = " × ".join("n" if axis is None else f"{axis:,}" for axis in shape)
        for written, count in _ranges(names):
            where, _, leaf = written.rpartition(".")
            before = rows.get((where, words), _Row(where, (), words, 0))
            rows[where, words] = _Row(where, (*before.leaves, leaf), words, before.count + count)
    return list(rows.values())


def _listed(leaves: Sequence[str]) -> str:
    rest = f" and {len(leaves) - LEAVES:,} more" if len(leaves) > LEAVES else ""
    return ", ".join(map(_spelled, leaves[:LEAVES])) + rest


def _spelled(part: str) -> str:
    """`L0…29` as `L0 … L29`."""
    found = _ONE_RANGE.fullmatch(part)
    return part if found is None else f"{found[1]}{found[2]} … {found[1]}{found[3]}"


def _ranges(names: Sequence[str]) -> list[tuple[str, int]]:
    """Names that differ only by numbers, as one with ranges if every combination exists."""
    texts = [_NUMBER.findall(name) for name in names]
    plain = all(str(int(text)) == text for own in texts for text in own)
    choices = [sorted({int(text) for text in column}) for column in zip(*texts, strict=True)]
    whole = math.prod(map(len, choices)) == len(names) and all(
        own[-1] - own[0] + 1 == len(own) for own in choices
    )
    if len(names) == 1 or not plain or not whole:
        return [(name, 1) for name in names]
    ranges = iter(f"{own[0]}" if len(own) == 1 else f"{own[0]}…{own[-1]}" for own in choices)
    return [(_NUMBER.sub(lambda _: next(ranges), names[0]), len(names))]
