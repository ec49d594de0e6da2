"""Any torch module: its submodules are its sites."""

from typing import Any

import pytest
import tiny
import torch
from torch import nn

import interp
from interp.capture import Add
from interp.core import InputError
from interp.models import ModuleModel
from interp.models.weights.identity import module_hash


def test_shapes_are_stated_by_layers_and_measured_on_an_example() -> None:
    stated = interp.wrap(tiny.classifier()).sites
    assert stated["module:convolution"] == (6, None, None)
    assert stated["head"] == (4,)
    assert stated["rectifier"] == (None,)
    assert [stated.width(name) for name in ("convolution", "head", "rectifier")] == [6, 4, 0]
    measured = interp.wrap(tiny.classifier(), example=tiny.images(1)).sites
    assert measured["rectifier"] == (6, 8, 8)
    assert [measured.width(name) for name in ("convolution", "head", "rectifier")] == [6, 4, 6]


def test_a_width_that_is_not_known_is_not_checked_and_a_known_one_is() -> None:
    bare, measured = (
        interp.wrap(tiny.classifier()),
        interp.wrap(tiny.classifier(), example=tiny.images(1)),
    )
    with torch.no_grad(), interp.intervene(bare, {"rectifier": Add(torch.ones(6))}):
        assert bare.run(tiny.images()).shape == (3, 4)
    with (
        pytest.raises(InputError, match="5 wide but the site 6"),
        interp.intervene(measured, {"rectifier": Add(torch.ones(5))}),
    ):
        pass


def test_sequences_keep_positions() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model, inputs = (
        interp.wrap(nn.Sequential(layer, nn.Linear(8, 3))),
        torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)),
    )
    acts = interp.record(model, inputs, ["1", "0"])
    assert acts["1"].values.shape == (10, 3)
    assert acts["1"].contexts.item.tolist() == [0] * 5 + [1] * 5
    assert acts["1"].contexts.position.tolist() == [*range(5)] * 2
    assert torch.allclose(acts["1"].values, model.module[1](acts["0"].values), atol=1e-5)


def test_a_sequence_of_tensors_is_a_batch() -> None:
    model = interp.wrap(tiny.classifier())
    with torch.no_grad():
        assert torch.equal(model.run(list(tiny.images())), model.run(tiny.images()))
    stopped = model.run(tiny.images(), stop_after="module:rectifier")
    assert stopped is None


@pytest.mark.parametrize(
    "inputs",
    [
        "text",
        ["text"],
        [],
        torch.zeros(0, 3, 8, 8),
        torch.zeros(3),
        [torch.zeros(3, 8, 8), torch.zeros(3, 4, 4)],
    ],
)
def test_wrong_inputs_get_one_line(inputs: Any) -> None:
    model = interp.wrap(tiny.classifier())
    for call in (model.run, lambda value: interp.record(model, value, "head")):
        with pytest.raises(InputError) as caught:
            call(inputs)
        assert "\n" not in str(caught.value)


def test_wrap_picks_the_kind_of_model() -> None:
    assert type(interp.wrap(tiny.language("gpt2"))).__name__ == "TransformerModel"
    assert type(interp.wrap(tiny.unet())).__name__ == "UNetModel"
    assert type(interp.wrap(tiny.conditional_unet())).__name__ == "UNetModel"
    assert type(interp.wrap(tiny.classifier())) is ModuleModel
    assert type(interp.wrap(tiny.language("gpt2").transformer)) is ModuleModel


@pytest.mark.parametrize("build", [tiny.classifier, lambda: tiny.language("llama")])
def test_the_hash_is_of_the_weights(build: Any) -> None:
    module, again = build(), build()
    assert module_hash(module) == module_hash(again) == interp.wrap(module).weight_hash
    parameter = next(again.parameters())
    with torch.no_grad():
        parameter.view(-1)[-1] = torch.nextafter(parameter.view(-1)[-1], torch.tensor(torch.inf))
    assert module_hash(module) != module_hash(again)
    assert module_hash(module.bfloat16()) != module_hash(build())


def test_names_are_escaped_in_notebooks() -> None:
    model = interp.wrap(nn.Sequential(), name="<script>")
    assert "<script>" not in model._repr_html_()
    named = interp.wrap(nn.ModuleDict({"<script>": nn.Linear(2, 2)}))
    assert "<script>" not in named.sites._repr_html_()
