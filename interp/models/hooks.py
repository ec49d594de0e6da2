"""Placing hooks on torch modules and taking them away again, whatever happens: the only code that
does so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from interp.core import InputError
from interp.models.protocol import Call, Frame, Hook

_CHANGES = "_interp_changed_heads"
"""Attribute of an output projection's result: what hooks that ran before added to each head, so
that later hooks see the changed head.
"""


Before = Callable[
    [nn.Module, tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]] | None
]
"""Gets a module and the arguments it is called with; returns those that take their place, or
None.
"""

After = Callable[[nn.Module, tuple[Any, ...], Any], Any]
"""Gets a module, its arguments without a name and its result; returns what takes the result's
place, or None.
"""


class _Stopped(Exception):
    """Ends a forward call once everything that was asked for has been computed."""


@dataclass(frozen=True)
class Point:
    """Where in a module a site lives.

    `input` is the first argument of the module, `output` its (first) result, `head` what one
    attention head adds to the result of an output projection: the input's columns `columns` times
    the matching rows of the weight.
    """

    module: nn.Module
    where: Literal["input", "output", "head"]
    columns: slice | None = None


@contextmanager
def placed(
    points: Mapping[str, Point],
    hooks: Mapping[str, Hook],
    frame: Frame,
    stop_after: Iterable[str] = (),
) -> Iterator[None]:
    """Place `hooks` at the points of their sites for the length of the block; leave none behind,
    whatever happens.

    With `stop_after`, the forward call ends (silently, inside `ended_early`) as soon as each of
    those sites has been seen.
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
    """Call `before` and `after` around every call of some modules for the length of the block.

    Unlike `placed` these see calls as torch makes them: all arguments, and results of any kind.
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


def changed_for_good(module: nn.Module, before: Before) -> None:
    """Put `before` ahead of every call of a module from now on: for a change that is part of the
    network itself.
    """
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
    """Evaluation mode for the length of the block (dropout would make every number random); each
    submodule's own flag comes back.
    """
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
        shown = frame.shaped(value)
        new = shown if hook is None else _call_hook(hook, shown, frame.call(site, shown))
        if stops and frame.armed:
            waiting.discard(site)
            if not waiting:
                raise _Stopped
        return value if new is shown else new.reshape(value.shape)

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
        # ModelOutput and its like: ordered mappings whose first value is the result.
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
    """The weight of a linear map as `[input, output]`, some rows of it (GPT-2's Conv1D stores it
    so; nn.Linear the other way).
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        raise InputError(
            f"{type(module).__name__} has no weight matrix; sites of heads need a linear output "
            "projection"
        )
    rows = slice(None) if columns is None else columns
    return weight.T[rows] if isinstance(module, nn.Linear) else weight[rows]
