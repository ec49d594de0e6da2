"""Interchange interventions where the answer is known: whole layers, padded texts, images, and
variables of networks written by hand.
"""

from typing import Any

import numpy as np
import pytest
import torch
from circuits import Circuit
from tiny import language, tokenizer
from torch import Tensor, nn
from written_networks import LENGTH, SHARP, VOCABULARY, induction, repeats

from interp.causal.features.high_level import HighLevel
from interp.causal.features.interchange import (
    Interchanges,
    Place,
    interchange_accuracy,
    interchanged_output,
    random_subspace,
    values_at,
)
from interp.core import InputError
from interp.models import ModuleModel, wrap

INDUCTION = HighLevel(
    {
        "asked": lambda values: values["ids"][-1],
        "place": lambda values: values["ids"].index(values["asked"]),
        "answer": lambda values: values["ids"][values["place"] + 1],
    },
    "answer",
)
TOKEN = torch.eye(4 * VOCABULARY + LENGTH)[:VOCABULARY]
UNREAD = torch.eye(4 * VOCABULARY + LENGTH)[-VOCABULARY:]


def last_logits(model: Any, inputs: Any) -> Tensor:
    with torch.no_grad():
        return torch.stack([model.run(model.prepare([ids]).batches[0])[0, -1] for ids in inputs])


def asked_elsewhere() -> tuple[Circuit, Interchanges]:
    """Bases, and sources of other tokens that end in a token which the base holds too."""
    data, generator = repeats(60, seed=5), torch.Generator().manual_seed(6)
    sources = torch.stack(
        [torch.randperm(VOCABULARY, generator=generator)[:LENGTH] for _ in range(60)]
    )
    # A token of the base that is followed by another: the one before the counterfactual's answer.
    sources[:, -1] = torch.stack(
        [
            row[int((row == wrong).nonzero()[0, 0]) - 1]
            for row, wrong in zip(data.inputs, data.wrong, strict=True)
        ]
    )
    pairs = zip(data.inputs.tolist(), sources.tolist(), strict=True)
    # The sources' own answers do not matter: only what they ask is taken.
    expected = [
        INDUCTION.run({"ids": base}, {"asked": source[-1]})["answer"] for base, source in pairs
    ]
    assert expected == data.wrong.tolist()
    return induction(SHARP), Interchanges(data.inputs, sources, torch.tensor(expected))


def test_a_variable_lies_where_it_was_put() -> None:
    module, pairs = asked_elsewhere()
    model = ModuleModel(module)
    asked = interchange_accuracy(
        model, pairs, Place("blocks.0", TOKEN), control=Place("blocks.0", UNREAD)
    )
    assert asked.value == 1.0
    assert asked.control == 0.0
    assert asked.low == pytest.approx(0.025 ** (1 / 60))
    assert asked.n == 60
    # The wrong token of the sequence, and a site after which it is too late.
    assert interchange_accuracy(model, pairs, Place("blocks.0", TOKEN, 0)).value == 0.0
    assert interchange_accuracy(model, pairs, Place("blocks.1", TOKEN)).value == 0.0


def test_the_control_is_a_random_subspace_of_the_same_size_by_default() -> None:
    module, pairs = asked_elsewhere()
    line = interchange_accuracy(ModuleModel(module), pairs, Place("blocks.0", TOKEN[:1]), seed=3)
    drawn = interchange_accuracy(
        ModuleModel(module), pairs, Place("blocks.0", random_subspace(1, TOKEN.shape[1], seed=3))
    )
    assert line.control == drawn.value
    assert (
        line.control
        == interchange_accuracy(
            ModuleModel(module), pairs, Place("blocks.0", TOKEN[:1]), seed=3
        ).control
    )


@pytest.mark.parametrize("name", ["gpt2", "llama", "opt"])
def test_a_whole_stream_interchanged_is_the_sources_run(name: str) -> None:
    """At every position; with texts of different lengths at the last one of the last layer. Batches
    are padded and in another order.
    """
    model = wrap(language(name), tokenizer())
    base = [[3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15, 16], [20, 21, 22]]
    same = [[13, 4, 15, 6, 17, 8], [19, 20, 11, 22, 13, 14, 15, 26], [30, 31, 32]]
    other = [[13, 4, 15], [19, 20, 11, 22, 13], [30, 31, 32, 33, 34, 35, 36]]
    for sources, place in (
        (same, Place("L0.resid_post", None, None)),
        (other, Place("L2.resid_post")),
    ):
        held = values_at(model, sources, place)
        expected = last_logits(model, sources)
        for batch in model.prepare(base, 2).batches:
            with torch.no_grad():
                found = interchanged_output(model, batch, held, place)
            torch.testing.assert_close(
                found, expected[torch.from_numpy(batch.items)], rtol=1e-4, atol=1e-4
            )
        score = interchange_accuracy(
            model, Interchanges(base, sources, expected.argmax(-1)), place, batch_size=2
        )
        assert score.value == 1.0
        unchanged = (last_logits(model, base).argmax(-1) == expected.argmax(-1)).float().mean()
        assert score.control == pytest.approx(float(unchanged))


