"""Tiny networks with weights from fixed generators: every architecture's wiring in milliseconds,
nothing downloaded.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

WIDTH, HEADS, LAYERS, NEURONS, CONTEXT = 16, 4, 3, 24, 64
SENTENCES = (
    "The sea was calm and the ships lay still.",
    "Stir the soup slowly, then add salt and pepper.",
    "She wrote the letter twice and burned it once.",
    "Bread rises when the yeast is warm.",
    "Nobody knows where the old road goes.",
)
BOS, EOS, PAD = "<s>", "</s>", "<pad>"
CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
)

_SHARED: dict[str, Any] = {
    "tie_word_embeddings": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}
_USUAL: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": NEURONS,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": CONTEXT,
}
_GROUPED: dict[str, Any] = {**_USUAL, "num_key_value_heads": 2}
_GEMMA: dict[str, Any] = {
    **_GROUPED,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "sliding_window": 4,
}
_GPT2: dict[str, Any] = {
    "n_embd": WIDTH,
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_inner": NEURONS,
    "n_positions": CONTEXT,
}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", _GPT2),
    "llama": ("Llama", _GROUPED),
    "gemma3": (
        "Gemma3",
        {**_GEMMA, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "gemma2": ("Gemma2", _GEMMA),
    "pythia": ("GPTNeoX", {**_USUAL, "rotary_pct": 0.5}),
    "qwen2": ("Qwen2", _GROUPED),
    "mistral": ("Mistral", {**_GROUPED, "sliding_window": 4}),
    "opt": ("OPT", {**_USUAL, "ffn_dim": NEURONS, "word_embed_proj_dim": WIDTH}),
    "bloom": ("Bloom", {"hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS}),
}
"""Name to the prefix of transformers' classes and the configuration.

Pythia's blocks are parallel, OPT's flatten their tokens, BLOOM's parts add the residual themselves.
"""


def language(name: str, vocabulary: int = 300, seed: int = 0) -> Any:
    """A causal language model of transformers, evaluating, with weights large enough that texts
    depend on their prompts.
    """
    prefix, options = ARCHITECTURES[name]
    configuration, kind = _classes(prefix)
    module = kind(configuration(vocab_size=vocabulary, **_SHARED, **options))
    _fill(module, seed)
    return module.eval()


def _classes(prefix: str) -> tuple[Any, Any]:
    configuration = getattr(transformers, f"{prefix}TextConfig", None) or getattr(
        transformers, f"{prefix}Config"
    )
    return configuration, getattr(
        transformers, "GPT2LMHeadModel" if prefix == "GPT2" else f"{prefix}ForCausalLM"
    )


def _fill(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator) * (
                0.25 if parameter.ndim > 1 else 0.1
            )
            # A norm's own weight (ones, or Gemma's zeros) is only shaken; all else that a
            # constructor draws is replaced.
            parameter.copy_(
                parameter + drawn if parameter.ndim == 1 and name.endswith("weight") else drawn
            )


def tokenizer(*, bos: bool = False) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on a few sentences, with a chat template and, if asked, a start
    token before every text.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    core.train_from_iterator(SENTENCES, trainer)
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{BOS} $A", special_tokens=[(BOS, 0)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=BOS, eos_token=EOS, pad_token=PAD, chat_template=CHAT
    )


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One word per token id (`w7` is 7, after three special tokens), so that equal texts mean equal
    tokens.
    """
    words = [BOS, EOS, PAD, *(f"w{number}" for number in range(3, 300))]
    core = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=PAD)
    )
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token=BOS, eos_token=EOS, pad_token=PAD
    )


def blocks(module: Any) -> nn.ModuleList:
    """The layers of a language model."""
    return next(
        part for part in module.modules() if isinstance(part, nn.ModuleList) and len(part) == LAYERS
    )


def save(module: Any, folder: Path) -> Path:
    """A folder that `from_pretrained` reads, with the tokenizer."""
    module.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def unet() -> Any:
    """An unconditional UNet of diffusers: two levels of 8 and 16 channels on images of 8 × 8."""
    from diffusers import UNet2DModel

    module = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=8,
    )
    _fill(module, 1)
    return module.eval()


def conditional_unet() -> Any:
    """A UNet of diffusers that reads conditions of 12 numbers per token."""
    from diffusers import UNet2DConditionModel

    module = UNet2DConditionModel(
        sample_size=8,
        in_channels=2,
        out_channels=2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
    )
    _fill(module, 2)
    return module.eval()


class Classifier(nn.Module):
    """A convolution whose output the next layer overwrites in place, dropout, a spatial mean and a
    linear layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 6, 3, padding=1)
        self.rectifier = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(6, 4)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.dropout(self.rectifier(self.convolution(images)))
        return self.head(hidden.mean(dim=(2, 3)))


def classifier() -> Classifier:
    """A small classifier of images `[image, 3, y, x]`, left in training mode."""
    module = Classifier()
    _fill(module, 3)
    return module


def images(count: int = 3, channels: int = 3, size: int = 8) -> Tensor:
    """Fixed random images."""
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(7))


@contextmanager
def seen(part: nn.Module, *, first_input: bool = False) -> Iterator[list[Tensor]]:
    """What a plain torch hook of the test itself sees at a module: copies of its output (or first
    input), call by call.
    """
    values: list[Tensor] = []

    def after(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        value = (args or tuple(kwargs.values()))[0] if first_input else output
        values.append((value if isinstance(value, Tensor) else value[0]).detach().clone())

    handle = part.register_forward_hook(after, with_kwargs=True)
    try:
        yield values
    finally:
        handle.remove()
