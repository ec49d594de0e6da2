"""Metrics of a network's output to measure effects on, and the network's accuracy at the task.

Each is called with `(output [case, out], rows [case])`, `rows` the numbers of the cases' examples,
and gives a differentiable number per case. Tables of answers hold token ids (or classes), rows
padded with -1.
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import binomtest
from torch import Tensor

from interp.causal.wiring.examples import Examples
from interp.causal.wiring.wiring import Metric, Wiring
from interp.core import InputError, Score
from interp.corpus.tasks import Resolved

CONSTANT = 1e-9
"""A metric that moves by less than this share of its size does not move."""


class TaskWarning(UserWarning):
    """The model cannot do the task to be traced; the message gives its accuracy."""


@runtime_checkable
class Judging(Protocol):
    """A metric that knows when the network is right."""

    @property
    def name(self) -> str: ...

    def __call__(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Float[Tensor, " case"]: ...

    def correct(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Bool[Tensor, " case"]: ...


@dataclass(frozen=True, eq=False)
class LogitDifference:
    """Mean logit of the right answers minus mean logit of the wrong ones; the network is right
    where it is positive.

    Raises:
        InputError: the tables differ in length, or an example has no answer.

    Source: Wang et al. 2023 (one right and one wrong answer).

    Example:
        >>> metric = LogitDifference(ready.right, ready.wrong)  # ready = resolve(task, tokenizer)
        >>> metric(wiring.output(batch), rows)
    """

    right: Int[Tensor, "example k"]
    wrong: Int[Tensor, "example l"]
    name: str = field(default="logit difference", init=False)

    def __post_init__(self) -> None:
        _require_answers(self.right, self.wrong)

    def __call__(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Float[Tensor, " case"]:
        right = _mean(*_chosen(output, self.right, rows))
        return right - _mean(*_chosen(output, self.wrong, rows))

    def correct(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Bool[Tensor, " case"]:
        """Where the right answers have the larger logits."""
        return self(output, rows) > 0


@dataclass(frozen=True, eq=False)
class ProbabilityDifference:
    """Probability of any right answer minus probability of any wrong one; the network is right
    where it is positive.

    Raises:
        InputError: the tables differ in length, or an example has no answer.

    Source: Hanna, Liu & Variengien 2023.

    Example:
        >>> metric = ProbabilityDifference(ready.right, ready.wrong)
    """

    right: Int[Tensor, "example k"]
    wrong: Int[Tensor, "example l"]
    name: str = field(default="probability difference", init=False)

    def __post_init__(self) -> None:
        _require_answers(self.right, self.wrong)

    def __call__(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Float[Tensor, " case"]:
        shares = torch.softmax(output, dim=-1)
        right, of_right = _chosen(shares, self.right, rows)
        wrong, of_wrong = _chosen(shares, self.wrong, rows)
        return (right * of_right).sum(dim=1) - (wrong * of_wrong).sum(dim=1)

    def correct(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Bool[Tensor, " case"]:
        """Where the right answers are together more probable than the wrong."""
        return self(output, rows) > 0


@dataclass(frozen=True, eq=False)
class ClassProbability:
    """Probability of each example's own class; the network is right where no class has a larger
    logit.

    Raises:
        InputError: a label is negative.

    Example:
        >>> metric = ClassProbability(torch.tensor([3, 1, 4]))
    """

    labels: Int[Tensor, " example"]
    name: str = field(default="class probability", init=False)

    def __post_init__(self) -> None:
        if bool((self.labels < 0).any()):
            raise InputError(f"label {int(self.labels.min())} is no class; classes count from 0")

    def __call__(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Float[Tensor, " case"]:
        return torch.softmax(output, dim=-1).gather(1, self._own(output, rows))[:, 0]

    def correct(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Bool[Tensor, " case"]:
        """Where the class is the network's first choice."""
        return output.argmax(dim=-1) == self._own(output, rows)[:, 0]

    def _own(self, output: Tensor, rows: Tensor) -> Int[Tensor, "case 1"]:
        return _rows_of(self.labels, rows, output)[:, None]


@dataclass(frozen=True, eq=False)
class KlFromClean:
    """Divergence (nats) of the output's distribution from the one with nothing replaced,
    `Σ p_clean (log p_clean − log p)`.

    `reference` holds the examples' clean outputs (`KlFromClean.of` computes them). At the clean run
    both it and its gradient are 0, so EAP finds nothing; use methods that measure or integrate.

    Source: as ACDC's metric, Conmy et al. 2023.

    Example:
        >>> graph = acdc(wiring, examples, KlFromClean.of(wiring, examples), threshold=0.01)
    """

    reference: Float[Tensor, "example out"]
    name: str = field(default="KL from clean", init=False)

    @classmethod
    def of(cls, wiring: Wiring, examples: Examples) -> "KlFromClean":
        """With the network's own clean outputs. Cost: one forward pass over the examples."""
        return cls(outputs(wiring, examples))

    def __call__(
        self, output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]
    ) -> Float[Tensor, " case"]:
        clean = torch.log_softmax(_rows_of(self.reference, rows, output), dim=-1)
        return (clean.exp() * (clean - torch.log_softmax(output, dim=-1))).sum(dim=-1)


