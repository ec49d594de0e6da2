"""Predicted against measured: exact predictions correlate wholly, wrong ones do not, and the sample
is the one promised.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from linear_wiring import READOUT, LinearWiring, linear_examples, linear_inputs, readout
from scipy import stats

from interp.causal.checks.prediction_check import correlation, prediction_check
from interp.causal.graph.graph import CausalGraph
from interp.causal.methods.search import clean_and_replaced
from interp.core import InputError, Provenance

WIRING = LinearWiring((4, 4))
EXAMPLES = linear_examples(WIRING, 10, batch_size=4)


def true_graph(**changed: Any) -> CausalGraph:
    """The closed form, without a measurement."""
    effects = WIRING.true_effects(*linear_inputs(10), READOUT).numpy()
    clean, replaced = clean_and_replaced(EXAMPLES, readout)
    made = CausalGraph(
        nodes=WIRING.sources,
        ports=WIRING.ports,
        edges=WIRING.edges,
        per_example=effects,
        clean=clean,
        replaced=replaced,
        method="eap",
        value="resample",
        metric="m",
        provenance=Provenance("eap"),
    )
    return replace(made, **changed)


def test_a_right_prediction_is_confirmed_edge_by_edge() -> None:
    graph = true_graph()
    found = prediction_check(WIRING, EXAMPLES, readout, graph, top=8, random=6)
    assert [score.value for score in found.measured] == pytest.approx(found.predicted, abs=1e-5)
    assert found.spearman.value == pytest.approx(1)
    assert found.pearson.value == pytest.approx(1)
    assert found.spearman.low > 0.9
    assert found.spearman.control is not None
    assert found.spearman.control < 0.4
    assert found.numbers[:8].tolist() == graph.strongest(8).tolist()
    assert found.is_top.tolist() == [True] * 8 + [False] * 6
    assert len(set(found.numbers.tolist())) == 14
    edge, predicted, measured = found.table[0]
    assert edge == graph.edge(int(graph.strongest(1)[0]))
    assert predicted == pytest.approx(graph.effects[graph.strongest(1)[0]])
    assert measured.low < measured.value < measured.high
    assert measured.n == 10


def test_a_wrong_prediction_is_found_out() -> None:
    graph = true_graph()
    turned = replace(graph, per_example=-graph.per_example)
    assert prediction_check(
        WIRING, EXAMPLES, readout, turned, top=10, random=10
    ).pearson.value == pytest.approx(-1)
    shuffled = replace(
        graph,
        per_example=graph.per_example[:, np.random.default_rng(0).permutation(len(WIRING.edges))],
    )
    wrong = prediction_check(WIRING, EXAMPLES, readout, shuffled, top=14, random=20)
    assert wrong.spearman.low < 0 < wrong.spearman.high
    none = prediction_check(
        WIRING,
        EXAMPLES,
        readout,
        replace(graph, per_example=np.zeros_like(graph.per_example)),
        top=5,
        random=5,
    )
    assert np.isnan(none.spearman.value)
    assert none.spearman.to_dict()["value"] is None


def test_correlations_are_those_of_scipy() -> None:
    generator = np.random.default_rng(0)
    one = generator.standard_normal(300).round(1)
    other = one + generator.standard_normal(300)
    assert correlation(one, other, ranks=True, seed=0).value == pytest.approx(
        stats.spearmanr(one, other).statistic
    )
    pearson = correlation(one, other, ranks=False, seed=0)
    assert pearson.value == pytest.approx(stats.pearsonr(one, other).statistic)
    fisher = np.tanh(np.arctanh(pearson.value) + np.array([-1.96, 1.96]) / np.sqrt(297))
    assert (pearson.low, pearson.high) == pytest.approx(tuple(fisher), abs=0.03)


def test_the_sample_is_lowered_to_what_there_is_and_too_little_is_refused() -> None:
    graph = true_graph()
    total = len(WIRING.edges)
    assert (
        len(prediction_check(WIRING, EXAMPLES, readout, graph, top=total + 5, random=7).numbers)
        == total
    )
    few = prediction_check(WIRING, EXAMPLES, readout, graph, top=2, random=3)
    assert few.among_top is None
    assert few.among_random is not None
    with pytest.raises(InputError, match="at least 3 edges"):
        prediction_check(WIRING, EXAMPLES, readout, graph, top=1, random=1)
    with pytest.raises(InputError, match="value 'zero'"):
        prediction_check(WIRING, EXAMPLES, readout, replace(graph, value="zero"))
