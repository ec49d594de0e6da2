"""sparse_probing(): a planted latent suffices, a concept spread over two needs both, and shuffled
labels are at chance.
"""

import numpy as np
import pytest
import torch

from interp.core import Activations, Contexts, InputError, Provenance
from interp.decompose.random_directions import RandomDirections
from interp.detection import LabelledActivations
from interp.detection.probing import sparse_probing

WIDTH, ROWS = 12, 3


def split(seed, each=40, neutral=80):
    """Ships raise axis 0 in one row; songs raise axis 1 in half of their sentences and axis 2 in
    the other half; the rest is noise.
    """
    generator = np.random.default_rng(seed)
    labels = ["ships"] * each + ["songs"] * each + [None] * neutral
    values = generator.normal(0, 0.3, (len(labels), ROWS, WIDTH))
    for number, label in enumerate(labels):
        if label is not None:
            axis = 0 if label == "ships" else 1 + number % 2
            values[number, generator.integers(ROWS), axis] = 5.0
    count = len(labels)
    names = tuple(f"sentence {number}" for number in range(count))
    words = (tuple(f" {row}" for row in range(ROWS)),) * count
    contexts = Contexts(
        item=np.repeat(np.arange(count), ROWS),
        position=np.tile(np.arange(ROWS), count),
        step=np.zeros(count * ROWS, int),
        items=names,
        tokens=words,
    )
    rows = torch.as_tensor(values.reshape(-1, WIDTH), dtype=torch.float32)
    return LabelledActivations(
        Activations(rows, contexts, "L0.mlp", Provenance("record", site="L0.mlp")), tuple(labels)
    )


@pytest.fixture(scope="module")
def splits():
    return split(0), split(1)


@pytest.fixture(scope="module")
def axes():
    return RandomDirections(torch.eye(WIDTH), torch.zeros(WIDTH), Provenance("axes", site="L0.mlp"))


@pytest.fixture(scope="module")
def probes(axes, splits):
    return {(probe.concept, probe.k): probe for probe in sparse_probing(axes, *splits)}


def test_one_planted_latent_is_enough(probes):
    probe = probes["ships", 1]
    assert probe.features == (0,)
    assert probe.accuracy.value == probe.auroc.value == 1.0
    assert probe.method == "random"


def test_a_concept_spread_over_two_latents_needs_both(probes):
    one, two = probes["songs", 1], probes["songs", 2]
    assert one.features[0] in (1, 2)
    assert one.accuracy.value == pytest.approx(0.75, abs=0.1)
    assert sorted(two.features) == [1, 2]
    assert two.accuracy.value > 0.97
    assert set(two.features) < set(probes["songs", 5].features)


def test_shuffled_labels_are_at_chance(axes, splits):
    probes = [
        probe for seed in range(10) for probe in sparse_probing(axes, *splits, ks=(1,), seed=seed)
    ]
    assert abs(np.mean([probe.accuracy.control for probe in probes]) - 0.5) < 0.07
    assert abs(np.mean([probe.auroc.control for probe in probes]) - 0.5) < 0.12
    assert len({probe.auroc.control for probe in probes}) > 5


def test_where_nothing_is_planted_held_out_sentences_are_at_chance(splits):
    empty = RandomDirections(
        torch.eye(WIDTH)[5:], torch.zeros(WIDTH), Provenance("axes", site="L0.mlp")
    )
    for probe in sparse_probing(empty, *splits, ks=(5,)):
        assert abs(probe.auroc.value - 0.5) < 0.15
        assert (
            probe.accuracy.low < 0.5 < probe.accuracy.high or abs(probe.accuracy.value - 0.5) < 0.1
        )


def test_neither_class_outweighs_the_other(probes):
    """One in four sentences is about ships; always saying no would be right three times out of
    four, and is worth .5 here.
    """
    probe = probes["songs", 1]
    assert probe.accuracy.n == 160
    assert 0 <= probe.accuracy.low <= probe.accuracy.value <= probe.accuracy.high <= 1


def test_the_scale_of_a_dictionary_does_not_matter(axes, splits, probes):
    smaller = [
        LabelledActivations(
            Activations(own.acts.values * 1e-3, own.acts.contexts, "L0.mlp", own.acts.provenance),
            own.labels,
        )
        for own in splits
    ]
    for probe in sparse_probing(axes, *smaller):
        assert probe.features == probes[probe.concept, probe.k].features
        assert probe.auroc.value == pytest.approx(
            probes[probe.concept, probe.k].auroc.value, abs=1e-3
        )


def test_sentences_that_left_no_row_count_as_zero(axes, splits):
    fit, held_out = splits
    lost = LabelledActivations(
        held_out.acts.take(held_out.acts.contexts.item != 0), held_out.labels
    )
    (probe,) = [
        probe for probe in sparse_probing(axes, fit, lost, ks=(1,)) if probe.concept == "ships"
    ]
    assert probe.accuracy.n == 160
    assert probe.accuracy.value == pytest.approx(1 - 0.5 / 40)


def test_what_cannot_be_probed_is_refused(axes, splits):
    fit, held_out = splits
    for ks in ((0,), (WIDTH + 1,)):
        with pytest.raises(InputError, match=f"k is {ks[0]}"):
            sparse_probing(axes, fit, held_out, ks=ks)
    unlabelled = LabelledActivations(held_out.acts, (None,) * len(held_out.labels))
    with pytest.raises(InputError, match="0 of 160 sentences are about 'ships'"):
        sparse_probing(axes, fit, unlabelled)
    with pytest.raises(InputError, match="none of the 160 sentences is labelled"):
        sparse_probing(axes, unlabelled, held_out)
