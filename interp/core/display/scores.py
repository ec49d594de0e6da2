"""Scores in the rows of a notebook's table: drawn on one axis, with the numbers beside."""

from collections.abc import Collection, Iterable, Sequence

from interp.core.display.marks import end, ends_of, interval
from interp.core.display.markup import (
    MISSING,
    Html,
    element,
    escape,
    estimate,
    foreign,
    numeral,
    table,
)
from interp.core.score import Score


def score_cells(scores: Sequence[Score | None], *, signed: bool = False) -> list[Html]:
    """Each score with its interval as text and bar, its control as text and tick; a dash for None.

    Example:
        >>> score_cells([Score(0.91, 0.88, 0.94, n=50, seed=0, control=0.52), None])
    """
    ends = _ends(scores)
    return [escape(MISSING) if score is None else _cell(score, ends, signed) for score in scores]


def axis_note(scores: Sequence[Score | None]) -> str:
    """The axis of `score_cells`, the intervals' names and the seeds in words:
    `axis 0 to 1, interval bootstrap 95%, seed 0`.
    """
    known = [score for score in scores if score is not None]
    if not known:
        return "not measured"
    first, last = _ends(scores)
    names = _each(score.interval for score in known)
    seeds = _each(str(score.seed) for score in known)
    tick = ", tick: control" if any(score.control is not None for score in known) else ""
    return f"axis {end(first)} to {end(last)}{tick}, interval {names}, seed {seeds}"


def score_table(
    titles: Sequence[str],
    rows: Iterable[tuple[object, Score | None]],
    *,
    about: str,
    signed: bool = False,
    muted: Collection[int] = (),
) -> Html:
    """Named scores on one axis, with the n of each; `titles` head the names and the scores, the
    caption is `about` and the axis.

    Example:
        >>> rows = [("mid", Score(0.9, 0.8, 1.0, n=64, seed=0))]
        >>> score_table(("site", "slope"), rows, about="1: the site carries it")
    """
    named = list(rows)
    scores = [score for _, score in named]
    lines = [
        (foreign(name), cell, MISSING if score is None else f"{score.n:,}")
        for (name, score), cell in zip(named, score_cells(scores, signed=signed), strict=True)
    ]
    return table((*titles, "n"), lines, caption=f"{about} ({axis_note(scores)})", muted=muted)


def _ends(scores: Sequence[Score | None]) -> tuple[float, float]:
    return ends_of(
        value
        for score in scores
        if score is not None
        for value in (score.value, score.low, score.high, score.control)
    )


def _cell(score: Score, ends: tuple[float, float], signed: bool) -> Html:
    drawn = interval(score.value, score.low, score.high, control=score.control, ends=ends)
    words = [estimate(score.value, score.low, score.high, signed=signed)]
    if score.value != score.value:
        words.append(f"({score.interval})")
    if score.control is not None:
        words.append(f"control {numeral(score.control, signed=signed)}")
    first, *rest = words
    return Html(" ".join([drawn, first, *(element("span", own, kind="muted") for own in rest)]))


def _each(values: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(values))
