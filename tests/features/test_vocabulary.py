"""The output side: a direction whose image is a token's own unembedding promotes that token."""

import pytest
import tiny
import torch

from interp.core import InputError
from interp.features.vocabulary import token_effects
from interp.models.loading import wrap


@pytest.fixture(scope="module")
def model():
    return wrap(tiny.language("llama"), tiny.word_tokenizer())


def unembedding(model, token):
    return model.module.lm_head.weight.detach()[token]


def test_at_the_residual_stream_a_tokens_own_unembedding_promotes_it(model):
    # Cosine is largest with itself, but the logit also grows with a token's length; so every
    # token's row is made as long as all others.
    rows = torch.nn.functional.normalize(model.module.lm_head.weight.detach(), dim=1)
    model.module.lm_head.weight.data = rows
    model.module.model.norm.weight.data.fill_(1.0)
    directions = rows[[5, 77, 299]]
    found = token_effects(model, "L1.resid_post", directions)
    assert [promoted[0].token for promoted, _ in found] == ["w5", "w77", "w299"]
    opposite = token_effects(model, "L1.resid_post", -directions)
    assert [suppressed[0].token for _, suppressed in opposite] == ["w5", "w77", "w299"]


def test_at_the_neurons_its_preimage_under_the_down_projection_does(model):
    down = model.module.model.layers[1].mlp.down_proj.weight.detach()
    wanted = [9, 123]
    model.module.lm_head.weight.data = torch.nn.functional.normalize(
        model.module.lm_head.weight.detach(), dim=1
    )
    model.module.model.norm.weight.data.fill_(1.0)
    directions = torch.stack(
        [torch.linalg.pinv(down) @ unembedding(model, token) for token in wanted]
    )
    assert [promoted[0].token for promoted, _ in token_effects(model, "L1.mlp", directions)] == [
        "w9",
        "w123",
    ]
    other = token_effects(model, "L0.mlp", directions)
    assert [promoted[0].token for promoted, _ in other] != ["w9", "w123"], (
        "another layer has another down projection"
    )


def test_effects_are_centred_logits_in_order(model):
    direction = torch.randn(1, 16, generator=torch.Generator().manual_seed(0))
    logits = (model.module.lm_head(model.module.model.norm(direction)))[0].detach()
    expected = logits - logits.mean()
    ((promoted, suppressed),) = token_effects(model, "L0.resid_pre", direction, count=4)
    assert [effect.logit for effect in promoted] == pytest.approx(
        expected.sort(descending=True).values[:4].tolist(), abs=1e-5
    )
    assert [effect.logit for effect in suppressed] == pytest.approx(
        expected.sort().values[:4].tolist(), abs=1e-5
    )
    assert all(
        expected[int(effect.token[1:])] == pytest.approx(effect.logit, abs=1e-5)
        for effect in (*promoted, *suppressed)
    )


def test_many_directions_are_read_as_each_alone(model):
    directions = torch.randn(70, 16, generator=torch.Generator().manual_seed(1))
    together = token_effects(model, "L0.resid_post", directions, count=2)
    alone = [
        token_effects(model, "L0.resid_post", direction[None], count=2)[0]
        for direction in directions
    ]
    tokens = [[[effect.token for effect in side] for side in sides] for sides in together]
    assert tokens == [[[effect.token for effect in side] for side in sides] for sides in alone]


def test_a_vocabulary_smaller_than_asked_for_is_shown_whole():
    small = wrap(tiny.language("gpt2", vocabulary=7))
    ((promoted, suppressed),) = token_effects(small, "L0.resid_post", torch.ones(1, 16), count=15)
    assert [effect.token for effect in promoted] == [
        effect.token for effect in reversed(suppressed)
    ]
    assert {effect.token for effect in promoted} == {str(token) for token in range(7)}, (
        "without a tokenizer a token is its number"
    )


def test_a_site_that_writes_nowhere_is_refused(model):
    with pytest.raises(InputError, match="no direct effect"):
        token_effects(model, "logits", torch.ones(1, 300))
