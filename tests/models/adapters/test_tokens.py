"""Texts, chats and ids become padded batches that lose and shift nothing."""

from typing import Any

import numpy as np
import pytest
import tiny
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from interp.core import InputError
from interp.models.adapters.tokens import batches, positions_of, tokenize

TEXTS = [
    "The sea was calm.",
    "  twice  spaced ",
    "naïve 漢字 🙂🙃",
    "line\nbreak\t",
    "</s> in the text",
    "",
]


def prepared(ids: list[list[int]], **options: Any) -> Any:
    given = {
        "pad_id": 2,
        "segment": 4,
        "batch_size": 2,
        "token_budget": 8,
        "device": torch.device("cpu"),
        **options,
    }
    return batches(tokenize(ids, tiny.word_tokenizer()), **given)


@pytest.mark.parametrize("bos", [False, True])
def test_tokens_join_to_the_text_and_ids_are_the_tokenizers(bos: bool) -> None:
    tokenizer = tiny.tokenizer(bos=bos)
    for text, found in zip(TEXTS, tokenize(TEXTS, tokenizer), strict=True):
        assert "".join(found.tokens[bos:]) == text
        assert list(found.ids) == tokenizer(text)["input_ids"]
        assert found.special[:1] == ((True,) if bos else found.special[:1])
        assert len(found.ids) == len(found.tokens) == len(found.special)


def test_a_tokenizer_that_drops_spaces_and_case_still_joins() -> None:
    core = Tokenizer(models.WordLevel({"the": 0, "sea": 1, "<unk>": 2}, unk_token="<unk>"))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    (found,) = tokenize(" The SEA  was calm \n", tokenizer)
    assert "".join(found.tokens) == " The SEA  was calm \n"
    assert found.tokens[1] == " SEA"
    assert not any(found.special), "an unknown word is a word"


def test_special_tokens_written_into_the_text_or_given_as_ids_are_special() -> None:
    (written,) = tokenize("</s>a", tiny.tokenizer())
    assert written.special == (True, False)
    (given,) = tokenize([[0, 50, 1]], tiny.tokenizer())
    assert given.special == (True, False, True)
    (bare,) = tokenize([[0, 50, 1]], None)
    assert bare.special == (False,) * 3
    assert bare.text == "0 50 1"


def test_every_kind_of_input() -> None:
    tokenizer = tiny.tokenizer()
    chat = [{"role": "user", "content": "sea"}]
    assert (
        tokenize("sea", tokenizer)
        == tokenize(["sea"], tokenizer)
        == tokenize((text for text in ["sea"]), tokenizer)
    )
    assert tokenize(chat, tokenizer) == tokenize([chat], tokenizer) == tokenize(chat[0], tokenizer)
    assert tokenize(chat, tokenizer)[0].text == "<|user|>sea</s>"
    ids = torch.tensor([[5, 6], [7, 8]])
    assert (
        tokenize(ids, tokenizer)
        == tokenize([[5, 6], [7, 8]], tokenizer)
        == tokenize(list(ids), tokenizer)
    )
    assert tokenize(ids[0], tokenizer) == tokenize([[5, 6]], tokenizer)


@pytest.mark.parametrize(
    "value", [None, 7, [None], [3.5], [[]], [["a"]], b"bytes", ["a\ud800b"], []]
)
def test_what_cannot_be_read_gets_one_line(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        tokenize(value, tiny.tokenizer())
    assert "\n" not in str(caught.value)


def test_chats_need_a_template_and_texts_a_tokenizer() -> None:
    with pytest.raises(InputError, match="no chat template"):
        tokenize([{"role": "user", "content": "sea"}], tiny.word_tokenizer())
    with pytest.raises(InputError, match="without a tokenizer"):
        tokenize(["sea"], None)


@pytest.mark.parametrize("padding", ["left", "right"])
def test_batches_hold_every_token_once(padding: Any) -> None:
    ids = [[5], [6, 7, 8, 9, 10, 11, 12, 13, 14], [15, 16, 17], [18, 19]]
    found: dict[tuple[int, int], int] = {}
    whole = prepared(ids, padding=padding)
    for batch in whole.batches:
        positions = positions_of(batch.inputs["attention_mask"])
        assert torch.equal(batch.keep, batch.inputs["attention_mask"].bool())
        assert torch.equal(
            batch.inputs["input_ids"][~batch.keep], torch.full((int((~batch.keep).sum()),), 2)
        )
        edge = batch.keep[:, -1] if padding == "left" else batch.keep[:, 0]
        assert bool(edge.all())
        for row, column in torch.nonzero(batch.keep).tolist():
            key = (int(batch.items[row]), int(batch.offsets[row] + positions[row, column]))
            assert key not in found
            found[key] = int(batch.inputs["input_ids"][row, column])
    assert found == {
        (item, place): token for item, row in enumerate(ids) for place, token in enumerate(row)
    }
    lengths = [int(batch.keep.sum(dim=1).max()) for batch in whole.batches]
    assert lengths == sorted(lengths, reverse=True) == [4, 3, 1]


def test_left_padding_does_not_shift_positions() -> None:
    (batch,) = prepared([[5, 6, 7], [8]], padding="left").batches
    assert batch.inputs["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert positions_of(batch.inputs["attention_mask"]).tolist() == [[0, 1, 2], [-1, -1, 0]]


def test_the_token_budget_bounds_a_batch() -> None:
    whole = prepared([[5] * 4, [6] * 4, [7] * 4, [8], [9], [10]], batch_size=None, token_budget=8)
    assert [batch.inputs["input_ids"].shape for batch in whole.batches] == [(2, 4), (2, 4), (2, 1)]
    alone = prepared([[5] * 4], batch_size=None, token_budget=1)
    assert np.array_equal(alone.batches[0].items, [0]), "a sequence over the budget still runs"
