"""Exact patching against patching from scratch on networks written by hand; linear networks, dead
heads and duplicates in closed form.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from circuits import Circuit, linear_network, rotated
from edge_by_edge import (
    VALUES,
    directions_of,
    measured,
    on_induction,
    replacement_of,
    sources_of,
    truth,
)
from written_networks import (
    SHARP,
    SOFT,
    Contrast,
    fraction,
    fractions,
    induction,
    repeats,
    reversals,
    reverse,
)

from interp.causal import Method

NETWORKS: dict[str, tuple[Callable[[], Circuit], Callable[[], Contrast]]] = {
    "induction, soft": (lambda: induction(SOFT), repeats),
    "induction, sharp": (lambda: induction(SHARP), repeats),
    "induction, rotated": (lambda: rotated(induction(SHARP)), repeats),
    "reverse": (reverse, reversals),
    "fraction": (fraction, fractions),
    "fraction, rotated": (lambda: rotated(fraction()), fractions),
}
UNSIGNED: tuple[Method, ...] = (
    "exact",
    "eap",
    "eap-qk",
    "eap-ig-inputs",
    "eap-ig-activations",
    "acdc",
)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", NETWORKS)
def test_exact_patching_is_patching_from_scratch(name: str, value: str) -> None:
    module, data = (make() for make in NETWORKS[name])
    known = truth(module, data, value)
    # The steepest neurons of `reverse` multiply rounding by 200.
    np.testing.assert_allclose(
        measured(module, data, "exact", value).per_example, known.per_example, atol=5e-5
    )
    assert np.abs(known.effects).max() > 1e-2
    assert 0 < known.edges.sum() < len(known.edges)


def test_values_have_different_true_graphs() -> None:
    """An edge that carries only positions is invisible to a counterfactual of the same length, and
    plain to see without it.
    """
    module, data = induction(SHARP), repeats()
    resampled, zeroed = truth(module, data, "resample"), truth(module, data, "zero")
    assert set(np.flatnonzero(resampled.edges)) < set(np.flatnonzero(zeroed.edges))
    positions = resampled.names.index(("embed", "L0.head0.q"))
    assert resampled.per_example[:, positions].any() == np.False_
    assert zeroed.edges[positions]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("method", UNSIGNED)
def test_in_a_linear_network_every_effect_is_a_product_of_weights(
    method: Method, value: str
) -> None:
    module = linear_network()
    generator = torch.Generator().manual_seed(2)
    inputs, others = (torch.randint(7, (6, 3), generator=generator) for _ in range(2))
    data = Contrast(inputs, others, torch.arange(6), torch.arange(1, 7))
    replaced = replacement_of(value, module, others, directions_of(module))
    change = {
        name: (replaced(name, own) - own)[:, -1] for name, own in sources_of(module, inputs).items()
    }
    readout = (
        module.unembed.weight.double()[data.right] - module.unembed.weight.double()[data.wrong]
    )
    maps = [
        block.mlp.out.weight.double() @ block.mlp.into.weight.double() for block in module.blocks
    ]
    onward = {"logits": readout}
    for layer in (2, 1, 0):
        onward[f"L{layer}.mlp.in"] = readout @ maps[layer]
        readout = readout + readout @ maps[layer]
    graph = measured(module, data, method, value, threshold=1e-9)
    for number, found in enumerate(graph.per_example.T):
        edge = graph.edge(number)
        expected = (change[edge.source] * onward[edge.port]).sum(-1)
        np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)
    assert np.abs(graph.per_example).max() > 0.1


@pytest.mark.parametrize("value", ["zero", "resample"])
@pytest.mark.parametrize("method", [*UNSIGNED, "eap-graddrop"])
def test_dead_heads_get_exactly_nothing(method: Method, value: str) -> None:
    graph = on_induction(SHARP, False, method, value)
    edges = [graph.edge(number) for number in range(len(graph.edges))]
    dead = np.array([edge.source.endswith(".head1") or ".head1." in edge.port for edge in edges])
    assert dead.sum() > 10
    assert not graph.per_example[:, dead].any()
    # Heads that write where nobody reads are as good as dead.
    unread = np.array([edge.source.endswith(".head2") or ".head2." in edge.port for edge in edges])
    assert not graph.per_example[:, unread].any()
    assert graph.per_example[:, ~dead & ~unread].any()


@pytest.mark.parametrize(("sharpness", "value"), [(SHARP, "zero"), (SOFT, "resample")])
@pytest.mark.parametrize("method", UNSIGNED)
def test_duplicates_share_the_credit(method: Method, sharpness: float, value: str) -> None:
    """Each of two heads that do half of what one did has half of its effect, by every edge into and
    out of it.
    """
    single, double = (
        on_induction(sharpness, False, method, value, copies=copies) for copies in (1, 2)
    )
    one, two = (
        {
            str(graph.edge(number)): graph.per_example[:, number]
            for number in range(len(graph.edges))
        }
        for graph in (single, double)
    )
    own = [name for name in one if "L1.head0" in name]
    assert len(own) > 10
    for name in own:
        np.testing.assert_allclose(two[name], two[name.replace("L1.head0", "L1.head3")], atol=1e-6)
        np.testing.assert_allclose(two[name], one[name] / 2, atol=1e-6)
    assert max(np.abs(one[name]).max() for name in own) > 0.1
