"""Classifier-free guidance with its two passes kept apart: hooks reach only one."""

import copy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from interp.core import InputError
from interp.core.names import require_known
from interp.diffusion.sampling.labels import no_label, takes_labels
from interp.models import UNetModel

Half = Literal["conditional", "unconditional"]


def guided(
    model: UNetModel, scale: float, *, against: UNetModel | None = None, half: Half = "conditional"
) -> UNetModel:
    """A model that answers `u + scale (c − u)`, c the conditional and u the unconditional answer
    (Ho & Salimans 2022).

    Scale 1 is the conditional answer alone, 0 the unconditional. Sites are those of one `half`,
    whose pass alone is recorded or changed; the other pass shares the weights and has no hooks. The
    rule holds whether networks predict noise, v or images, as these are affine in one another.

    Args:
        model: a text-to-image network with its prompt (`prompted`), or one of labels, which are
            given when images are sampled.
        against: the unconditional network; for texts, the same with the empty prompt. By default
            the model itself with the empty label (the class after the last, or the zero vector),
            with which it must have been trained.

    Raises:
        InputError: an unknown half, a scale that is not finite, `against` of another kind, or none
            for a network without labels.

    Cost: two evaluations of the UNet for each; no extra memory for weights.

    Example:
        >>> empty, cat = (prompted(unet, text_condition(folder, text)) for text in ("", "a cat"))
        >>> acts = record_steps(guided(cat, 7.5, against=empty), 64, seed=0)
    """
    require_known("half", half, ("conditional", "unconditional"))
    other = against or model
    if not torch.tensor(float(scale)).isfinite():
        raise InputError(f"the guidance scale is {scale}; give a number, 1 for none")
    if against is None and not takes_labels(model.module):
        raise InputError(
            f"{model.name} takes no labels, so it has no unconditional answer of its own; give "
            "`against`"
        )
    kinds = [
        (m.module.config.in_channels, m.module.config.out_channels, m.module.config.sample_size)
        for m in (model, other)
    ]
    if kinds[0] != kinds[1]:
        raise InputError(
            f"channels in and out and the size are {kinds[0]} and {kinds[1]}; guide by a "
            "network of the same images"
        )
    module = _Guided(model.module, other.module, float(scale), half)
    return UNetModel(module, model.scheduler, name=model.name, weight_hash=model.weight_hash)


class _Guided(nn.Module):
    """Looks like the half that hooks reach; no hook reaches the other, a twin."""

    def __init__(self, conditional: Any, unconditional: Any, scale: float, half: Half) -> None:
        super().__init__()
        outer = half == "conditional"
        self.conditional = conditional if outer else _twin(conditional)
        self.unconditional = _twin(unconditional) if outer else unconditional
        self.scale = scale
        self.open = conditional if outer else unconditional
        self.down_blocks = self.open.down_blocks
        self.mid_block = self.open.mid_block
        self.up_blocks = self.open.up_blocks
        self.class_embedding = getattr(conditional, "class_embedding", None)

    @property
    def config(self) -> Any:
        return self.conditional.config

    @property
    def device(self) -> torch.device:
        device: torch.device = self.conditional.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.conditional.dtype
        return dtype

    def forward(self, images: Tensor, timestep: Any, class_labels: Tensor | None = None) -> Any:
        given = {} if class_labels is None else {"class_labels": class_labels}
        found = self.conditional(images, timestep, **given)
        plain = self.unconditional(images, timestep, **self._silent(len(images))).sample
        return type(found)(sample=plain + self.scale * (found.sample - plain))

    def _silent(self, count: int) -> dict[str, Tensor]:
        if not takes_labels(self.unconditional):
            return {}
        label = no_label(self.unconditional, count).to(self.device)
        if label.ndim == 1:
            return {"class_labels": label}
        width = self.unconditional.config.block_out_channels[0] * 4
        return {"class_labels": torch.zeros(count, width, device=self.device, dtype=self.dtype)}


def _twin(module: Any) -> Any:
    """The same network with shared weights and separate hooks."""
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared)
