"""The offline judge: perfect where concepts have words of their own, and refusing where they do
not.
"""

import numpy as np
import pytest
import torch

from interp.core import InputError
from interp.corpus import Concept, ConceptSet
from interp.models.adapters.encoder import SentenceEncoder
from interp.steering import MeasuredJudge, OfflineJudge, fit_offline_judge

OWN = {
    "ships": "keel mast sail hull anchor",
    "songs": "chord tune verse choir flute",
    "soups": "broth ladle salt bowl leek",
}
FILLER = [f"word{number}" for number in range(25)]


class Bag(SentenceEncoder):
    """Word counts, scaled to unit length; counts the texts it has seen."""

    def __init__(self):
        self.words = [*FILLER, *" ".join(OWN.values()).split()]
        self.seen = 0

    def encode(self, texts):
        self.seen += len(texts)
        counts = torch.tensor(
            [[text.split().count(word) for word in self.words] for text in texts],
            dtype=torch.float32,
        )
        return torch.nn.functional.normalize(counts, dim=1)


def sentences(generator, own, count):
    """Twelve words each: eight that every sentence has, four of the concept's own (or more of the
    others).
    """
    return tuple(
        " ".join(generator.permutation([*generator.choice(FILLER, 8), *generator.choice(own, 4)]))
        for _ in range(count)
    )


def concept(name, own, seed):
    generator = np.random.default_rng(seed)
    return Concept(name, "", sentences(generator, own, 30), sentences(generator, own, 20))


@pytest.fixture(scope="module")
def neutral():
    return concept("neutral", FILLER, 99)


@pytest.fixture(scope="module")
def separable(neutral):
    return ConceptSet(
        tuple(concept(name, words.split(), seed) for seed, (name, words) in enumerate(OWN.items())),
        neutral,
    )


@pytest.fixture(scope="module")
def judge(speaker, separable):
    return fit_offline_judge(speaker, Bag(), separable)


def test_separable_concepts_are_told_apart_perfectly_on_held_out_sentences(judge):
    assert judge.reliability.by_concept == {"ships": 1.0, "songs": 1.0, "soups": 1.0}
    assert judge.reliability.accepted == ("ships", "songs", "soups")
    assert judge.reliability.refused == ()
    assert judge.reliability.auroc.value == 1.0
    assert abs(judge.reliability.auroc.control - 0.5) < 0.15
    assert isinstance(judge, MeasuredJudge)


def test_a_text_scores_high_for_its_own_concept_alone(judge, separable):
    texts = [separable[name].held_out[0] for name in OWN]
    pairs = [(text, name) for text in texts for name in OWN]
    judgement = judge.judge(
        ["a ship"] * 9, [text for text, _ in pairs], [name for _, name in pairs]
    )
    table = judgement.concept.reshape(3, 3)
    assert (table.argmax(axis=1) == np.arange(3)).all()
    assert table.diagonal().min() > 1.0
    assert (table.sum(axis=1) < 2.0 + 1e-6).all(), (
        "probabilities of all classes add to one, the scale is 2"
    )
    assert not judgement.failed.any()


def test_a_neutral_text_scores_low_for_every_concept(judge, neutral):
    text = neutral.held_out[0]
    assert judge.judge(["a ship"] * 3, [text] * 3, list(OWN)).concept.max() < 0.6


def test_identical_concepts_are_refused_and_others_are_not(speaker, neutral):
    twins = [
        concept(name, OWN["ships"].split(), seed) for seed, name in ((0, "ships"), (1, "vessels"))
    ]
    plain = concept("nothing", FILLER, 5)
    judge = fit_offline_judge(
        speaker,
        Bag(),
        ConceptSet((*twins, plain, concept("soups", OWN["soups"].split(), 3)), neutral),
    )
    assert judge.reliability.accepted == ("soups",)
    assert set(judge.reliability.refused) == {"ships", "vessels", "nothing"}
    for refused in ("ships", "nothing", "quarks"):
        with pytest.raises(InputError, match=f"cannot tell {refused!r} apart.*choose among soups"):
            judge.judge(["a ship"], ["word1"], [refused])


def test_a_judge_that_refuses_everything_says_so_without_a_number(speaker, neutral):
    judge = fit_offline_judge(speaker, Bag(), ConceptSet((concept("nothing", FILLER, 5),), neutral))
    assert judge.reliability.accepted == ()
    assert judge.reliability.auroc.to_dict()["value"] is None


def test_each_distinct_text_is_looked_at_once(judge):
    judge.encoder.seen = 0
    both = judge.judge(
        ["a ship", "a ship", "the", "a ship"],
        ["word1", "word1", "word1", "keel"],
        ["ships", "songs", "ships", "ships"],
    )
    assert judge.encoder.seen == 3, "the same text after another prompt is another text"
    alone = judge.judge(["a ship"], ["word1"], ["songs"])
    assert (both.concept[1], both.fluency[1]) == pytest.approx((alone.concept[0], alone.fluency[0]))


def test_fluency_comes_from_the_unsteered_model(judge):
    judgement = judge.judge(
        ["a ship"] * 2, ["", "word1 word2 word1 word2 word1 word2 word1 word2"], ["ships"] * 2
    )
    assert judgement.fluency[0] == 0.0
    assert judgement.score[0] == 0.0
    assert judgement.fluency[1] < 1.0


def test_same_seed_same_judge(speaker, separable, judge):
    again = fit_offline_judge(speaker, Bag(), separable)
    text = [separable["ships"].held_out[1]]
    assert again.judge(["a"], text, ["ships"]).score == judge.judge(["a"], text, ["ships"]).score
    assert again.reliability == judge.reliability


def test_a_concept_with_one_sentence_is_refused_by_name(speaker, separable, neutral):
    lonely = Concept("lonely", "", ("keel mast",), ("sail",))
    with pytest.raises(InputError, match="'lonely' has 1 sentence to fit on"):
        fit_offline_judge(speaker, Bag(), ConceptSet((*separable.concepts, lonely), neutral))


def test_it_is_the_public_class(judge):
    assert type(judge) is OfflineJudge
    assert judge.name.startswith("offline")
