"""Where a feature fires: planted peaks come back, best first, with exactly the words around
them.
"""

import numpy as np
import pytest

from interp.core import Contexts
from interp.features.contexts import firing_rate, top_contexts

TEXTS = ("a b c d e f", "g h", "i j k l")


@pytest.fixture
def contexts():
    """Every word but the first of each text: rows 0–4 of text 0, row 5 of text 1, rows 6–8 of text
    2.
    """
    tokens = tuple(tuple(text.split()) for text in TEXTS)
    rows = [(item, position) for item, own in enumerate(tokens) for position in range(1, len(own))]
    item, position = (np.array(column) for column in zip(*rows, strict=True))
    return Contexts(
        item=item, position=position, step=np.zeros(len(rows), int), items=TEXTS, tokens=tokens
    )


def test_planted_peaks_come_back_best_first_one_per_text(contexts):
    coefficients = np.array([0.0, 3.0, 2.9, 0.1, 0.0, 1.0, 0.0, 0.0, 5.0])
    found = top_contexts(coefficients, contexts)
    assert [
        (context.tokens[context.peak], context.coefficients[context.peak]) for context in found
    ] == [("l", 5.0), ("c", 3.0), ("h", 1.0)]


def test_all_words_of_a_window_with_their_coefficients(contexts):
    coefficients = np.array([0.5, 3.0, 2.9, 0.1, 0.2, 0.0, 0.0, 0.0, 0.0])
    (found,) = top_contexts(coefficients, contexts, radius=2)
    assert found.tokens == ("a", "b", "c", "d", "e")
    assert found.peak == 2
    assert found.coefficients == (0.0, 0.5, 3.0, 2.9, 0.1), (
        "the first word of a text was not recorded and has none"
    )


@pytest.mark.parametrize(
    ("row", "tokens", "peak"),
    [(0, ("a", "b", "c"), 1), (4, ("e", "f"), 1), (5, ("g", "h"), 1), (6, ("i", "j", "k"), 1)],
)
def test_windows_stay_within_their_text(contexts, row, tokens, peak):
    coefficients = np.zeros(9)
    coefficients[row] = 1.0
    (found,) = top_contexts(coefficients, contexts, radius=1)
    assert (found.tokens, found.peak) == (tokens, peak)


def test_no_more_than_asked_for(contexts):
    assert [
        context.tokens[context.peak]
        for context in top_contexts(np.arange(1.0, 10.0), contexts, count=2)
    ] == ["l", "h"]


def test_a_feature_that_does_not_fire_has_no_context(contexts):
    assert top_contexts(np.array([-1.0, 0.0, -3.0] * 3), contexts) == ()


def test_pixels_have_no_words_around_them():
    contexts = Contexts(
        item=np.array([0, 0, 1]),
        position=np.array([0, 7, 3]),
        step=np.zeros(3, int),
        items=("image 0", "image 1"),
    )
    found = top_contexts(np.array([1.0, 2.0, 0.5]), contexts)
    assert [(context.tokens, context.coefficients) for context in found] == [
        (("#7",), (2.0,)),
        (("#3",), (0.5,)),
    ]


def test_firing_rate_counts_rows_above_a_twentieth_of_the_largest():
    assert firing_rate(np.array([10.0, 0.51, 0.5, 0.0, -10.0])) == 0.4
    assert firing_rate(np.array([-1.0, 0.0])) == 0.0
    assert firing_rate(np.zeros(0)) == 0.0
