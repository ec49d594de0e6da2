"""Stability: the same graph overlaps wholly, noise as much as chance, and one that depends on the
examples in between.
"""

from dataclasses import replace

import numpy as np
import pytest
from linear_wiring import LinearWiring, linear_examples

from interp.causal.checks.stability import jaccard, overlap, stability
from interp.causal.graph.graph import CausalGraph
from interp.causal.wiring.examples import Examples
from interp.core import InputError, Provenance

WIRING = LinearWiring((4, 4, 3))


def graph(effects: np.ndarray) -> CausalGraph:
    table, none = effects[None].astype(np.float32), np.zeros(1)
    return CausalGraph(
        nodes=WIRING.sources,
        ports=WIRING.ports,
        edges=WIRING.edges,
        per_example=table,
        clean=none,
        replaced=none + 1,
        method="eap",
        value="resample",
        metric="m",
        provenance=Provenance("eap"),
    )


def random_graph(seed: int) -> CausalGraph:
    return graph(np.random.default_rng(seed).standard_normal(len(WIRING.edges)))


def test_jaccard_by_hand() -> None:
    one, other = np.array([True, True, False, False]), np.array([False, True, True, False])
    assert jaccard(one, other) == pytest.approx(1 / 3)
    assert jaccard(one, one) == jaccard(one & ~one, one & ~one) == 1


def test_a_graph_that_ignores_the_examples_is_stable_and_chance_is_not() -> None:
    fixed = random_graph(0)
    found = stability(lambda part: fixed, linear_examples(WIRING), count=10)
    assert (found.halves.value, found.halves.low, found.halves.high, found.halves.n) == (1, 1, 1, 5)
    assert found.halves.control is not None
    assert found.halves.control < 0.4
    assert found.edges == 10
    assert found.seeds is None


def test_noise_overlaps_as_much_as_random_graphs() -> None:
    seeds = iter(range(1000))
    found = stability(
        lambda part: random_graph(next(seeds)), linear_examples(WIRING), count=10, splits=150
    )
    assert found.halves.value == pytest.approx(found.halves.control, abs=0.03)
    others = [random_graph(seed) for seed in range(2000, 2018)]
    found = stability(
        lambda part: others[0], linear_examples(WIRING), count=10, splits=1, others=others
    )
    assert found.seeds is not None
    assert found.seeds.n == 18 * 17 // 2
    assert found.seeds.value == pytest.approx(found.seeds.control, abs=0.03)


def test_halves_are_disjoint_and_hold_all_examples() -> None:
    seen: list[frozenset[str]] = []

    def find(part: Examples) -> CausalGraph:
        seen.append(frozenset(part.items))
        return random_graph(0)

    stability(find, linear_examples(WIRING, 9), splits=4)
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert not first & second
        assert len(first) + len(second) == len(first | second) == 9
    assert len(set(seen)) > 4


def test_the_methods_own_graph_is_taken_where_there_is_one() -> None:
    kept = np.arange(len(WIRING.edges)) < 7
    one = replace(random_graph(0), kept=kept)
    other = replace(random_graph(1), kept=kept)
    assert overlap([(one, other)]).value == 1
    assert overlap([(one, other)], count=7).value < 1


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(InputError, match="1 examples"):
        stability(lambda part: random_graph(0), linear_examples(WIRING, 1))
    with pytest.raises(InputError, match="1 other graphs"):
        stability(lambda part: random_graph(0), linear_examples(WIRING), others=[random_graph(0)])
    other = replace(random_graph(0), edges=WIRING.edges[:, ::-1].copy())
    with pytest.raises(InputError, match="all of one network"):
        overlap([(random_graph(0), other)])
