"""Settings of the study of a task's paths."""

from dataclasses import dataclass
from typing import get_args

from interp.causal.graph.graph import Method
from interp.causal.methods.effects import DECIDING
from interp.causal.wiring.replacement import Value
from interp.core import InputError
from interp.core.names import require_known

DEFAULT_METHODS: tuple[Method, ...] = ("eap-ig-inputs", "eap")
RANKING: tuple[str, ...] = tuple(name for name in get_args(Method) if name not in DECIDING)
"""Methods that give every edge an effect."""

WHOLE_VALUES = ("resample", "mean", "zero")
"""Replacements for a whole contribution."""


@dataclass(frozen=True, kw_only=True)
class PathsProtocol:
    """How a task's graph is found and judged.

    The first method's graph is displayed and checked, the others' faithfulness drawn beside it.
    The graph is found on `examples` examples, judged on `judged` others. The `top` strongest and
    `random` further edges are measured; `orders` random graphs are the control.
    """

    methods: tuple[Method, ...] = DEFAULT_METHODS
    value: Value = "resample"
    examples: int = 24
    judged: int = 12
    steps: int = 5
    top: int = 50
    random: int = 50
    orders: int = 3
    splits: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError("no method was given; give at least one, methods=('eap-ig-inputs',)")
        for method in self.methods:
            require_known("method", method, RANKING)
        require_known("value", self.value, WHOLE_VALUES)
        if min(self.examples, self.judged) < 2:
            raise InputError(
                f"{self.examples} examples for finding and {self.judged} for judging; give at "
                "least 2 of each"
            )
