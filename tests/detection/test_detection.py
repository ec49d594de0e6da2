"""detect(): planted features are found, random ones are not, and nothing that is reported was
chosen on the same sentences.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from interp.core import Activations, Contexts, InputError, Provenance
from interp.decompose.difference_in_means import fit_difference_in_means_many
from interp.decompose.random_directions import RandomDirections
from interp.detection import (
    LabelledActivations,
    detect,
    detection_of,
    sentence_cosines,
    sentence_scores,
    summarise,
)

WIDTH = 40
CONCEPTS = ("ships", "songs", "soups")
ROWS = 3


def dictionary(directions):
    unit = torch.nn.functional.normalize(torch.as_tensor(directions, dtype=torch.float32), dim=1)
    return RandomDirections(unit, torch.zeros(unit.shape[1]), Provenance("axes", site="L0.mlp"))


def split(values, labels):
    """Labelled sentences of three rows each: `values [sentence, row, d]`."""
    values = torch.as_tensor(np.asarray(values), dtype=torch.float32)
    count, rows, width = values.shape
    names = tuple(f"sentence {number}" for number in range(count))
    words = (tuple(f" {row}" for row in range(rows)),) * count
    contexts = Contexts(
        item=np.repeat(np.arange(count), rows),
        position=np.tile(np.arange(rows), count),
        step=np.zeros(count * rows, int),
        items=names,
        tokens=words,
    )
    return LabelledActivations(
        Activations(
            values.reshape(-1, width), contexts, "L0.mlp", Provenance("record", site="L0.mlp")
        ),
        tuple(labels),
    )


def planted(seed, each=20, neutral=60):
    """Noise; in one row of every sentence about concept k the axis k is 5."""
    generator = np.random.default_rng(seed)
    labels = [name for name in CONCEPTS for _ in range(each)] + [None] * neutral
    values = np.clip(generator.normal(0, 0.5, (len(labels), ROWS, WIDTH)), -1.5, 1.5)
    for number, label in enumerate(labels):
        if label is not None:
            values[number, generator.integers(ROWS), CONCEPTS.index(label)] = 5.0
    return split(values, labels)


@pytest.fixture(scope="module")
def fit():
    return planted(0)


@pytest.fixture(scope="module")
def held_out():
    return planted(1)


def test_planted_features_are_chosen_and_detect_perfectly(fit, held_out):
    found = detect(dictionary(torch.eye(10, WIDTH)), fit, held_out)
    assert [(row.concept, row.feature) for row in found] == [
        ("ships", 0),
        ("songs", 1),
        ("soups", 2),
    ]
    for row in found:
        assert (
            row.auroc.value
            == row.auroc_others.value
            == row.average_precision.value
            == row.chosen_on
            == 1.0
        )
        assert (row.auroc.n, row.auroc_others.n) == (80, 60)
    assert summarise(found)[0] == 3


def test_directions_where_nothing_was_planted_are_at_chance(fit, held_out):
    found = detect(
        dictionary(torch.eye(10, WIDTH, dtype=torch.float32).roll(20, dims=1)), fit, held_out
    )
    good, mean = summarise(found)
    assert good == 0
    assert abs(mean.value - 0.5) < 0.12
    assert all(row.chosen_on > row.auroc.value for row in found), (
        "what is chosen looks better where it was chosen"
    )


def test_shuffled_labels_are_at_chance(fit, held_out):
    controls = [
        row.auroc.control
        for seed in range(20)
        for row in detect(dictionary(torch.eye(3, WIDTH)), fit, held_out, seed=seed)
    ]
    assert abs(np.mean(controls) - 0.5) < 0.03
    assert min(controls) < 0.5 < max(controls)


def test_the_feature_is_chosen_on_the_fit_split_alone():
    labels = ["ships"] * 10 + [None] * 10
    fit, held_out = np.zeros((2, 20, ROWS, 2))
    fit[:10, 1, 0] = 1.0
    fit[:6, 1, 1] = 1.0
    held_out[:6, 1, 0] = 1.0
    held_out[:10, 1, 1] = 1.0
    both = dictionary(torch.eye(2))
    (row,) = detect(both, split(fit, labels), split(held_out, labels))
    assert (row.feature, row.chosen_on, row.auroc.value) == (0, 1.0, 0.8), (
        "feature 1 would be better on the held-out split"
    )
    (swapped,) = detect(both, split(held_out, labels), split(fit, labels))
    assert (swapped.feature, swapped.chosen_on, swapped.auroc.value) == (1, 1.0, 0.8)


def test_a_supervised_dictionary_uses_the_direction_of_the_concept(fit, held_out):
    labels = np.array([label or "" for label in fit.labels])
    groups = {
        name: fit.acts.of_items(np.flatnonzero(labels == name)) for name in reversed(CONCEPTS)
    }
    supervised = fit_difference_in_means_many(
        groups, fit.acts.of_items(np.flatnonzero(labels == ""))
    )
    found = detect(supervised, fit, held_out)
    assert [(row.concept, row.feature) for row in found] == [
        ("ships", 2),
        ("songs", 1),
        ("soups", 0),
    ]
    assert all(row.auroc.value > 0.95 for row in found)


def test_a_given_feature_is_scored_as_it_is(held_out):
    axes = dictionary(torch.eye(10, WIDTH))
    assert detection_of(axes, 1, "songs", held_out).auroc.value == 1.0
    wrong = detection_of(axes, 1, "ships", held_out)
    assert abs(wrong.auroc.value - 0.5) < 0.2
    assert wrong.auroc_others.value < 0.5, "it fires on songs, which are among the others"


def test_a_sentence_scores_its_largest_coefficient_and_cosine():
    values = np.array([[[3.0, 4.0], [0.0, 1.0], [-9.0, 0.0]]])
    labelled = split(values, ["ships"])
    axes = dictionary(torch.eye(2))
    assert sentence_scores(axes, labelled.acts).tolist() == [[3.0, 4.0]]
    assert sentence_cosines(axes, labelled.acts) == pytest.approx(np.array([[0.6, 1.0]]))


def test_the_papers_score_in_closed_form():
    # One feature along the first axis; a sentence's largest cosine is the first entry of its best
    # row.
    def rows(*cosines):
        return [[[cosine, np.sqrt(1 - cosine**2)], [-1.0, 0.0], [-1.0, 0.0]] for cosine in cosines]

    axis, labels = dictionary(torch.eye(1, 2)), ["ships", "ships", None, None]
    found = detection_of(axis, 0, "ships", split(rows(0.9, 0.5, 0.1, 0.3), labels))
    assert found.paper_score == pytest.approx(np.log(0.7 / 0.2), rel=1e-5)
    for cosines in ((0.9, 0.5, 0.1, -0.3), (-0.9, 0.5, 0.1, 0.3)):
        assert detection_of(axis, 0, "ships", split(rows(*cosines), labels)).paper_score is None


def test_a_sentence_that_left_no_row_ranks_lowest_and_has_no_cosine(held_out):
    axes = dictionary(torch.eye(3, WIDTH))
    rows = np.flatnonzero(held_out.acts.contexts.item != 0)
    lost = LabelledActivations(held_out.acts.take(rows), held_out.labels)
    assert held_out.labels[0] == "ships"
    found, whole = (detection_of(axes, 0, "ships", labelled) for labelled in (lost, held_out))
    assert (whole.auroc.value, found.auroc.value) == (1.0, 0.95), (
        "one of twenty is below all neutral ones"
    )
    assert found.paper_score == pytest.approx(whole.paper_score, abs=0.1)


def test_a_single_concept_has_no_others(fit, held_out):
    def only_ships(labelled):
        kept = np.array(
            [number for number, label in enumerate(labelled.labels) if label in ("ships", None)]
        )
        acts = labelled.acts.of_items(kept)
        contexts = replace(
            acts.contexts,
            item=np.searchsorted(kept, acts.contexts.item),
            items=tuple(acts.contexts.items[k] for k in kept),
        )
        return LabelledActivations(
            replace(acts, contexts=contexts), tuple(labelled.labels[k] for k in kept)
        )

    (row,) = detect(dictionary(torch.eye(3, WIDTH)), only_ships(fit), only_ships(held_out))
    assert row.auroc.value == 1.0
    assert (row.auroc_others.n, row.auroc_others.to_dict()["value"]) == (0, None)


def test_same_seed_same_result(fit, held_out):
    axes = dictionary(torch.eye(5, WIDTH))
    assert detect(axes, fit, held_out, seed=1) == detect(axes, fit, held_out, seed=1)


def test_the_mean_over_concepts_is_over_concepts(fit, held_out):
    found = detect(dictionary(torch.eye(10, WIDTH)), fit, held_out)
    worse = replace(found[0], auroc=replace(found[0].auroc, value=0.4))
    good, mean = summarise([worse, *found[1:]])
    assert (good, mean.n) == (2, 3)
    assert mean.value == pytest.approx(0.8)


def test_bad_input_is_named_in_one_line(fit, held_out):
    axes = dictionary(torch.eye(3, WIDTH))
    unlabelled = LabelledActivations(fit.acts, (None,) * len(fit.labels))
    without_neutral = LabelledActivations(fit.acts, tuple(label or "more" for label in fit.labels))
    elsewhere = LabelledActivations(replace(held_out.acts, site="L9.mlp"), held_out.labels)
    for call, complaint in [
        (lambda: detect(axes, unlabelled, held_out), "none of the 120 sentences"),
        (lambda: detect(axes, without_neutral, held_out), "0 neutral"),
        (lambda: detect(axes, fit, unlabelled), "0 sentences of 'ships'"),
        (lambda: detect(axes, fit, elsewhere), r"L9\.mlp"),
        (lambda: LabelledActivations(fit.acts, ("ships",)), "1 labels were given for 120 inputs"),
        (lambda: summarise(()), "no detections"),
    ]:
        with pytest.raises(InputError, match=complaint) as caught:
            call()
        assert "\n" not in str(caught.value)
