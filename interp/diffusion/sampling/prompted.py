"""A text-to-image network with a fixed prompt, used like a generator without conditions."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.core import InputError, UnavailableError
from interp.models import UNetModel


def prompted(model: UNetModel, condition: Float[Tensor, "token width"]) -> UNetModel:
    """A `UNet2DConditionModel` with one condition for every image, as a model that needs none.

    Sites, weights and scheduler are the network's, which is not changed. The answer is to the
    condition alone, without guidance (`guided` adds it), and a site holds one value per image. For
    a network of latents, images are its latents.

    Raises:
        InputError: the network takes no conditions, or ones of another width.

    Example:
        >>> model = interp.load_model("stable-diffusion-folder")
        >>> condition = text_condition("stable-diffusion-folder", "a red circle")
        >>> acts = record_steps(prompted(model, condition), 64, seed=0)
    """
    config = model.module.config
    width = getattr(config, "cross_attention_dim", None)
    if width is None or type(model.module).__name__ != "UNet2DConditionModel":
        raise InputError(
            f"{model.name} is a {type(model.module).__name__}, which takes no conditions; use "
            "it as it is"
        )
    widths = {width} if isinstance(width, int) else set(width)
    if (
        widths != {condition.shape[1]}
        and getattr(config, "encoder_hid_dim", None) != condition.shape[1]
    ):
        raise InputError(
            f"the condition has {condition.shape[1]} numbers per token; {model.name} takes "
            f"{sorted(widths)}"
        )
    return UNetModel(
        _Prompted(model.module, condition),
        model.scheduler,
        name=model.name,
        weight_hash=model.weight_hash,
    )


@torch.no_grad()
def text_condition(folder: str | Path, prompt: str) -> Float[Tensor, "token width"]:
    """A prompt as encoded by the text encoder of a diffusers pipeline's folder, padded to full
    length as pipelines do.

    Reads only pipelines with one CLIP text encoder (Stable Diffusion 1 and 2). The empty prompt is
    the unconditional one.

    Raises:
        UnavailableError: the folder has no `text_encoder` and `tokenizer` that load.
        InputError: the prompt has more tokens than the encoder takes.

    Cost: loading the text encoder, and one pass of it.

    Example:
        >>> text_condition("stable-diffusion-folder", "a red circle").shape
    """
    tokenizer, encoder = _text_parts(Path(folder))
    longest = tokenizer.model_max_length
    tokens: Int[Tensor, "1 token"] = tokenizer(
        prompt, padding="max_length", max_length=longest, return_tensors="pt"
    ).input_ids
    if tokens.shape[1] > longest:
        raise InputError(
            f"the prompt has {tokens.shape[1]} tokens, the encoder takes {longest}; shorten it"
        )
    hidden: Tensor = encoder(tokens).last_hidden_state
    return hidden[0]


class _Prompted(nn.Module):
    """Looks like the network; every call gets the condition."""

    def __init__(self, network: Any, condition: Tensor) -> None:
        super().__init__()
        self.network, self.condition = network, condition
        self.down_blocks = network.down_blocks
        self.mid_block = network.mid_block
        self.up_blocks = network.up_blocks
        self.class_embedding = network.class_embedding

    @property
    def config(self) -> Any:
        return self.network.config

    @property
    def device(self) -> torch.device:
        device: torch.device = self.network.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.network.dtype
        return dtype

    def forward(self, images: Tensor, timestep: Any, class_labels: Tensor | None = None) -> Any:
        condition = self.condition.to(images).expand(len(images), -1, -1)
        return self.network(
            images, timestep, encoder_hidden_states=condition, class_labels=class_labels
        )


def _text_parts(folder: Path) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import CLIPTextModel, CLIPTokenizer

    missing = [name for name in ("tokenizer", "text_encoder") if not (folder / name).is_dir()]
    if missing:
        raise UnavailableError(
            f"{folder} has no {missing[0]}; give the folder of a whole pipeline, as diffusers "
            "saves it"
        )
    try:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise UnavailableError(
            f"{folder} has no text encoder that loads: {first}; check that its files are whole"
        ) from error
    return tokenizer, encoder.eval()