def task_metric(ready: Resolved) -> LogitDifference | ProbabilityDifference:
    """A task's usual metric.

    Example:
        >>> ready = resolve(task("greater-than", n=32), model.tokenizer)
        >>> graph = path_effects(
        ...     model, ready.task.prompts, ready.task.counterfactuals, metric=task_metric(ready)
        ... )
    """
    kind = LogitDifference if ready.task.measure == "logit difference" else ProbabilityDifference
    return kind(ready.right, ready.wrong)


@torch.no_grad()
def outputs(wiring: Wiring, examples: Examples) -> Float[Tensor, "example out"]:
    """The clean output of every example, in order. Cost: one forward pass over the examples."""
    found: dict[int, Tensor] = {}
    for part in examples:
        found.update(zip(part.rows.tolist(), wiring.output(part.batch), strict=True))
    return torch.stack([found[row] for row in range(len(examples))])


def accuracy(metric: Metric, wiring: Wiring, examples: Examples) -> Score:
    """The share of examples on which the network is right with nothing replaced; the control scores
    each by the next example's answers.

    Raises:
        InputError: the metric does not define right answers.

    The interval is exact (Clopper & Pearson 1934). Cost: one forward pass over the examples.

    Example:
        >>> print(accuracy(metric, wiring, examples))
        0.958 [0.789, 0.999] (n=24, control 0.542)
    """
    if not isinstance(metric, Judging):
        name = getattr(metric, "name", type(metric).__name__)
        raise InputError(
            f"metric {name!r} does not say which outputs are right; use LogitDifference, "
            "ProbabilityDifference or ClassProbability"
        )
    found, rows = outputs(wiring, examples), torch.arange(len(examples))
    hits = int(metric.correct(found, rows).sum())
    permuted = int(metric.correct(found, rows.roll(-1)).sum())
    between = binomtest(hits, len(rows)).proportion_ci(0.95, method="exact")
    return Score(
        hits / len(rows),
        float(between.low),
        float(between.high),
        n=len(rows),
        seed=0,
        control=permuted / len(rows),
        interval="exact binomial 95%",
    )


def check_metric(values: Float[np.ndarray, "state example"], name: str = "metric") -> None:
    """Check that a metric distinguishes states of a network (nothing replaced, everything replaced,
    …).

    Raises:
        InputError: it is the same in all states for every example, or not finite.

    Example:
        >>> check_metric(np.stack([graph.clean, graph.replaced]), graph.metric)
    """
    if not np.isfinite(values).all():
        state, example = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"the {name} is {values[state, example]} for example {example}; choose a metric that "
            "is finite for every example"
        )
    if float(np.ptp(values, axis=0).max()) <= CONSTANT * max(1.0, float(np.abs(values).max())):
        raise InputError(
            f"the {name} is constant: {values[0, 0]:.4g} for the first of {values.shape[1]} "
            "examples, whatever is replaced; "
            "choose a metric, or counterfactuals, that tell the states apart"
        )


def _chosen(
    output: Float[Tensor, "case out"], table: Int[Tensor, "example k"], rows: Int[Tensor, " case"]
) -> tuple[Float[Tensor, "case k"], Bool[Tensor, "case k"]]:
    """The output at each case's answers, and which entries are not padding."""
    own = _rows_of(table, rows, output)
    return output.gather(1, own.clamp(min=0)), own >= 0


def _rows_of(table: Tensor, rows: Tensor, output: Tensor) -> Tensor:
    return table.to(output.device)[rows.to(output.device)]


def _mean(values: Float[Tensor, "case k"], there: Bool[Tensor, "case k"]) -> Float[Tensor, " case"]:
    return (values * there).sum(dim=1) / there.sum(dim=1)


def _require_answers(right: Int[Tensor, "example k"], wrong: Int[Tensor, "example l"]) -> None:
    if len(right) != len(wrong):
        raise InputError(
            f"{len(right)} rows of right and {len(wrong)} of wrong answers; give one row of each "
            "for every example"
        )
    for side, table in (("right", right), ("wrong", wrong)):
        empty = torch.nonzero(~(table >= 0).any(dim=1))
        if len(empty):
            raise InputError(
                f"example {int(empty[0, 0])} has no {side} answer; give at least one token id for "
                "each"
            )
