"""The rest of a language model after a site, run once per change of the site; what comes before it
runs once per batch.

The layers are called one by one with the arguments the network gave them. The result is compared
with the whole network's, which runs instead where they differ.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from interp.models.adapters.tokens import positions_of
from interp.models.adapters.transformer import TransformerModel
from interp.models.hooks import Point, evaluating, observing, placed
from interp.models.protocol import Batch, Frame, Hook

_TIMES = "row ... -> (times row) ..."


@dataclass(frozen=True)
class LayerCall:
    """A layer and the arguments it was called with after the hidden states."""

    module: nn.Module
    others: tuple[Any, ...]
    named: Mapping[str, Any]
    hidden_name: str | None

    def __call__(self, hidden: Tensor, others: tuple[Any, ...], named: Mapping[str, Any]) -> Tensor:
        output = (
            self.module(hidden, *others, **named)
            if self.hidden_name is None
            else self.module(**{self.hidden_name: hidden}, **named)
        )
        result = output if isinstance(output, Tensor) else output[0]
        if not isinstance(result, Tensor):
            raise TypeError(f"{type(self.module).__name__} gave {type(result).__name__}")
        return result


@contextmanager
def layer_calls(modules: Iterable[nn.Module]) -> Iterator[list[tuple[LayerCall, Tensor]]]:
    """Every call of some layers during the block, in order, with its hidden states."""
    seen: list[tuple[LayerCall, Tensor]] = []

    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if args:
            seen.append((LayerCall(module, args[1:], dict(kwargs), None), args[0]))
            return
        name = next(iter(kwargs))
        others = {key: value for key, value in kwargs.items() if key != name}
        seen.append((LayerCall(module, (), others, name), kwargs[name]))

    with observing(*modules, before=keep):
        yield seen


@dataclass(frozen=True)
class _Entry:
    """The first layer that a change of the site reaches, and the point of the change."""

    first: int
    point: Point


class Suffix:
    """A language model from a site on, over one batch; `plain [row, position, vocabulary]` are its
    unchanged logits.

    `reused` tells whether the layers before the site are skipped. Otherwise (other hooks are in
    place, the site is not of a layer, or the architecture does more than call its layers in turn)
    the whole network runs, to the same numbers.

    Example:
        >>> rest = Suffix(model, model.prepare(texts).batches[0], "L15.resid_post")
        >>> rest.logits(Add(vectors), times=len(vectors))
    """

    def __init__(
        self, model: TransformerModel, batch: Batch, site: str, *, logits_to_keep: int = 0
    ) -> None:
        self._model, self._batch, self._keep = model, batch, logits_to_keep
        self.site = model.sites.resolve(site)
        self._entry = None if model.busy else _entry(model, self.site)
        self._positions = positions_of(batch.inputs["attention_mask"])
        final = model.anatomy.final_norm
        after = [] if self._entry is None else [*model.anatomy.blocks[self._entry.first :], final]
        with layer_calls(after) as calls:
            self.plain = self._whole(None, 1)
        self._start = calls[0][1] if calls else None
        self._layers = [layer for layer, _ in calls if layer.module is not final]
        self.reused = self._complete() and self._agrees(None) and self._trusted()

    @torch.no_grad()
    def logits(self, hook: Hook, times: int) -> Float[Tensor, "row position vocabulary"]:
        """Logits of `times` copies of the batch, copy after copy, with a hook at the site.

        Raises:
            InputError: the hook changes the shape, or its vectors do not fit the batch.

        Cost: the layers after the site, or all of them unless `reused`.
        """
        reused = self.reused and not self._model.busy
        return self._rest(hook, times) if reused else self._whole(hook, times)

    @torch.no_grad()
    def _whole(self, hook: Hook | None, times: int) -> Tensor:
        hooks = {} if hook is None else {self.site: hook}
        logits = self._model.run(repeated(self._batch, times), hooks, logits_to_keep=self._keep)
        assert logits is not None
        return logits

    def _complete(self) -> bool:
        """Whether every layer from the site on was called exactly once."""
        if self._entry is None or self._start is None:
            return False
        return [layer.module for layer in self._layers] == list(
            self._model.anatomy.blocks[self._entry.first :]
        )

    def _trusted(self) -> bool:
        """Whether the rest agrees on one changed run too; tried once per model and site."""
        known = self._model.suffix_agrees
        if self.site not in known:
            vector = self._model.sites.width(self.site) or 1
            known[self.site] = self._agrees(
                lambda value, call: value + 0.1 * torch.linspace(-1, 1, vector).to(value)
            )
        return known[self.site]

    @torch.no_grad()
    def _agrees(self, hook: Hook | None) -> bool:
        expected = self.plain if hook is None else self._whole(hook, 1)
        try:
            found = self._rest(hook, 1)
        except (TypeError, RuntimeError, AttributeError, ValueError, IndexError, KeyError):
            return False
        tolerance = max(1e-5, 4 * torch.finfo(expected.dtype).eps)
        scale = float(expected.float().abs().nan_to_num().max())
        return found.shape == expected.shape and torch.allclose(
            found, expected, rtol=0, atol=tolerance * scale, equal_nan=True
        )

    def _rest(self, hook: Hook | None, times: int) -> Tensor:
        assert self._entry is not None
        assert self._start is not None
        anatomy, again = self._model.anatomy, Repeats(len(self._batch.items), times)
        frame = Frame(batch=repeated(self._batch, times), positions=again(self._positions))
        hooks = {} if hook is None else {self.site: hook}
        hidden = again(self._start)
        with evaluating(self._model.module), placed({self.site: self._entry.point}, hooks, frame):
            for layer in self._layers:
                hidden = layer(hidden, again(layer.others), again(layer.named))
            logits: Tensor = anatomy.unembed(anatomy.final_norm(hidden)[:, -self._keep :])
        cap = getattr(self._model.module.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)


class Repeats:
    """A layer's arguments for `times` copies of the batch; what layers share is repeated once."""

    def __init__(self, rows: int, times: int) -> None:
        self._rows, self._times = rows, times
        self._done: dict[int, Tensor] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(self(item) for item in value)
        if isinstance(value, Mapping):
            return {key: self(item) for key, item in value.items()}
        # What has one row serves all; what has one per row (BLOOM: per row and head) is repeated.
        if (
            not isinstance(value, Tensor)
            or self._times == 1
            or value.ndim < 2
            or value.shape[0] % self._rows
        ):
            return value
        if id(value) not in self._done:
            self._done[id(value)] = repeat(value, _TIMES, times=self._times)
        return self._done[id(value)]


def repeated(batch: Batch, times: int) -> Batch:
    """`times` copies of a batch: element `copy · n + prompt`."""
    inputs = {key: repeat(value, _TIMES, times=times) for key, value in batch.inputs.items()}
    return Batch(
        inputs=inputs, items=np.tile(batch.items, times), offsets=np.tile(batch.offsets, times)
    )


def _entry(model: TransformerModel, site: str) -> _Entry | None:
    """Where the rest begins; None for a site outside the layers."""
    layer, _, kind = site.partition(".")
    if not kind or not layer[1:].isdigit():
        return None
    index, anatomy = int(layer[1:]), model.anatomy
    if kind != "resid_post":
        return _Entry(index, anatomy.points[site])
    # The layer need not run again: its output is the input of what follows.
    following: Sequence[nn.Module] = (*anatomy.blocks[index + 1 :], anatomy.final_norm)
    return _Entry(index + 1, Point(following[0], "input"))
