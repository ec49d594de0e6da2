"""A comparison's result: plain values, as they are written to disk, that show themselves in a
notebook.
"""

import math
from collections.abc import Mapping
from typing import Any, final

from interp.core import Score
from interp.core.display.markup import MISSING, block, element, facts, foreign, table
from interp.core.display.scores import axis_note, score_cells

NUMBERS = ("value", "low", "high")


@final
class Compared(dict[str, Any]):
    """What `compare` found, as json-ready values: `settings`, `concepts`, `judge`, `detection`,
    `steering`, `controls`, `differences`.

    Example:
        >>> result = interp.compare(interp.Comparison(sites=("L5.mlp",)), "comparison")
        >>> result["steering"][0]["report"]
    """

    def __repr__(self) -> str:
        return (
            f"Compared({len(self['steering'])} ways of steering {self['settings']['model']} "
            f"with {len(self['concepts'])} concepts)"
        )

    def _repr_html_(self) -> str:
        ways = sorted(self["steering"], key=lambda row: -_value(row["report"]))
        named = [
            (f"{row['method']} of {row['site']}, {row['route']} at {row['place']}{_size(row)}", row)
            for row in ways
        ]
        controls = [(f"{row['family']}, for {row['place']}", row) for row in self["controls"]]
        rows = [*named, *controls]
        scores, margins = (
            [_score(row.get(key)) for _, row in rows] for key in ("report", "margin")
        )
        cells = zip(rows, score_cells(scores), score_cells(margins, signed=True), strict=True)
        counts = (MISSING if score is None else f"{score.n:,}" for score in scores)
        lines = [
            (foreign(name), score, margin, n)
            for ((name, _), score, margin), n in zip(cells, counts, strict=True)
        ]
        caption = (
            "Steering score, 0 to 2, at strengths chosen on other prompts "
            f"({axis_note(scores)}); margin over the best control"
        )
        muted = set(range(len(named), len(rows)))
        header = ("way", "score", "margin", "n")
        failed = element(
            "p", f"{self['failed']:,} of {self['judged']:,} judgements failed", kind="muted"
        )
        about = facts(
            [("concepts", foreign(", ".join(self["concepts"]))), ("seed", self["settings"]["seed"])]
        )
        return block(
            "Comparison",
            about,
            table(header, lines, caption=caption, muted=muted, wrapped={0}),
            failed,
            name=self["settings"]["model"],
        )


def _score(values: Mapping[str, Any] | None) -> Score | None:
    """A score that was written as json, where an undefined number is null."""
    if values is None or values["value"] is None:
        return None
    numbers: dict[str, Any] = {
        key: math.nan if values[key] is None else values[key] for key in NUMBERS
    }
    return Score(**{**values, **numbers})


def _size(row: Mapping[str, Any]) -> str:
    return "" if row["size"] is None else f", {row['size']} features"


def _value(values: Mapping[str, Any] | None) -> float:
    return -math.inf if values is None or values["value"] is None else float(values["value"])
