"""The sentences that ship with the package: enough of them, none twice, none from a template."""

import json
import re
from collections import Counter, defaultdict
from itertools import combinations, pairwise

import pytest

from interp.corpus import data_folder, labelled, load_concepts

NEAR_DUPLICATE = 0.35


@pytest.fixture(scope="module")
def files():
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((data_folder() / "concepts").glob("*.json"))
    }


@pytest.fixture(scope="module")
def sentences(files):
    return [
        (name, text)
        for name, value in files.items()
        for key in ("sentences", "held_out")
        for text in value.get(key, [])
    ]


def long_words(text):
    return frozenset(re.findall(r"[^\W\d_]{4,}", text.lower()))


def most_alike(texts):
    """The two texts whose words of four letters or more overlap most, and by how much (Jaccard)."""
    words = [long_words(text) for text in texts]
    holders = defaultdict(list)
    for number, own in enumerate(words):
        for word in own:
            holders[word].append(number)
    shared = Counter(pair for numbers in holders.values() for pair in combinations(numbers, 2))
    overlap = {
        (one, two): count / len(words[one] | words[two]) for (one, two), count in shared.items()
    }
    one, two = max(overlap, key=overlap.get)
    return overlap[one, two], texts[one], texts[two]


def test_there_are_enough_concepts_and_sentences(files):
    concepts = {name: value for name, value in files.items() if not name.startswith("neutral")}
    assert len(concepts) >= 24
    assert all(
        value["name"] == name and value["description"].strip() for name, value in concepts.items()
    )
    assert all(
        len(value["sentences"]) >= 40 and len(value["held_out"]) >= 10
        for value in concepts.values()
    )
    assert (
        sum(len(value["sentences"]) for name, value in files.items() if name.startswith("neutral"))
        >= 400
    )


def test_no_sentence_occurs_twice(sentences):
    counts = Counter(" ".join(re.findall(r"\w+", text.lower())) for _, text in sentences)
    assert [text for text, count in counts.items() if count > 1] == []


def test_no_two_sentences_of_any_files_are_near_duplicates(sentences):
    overlap, one, two = most_alike([text for _, text in sentences])
    assert overlap < NEAR_DUPLICATE, f"{overlap:.2f}: {one!r} and {two!r}"


def test_the_measure_finds_a_near_duplicate(sentences):
    known = "There is a rumour going around that the third floor will be painted yellow."
    copy = "There is a rumour that the third floor will be repainted in a dull shade of green."
    overlap, *found = most_alike([*(text for _, text in sentences if text != known), known, copy])
    assert overlap > NEAR_DUPLICATE
    assert set(found) == {known, copy}


def runs(sentences, length):
    """Every run of that many words with the sentences it occurs in."""
    seen = defaultdict(set)
    for _, text in sentences:
        words = re.findall(r"\w+", text.lower())
        for run in zip(*(words[start:] for start in range(length)), strict=False):
            seen[run].add(text)
    return seen


@pytest.mark.parametrize(("length", "allowed"), [(5, 2), (6, 1)])
def test_no_run_of_words_comes_back_as_in_a_template(sentences, length, allowed):
    assert [run for run, texts in runs(sentences, length).items() if len(texts) > allowed] == []


def test_the_measure_finds_a_template(sentences):
    made = [
        ("tools", f"Nobody in the whole office likes the {thing}.")
        for thing in ("stapler", "lamp", "clock")
    ]
    assert max(len(texts) for texts in runs([*sentences, *made], 6).values()) == 3


def test_openings_vary_within_a_file(files):
    for name, value in files.items():
        openings = Counter(
            tuple(re.findall(r"\w+", text.lower())[:2]) for text in value["sentences"]
        )
        assert max(openings.values()) <= len(value["sentences"]) // 10, (
            name,
            openings.most_common(1),
        )


def test_sentences_are_clean_text_of_reasonable_length(sentences):
    for name, text in sentences:
        assert text == text.strip(), name
        assert "\n" not in text, name
        assert "  " not in text, name
        assert 5 <= len(text.split()) <= 40, (name, text)


def test_splits_share_no_sentence_and_lose_none(sentences):
    concepts = load_concepts()
    fit, held_out = labelled(concepts, "fit"), labelled(concepts, "held_out")
    assert not set(fit.texts) & set(held_out.texts)
    assert sorted(fit.texts + held_out.texts) == sorted(text for _, text in sentences)


def test_splits_hold_every_concept_and_follow_the_rule(files):
    concepts = load_concepts()
    for concept in concepts.concepts:
        first, second = files[concept.name]["sentences"], files[concept.name]["held_out"]
        assert concept.fit == tuple(first[:30])
        assert concept.held_out == (*first[30:], *second)
    neutral = [
        text
        for name, value in files.items()
        if name.startswith("neutral")
        for text in value["sentences"]
    ]
    assert concepts.neutral.held_out == tuple(neutral[::4])
    assert len(concepts.neutral.fit) == len(neutral) * 3 // 4


def test_labels_stand_beside_their_texts():
    concepts = load_concepts()
    for split in ("fit", "held_out"):
        found = labelled(concepts, split)
        for text, label in zip(found.texts, found.labels, strict=True):
            source = concepts.neutral if label is None else concepts[label]
            assert text in getattr(source, split)
        assert all(one is not None or two is None for one, two in pairwise(found.labels)), (
            "neutral comes last"
        )
