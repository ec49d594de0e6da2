"""A task's graph, found on some examples and judged on others."""

import warnings

from interp.causal.checks.faithfulness import faithfulness
from interp.causal.checks.prediction_check import prediction_check
from interp.causal.checks.stability import stability_of
from interp.causal.checks.sufficiency import sufficiency
from interp.causal.methods.effects import path_effects
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.metrics import TaskWarning, accuracy, task_metric
from interp.causal.wiring.residual import ResidualWiring
from interp.core import InputError, Progress, silent
from interp.corpus.tasks import Resolved, Task, resolve
from interp.models import Model, TransformerModel
from interp.studies.paths.protocol import PathsProtocol
from interp.studies.paths.result import PathsResult

ABLE = 0.75
"""The accuracy below which the model does not do the task, and a warning says so."""


def trace_task(
    model: Model,
    task: Task,
    protocol: PathsProtocol = PathsProtocol(),  # noqa: B008 - frozen
    *,
    progress: Progress = silent,
) -> PathsResult:
    """Which edges of a language model carry a task, and whether that is right.

    The graph is found on the first `protocol.examples` examples and judged on the next
    `protocol.judged`: faithfulness against random graphs, only the graph and all but the graph,
    predicted against measured effects. If the model cannot do the task, a `TaskWarning` gives its
    accuracy.

    Raises:
        InputError: too few examples fit the tokenizer, or the metric is constant.

    Cost: some minutes on two cores for SmolLM2-135M with the defaults, mostly for faithfulness and
    for measuring edges.

    Example:
        >>> result = trace_task(model, interp.corpus.task("indirect-object", n=40))
        >>> interp.report.write_paths(result, Path("paths"))
    """
    if not isinstance(model, TransformerModel):
        raise InputError(
            f"{model.name} is no language model of transformers; tasks are texts, use "
            "path_effects for other networks"
        )
    own, others = _parts(resolve(task, model.tokenizer, misfits="drop"), protocol)
    wiring = ResidualWiring(model)
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
            f"the model is right on {right} of {task.name}; a graph of what it cannot do says "
            "little",
            TaskWarning,
            stacklevel=2,
        )
    judged = (wiring, examples, metric)
    seed, orders = protocol.seed, protocol.orders
    curves = [
        faithfulness(*judged, found, seed=seed, random=orders, progress=progress)
        for found in graphs
    ]
    return PathsResult(
        graph=graph,
        faithfulness=curves[0],
        checked=prediction_check(
            *judged,
            graph,
            top=protocol.top,
            random=protocol.random,
            seed=seed,
            progress=progress,
        ),
        stability=stability_of(graph, splits=protocol.splits, seed=seed),
        sufficiency=sufficiency(
            *judged, graph, correct=metric.correct, seed=seed, random=orders, progress=progress
        ),
        task=task.name,
        accuracy=right,
        items=others.task.prompts,
        others=tuple(curves[1:]),
    )


def _parts(ready: Resolved, protocol: PathsProtocol) -> tuple[Resolved, Resolved]:
    """The examples to find the graph on, and those to judge it on."""
    needed = protocol.examples + protocol.judged
    if len(ready) < needed:
        raise InputError(
            f"{len(ready)} examples of {ready.task.name} fit this tokenizer ({len(ready.dropped)} "
            f"do not), {needed} are needed; give more, or request fewer"
        )
    rows = list(range(needed))
    return _some(ready, rows[: protocol.examples]), _some(ready, rows[protocol.examples :])


def _some(ready: Resolved, rows: list[int]) -> Resolved:
    return Resolved(ready.task.take(rows), ready.right[rows], ready.wrong[rows])
