"""Paths and nodes of a tiny transformer against plain recomputation of the parts on them."""

import pytest
import torch
from tiny import language, tokenizer
from torch import Tensor

from interp.causal.methods.nodes import node_effects
from interp.causal.methods.whole_path import whole_path_effect
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.residual import ResidualWiring
from interp.causal.wiring.wiring import Edge
from interp.core import InputError
from interp.models import wrap

INPUTS = [[3, 4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14]]
OTHERS = [[3, 4, 15, 6, 17, 8], [9, 20, 11, 22, 13, 14]]


def metric(output: Tensor, rows: Tensor) -> Tensor:
    return output[:, 5] - output[:, 7]


@pytest.fixture(scope="module")
def examples() -> Examples:
    return Examples(ResidualWiring(wrap(language("gpt2"), tokenizer())), INPUTS, OTHERS)


def streams(examples: Examples, sites: list[str]) -> dict[str, Tensor]:
    seen: dict[str, Tensor] = {}

    def keep(site: str):
        return lambda value, call: seen.__setitem__(site, value)

    model = examples.wiring.model
    model.run(model.prepare(INPUTS).batches[0], {site: keep(site) for site in sites})
    return seen


def test_a_path_of_one_edge_is_the_edge(examples: Examples) -> None:
    wiring, part = examples.wiring, next(iter(examples))
    edge = Edge("L1.head2", "logits")
    single = wiring.one_by_one(part.batch, part.changes, wiring.numbers([edge]), metric, part.rows)[
        0
    ]
    expected = float((single - metric(wiring.output(part.batch), part.rows)).mean())
    found = whole_path_effect(examples, metric, [edge])
    assert found.value == pytest.approx(expected, abs=1e-5)
    assert found.n == 2
    assert found.control is not None
    assert found.control != pytest.approx(found.value, abs=1e-3)


def test_a_path_through_an_mlp_is_recomputed_by_hand(examples: Examples) -> None:
    wiring, part = examples.wiring, next(iter(examples))
    model = wiring.model
    block, ends = model.module.transformer.h[0], model.module
    with torch.no_grad():
        seen = streams(examples, ["L0.resid_mid", "L2.resid_post"])
        change = part.changes.change(1, wiring.observe(part.batch)[1])
        moved = block.mlp(block.ln_2(seen["L0.resid_mid"] + change)) - block.mlp(
            block.ln_2(seen["L0.resid_mid"])
        )
        logits = [
            ends.lm_head(ends.transformer.ln_f(seen["L2.resid_post"] + extra))[:, -1]
            for extra in (moved, 0)
        ]
    expected = float((metric(logits[0], part.rows) - metric(logits[1], part.rows)).mean())
    found = whole_path_effect(
        examples, metric, [Edge("L0.head0", "L0.mlp.in"), Edge("L0.mlp", "logits")]
    )
    assert found.value == pytest.approx(expected, abs=1e-5)
    assert abs(expected) > 1e-3
    free = wiring.one_by_one(
        part.batch, part.changes, wiring.numbers([Edge("L0.head0", "L0.mlp.in")]), metric, part.rows
    )[0]
    assert found.value != pytest.approx(
        float((free - metric(wiring.output(part.batch), part.rows)).mean()), abs=1e-3
    )


def test_a_node_is_patched_for_all_its_readers(examples: Examples) -> None:
    model, part = examples.wiring.model, next(iter(examples))
    effects = node_effects(examples, metric)
    seen: list[Tensor] = []
    model.run(
        model.prepare(OTHERS).batches[0], {"L1.mlp_out": lambda value, call: seen.append(value)}
    )
    with torch.no_grad():
        patched = model.run(part.batch, {"L1.mlp_out": lambda value, call: seen[0]})[:, -1]
        clean = model.run(part.batch)[:, -1]
    number = [node.name for node in examples.wiring.sources].index("L1.mlp")
    expected = (metric(patched, part.rows) - metric(clean, part.rows)).numpy()
    assert effects[:, number] == pytest.approx(expected, abs=1e-5)
    assert abs(expected).max() > 1e-2


def test_paths_that_lead_nowhere_are_named(examples: Examples) -> None:
    with pytest.raises(InputError, match=r"does not follow .*L1\.head0"):
        whole_path_effect(
            examples, metric, [Edge("embed", "L1.head0.q"), Edge("L1.head1", "logits")]
        )
    with pytest.raises(InputError, match="add edges that lead to logits"):
        whole_path_effect(examples, metric, [Edge("embed", "L1.head0.q")])
    with pytest.raises(InputError, match="has no edges"):
        whole_path_effect(examples, metric, [])
