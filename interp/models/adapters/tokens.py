"""Turns texts, chat messages or token ids into padded batches, longest first."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from interp.core import InputError
from interp.models.protocol import Batch, Prepared, checked_batch_size

Padding = Literal["right", "left"]


@dataclass(frozen=True)
class _Sequence:
    """Token ids that fit the network; a long text makes several sequences."""

    item: int
    offset: int
    ids: tuple[int, ...]
    special: tuple[bool, ...]


@dataclass(frozen=True)
class Tokenized:
    """An input's token ids, the text of each token, and which are special (BOS and the like)."""

    text: str
    ids: tuple[int, ...]
    tokens: tuple[str, ...]
    special: tuple[bool, ...]


def tokenize(inputs: Any, tokenizer: Any | None) -> list[Tokenized]:
    """Inputs as tokens: one text or several, chats (lists of `{"role", "content"}`), or token ids
    (a list of lists or an integer tensor).

    Raises:
        InputError: there are no inputs, or inputs of another kind.
    """
    if isinstance(inputs, str | Mapping):
        inputs = [inputs]
    if isinstance(inputs, Tensor):
        inputs = (inputs if inputs.ndim == 2 else inputs[None]).tolist()
    if not isinstance(inputs, Iterable):
        raise InputError(
            f"cannot read inputs of type {type(inputs).__name__}; expected texts, chat messages or "
            "token ids"
        )
    if not isinstance(inputs, Sequence):
        inputs = list(inputs)
    if inputs and isinstance(inputs[0], Mapping):
        inputs = [inputs]
    if not inputs:
        raise InputError("no inputs were given; give at least one text, chat or list of token ids")
    return [_one(value, tokenizer) for value in inputs]


def _one(value: Any, tokenizer: Any | None) -> Tokenized:
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, Sequence) and value and isinstance(value[0], int):
        return _from_ids(tuple(value), tokenizer)
    if tokenizer is None:
        raise InputError(
            "this model was wrapped without a tokenizer and takes token ids only; use wrap(module, "
            "tokenizer)"
        )
    if isinstance(value, str):
        return _from_text(value, tokenizer, add_special_tokens=True)
    if isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
        if not tokenizer.chat_template:
            raise InputError(
                "this model's tokenizer has no chat template, so it takes no chat messages; give "
                "their text instead"
            )
        text = tokenizer.apply_chat_template(
            list(value), tokenize=False, add_generation_prompt=True
        )
        return _from_text(text, tokenizer, add_special_tokens=False)
    raise InputError(
        f"cannot read an input of type {type(value).__name__}: {str(value)[:60]!r}; expected text, "
        "chat messages or token ids"
    )


def _from_ids(ids: tuple[int, ...], tokenizer: Any | None) -> Tokenized:
    if tokenizer is None:
        tokens = tuple(str(token) for token in ids)
        return Tokenized(" ".join(tokens), ids, tokens, (False,) * len(ids))
    special = _special_ids(tokenizer)
    tokens = tuple(tokenizer.decode([token]) for token in ids)
    return Tokenized("".join(tokens), ids, tokens, tuple(token in special for token in ids))


def _special_ids(tokenizer: Any) -> set[int]:
    """Ids without text: the special ones, the unknown word only if it doubles as another."""
    others = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    return {
        token
        for token in tokenizer.all_special_ids
        if token != tokenizer.unk_token_id or token in others
    }


def _from_text(text: str, tokenizer: Any, *, add_special_tokens: bool) -> Tokenized:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(
            f"a text holds half a surrogate pair, which is no character: {text[:60]!r}; clean it "
            "with text.encode(errors='ignore')"
        )
    offsets_known = bool(getattr(tokenizer, "is_fast", False))
    encoded = tokenizer(
        text,
        add_special_tokens=add_special_tokens,
        return_offsets_mapping=offsets_known,
        return_special_tokens_mask=True,
        # Long texts are cut into pieces later, so the tokenizer need not warn.
        verbose=False,
    )
    ids = tuple(encoded["input_ids"])
    added = [bool(flag) for flag in encoded["special_tokens_mask"]]
    # Special tokens that a chat template writes into the text count like added ones.
    known = _special_ids(tokenizer)
    special = tuple(flag or token in known for flag, token in zip(added, ids, strict=True))
    if not offsets_known:
        return Tokenized(text, ids, tuple(tokenizer.decode([token]) for token in ids), special)
    return Tokenized(
        text, ids, _spans(text, encoded["offset_mapping"], ids, added, tokenizer), special
    )


