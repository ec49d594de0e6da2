"""A main job of seconds: a tiny language model whose tokenizer knows the shipped sentences, an
encoder that knows their words.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import tiny
import torch
from jaxtyping import Float
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from interp.corpus import Concept, ConceptSet, load_concepts
from interp.models import SentenceEncoder

VOCABULARY = 500


def concepts(names: tuple[str, ...] = ("cooking", "football"), neutral: int = 40) -> ConceptSet:
    """Some shipped concepts beside a few of the neutral sentences."""
    chosen = load_concepts().only(names)
    other = chosen.neutral
    return ConceptSet(
        chosen.concepts,
        Concept(other.name, other.description, other.fit[:neutral], other.held_out[:neutral]),
    )


def language_folder(folder: Path) -> Path:
    """A tiny Llama with a byte-level BPE trained on the shipped sentences, as a folder that
    `load_model` takes.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [tiny.BOS, tiny.EOS, tiny.PAD]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    core.train_from_iterator(
        [text for concept in load_concepts().concepts for text in concept.fit], trainer
    )
    tiny.language("llama", vocabulary=VOCABULARY).save_pretrained(folder)
    names = {"bos_token": tiny.BOS, "eos_token": tiny.EOS, "pad_token": tiny.PAD}
    PreTrainedTokenizerFast(tokenizer_object=core, **names).save_pretrained(folder)
    return folder


class KnowsTheWords(SentenceEncoder):
    """Texts to unit vectors: how many of their words occur in the sentences of each concept and in
    no neutral one, and a constant.
    """

    def __init__(self) -> None:
        super().__init__(None, None, name="knows the words", weight_hash="")
        shipped = load_concepts()
        neutral = _words((*shipped.neutral.fit, *shipped.neutral.held_out))
        self.own = [
            _words((*concept.fit, *concept.held_out)) - neutral for concept in shipped.concepts
        ]

    def encode(self, texts: Sequence[str]) -> Float[Tensor, "text d"]:
        counts = [[0.5, *(len(_words((text,)) & own) for own in self.own)] for text in texts]
        return torch.nn.functional.normalize(torch.tensor(counts, dtype=torch.float32), dim=1)


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[a-z]{3,}", text.lower())}
