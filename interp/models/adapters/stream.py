"""The parts of a transformer that read the residual stream or add to it."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from interp.core import InputError
from interp.models.adapters.anatomy import Anatomy, Finder, adapter_of
from interp.models.hooks import Point


@dataclass(frozen=True)
class Projection:
    """A linear map of the normed stream; `columns[h]` are head h's columns of its output."""

    module: nn.Module
    columns: tuple[Int[Tensor, " c"], ...]


@dataclass(frozen=True, kw_only=True)
class AttentionParts:
    """An attention layer: the norm it reads the stream through, the module, its projections.

    Head h's columns of the output projection's input are the h-th of equal consecutive blocks.
    `added` is the norm of the heads' sum where there is one (Gemma): then only the layer has a
    contribution, not each head.
    """

    norm: nn.Module
    module: nn.Module
    query: Projection
    key: Projection
    value: Projection
    out: nn.Module
    added: nn.Module | None = None


@dataclass(frozen=True)
class MlpParts:
    """An MLP: the norm it reads the stream through, and the module whose output is added to it."""

    norm: nn.Module
    module: nn.Module


@dataclass(frozen=True, kw_only=True)
class ResidualParts:
    """A residual network's blocks, and the parts of each that read and write the stream.

    `parallel` MLPs do not see their own block's attention.
    """

    d_model: int
    blocks: tuple[nn.Module, ...]
    attention: tuple[AttentionParts | None, ...]
    mlps: tuple[MlpParts | None, ...]
    parallel: bool
    final_norm: nn.Module
    unembed: nn.Module
    softcap: float | None = None


def residual_parts(module: Any, anatomy: Anatomy) -> ResidualParts:
    """The parts of a transformers language model.

    Raises:
        InputError: the architecture's queries, keys and values, or the norms before them, cannot be
            told apart.
    """
    config, adapter = adapter_of(module)
    finder = Finder(adapter, module)
    layers = range(anatomy.n_layers)
    return ResidualParts(
        d_model=anatomy.d_model,
        blocks=anatomy.blocks,
        attention=tuple(_attention(finder, config, layer) for layer in layers),
        mlps=tuple(_mlp(finder, anatomy, layer) for layer in layers),
        parallel=bool(getattr(config, "parallel_attn_mlp", False)),
        final_norm=anatomy.final_norm,
        unembed=anatomy.unembed,
        softcap=getattr(module.config, "final_logit_softcapping", None),
    )


def _attention(finder: Finder, config: Any, layer: int) -> AttentionParts:
    module, out = finder.need(f"blocks.{layer}.attn"), finder.need(f"blocks.{layer}.attn.o")
    query, key, value = _separate(finder, config, layer) or _joint(finder, config, layer)
    return AttentionParts(
        norm=finder.need(f"blocks.{layer}.ln1"),
        module=module,
        query=query,
        key=key,
        value=value,
        out=out,
        added=finder.find(f"blocks.{layer}.ln1_post"),
    )


def _separate(finder: Finder, config: Any, layer: int) -> tuple[Projection, ...] | None:
    """Three maps; with grouped queries there are fewer keys and values than queries."""
    found = [finder.find(f"blocks.{layer}.attn.{kind}") for kind in "qkv"]
    if any(part is None for part in found):
        return None
    n_kv = int(getattr(config, "n_key_value_heads", None) or config.n_heads)
    counts = (int(config.n_heads), n_kv, n_kv)
    return tuple(
        Projection(part, _blocks(0, count, int(config.d_head)))
        for part, count in zip(found, counts, strict=True)
        if part is not None
    )


def _joint(finder: Finder, config: Any, layer: int) -> tuple[Projection, ...]:
    """One map: queries, keys, values in turn (GPT-2), or head by head (GPT-NeoX, BLOOM)."""
    joint = finder.need(f"blocks.{layer}.attn.qkv")
    heads, width = int(config.n_heads), int(config.d_head)
    if getattr(config, "n_key_value_heads", None) not in (None, heads):
        raise InputError(
            f"{type(joint).__name__} holds grouped queries, keys and values in one map; only "
            "separate maps are known there"
        )
    if isinstance(joint, nn.Linear):
        return tuple(
            Projection(joint, _blocks(kind * width, heads, width, apart=3)) for kind in range(3)
        )
    return tuple(
        Projection(joint, _blocks(kind * heads * width, heads, width)) for kind in range(3)
    )


def _blocks(start: int, count: int, width: int, *, apart: int = 1) -> tuple[Int[Tensor, " c"], ...]:
    return tuple(torch.arange(width) + start + apart * i * width for i in range(count))


def _mlp(finder: Finder, anatomy: Anatomy, layer: int) -> MlpParts | None:
    point: Point | None = anatomy.points.get(f"L{layer}.mlp_out")
    return None if point is None else MlpParts(finder.need(f"blocks.{layer}.ln2"), point.module)
