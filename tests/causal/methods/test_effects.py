"""path_effects(): every method by its name, on one network whose answer is known: a linear one; and
what it refuses.
"""

from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny import language, tokenizer
from torch import Tensor

from interp.causal import CausalGraph, Edge, Examples, Method, ResidualWiring, path_effects
from interp.causal.methods.nodes import node_effects
from interp.core import InputError
from interp.models import wrap

INPUTS = [[3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14], [15, 16, 17, 18, 19, 20]]
OTHERS = [[3, 4, 15, 6, 17, 8], [9, 20, 11, 22, 13, 14], [15, 16, 7, 18, 19, 20]]
ESTIMATES = ("eap", "eap-ig-inputs", "eap-ig-activations", "eap-qk")


def metric(output: Tensor, rows: Tensor) -> Tensor:
    return output[:, 5] - output[:, 7]


def linear_network() -> Any:
    """GPT-2 with nothing curved left: no norms, no attention, MLPs without their nonlinearity."""
    module = language("gpt2")
    module.transformer.ln_f = torch.nn.Identity()
    for block in module.transformer.h:
        block.ln_1, block.ln_2, block.mlp.act = (torch.nn.Identity() for _ in range(3))
        with torch.no_grad():
            block.attn.c_proj.weight.zero_()
            block.attn.c_proj.bias.zero_()
    return module


@pytest.fixture(scope="module")
def wiring() -> ResidualWiring:
    return ResidualWiring(wrap(language("gpt2"), tokenizer()))


def found(wiring: ResidualWiring, method: Method, **options: Any) -> CausalGraph:
    return path_effects(wiring, INPUTS, OTHERS, metric=metric, method=method, **options)


@pytest.mark.parametrize("value", ["resample", "zero", "mean"])
def test_on_a_linear_network_every_method_is_the_product_of_weights(value: str) -> None:
    module = linear_network()
    wiring = ResidualWiring(wrap(module, tokenizer()))
    # Without attention only the last position speaks.
    others = [[*tokens[:-1], last] for tokens, last in zip(INPUTS, (9, 4, 5), strict=True)]

    def found(wiring: ResidualWiring, method: Method, value: str) -> CausalGraph:
        return path_effects(wiring, INPUTS, others, metric=metric, method=method, value=value)

    exact = found(wiring, "exact", value=value)
    readout = (module.lm_head.weight[5] - module.lm_head.weight[7]).detach()
    maps = [
        (block.mlp.c_fc.weight @ block.mlp.c_proj.weight).detach() for block in module.transformer.h
    ]
    onward = [torch.eye(16) + matrix for matrix in maps]
    expected = {
        Edge("embed", "L1.mlp.in"): maps[1] @ onward[2] @ readout,
        Edge("L0.mlp", "L2.mlp.in"): maps[2] @ readout,
        Edge("L1.mlp", "logits"): readout,
    }
    part = next(iter(Examples(wiring, INPUTS, others, value=value)))
    changes = wiring.changes_of(part.batch, part.changes)[:, :, -1]
    names = [exact.edge(number) for number in range(len(exact.edges))]
    for edge, product in expected.items():
        source = [node.name for node in wiring.sources].index(edge.source)
        truth = torch.zeros(3)
        truth[part.rows] = changes[:, source] @ product
        assert exact.per_example[:, names.index(edge)] == pytest.approx(truth.numpy(), abs=1e-5)
    for method in ESTIMATES:
        np.testing.assert_allclose(
            found(wiring, method, value=value).per_example, exact.per_example, atol=1e-5
        )
    assert np.abs(exact.effects).max() > 0.1


