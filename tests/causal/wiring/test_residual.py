"""Transformers as wiring, over every architecture: a run with edges replaced is what the network
itself would compute.
"""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from jaxtyping import Float, Int
from tiny import ARCHITECTURES, language, tokenizer
from torch import Tensor

from interp.causal.wiring.examples import Examples, Part
from interp.causal.wiring.replacement import Changes
from interp.causal.wiring.residual import ResidualWiring
from interp.causal.wiring.wiring import Edge, Moment, Wiring
from interp.core import InputError
from interp.models import ModuleModel, wrap

# The second example is longer than the first, so that padding and last positions differ.
INPUTS = [[3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14, 15, 16]]
OTHERS = [[3, 4, 15, 6, 17, 8], [9, 20, 11, 22, 13, 14, 15, 16]]
GROUPED = ("gemma2", "gemma3")


def metric(output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]) -> Float[Tensor, " case"]:
    return output[:, 5] - output[:, 7]


@dataclass(frozen=True)
class Shrunk(Changes):
    """Other changes, a little of each."""

    whole: Changes
    share: float
    name: str = "resample"

    def change(self, source: int, value: Tensor) -> Tensor:
        return self.share * self.whole.change(source, value)


def wired(name: str, value: str = "resample") -> tuple[ResidualWiring, Part]:
    wiring = ResidualWiring(wrap(language(name), tokenizer()))
    part = next(iter(Examples(wiring, INPUTS, OTHERS, value=value)))
    return wiring, part


@pytest.fixture(scope="module", params=ARCHITECTURES)
def case(request: pytest.FixtureRequest) -> tuple[ResidualWiring, Part]:
    return wired(request.param)


def test_with_nothing_replaced_it_is_the_network(case: tuple[ResidualWiring, Part]) -> None:
    wiring, part = case
    wiring.check(part.batch)
    nothing = wiring.output(part.batch, part.changes, torch.zeros_like(wiring.connected))
    torch.testing.assert_close(nothing, wiring.output(part.batch))