def _spans(
    text: str,
    offsets: Sequence[tuple[int, int]],
    ids: Sequence[int],
    added: Sequence[bool],
    tokenizer: Any,
) -> tuple[str, ...]:
    """Each token's text since the token before it (the last to the end), so that they join to the
    whole text.
    """
    tokens, end = [], 0
    last = max((number for number, flag in enumerate(added) if not flag), default=-1)
    for number, ((_, stop), token, flag) in enumerate(zip(offsets, ids, added, strict=True)):
        if flag:
            tokens.append(tokenizer.decode([token]))
            continue
        stop = len(text) if number == last else max(end, stop)
        tokens.append(text[end:stop])
        end = stop
    return tuple(tokens)


def batches(
    tokenized: Sequence[Tokenized],
    *,
    pad_id: int,
    segment: int,
    batch_size: int | None,
    token_budget: int,
    device: torch.device,
    padding: Padding = "right",
) -> Prepared:
    """Padded batches, longest first (little padding is wasted, and running out of memory shows at
    once).

    A text of more than `segment` tokens is cut into pieces; a batch has `batch_size` sequences, or
    as many as fit `token_budget` tokens. With left padding the last column is every sequence's last
    token, and explicit position ids keep the padding from shifting positions.
    """
    pieces = [
        piece for item, text in enumerate(tokenized) for piece in _pieces(item, text, segment)
    ]
    pieces.sort(key=lambda piece: (-len(piece.ids), piece.item, piece.offset))
    groups = _groups(pieces, batch_size, token_budget)
    return Prepared(
        tuple(text.text for text in tokenized),
        tuple(text.tokens for text in tokenized),
        [_batch(group, pad_id, device, padding) for group in groups],
    )


def _pieces(item: int, text: Tokenized, segment: int) -> Iterator[_Sequence]:
    for start in range(0, len(text.ids), segment):
        yield _Sequence(
            item, start, text.ids[start : start + segment], text.special[start : start + segment]
        )


def _groups(
    pieces: Sequence[_Sequence], batch_size: int | None, token_budget: int
) -> Iterator[Sequence[_Sequence]]:
    start = 0
    while start < len(pieces):
        size = checked_batch_size(batch_size) or max(1, token_budget // len(pieces[start].ids))
        yield pieces[start : start + size]
        start += size


def _batch(
    group: Sequence[_Sequence], pad_id: int, device: torch.device, padding: Padding
) -> Batch:
    width = max(len(piece.ids) for piece in group)
    ids = torch.full((len(group), width), pad_id, dtype=torch.long)
    keep = torch.zeros((len(group), width), dtype=torch.bool)
    special = torch.zeros((len(group), width), dtype=torch.bool)
    for row, piece in enumerate(group):
        length = len(piece.ids)
        where = slice(0, length) if padding == "right" else slice(width - length, width)
        ids[row, where] = torch.tensor(piece.ids)
        keep[row, where] = True
        special[row, where] = torch.tensor(piece.special)
    inputs = {"input_ids": ids.to(device), "attention_mask": keep.long().to(device)}
    if padding == "left":
        inputs["position_ids"] = positions_of(inputs["attention_mask"]).clamp(min=0)
    return Batch(
        inputs=inputs,
        items=np.array([piece.item for piece in group]),
        offsets=np.array([piece.offset for piece in group]),
        keep=keep.to(device),
        special=special.to(device),
    )


def last_positions(attention_mask: Int[Tensor, "batch position"]) -> Int[Tensor, " batch"]:
    """The column of each sequence's last token, whichever side is padded."""
    return attention_mask.shape[1] - 1 - attention_mask.long().flip(1).argmax(dim=1)


def positions_of(attention_mask: Int[Tensor, "batch position"]) -> Int[Tensor, "batch position"]:
    """Each token's position in its sequence, -1 on padding."""
    mask = attention_mask.long()
    return torch.where(mask > 0, mask.cumsum(dim=1) - 1, -1)