@pytest.mark.parametrize(
    ("method", "node"),
    [("eap-ig-inputs", "embed"), ("eap-ig-activations", "embed"), ("eap-ig-activations", "L0.mlp")],
)
def test_integrated_gradients_add_up_to_the_nodes_effect(
    wiring: ResidualWiring, method: Method, node: str
) -> None:
    """Completeness (Sundararajan et al. 2017): what a moved source does through all its edges is
    what replacing it does.
    """
    number = [source.name for source in wiring.sources].index(node)
    measured = node_effects(Examples(wiring, INPUTS, OTHERS), metric)[:, number]
    own = wiring.edges[:, 0] == number
    summed = found(wiring, method, steps=20).per_example[:, own].sum(axis=1)
    np.testing.assert_allclose(summed, measured, atol=0.06 * np.abs(measured).max())
    plain = found(wiring, "eap").per_example[:, own].sum(axis=1)
    assert np.abs(plain - measured).max() > 2 * np.abs(summed - measured).max()


def test_graddrop_has_the_sign_of_eap_and_finds_what_cancels(wiring: ResidualWiring) -> None:
    plain, dropped = found(wiring, "eap").per_example, found(wiring, "eap-graddrop").per_example
    assert bool((np.sign(dropped) == np.sign(plain))[np.abs(plain) > 1e-7].all())
    into_logits = wiring.edges[:, 1] == len(wiring.ports) - 1
    # Nothing lies between a source and the logits, so that dropping any layer changes nothing: L /
    # (L − 1) of EAP.
    np.testing.assert_allclose(
        dropped[:, into_logits], 1.5 * plain[:, into_logits], rtol=1e-4, atol=1e-7
    )


def test_a_graph_says_how_it_was_made(wiring: ResidualWiring) -> None:
    graph = found(wiring, "eap")
    assert graph.value == "resample"
    assert graph.provenance.method == "eap"
    assert graph.provenance.weight_hash == wiring.model.weight_hash
    assert graph.provenance.cost["edges"] == len(wiring.edges)
    assert graph.per_example.shape == (3, len(wiring.edges))
    strongest = graph.strongest(2)
    assert abs(graph.effects[strongest[0]]) == np.abs(graph.effects).max()
    alone = found(wiring, "exact", edges=[graph.edge(int(strongest[0]))])
    assert alone.per_example.shape == (3, 1)
    assert [str(alone.edge(0))] == [str(graph.edge(int(strongest[0])))]


def test_the_order_of_examples_is_theirs(wiring: ResidualWiring) -> None:
    whole = found(wiring, "eap")
    single = path_effects(wiring, INPUTS[2:], OTHERS[2:], metric=metric, method="eap")
    np.testing.assert_allclose(whole.per_example[2], single.per_example[0], atol=1e-5)
    small = found(wiring, "eap", batch_size=1)
    np.testing.assert_allclose(whole.per_example, small.per_example, atol=1e-5)


def test_add_and_project_out_change_named_sources_only(wiring: ResidualWiring) -> None:
    direction = torch.randn(16, generator=torch.Generator().manual_seed(1))
    for value in ("add", "project out"):
        graph = found(wiring, "exact", value=value, directions={"L0.mlp": direction})
        own = np.array(
            [graph.edge(number).source == "L0.mlp" for number in range(len(graph.edges))]
        )
        assert np.abs(graph.effects[own]).max() > 1e-3
        assert np.abs(graph.effects[~own]).max() < 1e-5


def test_what_cannot_be_answered_is_refused(wiring: ResidualWiring) -> None:
    with pytest.raises(InputError, match="for method 'exact' only"):
        found(wiring, "eap", edges=[Edge("embed", "logits")])
    with pytest.raises(InputError, match="0 steps"):
        found(wiring, "eap-ig-inputs", steps=0)
    with pytest.raises(InputError, match="needs directions"):
        found(wiring, "eap", value="add")
    with pytest.raises(InputError, match="choose a metric"):
        path_effects(
            wiring, INPUTS, OTHERS, metric=lambda output, rows: 0 * output[:, 0], method="eap"
        )
    with pytest.raises(InputError, match="choose a metric"):
        path_effects(wiring, INPUTS, INPUTS, metric=metric, method="eap")


def test_every_method_has_a_home() -> None:
    from interp.causal.methods.effects import _METHODS

    assert set(_METHODS) == set(get_args(Method))
