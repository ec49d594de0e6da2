"""A caption goes where the figure goes, says n, seed and control, and leaves a page's figure as it
was.
"""

import html
import math
from typing import Any

import plotly.graph_objects as go
import pytest

from interp.core import Score
from interp.report.data.stored import report_from
from interp.report.figures import features as figures
from interp.report.figures.captions import (
    captioned,
    for_page,
    interval_words,
    json_for_page,
    page_heights,
)
from interp.report.pages.features import page


def plain() -> go.Figure:
    return go.Figure(go.Scatter(x=[1], y=[2])).update_layout(height=300, margin={"t": 16, "l": 5})


def test_taking_the_caption_off_gives_the_figure_back() -> None:
    shown = captioned(plain(), "word " * 60)
    assert shown.layout.height > 300
    assert shown.layout.title.text.count("<br>") == 3
    assert for_page(shown).to_dict() == plain().to_dict()
    assert for_page(plain()).to_dict() == plain().to_dict()
    assert page_heights({"a": shown}) == {"a": 300}
    assert "title" not in json_for_page({"a": shown})["a"]["layout"]


def test_a_caption_is_text_only() -> None:
    assert "<script" not in captioned(plain(), "<script>alert(1)</script>").layout.title.text


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([(0.5, 5, 0)], "bars: bootstrap 95% interval, n = 5, seed 0"),
        (
            [(0.5, 5, 0), (0.1, 9, 2), (None, 99, 7)],
            "bars: bootstrap 95% interval, n = 5 to 9, seeds 0, 2",
        ),
        ([(None, 5, 0)], "nothing was measured"),
    ],
)
def test_the_words_count_what_was_measured(
    scores: list[tuple[float | None, int, int]], words: str
) -> None:
    assert (
        interval_words(
            [Score(math.nan if v is None else v, 0.0, 1.0, n=n, seed=s) for v, n, s in scores]
        )
        == words
    )


def test_the_page_says_the_same_under_its_figures(data: dict[str, Any]) -> None:
    report = report_from(data)
    written = page(report)
    for draw in (figures.dose_response, figures.detection, figures.reconstruction):
        assert f"<figcaption>{html.escape(draw(report).layout.meta['caption'])}" in written


@pytest.mark.parametrize("draw", [figures.dose_response, figures.detection, figures.reconstruction])
def test_every_figure_of_the_report_says_n_seed_and_control(
    data: dict[str, Any], draw: Any
) -> None:
    drawn = draw(report_from(data))
    caption = drawn.layout.meta["caption"]
    assert "n = 24" in caption
    assert "seed 0" in caption
    assert "control" in caption
    assert drawn.layout.xaxis.title.text
