"""ACDC on networks whose true graph is planted: it keeps the true edges and only them."""

from typing import Any

import numpy as np
import pytest
import torch
from linear_wiring import LinearWiring, linear_examples, linear_inputs, planted, readout
from torch import Tensor

from interp.causal import Examples
from interp.causal.methods.acdc import acdc, auroc_of_edges
from interp.causal.methods.effects import path_effects
from interp.core import InputError


class Counting:
    """A metric that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, output: Tensor, rows: Tensor) -> Tensor:
        self.calls += 1
        return readout(output, rows)


@pytest.mark.parametrize("seed", range(4))
def test_the_planted_graph_is_found_for_every_threshold_below_its_weakest_edge(seed: int) -> None:
    wiring = planted(0.3, (3, 3, 2), seed=seed)
    examples = linear_examples(wiring)
    truth = wiring.true_edges()
    assert 0 < truth.sum() < len(truth)
    inputs, others = linear_inputs()
    strength = (
        wiring.true_effects(inputs, others, torch.tensor([1.0, -0.5, 0.25]))
        .mean(dim=0)
        .abs()
        .numpy()
    )
    weakest = float(strength[truth].min())
    for threshold in (1e-5, 0.1 * weakest, 0.9 * weakest):
        graph = acdc(wiring, examples, readout, threshold=threshold)
        assert graph.kept is not None
        np.testing.assert_array_equal(graph.kept, truth)
        assert auroc_of_edges(graph.effects, truth) == 1.0
    # Nothing that is needed has been removed at any time, so that every change is the edge's own
    # product of weights.
    np.testing.assert_allclose(np.abs(graph.effects)[truth], strength[truth], rtol=1e-3)


def test_above_its_weakest_edge_that_edge_goes() -> None:
    wiring = planted(0.3, (3, 3), seed=0)
    truth = wiring.true_edges()
    effects = np.abs(acdc(wiring, linear_examples(wiring), readout, threshold=1e-5).effects)
    into_output = truth & (wiring.edges[:, 1] == len(wiring.ports) - 1)
    weakest = np.flatnonzero(into_output)[effects[into_output].argmin()]
    graph = acdc(wiring, linear_examples(wiring), readout, threshold=1.01 * float(effects[weakest]))
    assert graph.kept is not None
    assert not graph.kept[weakest]


def test_random_scores_find_nothing_and_a_huge_threshold_keeps_nothing() -> None:
    wiring = planted(0.3, (3, 3, 2), seed=1)
    truth = wiring.true_edges()
    generator = np.random.default_rng(0)
    chance = [auroc_of_edges(generator.normal(size=len(truth)), truth) for _ in range(200)]
    assert np.mean(chance) == pytest.approx(0.5, abs=0.03)
    graph = acdc(wiring, linear_examples(wiring), readout, threshold=1e6)
    assert graph.kept is not None
    assert not graph.kept.any()
    with pytest.raises(InputError, match="both classes"):
        auroc_of_edges(graph.effects, graph.kept)


@pytest.mark.parametrize("value", ["resample", "mean", "zero"])
def test_with_curved_parts_what_is_kept_suffices(value: Any) -> None:
    wiring = planted(0.4, (3, 3), seed=2, bent=True)
    inputs, others = linear_inputs()
    examples = Examples(wiring, inputs, None if value == "zero" else others, value=value)
    threshold = 1e-4
    graph = acdc(wiring, examples, readout, threshold=threshold)
    assert graph.kept is not None
    # Edges that are in no way from the input to the output are never kept; mean and zero also feel
    # ways that do not start at the input.
    if value == "resample":
        assert not (graph.kept & ~wiring.true_edges()).any()
    part = next(iter(examples))
    only = readout(
        wiring.output(part.batch, part.changes, wiring.mask(wiring.edges[~graph.kept])), part.rows
    )
    removed = int((~graph.kept).sum())
    assert abs(float(only.mean()) - float(graph.clean.mean())) <= removed * threshold + 1e-5


def test_changes_are_measured_in_the_graph_that_is_left_last_edges_first() -> None:
    wiring, threshold = LinearWiring((2, 2), seed=3, bent=True), 0.03
    examples = linear_examples(wiring)
    graph = acdc(wiring, examples, readout, threshold=threshold)
    assert graph.kept is not None
    part = next(iter(examples))
    gone: list[np.ndarray] = []
    before = readout(wiring.output(part.batch), part.rows)
    for port in reversed(range(len(wiring.ports))):
        for source in reversed(range(len(wiring.sources))):
            if not bool(wiring.connected[source, port]):
                continue
            number = int(np.flatnonzero((wiring.edges == (source, port)).all(axis=1))[0])
            mask = wiring.mask(np.array([*gone, (source, port)]).reshape(-1, 2))
            after = readout(wiring.output(part.batch, part.changes, mask), part.rows)
            np.testing.assert_allclose(
                graph.per_example[:, number], (after - before).numpy(), atol=1e-5
            )
            small = abs(float((after - before).mean())) < threshold
            assert graph.kept[number] == (not small)
            if small:
                gone.append(np.array((source, port)))
                before = after
    assert 0 < len(gone) < len(wiring.edges)


def test_edges_into_parts_that_nothing_reads_are_not_run() -> None:
    wiring = planted(0.0, (3, 3), seed=0)
    metric = Counting()
    graph = acdc(wiring, linear_examples(wiring), metric, threshold=1e-5)
    tried = graph.details["tried"].astype(bool)
    assert metric.calls == tried.sum() + 2
    assert tried.sum() < len(wiring.edges)
    names = [graph.edge(number) for number in np.flatnonzero(~tried).tolist()]
    assert {edge.port for edge in names} == {"n1.1.in", "n1.2.in", "n2.1.in", "n2.2.in"}


def test_batches_do_not_matter_and_it_is_called_by_its_name() -> None:
    wiring = planted(0.3, (3, 3), seed=2, bent=True)
    inputs, others = linear_inputs()
    whole = path_effects(wiring, inputs, others, metric=readout, method="acdc", threshold=1e-3)
    parts = path_effects(
        wiring, inputs, others, metric=readout, method="acdc", threshold=1e-3, batch_size=3
    )
    np.testing.assert_allclose(whole.per_example, parts.per_example, atol=1e-5)
    assert whole.method == "acdc"
    assert whole.provenance.parameters["threshold"] == 1e-3


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_a_threshold_is_positive(threshold: float) -> None:
    wiring = planted(0.3, (2,), seed=0)
    with pytest.raises(InputError, match="give a positive number"):
        acdc(wiring, linear_examples(wiring), readout, threshold=threshold)
