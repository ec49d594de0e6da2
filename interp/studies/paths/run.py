"""A task's graph from beginning to end: found on some examples, judged on others."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from interp.causal.checks.faithfulness import faithfulness
from interp.causal.checks.predicted_measured import checked
from interp.causal.checks.stability import stability_of
from interp.causal.checks.sufficiency import sufficiency
from interp.causal.graph.graph import Method
from interp.causal.methods.effects import DECIDING, path_effects
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.metrics import TaskWarning, accuracy, task_metric
from interp.causal.wiring.replacement import Value
from interp.causal.wiring.residual import ResidualWiring
from interp.core import InputError, Progress, silent
from interp.core.names import require_known
from interp.corpus.tasks import Resolved, Task, resolve
from interp.models import Model, TransformerModel
from interp.studies.paths.result import PathsResult

DEFAULT_METHODS: tuple[Method, ...] = ("eap-ig-inputs", "eap")
RANKING: tuple[str, ...] = tuple(name for name in get_args(Method) if name not in DECIDING)
"""Methods that give every edge an effect."""

WHOLE_VALUES = ("resample", "mean", "zero")
"""Values that replace all of a contribution."""

ABLE = 0.75
"""The accuracy below which a warning says that the model does not do the task."""


@dataclass(frozen=True, kw_only=True)
class PathsProtocol:
    """How a task's graph is found and judged.

    The graph of the first of `methods` is shown and checked; the others' faithfulness is drawn
    beside it. `examples` serve for finding, `judged` others for judging. `top` strongest and
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


def trace_task(
    model: Model,
    task: Task,
    protocol: PathsProtocol = PathsProtocol(),
    *,
    progress: Progress = silent,
) -> PathsResult:
    """Which edges of a language model carry a task, and whether that is right.

    The first `protocol.examples` examples serve for finding the graph, the next `protocol.judged`
    for judging it: faithfulness beside random graphs, with only the graph and without it, predicted
    against measured effects. A model that cannot do the task warns with its accuracy
    (`TaskWarning`).

    Raises:
        InputError: there are too few examples that fit the tokenizer, or the metric is constant.

    Cost: on SmolLM2-135M with the defaults some minutes on two cores; most of it for faithfulness
    and for measuring edges.

    Example:
        >>> result = trace_task(model, interp.corpus.task("indirect-object", n=40))
        >>> interp.report.write_paths(result, Path("paths"))
    """
    if not isinstance(model, TransformerModel):
        raise InputError(
            f"{model.name} is no language model of transformers; tasks are texts, use "
            "path_effects "
            "for other networks"
        )
    ready = resolve(task, model.tokenizer, misfits="drop")
    needed = protocol.examples + protocol.judged
    if len(ready) < needed:
        raise InputError(
            f"{len(ready)} examples of {task.name} fit this tokenizer ({len(ready.dropped)} do "
            f"not), {needed} are needed; "
            "give more, or ask for fewer examples"
        )
    wiring = ResidualWiring(model)
    own, others = (
        _part(ready, range(protocol.examples)),
        _part(ready, range(protocol.examples, needed)),
    )
    graphs = [
        path_effects(
            wiring,
            list(own.task.prompts),
            list(own.task.counterfactuals),
            metric=task_metric(own),
            method=method,
            value=protocol.value,
            steps=protocol.steps,
            progress=progress,
        )
        for method in protocol.methods
    ]
    metric, graph = task_metric(others), graphs[0]
    examples = Examples(
        wiring, list(others.task.prompts), list(others.task.counterfactuals), value=protocol.value
    )
    wiring.check(next(iter(examples)).batch)
    right = accuracy(metric, wiring, examples)
    if right.value < ABLE:
        warnings.warn(
            (
                f"the model is right on {right} of {task.name}; a graph of what it cannot do says "
                "little"
            ),
            TaskWarning,
            stacklevel=2,
        )
    curves = [
        faithfulness(
            wiring,
            examples,
            metric,
            found,
            seed=protocol.seed,
            random=protocol.orders,
            progress=progress,
        )
        for found in graphs
    ]
    return PathsResult(
        graph=graph,
        faithfulness=curves[0],
        checked=checked(
            wiring,
            examples,
            metric,
            graph,
            top=protocol.top,
            random=protocol.random,
            seed=protocol.seed,
            progress=progress,
        ),
        stability=stability_of(graph, splits=protocol.splits, seed=protocol.seed),
        sufficiency=sufficiency(
            wiring,
            examples,
            metric,
            graph,
            correct=metric.correct,
            seed=protocol.seed,
            random=protocol.orders,
            progress=progress,
        ),
        task=task.name,
        accuracy=right,
        items=others.task.prompts,
        others=tuple(curves[1:]),
    )


def _part(ready: Resolved, rows: Sequence[int]) -> Resolved:
    return Resolved(ready.task.take(list(rows)), ready.right[list(rows)], ready.wrong[list(rows)])
