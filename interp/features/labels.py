"""Offline labels: the words that set a feature's contexts apart from those of all others."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from interp.features.feature import Feature, FeatureContext

WORD = re.compile(r"[^\W\d_]{3,}")
PRIOR = 0.5
NEAR = 4
COMMON = (
    "the and for that with was were are you your this from have has had not but they them their "
    "his her she its our out all who what when where which will would could should been being than "
    "then there here about into over after before one two"
)
STOPWORDS = frozenset(COMMON.split())


def distinctive_words(
    contexts: Sequence[Sequence[FeatureContext]], count: int = 3
) -> list[tuple[str, ...]]:
    """For every feature the words near its peaks with the highest log-odds against all other
    features' contexts.

    A word counts once per context. Its score is the difference of its log-odds in the feature's
    contexts and in all others, with half a count added to the word and to all others, divided by
    its standard error (Monroe, Colaresi & Quinn 2008, eq. 16 and 22). Words need two contexts and a
    score above 1.5.
    """
    counts = [Counter(word for context in own for word in _words(context)) for own in contexts]
    total = sum(counts, Counter[str]())
    everything = sum(total.values())
    return [_distinctive(own, total, everything, count) for own in counts]


def label_features(features: Sequence[Feature]) -> tuple[Feature, ...]:
    """Every feature with a label of its distinctive words, or else of its peak tokens."""
    words = distinctive_words([feature.contexts for feature in features])
    return tuple(_labelled(feature, own) for feature, own in zip(features, words, strict=True))


def _labelled(feature: Feature, words: tuple[str, ...]) -> Feature:
    if words:
        return feature.named(", ".join(words), "distinctive words")
    peaks = Counter(context.tokens[context.peak].strip() for context in feature.contexts)
    tokens = [repr(token) for token, _ in peaks.most_common(3) if token]
    label = f"on {' '.join(tokens)}" if tokens else "never fires"
    return feature.named(label, "distinctive words")


def _words(context: FeatureContext) -> set[str]:
    """The words within four tokens of the peak, whole even where the window cuts them."""
    ends = list(accumulate(len(token) for token in context.tokens))
    first, last = context.peak - NEAR, min(context.peak + NEAR, len(ends) - 1)
    start, stop = (ends[first - 1] if first > 0 else 0), ends[last]
    words = {
        found.group().lower()
        for found in WORD.finditer("".join(context.tokens))
        if found.start() < stop and found.end() > start
    }
    return words - STOPWORDS


def _distinctive(
    own: Counter[str], total: Counter[str], everything: int, count: int
) -> tuple[str, ...]:
    inside = sum(own.values())
    scored = [
        (_log_odds(own[word], total[word] - own[word], inside, everything - inside), word)
        for word in own
        if own[word] >= 2
    ]
    best = sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:count]
    return tuple(word for score, word in best if score > 1.5)


def _log_odds(here: int, elsewhere: int, inside: int, outside: int) -> float:
    a, b = here + PRIOR, elsewhere + PRIOR
    odds = math.log(a / (inside - here + PRIOR)) - math.log(b / (outside - elsewhere + PRIOR))
    return odds / math.sqrt(1 / a + 1 / b)