def test_a_subspace_and_its_complement_make_the_whole() -> None:
    model = wrap(language("llama"), tokenizer())
    base, source = [[3, 4, 5, 6, 7, 8]], [[13, 4, 15, 6, 17, 9]]
    whole = random_subspace(16, 16, seed=0)
    seen: list[Tensor] = []
    for rows in (whole[:5], whole[5:], None):
        place = Place("L1.resid_post", rows)
        batch = model.prepare(base).batches[0]

        def look(value: Tensor, call: Any) -> None:
            seen.append(value[0, -1])

        with torch.no_grad(), model.hooked({"L2.resid_pre": look}):
            interchanged_output(model, batch, values_at(model, source, place), place)
    # Each run of the sources as far as the site ends before the look.
    first, second, all_of_it = seen
    own = values_at(model, base, Place("L1.resid_post"))[0][0]
    torch.testing.assert_close(first + second - own, all_of_it)
    assert not torch.allclose(first, all_of_it, atol=1e-2)


def test_images_are_interchanged_pixel_by_pixel() -> None:
    torch_generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 4))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch_generator))
    base, source = torch.randn(2, 20, 1, 6, 6, generator=torch_generator)
    expected = module(source).argmax(-1)
    score = interchange_accuracy(
        ModuleModel(module), Interchanges(base, source, expected), Place("1"), batch_size=7
    )
    assert score.value == 1.0
    assert score.control < 0.8


def test_a_high_level_model_with_a_variable_set() -> None:
    sums = HighLevel(
        {"carry": lambda v: v["a"] + v["b"] > 9, "answer": lambda v: int(v["carry"]) + v["c"]},
        "answer",
    )
    assert sums.run({"a": 8, "b": 4, "c": 3})["answer"] == 4
    assert sums.interchanged({"a": 1, "b": 2, "c": 3}, {"a": 8, "b": 4, "c": 0}, "carry") == 4
    assert sums.interchanged({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 4, "c": 0}, "carry") == 3
    with pytest.raises(InputError, match="unknown variable 'cary'; nearest: carry"):
        sums.interchanged({}, {}, "cary")


def test_splits_are_disjoint_and_seeded() -> None:
    pairs = Interchanges(torch.arange(20)[:, None], list(range(20)), torch.arange(20))
    first, second = pairs.split(0.25, seed=1)
    assert (len(first), len(second)) == (5, 15)
    assert sorted([*first.source, *second.source]) == list(range(20))
    assert first.base[:, 0].tolist() == first.source == first.expected.tolist()
    assert first.source == pairs.split(0.25, seed=1)[0].source
    assert first.source != pairs.split(0.25, seed=2)[0].source


def test_wrong_input_is_named() -> None:
    model = wrap(language("llama"), tokenizer())
    base, answers = [[3, 4, 5], [6, 7, 8, 9]], torch.tensor([1, 2])
    pairs = Interchanges(base, base[::-1], answers)
    with pytest.raises(InputError, match="2 bases, 1 sources and 2 answers"):
        Interchanges(base, base[:1], answers)
    with pytest.raises(InputError, match="0 bases"):
        Interchanges([], [], torch.zeros(0, dtype=torch.long))
    with pytest.raises(InputError, match="leaves one side empty"):
        pairs.split(0.1, seed=0)
    with pytest.raises(InputError, match="must be orthonormal"):
        Place("L0.resid_post", torch.ones(2, 16))
    with pytest.raises(InputError, match="17 dimensions"):
        random_subspace(17, 16, seed=0)
    with pytest.raises(InputError, match=r"resid_pots.*nearest"):
        interchange_accuracy(model, pairs, Place("L0.resid_pots"))
    with pytest.raises(InputError, match=r"position -4 does not exist in input 1 of 3 positions"):
        interchange_accuracy(model, pairs, Place("L0.resid_post", None, -4))
    with pytest.raises(InputError, match=r"base 1 has 4 positions and its source 3"):
        interchange_accuracy(model, pairs, Place("L0.resid_post", None, None))
    with pytest.raises(InputError, match=r"8 wide but L0\.resid_post 16"):
        interchange_accuracy(model, pairs, Place("L0.resid_post", torch.eye(8)[:2]))
    long = [[3] * 600]
    with pytest.raises(InputError, match="input 0 is longer than"):
        interchange_accuracy(model, Interchanges(long, long, answers[:1]), Place("L0.resid_post"))


def test_nothing_is_left_behind() -> None:
    module, pairs = asked_elsewhere()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(InputError, match="wide"):
        interchange_accuracy(ModuleModel(module), pairs, Place("blocks.0", torch.eye(4)))
    interchange_accuracy(ModuleModel(module), pairs, Place("blocks.0", TOKEN))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(np.array_equal(value, before[name]) for name, value in module.state_dict().items())
