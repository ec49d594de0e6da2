"""Effects on given texts are those of a forward pass per vector and text, counted token by
token.
"""

import pytest
import torch
from hand_made import logprobs

from interp.capture import Add
from interp.core import InputError
from interp.steering.text_effects import text_effects

TEXTS = (
    "The sea was calm and the ships lay still.",
    "Bread rises",
    "Stir the soup slowly, then add salt and pepper.",
)
SITE = "L1.resid_post"


def test_change_and_divergence_are_those_of_each_text_and_vector_alone(llama):
    vectors = torch.randn(9, 16, generator=torch.Generator().manual_seed(0))
    found = text_effects(llama, TEXTS, SITE, vectors, n_tokens=6, divergence=True)
    for number in (0, 8):
        for item, text in enumerate(TEXTS):
            ids = torch.tensor(llama.tokenizer(text)["input_ids"][:6])
            plain = llama.run([ids.tolist()]).detach()[0, :-1].double().log_softmax(-1)
            steered = (
                llama.run([ids.tolist()], {SITE: Add(vectors[number])})
                .detach()[0, :-1]
                .double()
                .log_softmax(-1)
            )
            change = (steered - plain).gather(1, ids[1:, None]).mean()
            divergence = (plain.exp() * (plain - steered)).sum(dim=1).mean()
            assert found.change[number, item] == pytest.approx(float(change), rel=1e-3, abs=1e-5)
            assert found.kl[number, item] == pytest.approx(float(divergence), rel=1e-3, abs=1e-5)


def test_a_hand_computation(speaker, sea):
    found = text_effects(speaker, ["the sea of sea"], SITE, 1.5 * sea[None], n_tokens=24)
    ids = speaker.tokenizer.convert_tokens_to_ids(["the", "sea", "of", "sea"])
    changes = [
        logprobs(speaker, word, 1.5 * sea)[following]
        - logprobs(speaker, word, torch.zeros(32))[following]
        for word, following in zip(("the", "sea", "of"), ids[1:], strict=True)
    ]
    assert found.change[0, 0] == pytest.approx(float(sum(changes)) / 3, rel=1e-4)
    assert found.kl is None


def test_what_comes_after_the_cut_does_not_count(llama):
    vectors = torch.randn(2, 16, generator=torch.Generator().manual_seed(1))
    ids = llama.tokenizer(TEXTS[0])["input_ids"]
    short = llama.tokenizer.decode(ids[:6])
    assert llama.tokenizer(short)["input_ids"] == ids[:6]
    cut, alone = (
        text_effects(llama, [text], SITE, vectors, n_tokens=6).change for text in (TEXTS[0], short)
    )
    longer = text_effects(llama, TEXTS[:1], SITE, vectors, n_tokens=24).change
    assert cut == pytest.approx(alone)
    assert cut != pytest.approx(longer, rel=1e-2)


def test_bad_input_is_named_in_one_line(llama):
    good = torch.ones(1, 16)
    for call, complaint in [
        (
            lambda: text_effects(llama, ["The sea"], "L1.mlp", good, n_tokens=8),
            "16 wide but the site 24",
        ),
        (
            lambda: text_effects(llama, ["The sea", "T"], SITE, good, n_tokens=8),
            "text 1 has fewer than two tokens",
        ),
        (lambda: text_effects(llama, ["The sea"], SITE, good, n_tokens=1), "n_tokens is 1"),
    ]:
        with pytest.raises(InputError) as caught:
            call()
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)
