"""Labels: a word that is peculiar to a feature's contexts wins over words that all contexts
share.
"""

from dataclasses import replace

import numpy as np
import pytest

from interp.features.feature import Feature, FeatureContext
from interp.features.labels import distinctive_words, label_features

COMMON = ("people", "said", "every", "morning", "something")


def contexts(generator, planted, count=20):
    """Contexts of words that every feature has, the planted word beside the peak in half of
    them.
    """
    made = []
    for number in range(count):
        words = [str(word) for word in generator.choice(COMMON, 8)]
        if planted and number % 2:
            words[3] = planted
        made.append(FeatureContext(tuple(f" {word}" for word in words), (0.0,) * 8, 4))
    return tuple(made)


@pytest.fixture
def planted():
    generator = np.random.default_rng(0)
    return [contexts(generator, word) for word in ("lighthouse", "saxophone", None, "parliament")]


def test_the_planted_word_wins_over_words_that_are_more_frequent(planted):
    words = distinctive_words(planted)
    assert [own[0] for own in (words[0], words[1], words[3])] == [
        "lighthouse",
        "saxophone",
        "parliament",
    ]


def test_without_a_planted_word_nothing_is_distinctive(planted):
    assert distinctive_words(planted)[2] == ()


def test_a_word_in_every_features_contexts_is_no_label():
    generator = np.random.default_rng(1)
    assert distinctive_words([contexts(generator, "lighthouse") for _ in range(4)]) == [()] * 4


def test_a_word_far_from_the_peak_does_not_count(planted):
    moved = [
        [
            FeatureContext((*context.tokens, *(" filler",) * 6, " harbour"), (0.0,) * 15, 4)
            for context in own
        ]
        for own in planted[:1]
    ]
    assert "harbour" not in distinctive_words([*moved, *planted[1:]], count=9)[0]
    near = [
        [FeatureContext((*context.tokens[:5], " harbour"), (0.0,) * 6, 4) for context in own]
        for own in planted[:1]
    ]
    assert "harbour" in distinctive_words([*near, *planted[1:]], count=9)[0]


def test_a_word_cut_by_the_window_is_counted_whole(planted):
    pieces = (" light", "house", " x", " x", " x", " x")
    own = [FeatureContext(pieces, (0.0,) * 6, 5) for _ in range(6)]
    assert distinctive_words([own, *planted[1:]])[0] == ("lighthouse",)


def test_labels_say_where_they_come_from(axes, planted):
    dictionary = axes(4, 6)
    blank = Feature(dictionary=dictionary, index=2)
    on_comma = replace(blank, contexts=(FeatureContext((" a", ",", " b"), (0.0, 1.0, 0.0), 1),) * 3)
    first = Feature(dictionary=dictionary, index=0, contexts=planted[0])
    others = [Feature(dictionary=dictionary, index=3, contexts=own) for own in planted[1:]]
    labels = [
        (feature.label, feature.label_source)
        for feature in label_features([first, on_comma, blank, *others])
    ]
    assert labels[0][0].split(", ")[0] == "lighthouse"
    assert [label for label, _ in labels[1:3]] == ["on ','", "never fires"]
    assert labels[0][1] == "distinctive words"
