"""describe() joins both sides; a Feature shows itself."""

import pytest
import tiny
import torch

from interp.capture import record
from interp.core import InputError, Provenance
from interp.decompose.random_directions import RandomDirections
from interp.features import Feature, describe
from interp.features.contexts import top_contexts
from interp.features.vocabulary import token_effects
from interp.models.loading import wrap


@pytest.fixture(scope="module")
def model():
    return wrap(tiny.language("llama"), tiny.tokenizer())


@pytest.fixture(scope="module")
def acts(model):
    return record(model, list(tiny.SENTENCES), "L1.mlp")


@pytest.fixture(scope="module")
def dictionary(acts):
    directions = torch.nn.functional.normalize(
        torch.randn(4, 24, generator=torch.Generator().manual_seed(0)), dim=1
    )
    return RandomDirections(directions, torch.zeros(24), Provenance("random", site="L1.mlp"))


def test_every_feature_gets_its_own_contexts_and_tokens(model, acts, dictionary):
    features = describe(dictionary, acts, model, count=3)
    coefficients = (acts.values @ dictionary.directions.T).numpy()
    effects = token_effects(model, "L1.mlp", dictionary.directions)
    for index, feature in enumerate(features):
        assert feature.index == index
        assert [context.tokens for context in feature.contexts] == [
            context.tokens
            for context in top_contexts(coefficients[:, index], acts.contexts, count=3)
        ]
        assert (feature.promoted, feature.suppressed) == effects[index]
        assert feature.label


def test_without_a_model_or_a_vocabulary_there_is_no_output_side(acts, dictionary):
    for model in (None, wrap(tiny.classifier())):
        features = describe(dictionary, acts, model)
        assert all(feature.promoted == feature.suppressed == () for feature in features)
        assert any(feature.contexts for feature in features)


def test_activations_of_another_site_are_refused(model, dictionary):
    with pytest.raises(InputError, match=r"L0\.mlp"):
        describe(dictionary, record(model, list(tiny.SENTENCES), "L0.mlp"))


def test_progress_counts_every_feature(acts, dictionary):
    seen = []
    describe(
        dictionary,
        acts,
        progress=lambda stage, done, total, unit: seen.append((stage, done, total, unit)),
    )
    assert seen == [("describe", done, 4, "feature") for done in range(1, 5)]


def test_a_feature_knows_its_direction_and_refuses_a_number_that_does_not_exist(dictionary):
    assert (Feature(dictionary=dictionary, index=3).direction == dictionary.directions[3]).all()
    assert Feature(dictionary=dictionary, index=3).id == "random-3"
    with pytest.raises(
        InputError, match="feature 4 does not exist; the dictionary has features 0 to 3"
    ):
        Feature(dictionary=dictionary, index=4)


def test_a_feature_shows_text_of_the_corpus_escaped(axes, recorded):
    acts = recorded(["a <script>alert(1)</script>"], [[1.0]])
    (feature,) = describe(axes(1, 1), acts)
    shown = feature._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
