"""High-level models: what a network is believed to compute, as variables that can be set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from interp.core.names import require_known


@dataclass(frozen=True)
class HighLevel:
    """What a network is believed to compute: variables, each a function of the inputs and of the
    variables before it.

    `output` names the variable that is the answer (a token id, a class).

    Example:
        >>> sums = HighLevel(
        ...     {
        ...         "carry": lambda v: v["a"] + v["b"] > 9,
        ...         "answer": lambda v: int(v["carry"]) + v["c"],
        ...     },
        ...     "answer",
        ... )
        >>> sums.interchanged({"a": 1, "b": 2, "c": 3}, {"a": 8, "b": 4, "c": 0}, "carry")
        4
    """

    variables: Mapping[str, Callable[[Mapping[str, Any]], Any]]
    output: str

    def run(self, inputs: Mapping[str, Any], held: Mapping[str, Any] = {}) -> dict[str, Any]:
        """The value of every variable, those in `held` as given.

        Raises:
            InputError: a variable does not exist.
        """
        for name in (*held, self.output):
            require_known("variable", name, self.variables)
        values = dict(inputs)
        for name, function in self.variables.items():
            values[name] = held[name] if name in held else function(values)
        return values

    def interchanged(
        self, base: Mapping[str, Any], source: Mapping[str, Any], variable: str
    ) -> Any:
        """The answer to `base` if `variable` had the value that it has on `source`.

        Raises:
            InputError: the variable does not exist.
        """
        require_known("variable", variable, self.variables)
        return self.run(base, {variable: self.run(source)[variable]})[self.output]
