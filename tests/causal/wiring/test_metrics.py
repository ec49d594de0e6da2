"""Metrics against their formulas, their gradients, and a network that knows some of the answers."""

from typing import Any

import numpy as np
import pytest
import torch
from linear_wiring import LinearWiring, linear_examples, readout
from torch import Tensor, nn

from interp.causal.wiring.channels import ChannelWiring
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.metrics import (
    ClassProbability,
    KlFromClean,
    LogitDifference,
    ProbabilityDifference,
    TaskWarning,
    accuracy,
    check_metric,
    outputs,
    task_metric,
)
from interp.core import InputError
from interp.corpus.tasks import Resolved, task
from interp.models import ModuleModel

RIGHT, WRONG = torch.tensor([[0, -1], [1, 2]]), torch.tensor([[2, 3, -1], [0, 3, 4]])
LOGITS = torch.tensor([[4.0, 1.0, 2.0, -1.0, 0.0], [0.5, -2.0, 1.0, 3.0, 1.0]])
ROWS = torch.tensor([1, 0, 1])
"""Three cases of two examples, not in their order."""


def shares(logits: Tensor) -> Tensor:
    return logits.exp() / logits.exp().sum(dim=-1, keepdim=True)


def test_logit_difference_is_the_mean_of_either_side() -> None:
    found = LogitDifference(RIGHT, WRONG)(LOGITS[ROWS], ROWS)
    second = (-2.0 + 1.0) / 2 - (0.5 + 3.0 + 1.0) / 3
    assert found.tolist() == pytest.approx([second, 4.0 - (2.0 - 1.0) / 2, second])


def test_probability_difference_sums_either_side() -> None:
    found = ProbabilityDifference(RIGHT, WRONG)(LOGITS[ROWS], ROWS)
    p = shares(LOGITS)
    second = p[1, 1] + p[1, 2] - p[1, 0] - p[1, 3] - p[1, 4]
    torch.testing.assert_close(found, torch.stack([second, p[0, 0] - p[0, 2] - p[0, 3], second]))


def test_class_probability_is_that_of_the_label() -> None:
    metric = ClassProbability(torch.tensor([0, 2]))
    p = shares(LOGITS)
    torch.testing.assert_close(metric(LOGITS[ROWS], ROWS), torch.stack([p[1, 2], p[0, 0], p[1, 2]]))
    assert metric.correct(LOGITS[ROWS], ROWS).tolist() == [False, True, False]


def test_kl_is_zero_at_the_clean_run_and_only_there() -> None:
    metric = KlFromClean(LOGITS)
    torch.testing.assert_close(metric(LOGITS[ROWS] + 7.0, ROWS), torch.zeros(3), atol=1e-6, rtol=0)
    other = LOGITS.flip(1)
    p, q = shares(LOGITS), shares(other)
    torch.testing.assert_close(metric(other, torch.arange(2)), (p * (p / q).log()).sum(dim=1))
    assert bool((metric(other, torch.arange(2)) > 0.1).all())


METRICS: dict[str, Any] = {
    "logit difference": LogitDifference(RIGHT, WRONG),
    "probability difference": ProbabilityDifference(RIGHT, WRONG),
    "class probability": ClassProbability(torch.tensor([0, 2])),
    "KL from clean": KlFromClean(LOGITS.flip(1)),
}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_name_themselves_and_have_gradients(name: str) -> None:
    metric = METRICS[name]
    assert metric.name == name
    output = LOGITS[ROWS].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda value: metric(value, ROWS), output)
    assert torch.autograd.grad(metric(output, ROWS).sum(), output)[0].abs().sum() > 0.1


@pytest.mark.parametrize("kind", [LogitDifference, ProbabilityDifference])
def test_right_is_where_the_right_answers_win(kind: Any) -> None:
    assert kind(RIGHT, WRONG).correct(LOGITS[ROWS], ROWS).tolist() == [False, True, False]
    assert kind(WRONG, RIGHT).correct(LOGITS[ROWS], ROWS).tolist() == [True, False, True]


def test_accuracy_counts_and_its_control_deals_the_answers_on() -> None:
    """A network that gives back its input: the logits are known."""
    inputs = torch.eye(4)[[0, 1, 2, 3, 0, 1, 2, 3, 0, 1]] + 0.01
    wiring = ChannelWiring(ModuleModel(nn.Sequential(_identity(4), _identity(4))))
    examples = Examples(wiring, inputs, value="zero", batch_size=3)
    labels = torch.tensor([0, 1, 2, 3, 0, 1, 2, 0, 1, 2])
    score = accuracy(ClassProbability(labels), wiring, examples)
    assert (score.value, score.n) == (0.7, 10)
    # What Clopper and Pearson's tables give for 7 of 10.
    assert (score.low, score.high) == pytest.approx((0.348, 0.933), abs=1e-3)
    assert (
        score.control
        == int((torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 0, 1]) == labels.roll(-1)).sum()) / 10
    )
    torch.testing.assert_close(outputs(wiring, examples), inputs)


def _identity(width: int) -> nn.Linear:
    layer = nn.Linear(width, width, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(width))
    return layer


def test_kl_of_a_network_is_zero_with_nothing_replaced() -> None:
    wiring = LinearWiring((2, 2), seed=1)
    examples = linear_examples(wiring, batch_size=3)
    metric = KlFromClean.of(wiring, examples)
    parts = list(examples)
    clean = torch.cat([metric(wiring.output(part.batch), part.rows) for part in parts])
    replaced = torch.cat(
        [
            metric(wiring.output(part.batch, part.changes, wiring.connected), part.rows)
            for part in parts
        ]
    )
    torch.testing.assert_close(clean, torch.zeros(8), atol=1e-6, rtol=0)
    assert bool((replaced > 1e-3).all())


def test_a_metric_without_right_answers_has_no_accuracy() -> None:
    wiring = LinearWiring((2,), seed=1)
    for metric, name in ((readout, "function"), (KlFromClean(torch.zeros(8, 3)), "KL from clean")):
        with pytest.raises(
            InputError, match=f"metric '{name}' does not say which outputs are right"
        ):
            accuracy(metric, wiring, linear_examples(wiring))


def test_a_constant_metric_is_refused_and_a_moving_one_is_not() -> None:
    clean = np.array([1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="the share is constant: 1 for the first of 3 examples"):
        check_metric(np.stack([clean, clean]), "share")
    with pytest.raises(InputError, match="constant"):
        check_metric(np.stack([clean, clean + 1e-12]))
    with pytest.raises(InputError, match="the metric is nan for example 1"):
        check_metric(np.array([[1.0, np.nan], [2.0, 3.0]]))
    # One example that moves is enough; examples that differ from each other are not.
    check_metric(np.stack([clean, clean + np.array([0, 0, 1e-3])]))


def test_a_task_has_its_usual_metric() -> None:
    table = torch.zeros(2, 1, dtype=torch.int64)
    kinds = {
        name: type(task_metric(Resolved(task(name, 2), table, table + 1)))
        for name in ("agreement", "greater-than")
    }
    assert kinds == {"agreement": LogitDifference, "greater-than": ProbabilityDifference}


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="example 1 has no wrong answer"):
        LogitDifference(torch.tensor([[1], [2]]), torch.tensor([[3], [-1]]))
    with pytest.raises(InputError, match="label -1 is no class"):
        ClassProbability(torch.tensor([2, -1]))
    assert issubclass(TaskWarning, UserWarning)
