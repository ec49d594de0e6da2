"""Hooks: what they see, what they may do, and that none of them stays."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from interp.core import InputError
from interp.models.hooks import Point, ended_early, evaluating, placed, projection_rows
from interp.models.protocol import Call, Frame


class Twice(nn.Module):
    """Gives a tuple, a mapping or a tensor, as networks do, and takes its input by position or by
    name.
    """

    def __init__(self, kind: str = "tensor") -> None:
        super().__init__()
        self.kind = kind

    def forward(self, value: Tensor, other: int = 0) -> Any:
        result = value * 2
        return {
            "tensor": result,
            "tuple": (result, "rest"),
            "mapping": {"sample": result, "rest": 1},
        }[self.kind]


@dataclass
class Seen:
    values: list[Tensor]
    calls: list[Call]

    def __call__(self, value: Tensor, call: Call) -> None:
        self.values.append(value)
        self.calls.append(call)


def first(output: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    return output[0] if isinstance(output, tuple) else output["sample"]


def hooks_of(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


@pytest.mark.parametrize("kind", ["tensor", "tuple", "mapping"])
def test_outputs_of_every_kind_are_seen_and_replaced(kind: str) -> None:
    module, seen = Twice(kind), Seen([], [])
    points = {"out": Point(module, "output"), "in": Point(module, "input")}
    with placed(points, {"out": seen, "in": lambda value, call: value + 1}, Frame(step=3)):
        assert first(module(torch.ones(2))).tolist() == [4.0, 4.0]
        assert first(module(value=torch.ones(2), other=5)).tolist() == [4.0, 4.0]
    assert [call.site for call in seen.calls] == ["out", "out"]
    assert seen.calls[0].step == 3
    with placed(points, {"out": lambda value, call: value * 10}, Frame()):
        output = module(torch.ones(2))
    assert first(output).tolist() == [20.0, 20.0]
    if kind == "tuple":
        assert output[1] == "rest"
    assert hooks_of(module) == 0
    assert first(module(torch.ones(2))).tolist() == [2.0, 2.0]


@pytest.mark.parametrize("linear", [True, False])
def test_a_head_is_its_columns_times_their_rows(linear: bool) -> None:
    from transformers.pytorch_utils import Conv1D

    module = nn.Linear(6, 4) if linear else Conv1D(4, 6)
    weight = module.weight.T if linear else module.weight
    assert torch.equal(projection_rows(module, slice(2, 4)), weight[2:4])
    value = torch.arange(12.0).reshape(2, 6)
    plain, seen = module(value), Seen([], [])
    points = {
        f"head{head}": Point(module, "head", slice(2 * head, 2 * head + 2)) for head in range(3)
    }
    with placed(points, dict.fromkeys(points, seen), Frame()):
        assert torch.equal(module(value), plain)
    assert torch.allclose(sum(seen.values) + module.bias, plain, atol=1e-6)
    with placed(points, {"head1": lambda value, call: torch.zeros_like(value)}, Frame()):
        assert torch.allclose(module(value), plain - value[:, 2:4] @ weight[2:4], atol=1e-5)
    with pytest.raises(InputError, match="no weight matrix"):
        projection_rows(nn.ReLU(), None)


def test_stop_after_ends_when_the_last_site_was_seen() -> None:
    parts = nn.Sequential(Twice(), Twice(), Twice())
    points = {name: Point(part, "output") for name, part in parts.named_children()}
    seen, result = Seen([], []), None
    with placed(points, {"0": seen, "2": seen}, Frame(), ["1", "0"]), ended_early():
        result = parts(torch.ones(1))
    assert result is None
    assert [call.site for call in seen.calls] == ["0"]
    unarmed = Frame(armed=False)
    with placed(points, {"2": seen}, unarmed, ["1"]), ended_early():
        result = parts(torch.ones(1))
    assert result.tolist() == [8.0], "control: a frame that is not armed goes on"
    assert hooks_of(parts) == 0


def test_the_signal_to_stop_swallows_no_other_error() -> None:
    with pytest.raises(ZeroDivisionError), ended_early():
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (lambda value, call: value.mul_(2), "wrote into the activation in place"),
        (lambda value, call: value[:1], r"returned shape \(1,\), expected \(2,\)"),
    ],
)
def test_what_a_hook_may_not_do(hook: Any, message: str) -> None:
    module = Twice()
    with (
        placed({"out": Point(module, "output")}, {"out": hook}, Frame()),
        pytest.raises(InputError, match=message),
    ):
        module(torch.ones(2))
    assert hooks_of(module) == 0


def test_in_place_writing_is_found_unless_torch_cannot_tell() -> None:
    module = Twice()
    with (
        placed({"out": Point(module, "output")}, {"out": lambda value, call: value + 1}, Frame()),
        torch.inference_mode(),
    ):
        assert module(torch.ones(2)).tolist() == [3.0, 3.0]


def test_an_unknown_point_leaves_no_hook() -> None:
    module = Twice()
    with (
        pytest.raises(KeyError),
        placed(
            {"out": Point(module, "output")}, {"out": Seen([], []), "no": Seen([], [])}, Frame()
        ),
    ):
        pass
    assert hooks_of(module) == 0


def test_evaluating_restores_each_flag() -> None:
    module = nn.Sequential(nn.Dropout(), nn.Dropout(), nn.Dropout()).train()
    module[1].eval()

    def interrupted() -> None:
        with evaluating(module):
            assert not any(part.training for part in module.modules())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [part.training for part in module.modules()] == [True, True, False, True]
