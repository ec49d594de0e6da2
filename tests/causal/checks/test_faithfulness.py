"""Faithfulness: areas by hand, curves in closed form, random graphs like the graph, and what is
refused.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from linear_wiring import LinearWiring, linear_examples, linear_inputs, planted, readout

from interp.causal.checks.faithfulness import FRACTIONS, faithfulness, top
from interp.causal.checks.normalised import Normalised, areas
from interp.causal.checks.sufficiency import sufficiency
from interp.causal.graph.graph import CausalGraph
from interp.causal.graph.random_graphs import port_layers, random_like
from interp.causal.graph.selection import chosen, on_paths
from interp.causal.methods.exact import exact
from interp.causal.methods.search import clean_and_replaced
from interp.causal.wiring.examples import Examples
from interp.core import InputError, Provenance


def graph_of(examples: Examples, metric: Any = readout, **changed: Any) -> CausalGraph:
    """Every edge measured exactly."""
    wiring = examples.wiring
    clean, replaced = clean_and_replaced(examples, metric)
    table = exact(examples, metric, clean)
    made = CausalGraph(
        nodes=wiring.sources,
        ports=wiring.ports,
        edges=wiring.edges,
        per_example=table,
        clean=clean,
        replaced=replaced,
        method="exact",
        value=examples.value,
        metric="readout",
        provenance=Provenance("exact"),
    )
    return replace(made, **changed)


def with_effects(graph: CausalGraph, effects: Any) -> CausalGraph:
    """The same graph with effects as given."""
    return replace(
        graph,
        per_example=np.tile(np.asarray(effects, dtype=np.float32), (len(graph.per_example), 1)),
    )


def test_areas_are_those_computed_by_hand() -> None:
    # Trapezoids: ½·½·(0 + 1) + ½·½·(1 + 1.5) = .875; distances from 1 are 1, 0, ½: ½·½·1 + ½·½·½ =
    # .375.
    under, apart = areas(np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.5]))
    assert under == pytest.approx(0.875)
    assert apart == pytest.approx(0.375)
    # A graph that does everything at once: f = 1 from .001 to 1.
    under, apart = areas(np.array(FRACTIONS), np.ones((2, 10)))
    assert under == pytest.approx([0.999, 0.999])
    assert apart == pytest.approx([0, 0])
    # f equal to the share of edges: ½ (1² − .001²), and the rest.
    under, apart = areas(np.array(FRACTIONS), np.array(FRACTIONS))
    assert under == pytest.approx(0.4999995)
    assert apart == pytest.approx(0.999 - 0.4999995)


def test_normalised_is_a_ratio_of_means_with_the_interval_of_its_resamples() -> None:
    clean, replaced = np.array([4.0, 2.0]), np.array([0.0, 0.0])
    own, random = np.array([[2.0, 2.0]]), np.array([[[1.0, 0.5]], [[0.0, 0.0]]])
    found = Normalised(clean=clean, replaced=replaced, own=own, random=random, seed=0)
    (score,), (chance,) = found.curve(), found.random_curve()
    assert score.value == pytest.approx(4 / 6)  # the mean of ratios would be .75
    assert score.control == pytest.approx(0.125)
    assert (score.low, score.high) == pytest.approx(
        (0.5, 1.0)
    )  # the first example alone, the second alone
    assert chance.value == pytest.approx(0.125)
    assert chance.low == pytest.approx(0.0)


@pytest.mark.parametrize("value", ["resample", "mean", "zero"])
def test_the_curve_is_the_closed_form_of_every_subnetwork(value: Any) -> None:
    wiring = LinearWiring((2, 2), seed=3)
    inputs, others = linear_inputs()
    examples = Examples(
        wiring, inputs, others if value != "zero" else None, value=value, batch_size=3
    )
    graph = graph_of(examples)
    judged = faithfulness(
        wiring, examples, readout, graph, random=2, prune=False, fractions=(0.0, 0.2, 0.4, 0.7, 1.0)
    )
    reference = {
        "resample": others,
        "mean": others.mean(0, keepdim=True),
        "zero": torch.zeros(1, 3),
    }[value].expand_as(inputs)
    for share, score in zip(judged.fractions, judged.curve, strict=True):
        kept = top(graph, int(len(graph.edges) * share + 1e-9))
        # A kept edge carries the value in the run, any other what the source holds in the
        # reference: superposition, by weights alone.
        values = [inputs]
        fixed = [reference @ reach.T for reach in wiring.reaches]
        for port in range(len(wiring.ports)):
            total = torch.zeros_like(inputs)
            for number in np.flatnonzero(wiring.edges[:, 1] == port):
                source = wiring.edges[number, 0]
                total = (
                    total
                    + (values[source] if kept[number] else fixed[source])
                    @ wiring.matrices[source, port].T
                )
            values.append(total)
        expected = (readout(values[-1], torch.arange(8)).numpy().mean() - graph.replaced.mean()) / (
            graph.clean - graph.replaced
        ).mean()
        assert score.value == pytest.approx(float(expected), abs=1e-4)
    assert judged.curve[0].value == pytest.approx(0, abs=1e-6)
    assert judged.curve[-1].value == pytest.approx(1, abs=1e-6)
    assert judged.edges.tolist() == [0, 2, 5, 9, 13]


def test_the_true_edges_alone_do_everything_and_random_ones_do_not() -> None:
    wiring = planted(0.2, (4, 4), seed=2)
    examples = linear_examples(wiring, 12)
    truth = wiring.true_edges()
    share = truth.sum() / len(truth)
    graph = graph_of(examples)
    judged = faithfulness(wiring, examples, readout, graph, fractions=(0.0, share, 0.9, 1.0))
    assert judged.edges.tolist()[:2] == [0, truth.sum()]
    assert [score.value for score in judged.curve] == pytest.approx([0, 1, 1, 1], abs=1e-5)
    assert judged.cmd.value == pytest.approx(share / 2, abs=1e-5)
    assert judged.cmd.high < judged.random_cmd.low
    assert judged.cmd.control == judged.random_cmd.value
    assert judged.curve[1].control == pytest.approx(judged.random_curve[1].value)
    assert judged.random_curve[1].value < 0.6
    again = faithfulness(wiring, examples, readout, graph, fractions=(0.0, share, 0.9, 1.0))
    assert again.random_curve == judged.random_curve
    assert (
        faithfulness(
            wiring, examples, readout, graph, seed=1, fractions=(0.0, share, 0.9, 1.0)
        ).random_curve
        != judged.random_curve
    )


def test_an_edge_that_works_against_the_behaviour_comes_last_without_absolute() -> None:
    examples = linear_examples(LinearWiring((2,), seed=5), 12)
    graph = graph_of(examples)
    towards = graph.effects * np.sign(graph.replaced.mean() - graph.clean.mean())
    assert towards.min() < 0 < towards.max()
    assert not top(graph, len(graph.edges) - 1, absolute=False)[towards.argmin()]
    signed, absolute = (
        faithfulness(
            examples.wiring,
            examples,
            readout,
            graph,
            absolute=choice,
            fractions=(0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        ).cpr.value
        for choice in (False, True)
    )
    assert signed > absolute


def test_edges_on_no_path_are_taken_out() -> None:
    wiring = LinearWiring((2, 1), seed=0)
    graph = graph_of(linear_examples(wiring))
    names = [str(graph.edge(number)) for number in range(len(graph.edges))]

    def kept(*wanted: str) -> list[str]:
        mask = on_paths(graph, np.array([name in wanted for name in names]))
        return [name for name, own in zip(names, mask, strict=True) if own]

    way = ("input → n1.0.in", "n1.0 → n2.0.in", "n2.0 → out")
    assert kept(*way) == list(way)
    assert kept(*way, "n1.1 → out", "input → n1.1.in") == sorted(
        [*way, "n1.1 → out", "input → n1.1.in"], key=names.index
    )
    assert kept(*way, "n1.1 → out") == list(way)  # nothing feeds n1.1
    assert kept(*way, "input → n1.1.in") == list(way)  # nothing reads it
    assert kept(*way[:2]) == []
    assert kept(*way[1:]) == []
    # Brute force: an edge is on a path if some way through the kept edges holds it.
    generator = np.random.default_rng(0)
    for _ in range(20):
        mask = generator.random(len(names)) < 0.5
        assert (on_paths(graph, mask) == by_ways(graph, mask)).all()


def by_ways(graph: CausalGraph, mask: np.ndarray) -> np.ndarray:
    found = np.zeros(len(mask), dtype=bool)

    def walk(source: int, way: tuple[int, ...]) -> None:
        for number in np.flatnonzero(mask & (graph.edges[:, 0] == source)):
            port = graph.edges[number, 1]
            if port == len(graph.ports) - 1:
                found[[*way, number]] = True
            else:
                walk(port + 1, (*way, int(number)))

    walk(0, ())
    return found


def test_random_graphs_have_as_many_edges_per_layer_and_grow_with_the_graph() -> None:
    graph = graph_of(linear_examples(LinearWiring((4, 4, 3))))
    layers = port_layers(graph)
    small, large = chosen(graph, 8), chosen(graph, 30)
    for seed in range(5):
        one, other = random_like(graph, small, seed=seed), random_like(graph, large, seed=seed)
        assert np.bincount(layers[one]).tolist() == np.bincount(layers[small]).tolist()
        assert np.bincount(layers[other]).tolist() == np.bincount(layers[large]).tolist()
        assert (one <= other).all()
    often = np.mean([random_like(graph, small, seed=seed) for seed in range(3000)], axis=0)
    expected = (np.bincount(layers[small], minlength=5) / np.bincount(layers, minlength=5).clip(1))[
        layers
    ]
    assert often == pytest.approx(expected, abs=0.04)


def test_only_the_graph_is_enough_and_without_it_nothing_is_left() -> None:
    wiring = planted(0.2, (4, 4), seed=2)
    examples = linear_examples(wiring, 12)
    truth = wiring.true_edges()
    graph = graph_of(examples, kept=truth)
    clean, replaced = graph.clean, graph.replaced
    signs = torch.from_numpy(np.sign(clean))
    found = sufficiency(
        wiring,
        examples,
        readout,
        graph,
        correct=lambda output, rows: readout(output, rows).sign() == signs[rows],
        fractions=(0.0, 0.9, 1.0),
    )
    assert found.edges == truth.sum()
    assert found.whole.metric.value == pytest.approx(clean.mean(), abs=1e-5)
    assert found.only.metric.value == pytest.approx(clean.mean(), abs=1e-5)
    assert found.without.metric.value == pytest.approx(replaced.mean(), abs=1e-5)
    assert found.nothing.metric.value == pytest.approx(replaced.mean(), abs=1e-5)
    assert found.whole.accuracy is not None
    assert found.only.accuracy is not None
    assert found.without.accuracy is not None
    assert found.whole.accuracy.value == found.only.accuracy.value == 1
    assert found.without.accuracy.value == pytest.approx(
        (np.sign(clean) == np.sign(replaced)).mean()
    )
    assert [score.value for score in found.insertion] == pytest.approx([0, 1, 1], abs=1e-5)
    assert [score.value for score in found.deletion] == pytest.approx([1, 0, 0], abs=1e-5)
    # A random graph of its size keeps less, and leaves more when it is taken away.
    assert abs(found.only.metric.control - clean.mean()) > 0.1 * abs(clean.mean() - replaced.mean())


def test_what_cannot_be_judged_is_refused() -> None:
    wiring = LinearWiring((2, 2))
    examples = linear_examples(wiring)
    graph = graph_of(examples)
    with pytest.raises(
        InputError, match="the metric is constant: 3 with nothing and 3 with everything"
    ):
        faithfulness(wiring, examples, lambda output, rows: torch.full((len(rows),), 3.0), graph)
    with pytest.raises(InputError, match="value 'zero', the examples of 'resample'"):
        faithfulness(wiring, examples, readout, replace(graph, value="zero"))
    with pytest.raises(InputError, match="at least one random"):
        faithfulness(wiring, examples, readout, graph, random=0)
    with pytest.raises(InputError, match="rising shares"):
        faithfulness(wiring, examples, readout, graph, fractions=(0.5, 0.1))
    with pytest.raises(InputError, match="give the network it is of"):
        faithfulness(LinearWiring((2, 1)), examples, readout, graph)
    with pytest.raises(
        InputError, match="no path leads from input to out through the graph's 1 edges"
    ):
        sufficiency(wiring, examples, readout, with_effects(graph, np.eye(13)[0]), count=1)
    with pytest.raises(InputError, match="kept none of 13 edges"):
        sufficiency(wiring, examples, readout, replace(graph, kept=np.zeros(13, dtype=bool)))
    with pytest.raises(InputError, match="14 edges were asked for"):
        sufficiency(wiring, examples, readout, graph, count=14)
