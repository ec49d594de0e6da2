"""Where a language model keeps its parts, as TransformerLens' architecture adapters know it.

TransformerLens' own bridge replaces submodules, which changes state_dict keys and the attention
implementation. Here its adapters only map names (`blocks.3.mlp.out` to
`model.layers.3.mlp.down_proj`), and plain torch hooks do the rest.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from interp.core import InputError, Sites
from interp.models.hooks import Point


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """A language model's sites with their hook points, and the modules that write to the residual
    stream and the vocabulary.
    """

    n_layers: int
    d_model: int
    points: dict[str, Point]
    sites: Sites
    down_projections: tuple[nn.Module | None, ...]
    mlp_norms: tuple[nn.Module | None, ...]
    final_norm: nn.Module
    unembed: nn.Module
    blocks: tuple[nn.Module, ...]


class Finder:
    """Finds modules by TransformerLens' paths; None for a part that an architecture lacks."""

    def __init__(self, adapter: Any, module: nn.Module) -> None:
        self._adapter = adapter
        self._module = module

    def find(self, path: str) -> nn.Module | None:
        try:
            name = self._adapter.translate_transformer_lens_path(path)
            return self._module.get_submodule(name)
        except (ValueError, AttributeError, KeyError):
            return None

    def need(self, path: str) -> nn.Module:
        found = self.find(path)
        if found is None:
            raise InputError(
                f"{type(self._module).__name__} has no part {path!r} where TransformerLens expects "
                "it; use its sites as a plain module"
            )
        return found


def supported(module: nn.Module) -> bool:
    """Whether TransformerLens knows this architecture as a language model."""
    from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES

    return hasattr(module, "generate") and type(module).__name__ in SUPPORTED_ARCHITECTURES


def examine(module: Any) -> Anatomy:
    """Find every site of a language model; the module is not changed."""
    config, adapter = adapter_of(module)
    finder = Finder(adapter, module)
    n_layers, d_model, n_heads = int(config.n_layers), int(config.d_model), int(config.n_heads)
    points: dict[str, Point] = {"embed": Point(finder.need("embed"), "output")}
    shapes: dict[str, tuple[int | None, ...]] = {"embed": (None, d_model)}
    parallel = bool(getattr(config, "parallel_attn_mlp", False))
    for layer in range(n_layers):
        for name, point, width in _layer(finder, layer, d_model, n_heads, parallel):
            points[name], shapes[name] = point, (None, width)
    unembed = finder.need("unembed")
    points["logits"], shapes["logits"] = Point(module, "output"), (None, _weight(unembed).shape[0])
    return Anatomy(
        n_layers=n_layers,
        d_model=d_model,
        points=points,
        sites=Sites(shapes, _aliases(shapes)),
        down_projections=tuple(finder.find(f"blocks.{layer}.mlp.out") for layer in range(n_layers)),
        mlp_norms=tuple(finder.find(f"blocks.{layer}.ln2_post") for layer in range(n_layers)),
        final_norm=finder.need("ln_final"),
        unembed=unembed,
        blocks=tuple(finder.need(f"blocks.{layer}") for layer in range(n_layers)),
    )


def adapter_of(module: Any) -> tuple[Any, Any]:
    from transformer_lens.factories.architecture_adapter_factory import ArchitectureAdapterFactory
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_config_from_hf

    config = build_bridge_config_from_hf(
        module.config, type(module).__name__, "local", module.dtype
    )
    return config, ArchitectureAdapterFactory.select_architecture_adapter(config)


def _layer(
    finder: Finder, layer: int, d_model: int, n_heads: int, parallel: bool
) -> Iterator[tuple[str, Point, int]]:
    block = finder.need(f"blocks.{layer}")
    yield f"L{layer}.resid_pre", Point(block, "input"), d_model
    # What is added to the residual stream: in Gemma, after an extra norm.
    projection = finder.find(f"blocks.{layer}.attn.o")
    attention = finder.find(f"blocks.{layer}.ln1_post") or _added(
        finder.find(f"blocks.{layer}.attn"), projection
    )
    if attention is not None:
        yield f"L{layer}.attn_out", Point(attention, "output"), d_model
    yield from _heads(projection, layer, d_model, n_heads)
    middle = finder.find(f"blocks.{layer}.ln2")
    if middle is not None and not parallel:
        yield f"L{layer}.resid_mid", Point(middle, "input"), d_model
    down = finder.find(f"blocks.{layer}.mlp.out")
    if down is not None:
        yield f"L{layer}.mlp", Point(down, "input"), _input_width(down)
    mlp = (
        finder.find(f"blocks.{layer}.ln2_post")
        or _added(finder.find(f"blocks.{layer}.mlp"), down)
        or down
    )
    if mlp is not None:
        yield f"L{layer}.mlp_out", Point(mlp, "output"), d_model
    yield f"L{layer}.resid_post", Point(block, "output"), d_model


def _added(part: nn.Module | None, projection: nn.Module | None) -> nn.Module | None:
    """The module whose output is added to the residual stream: the part, or its projection if the
    part does the adding itself (BLOOM).
    """
    adds = part is not None and "residual" in inspect.signature(part.forward).parameters
    return projection if adds else part


def _heads(
    projection: nn.Module | None, layer: int, d_model: int, n_heads: int
) -> Iterator[tuple[str, Point, int]]:
    if projection is None:
        return
    width = _input_width(projection) // n_heads
    for head in range(n_heads):
        columns = slice(head * width, (head + 1) * width)
        yield f"L{layer}.head{head}", Point(projection, "head", columns), d_model


def _input_width(projection: nn.Module) -> int:
    shape = _weight(projection).shape
    return int(shape[1] if isinstance(projection, nn.Linear) else shape[0])


def _weight(part: nn.Module) -> Tensor:
    weight = getattr(part, "weight", None)
    if not isinstance(weight, Tensor):
        raise InputError(
            f"{type(part).__name__} has no weight matrix; its architecture's sites cannot be listed"
        )
    return weight


def _aliases(shapes: dict[str, tuple[int | None, ...]]) -> dict[str, str]:
    """TransformerLens' hook names for the same places."""
    hooks = {
        "mlp": "mlp.hook_post",
        "mlp_out": "hook_mlp_out",
        "attn_out": "hook_attn_out",
        "resid_pre": "hook_resid_pre",
        "resid_mid": "hook_resid_mid",
        "resid_post": "hook_resid_post",
    }
    aliases = {"hook_embed": "embed"}
    for name in shapes:
        layer, _, kind = name.partition(".")
        if kind in hooks:
            aliases[f"blocks.{layer[1:]}.{hooks[kind]}"] = name
    return aliases
