"""Hooks on torch modules, removed whatever happens."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from interp.core import InputError, Sites
from interp.models.protocol import Call, Frame, Hook

_CHANGES = "_interp_changed_heads"
"""Attribute of an output projection's result: what earlier hooks added to each head."""

Before = Callable[
    [nn.Module, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]] | None
]
"""Gets a module and its arguments; returns their replacement, or None."""

After = Callable[[nn.Module, tuple[Any, ...], Any], Any]
"""Gets a module, its positional arguments and its result; returns the result's replacement, or
None.
"""


class _Stopped(Exception):
    """Ends a forward call once every requested site has been computed."""


@dataclass(frozen=True)
class Point:
    """Where in a module a site lives.

    `input` is the module's first argument, `output` its (first) result, `head` what one attention
    head adds to an output projection's result: the input's `columns` times those weight rows.
    """

    module: nn.Module
    where: Literal["input", "output", "head"]
    columns: slice | None = None


def by_site(
    sites: Sites, hooks: Mapping[str, Hook], stop_after: str | Iterable[str] | None
) -> tuple[dict[str, Hook], list[str]]:
    """Hooks, and the sites to stop after, under the sites' resolved names."""
    stops = [stop_after] if isinstance(stop_after, str) else stop_after or ()
    resolved = {sites.resolve(site): hook for site, hook in hooks.items()}
    return resolved, [sites.resolve(site) for site in stops]


@contextmanager
def placed(
    points: Mapping[str, Point],
    hooks: Mapping[str, Hook],
    frame: Frame,
    stop_after: Iterable[str] = (),
) -> Iterator[None]:
    """Place `hooks` at the points of their sites for the length of the block.

    With `stop_after`, the forward call ends (silently, inside `ended_early`) once each of those
    sites has been seen.
    """
    waiting = set(stop_after)
    with ExitStack() as stack:
        for site in dict.fromkeys([*hooks, *waiting]):
            react = _reaction(site, hooks.get(site), frame, waiting)
            stack.callback(_place(points[site], react).remove)
        yield


@contextmanager
def observing(
    *modules: nn.Module, before: Before | None = None, after: After | None = None
) -> Iterator[None]:
    """Run `before` and `after` around every call of some modules for the length of the block.

    Unlike hooks that are `placed`, these see all arguments, and results of any kind.
    """
    handles = []
    try:
        for module in modules:
            if before is not None:
                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            if after is not None:
                handles.append(module.register_forward_hook(after))
        yield
    finally:
        for handle in handles:
            handle.remove()


def add_permanent_hook(module: nn.Module, before: Before) -> None:
    """Run `before` ahead of every call from now on: for a change that is part of the network."""
    module.register_forward_pre_hook(before, with_kwargs=True)


@contextmanager
def ended_early() -> Iterator[None]:
    """Swallow the signal by which `stop_after` ends a forward call."""
    try:
        yield
    except _Stopped:
        return


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) during the block; each submodule's flag is restored."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _reaction(
    site: str, hook: Hook | None, frame: Frame, waiting: set[str]
) -> Callable[[Tensor], Tensor]:
    stops = bool(waiting)

    def react(value: Tensor) -> Tensor:
        shaped = frame.shaped(value)
        new = shaped if hook is None else _call_hook(hook, shaped, frame.call(site, shaped))
        if stops and frame.armed:
            waiting.discard(site)
            if not waiting:
                raise _Stopped
        return value if new is shaped else new.reshape(value.shape)

    return react


def _call_hook(hook: Hook, value: Tensor, call: Call) -> Tensor:
    version = None if value.is_inference() else value._version
    new = hook(value, call)
    if version is not None and value._version != version:
        raise InputError(
            f"the hook at {call.site} wrote into the activation in place; return a new tensor "
            "instead"
        )
    if new is None:
        return value
    if new.shape != value.shape:
        raise InputError(
            f"the hook at {call.site} returned shape {tuple(new.shape)}, expected "
            f"{tuple(value.shape)}"
        )
    return new


def _place(point: Point, react: Callable[[Tensor], Tensor]) -> RemovableHandle:
    if point.where == "input":
        return point.module.register_forward_pre_hook(_on_input(react), with_kwargs=True)
    after = _on_output(react) if point.where == "output" else _on_head(point, react)
    return point.module.register_forward_hook(after)


def _on_input(react: Callable[[Tensor], Tensor]) -> Before:
    def hook(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (react(args[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: react(kwargs[first])}

    return hook


def _on_output(react: Callable[[Tensor], Tensor]) -> After:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, Tensor):
            return react(output)
        if isinstance(output, tuple):
            return (react(output[0]), *output[1:])
        # ModelOutput and the like: ordered mappings whose first value is the result.
        first = next(iter(output.keys()))
        output[first] = react(output[first])
        return output

    return hook


def _on_head(point: Point, react: Callable[[Tensor], Tensor]) -> After:
    assert point.columns is not None
    head = point.columns.start

    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        changes = getattr(output, _CHANGES, {})
        own = args[0][..., point.columns] @ projection_rows(module, point.columns)
        contribution = own + changes[head] if head in changes else own
        new = react(contribution)
        if new is contribution:
            return output
        changed = output + (new - contribution)
        setattr(changed, _CHANGES, {**changes, head: new - own})
        return changed

    return hook


def projection_rows(module: nn.Module, columns: slice | None = None) -> Tensor:
    """Rows of a linear map's weight as `[input, output]` (nn.Linear stores the transpose)."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        raise InputError(
            f"{type(module).__name__} has no weight matrix; sites of heads need a linear output "
            "projection"
        )
    rows = slice(None) if columns is None else columns
    return weight.T[rows] if isinstance(module, nn.Linear) else weight[rows]