def test_with_everything_replaced_it_is_the_counterfactual(
    case: tuple[ResidualWiring, Part],
) -> None:
    wiring, part = case
    other = wiring.model.prepare(OTHERS).batches[0]
    replaced = wiring.output(part.batch, part.changes, wiring.connected)
    torch.testing.assert_close(replaced, wiring.output(other), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(replaced, wiring.output(part.batch), atol=1e-2)


def test_one_by_one_is_the_live_run_with_one_edge(case: tuple[ResidualWiring, Part]) -> None:
    wiring, part = case
    edges = wiring.edges[::5]
    found = wiring.one_by_one(part.batch, part.changes, edges, metric, part.rows)
    for edge, values in zip(edges, found, strict=True):
        torch.testing.assert_close(
            values,
            metric(wiring.output(part.batch, part.changes, wiring.mask(edge[None])), part.rows),
        )


def test_nodes_one_by_one_are_all_their_edges_replaced(case: tuple[ResidualWiring, Part]) -> None:
    wiring, part = case
    sources = range(0, len(wiring.sources), 2)
    found = wiring.nodes_one_by_one(part.batch, part.changes, sources, metric, part.rows)
    expected = Wiring.nodes_one_by_one(wiring, part.batch, part.changes, sources, metric, part.rows)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert float((found - metric(wiring.output(part.batch), part.rows)).abs().max()) > 0.05


def test_linear_effects_are_the_slope_of_patching(case: tuple[ResidualWiring, Part]) -> None:
    wiring, part = case
    edges, step = wiring.edges[::7], 1e-3
    linear = wiring.linear_effects(part.batch, part.changes, metric, part.rows)[
        :, edges[:, 0], edges[:, 1]
    ].T
    clean = metric(wiring.output(part.batch), part.rows)
    slope = (
        wiring.one_by_one(part.batch, Shrunk(part.changes, step), edges, metric, part.rows) - clean
    ) / step
    torch.testing.assert_close(linear, slope, rtol=0.02, atol=0.01)
    assert float(linear.abs().max()) > 0.05


def test_contributions_add_up_to_the_stream(case: tuple[ResidualWiring, Part]) -> None:
    """Their differences do: what is not a contribution (a bias) is the same in both runs."""
    wiring, part = case
    seen: list[Tensor] = []
    for inputs in (INPUTS, OTHERS):
        wiring.model.run(
            wiring.model.prepare(inputs).batches[0],
            {"L2.resid_post": lambda value, call: seen.append(value)},
        )
    total = wiring.changes_of(part.batch, part.changes).sum(dim=1)
    torch.testing.assert_close(total, seen[1] - seen[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["gpt2", "llama", "pythia", "bloom", "opt"])
def test_a_port_is_its_own_heads(name: str) -> None:
    """A query's edge moves one head's pattern and nobody else's; a value's edge leaves all patterns
    alone.
    """
    wiring, part = wired(name)
    heads = len(wiring.parts.attention[1].query.columns)  # type: ignore[union-attr]
    clean = wiring.observe(part.batch)
    for port in (
        f"L1.head{heads - 1}.q",
        next(p.name for p in wiring.ports if p.name.startswith("L1.") and p.name.endswith("0.v")),
    ):
        mask = wiring.mask(wiring.numbers([Edge("embed", port)]))
        seen: dict[int, Tensor] = {}
        run_hooks = _live_hooks(wiring, part, mask)
        with torch.no_grad(), wiring.hooked(part.batch, run_hooks):
            seen = dict(enumerate(wiring.observe(part.batch)))
        moved = {
            wiring.sources[s].name
            for s in range(len(clean))
            if float((seen[s] - clean[s]).abs().max()) > 1e-5
        }
        expected = set(next(p for p in wiring.ports if p.name == port).nodes)
        assert {name for name in moved if name.startswith("L1.head")} == expected
        assert not {name for name in moved if name.startswith(("L0", "embed"))}


def _live_hooks(wiring: ResidualWiring, part: Part, mask: Tensor) -> dict:
    from interp.causal.wiring.residual import _Live

    return _Live(wiring, part.changes, mask.float()).hooks()


def test_softmax_effects_are_exact_where_all_else_is_linear() -> None:
    """Into the queries and keys of the last layer of a network without later MLP and norm only the
    softmax is curved.
    """
    module = language("gpt2")
    with torch.no_grad():
        for block in module.transformer.h:
            block.mlp.c_proj.weight.zero_()
    module.transformer.ln_f = torch.nn.Identity()
    wiring = ResidualWiring(wrap(module, tokenizer()))
    part = next(iter(Examples(wiring, INPUTS, OTHERS)))
    names = [wiring.ports[port].name for _, port in wiring.edges]
    chosen = wiring.edges[
        [name.startswith("L2.head") and name.endswith((".q", ".k")) for name in names]
    ]
    exact = wiring.one_by_one(part.batch, part.changes, chosen, metric, part.rows) - metric(
        wiring.output(part.batch), part.rows
    )
    fixed = wiring.softmax_effects(part.batch, part.changes, metric, part.rows)[
        :, chosen[:, 0], chosen[:, 1]
    ].T
    linear = wiring.linear_effects(part.batch, part.changes, metric, part.rows)[
        :, chosen[:, 0], chosen[:, 1]
    ].T
    torch.testing.assert_close(fixed, exact, rtol=1e-3, atol=1e-5)
    assert float((linear - exact).abs().max()) > 20 * float((fixed - exact).abs().max())


def test_moved_inputs_give_the_gradient_there() -> None:
    wiring, part = wired("llama")
    whole = wiring.linear_effects(part.batch, part.changes, metric, part.rows, Moment((0,), 1.0))
    clean = wiring.linear_effects(part.batch, part.changes, metric, part.rows)
    again = wiring.linear_effects(part.batch, part.changes, metric, part.rows, Moment((0,), 0.0))
    torch.testing.assert_close(again, clean)
    assert not torch.allclose(whole, clean, atol=1e-2)
    # With the input moved all the way every port's gradient is the counterfactual run's, for the
    # same changes.
    other = wiring.model.prepare(OTHERS).batches[0]
    held = Held(wiring.changes_of(part.batch, part.changes))
    there = wiring.linear_effects(other, held, metric, part.rows)
    torch.testing.assert_close(whole, there, rtol=1e-3, atol=1e-5)


@dataclass(frozen=True)
class Held(Changes):
    """Changes as given, whatever the values are."""

    given: Tensor
    name: str = "resample"

    def change(self, source: int, value: Tensor) -> Tensor:
        return self.given[:, source]


def test_a_skipped_layer_lets_no_gradient_through() -> None:
    wiring, part = wired("gpt2")
    effects = wiring.linear_effects(
        part.batch, part.changes, metric, part.rows, Moment(skipped=frozenset({1}))
    )
    inside = torch.tensor([port.name.startswith("L1.") for port in wiring.ports])
    assert not effects[..., inside].any()
    assert bool(effects[..., ~inside].any())
    torch.testing.assert_close(
        effects[..., -1],
        wiring.linear_effects(part.batch, part.changes, metric, part.rows)[..., -1],
    )


def test_gemma_heads_are_one_source() -> None:
    wiring, _ = wired("gemma3")
    assert [node.name for node in wiring.sources[:3]] == ["embed", "L0.attn", "L0.mlp"]
    assert "L0.head0.q" in [port.name for port in wiring.ports]


def test_parallel_mlps_do_not_see_their_attention() -> None:
    wiring, _ = wired("pythia")
    with pytest.raises(InputError, match=r"no edge L1\.head0 → L1\.mlp\.in"):
        wiring.numbers([Edge("L1.head0", "L1.mlp.in")])
    assert len(wired("gpt2")[0].numbers([Edge("L1.head0", "L1.mlp.in")])) == 1


def test_wrong_input_is_named() -> None:
    wiring, _ = wired("llama")
    with pytest.raises(InputError, match=r"differ in their number of tokens, 6 and 5"):
        Examples(wiring, INPUTS[:1], [[3, 4, 15, 6, 17]])
    with pytest.raises(InputError, match="2 inputs but 1 counterfactuals"):
        Examples(wiring, INPUTS, OTHERS[:1])
    with pytest.raises(InputError, match="takes a part's output on a counterfactual"):
        Examples(wiring, INPUTS)
    with pytest.raises(InputError, match=r"L0\.hed1"):
        wiring.numbers([Edge("L0.hed1", "logits")])
    with pytest.raises(InputError, match="give its parts"):
        ResidualWiring(ModuleModel(torch.nn.Linear(2, 2)))


def test_a_network_that_does_more_to_its_logits_is_refused() -> None:
    wiring, part = wired("llama")
    wiring.check(part.batch)

    def doubled(module: torch.nn.Module, args: object, output: Any) -> Any:
        output.logits = 2 * output.logits
        return output

    wiring.model.module.register_forward_hook(doubled)
    with pytest.raises(InputError, match="more to its logits"):
        wiring.check(part.batch)
