"""Classifiers as wiring: an edge is a kernel slice, in closed form on linear chains and against
brute force on small networks.
"""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp.causal.methods.eap import eap
from interp.causal.methods.eap_ig import eap_ig_activations
from interp.causal.methods.exact import exact
from interp.causal.methods.search import clean_and_replaced
from interp.causal.wiring.channels import ChannelWiring
from interp.causal.wiring.examples import Examples, Part
from interp.causal.wiring.replacement import Value
from interp.causal.wiring.wiring import Edge, Moment
from interp.core import InputError
from interp.models import ModuleModel

VALUES: tuple[Value, ...] = ("zero", "mean", "resample", "add", "project out")
DIRECTIONS = {"conv1.c1": torch.ones(1), "input.c0": 0.5 * torch.ones(1)}


class Net(nn.Module):
    """Two convolutions and a linear map, with what usually lies between."""

    def __init__(self, *, between: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
        self.norm = nn.BatchNorm2d(3)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(4 * 4, 3)
        self.between = between or nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        first = self.between(nn.functional.avg_pool2d(self.relu(self.norm(self.conv1(image))), 2))
        return self.fc(torch.flatten(self.drop(torch.tanh(self.conv2(first))), 1))


class Chain(nn.Module):
    """Layers one after the other, as a test says."""

    def __init__(self, run: Callable[["Chain", Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for number, layer in enumerate(layers, 1):
            self.add_module(f"l{number}", layer)

    def forward(self, image: Tensor) -> Tensor:
        return self.run(self, image)


def filled(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.6)
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.1)
    return module


def images(
    rows: int, channels: int = 2, size: int = 8, seed: int = 0
) -> Float[Tensor, "row channel y x"]:
    return torch.randn(rows, channels, size, size, generator=torch.Generator().manual_seed(seed))


def metric(output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]) -> Float[Tensor, " case"]:
    """Not linear, and another number for each example."""
    return output[:, 0].tanh() * (1 + rows) - output[:, 1]


def logit(output: Float[Tensor, "case out"], rows: Int[Tensor, " case"]) -> Float[Tensor, " case"]:
    return output[:, 0] - 0.5 * output[:, 1]


def wired(value: Value = "resample", rows: int = 3) -> tuple[ChannelWiring, Part]:
    wiring = ChannelWiring(ModuleModel(filled(Net())))
    directions = DIRECTIONS if value in ("add", "project out") else None
    others = images(rows, seed=1) if value == "resample" else None
    return wiring, next(
        iter(Examples(wiring, images(rows), others, value=value, directions=directions))
    )


def test_names_say_who_makes_a_channel() -> None:
    wiring, part = wired()
    assert [node.name for node in wiring.sources] == [
        "input.c0",
        "input.c1",
        *(f"conv1.c{c}" for c in range(3)),
        *(f"conv2.c{c}" for c in range(4)),
    ]
    assert [port.name for port in wiring.ports][-4:] == ["conv2.c3", "fc.c0", "fc.c1", "fc.c2"]
    assert len(wiring.edges) == 2 * 3 + 3 * 4 + 4 * 3
    assert [tuple(value.shape) for value in wiring.observe(part.batch)][::4] == [
        (3, 1, 8, 8),
        (3, 1, 4, 4),
        (3, 1, 4),
    ]
    with pytest.raises(InputError, match=r"no edge input\.c0 → conv2\.c0"):
        wiring.numbers([Edge("input.c0", "conv2.c0")])


def test_with_nothing_replaced_it_is_the_network_and_with_everything_the_counterfactual() -> None:
    wiring, part = wired()
    module = wiring.model.module.eval()
    with torch.no_grad():
        torch.testing.assert_close(wiring.output(part.batch), module(images(3)))
        torch.testing.assert_close(
            wiring.output(part.batch, part.changes, torch.zeros_like(wiring.connected)),
            module(images(3)),
        )
        torch.testing.assert_close(
            wiring.output(part.batch, part.changes, wiring.connected), module(images(3, seed=1))
        )


def test_zero_is_the_kernel_slice_set_to_zero() -> None:
    """For every edge, and for half of the edges together; of a linear map, the columns of the
    channel.
    """
    wiring, part = wired("zero")
    half = wiring.edges[::2]
    for edges in (*wiring.edges[:, None], half):
        module = copy.deepcopy(wiring.model.module).eval()
        with torch.no_grad():
            for edge in wiring.named(edges):
                (source, i), (port, j) = (name.rsplit(".c", 1) for name in (edge.source, edge.port))
                weight = getattr(module, port).weight
                weight[int(j), slice(4 * int(i), 4 * int(i) + 4) if port == "fc" else int(i)] = 0
                assert source in ("input", "conv1", "conv2")
            expected = module(images(3))
        torch.testing.assert_close(
            wiring.output(part.batch, part.changes, wiring.mask(edges)), expected
        )


@pytest.mark.parametrize("value", VALUES)
def test_one_by_one_is_the_live_run_with_one_edge(
    value: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    wiring, part = wired(value)
    found = wiring.one_by_one(part.batch, part.changes, wiring.edges, metric, part.rows)
    clean = metric(wiring.output(part.batch), part.rows)
    for edge, values in zip(wiring.edges, found, strict=True):
        torch.testing.assert_close(
            values,
            metric(wiring.output(part.batch, part.changes, wiring.mask(edge[None])), part.rows),
        )
    assert float((found - clean).abs().max()) > 0.05
    # In any order and by any portions.
    monkeypatch.setattr("interp.causal.wiring.channels.CELL_NUMBERS", 1)
    order = np.random.default_rng(0).permutation(len(found))
    torch.testing.assert_close(
        wiring.one_by_one(part.batch, part.changes, wiring.edges[order], metric, part.rows),
        found[order],
    )


def test_a_replacement_is_live() -> None:
    """The change of a channel is from what it holds once its own inputs are replaced, and that is
    what a run shows.
    """
    wiring, part = wired("zero")
    into, out = (
        wiring.mask(wiring.numbers([edge]))
        for edge in (Edge("input.c0", "conv1.c2"), Edge("conv1.c2", "conv2.c1"))
    )
    present = wiring.observe(part.batch, part.changes, into)
    assert {
        wiring.sources[s].layer
        for s, clean in enumerate(wiring.observe(part.batch))
        if not torch.equal(clean, present[s])
    } == {1, 2}
    # With every edge out of a channel removed nobody sees what its inputs are.
    everything = wiring.connected.clone()
    everything[[node.name != "conv1.c2" for node in wiring.sources]] = False
    torch.testing.assert_close(
        wiring.output(part.batch, part.changes, everything | into),
        wiring.output(part.batch, part.changes, everything),
    )
    assert not torch.allclose(
        wiring.output(part.batch, part.changes, out | into),
        wiring.output(part.batch, part.changes, out),
        atol=1e-3,
    )


def test_linear_effects_are_the_slope_of_patching() -> None:
    wiring, part = wired("add")
    step = 1e-2
    small = next(
        iter(
            Examples(
                wiring,
                images(3),
                value="add",
                directions={key: step * vector for key, vector in DIRECTIONS.items()},
            )
        )
    )
    slope = (
        wiring.one_by_one(part.batch, small.changes, wiring.edges, metric, part.rows)
        - metric(wiring.output(part.batch), part.rows)
    ) / step
    linear = wiring.linear_effects(part.batch, part.changes, metric, part.rows)[
        :, wiring.edges[:, 0], wiring.edges[:, 1]
    ].T
    torch.testing.assert_close(linear, slope, rtol=0.05, atol=0.02)
    assert float(linear.abs().max()) > 0.2


def test_gradients_are_taken_where_the_moment_says() -> None:
    """With the image moved all the way they are the counterfactual's."""
    wiring, part = wired()
    there = Examples(wiring, images(3, seed=1), value="add", directions={"input.c0": torch.ones(1)})
    here = Examples(wiring, images(3), value="add", directions={"input.c0": torch.ones(1)})
    moved = Moment(wiring.source_groups[0], 1.0)
    held = part.changes
    own = wiring.linear_effects(part.batch, held, logit, part.rows)
    assert not torch.allclose(
        wiring.linear_effects(part.batch, held, logit, part.rows, moved), own, atol=1e-3
    )
    torch.testing.assert_close(
        wiring.linear_effects(part.batch, held, logit, part.rows, Moment(moved.moved, 0.0)), own
    )
    # A gradient alone: the change `add` makes is the same wherever it is made.
    [one], [other] = list(here), list(there)
    shifted = images(3)
    shifted[:, 0] += 1
    [beyond] = list(Examples(wiring, shifted, value="add", directions={"input.c0": torch.ones(1)}))
    at = wiring.linear_effects(one.batch, one.changes, logit, one.rows, Moment((0,), 1.0))
    torch.testing.assert_close(
        at, wiring.linear_effects(beyond.batch, beyond.changes, logit, one.rows)
    )
    assert not torch.allclose(
        at, wiring.linear_effects(other.batch, other.changes, logit, one.rows), atol=1e-3
    )


@pytest.mark.parametrize("value", ["zero", "mean", "resample"])
def test_linear_chains_have_effects_in_closed_form(value: Value) -> None:
    """1 × 1 images and kernels: an edge is one weight, its effect the product of weights along its
    ways, summed.
    """
    module = filled(
        nn.Sequential(
            nn.Conv2d(2, 3, 1, bias=False),
            nn.Conv2d(3, 4, 1, bias=False),
            nn.Flatten(),
            nn.Linear(4, 2, bias=False),
        )
    )
    wiring, inputs, others = (
        ChannelWiring(ModuleModel(module)),
        images(5, size=1),
        images(5, size=1, seed=1),
    )
    examples = Examples(wiring, inputs, others if value == "resample" else None, value=value)
    first, second, third = (
        module[place].weight.detach().flatten(1).double() for place in (0, 1, 3)
    )
    readout = torch.tensor([1.0, -0.5], dtype=torch.double)
    moved = (
        {"zero": -inputs, "resample": others - inputs, "mean": inputs.mean(0) - inputs}[value]
        .flatten(1)
        .double()
    )
    pieces = [
        torch.einsum("ri,ji,j->rij", moved, first, readout @ third @ second),
        torch.einsum("ri,ji,j->rij", moved @ first.T, second, readout @ third),
        torch.einsum("ri,ji,j->rij", moved @ first.T @ second.T, third, readout),
    ]
    # Edges are ordered by port.
    true = torch.cat([piece.transpose(1, 2).flatten(1) for piece in pieces], dim=1).numpy()
    clean, _ = clean_and_replaced(examples, logit)
    np.testing.assert_allclose(exact(examples, logit, clean), true, atol=1e-5)
    np.testing.assert_allclose(eap(examples, logit), true, atol=1e-5)
    np.testing.assert_allclose(eap_ig_activations(examples, logit, steps=3), true, atol=1e-5)
    assert np.abs(true).max() > 0.5


def test_linear_chains_with_space_agree() -> None:
    module = filled(
        nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1),
            nn.AvgPool2d(2),
            nn.Conv2d(3, 4, 3, stride=2),
            nn.Flatten(),
            nn.Linear(4, 2),
        )
    )
    examples = Examples(ChannelWiring(ModuleModel(module)), images(4), images(4, seed=1))
    clean, _ = clean_and_replaced(examples, logit)
    measured = exact(examples, logit, clean)
    np.testing.assert_allclose(eap(examples, logit), measured, atol=1e-5 * np.abs(measured).max())
    # Of one port all edges' effects add up, because the metric is linear in what it reads.
    ports = examples.wiring.edges[:, 1]
    mask = torch.zeros_like(examples.wiring.connected)
    mask[:, ports[0]] = examples.wiring.connected[:, ports[0]]
    [part] = list(examples)
    whole = logit(examples.wiring.output(part.batch, part.changes, mask), part.rows) - logit(
        examples.wiring.output(part.batch), part.rows
    )
    np.testing.assert_allclose(measured[:, ports == ports[0]].sum(1), whole.numpy(), atol=1e-4)


def test_a_vector_network_reads_column_by_column() -> None:
    module = filled(nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 2)))
    wiring = ChannelWiring(ModuleModel(module))
    inputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    [part] = list(Examples(wiring, inputs, value="zero"))
    without = copy.deepcopy(module)
    with torch.no_grad():
        without[0].weight[1, 3] = 0
        torch.testing.assert_close(
            wiring.output(
                part.batch, part.changes, wiring.mask(wiring.numbers([Edge("input.c3", "0.c1")]))
            ),
            without(inputs),
        )


def test_an_image_before_a_linear_map_is_read_by_its_channels() -> None:
    module = filled(nn.Sequential(nn.Flatten(), nn.Linear(2 * 9, 3), nn.ReLU(), nn.Linear(3, 2)))
    wiring = ChannelWiring(ModuleModel(module), images(1, size=3))
    [part] = list(Examples(wiring, images(4, size=3), value="zero"))
    blind = images(4, size=3)
    blind[:, 1] = 0
    mask = wiring.mask(wiring.numbers([Edge("input.c1", f"1.c{port}") for port in range(3)]))
    with torch.no_grad():
        torch.testing.assert_close(wiring.output(part.batch, part.changes, mask), module(blind))
    with pytest.raises(InputError, match=r"images have 2 channels but 1 reads 18"):
        ChannelWiring(ModuleModel(module)).observe(part.batch)


def test_the_order_is_the_one_that_runs() -> None:
    module = filled(
        Chain(
            lambda own, x: own.l1(torch.flatten(own.l2(x), 1)),
            nn.Linear(3 * 64, 2),
            nn.Conv2d(2, 3, 3, padding=1),
        )
    )
    with pytest.raises(InputError, match="layers ran in the order l2, l1, not l1, l2"):
        ChannelWiring(ModuleModel(module)).observe(
            ModuleModel(module).prepare(images(2)).batches[0]
        )
    wiring = ChannelWiring(ModuleModel(module), images(1))
    assert [layer.name for layer in wiring.layers] == ["l2", "l1"]
    assert [node.name for node in wiring.sources][-3:] == ["l2.c0", "l2.c1", "l2.c2"]


def _residual(own: Chain, x: Tensor) -> Tensor:
    first = own.l1(x)
    return own.l3(torch.flatten(torch.relu(own.l2(torch.relu(first))) + first, 1))


def _joined(own: Chain, x: Tensor) -> Tensor:
    return own.l3(torch.flatten(own.l2(torch.relu(own.l1(x))), 1)) + x.mean(dim=(1, 2, 3))[:, None]


def _twice(own: Chain, x: Tensor) -> Tensor:
    return own.l3(torch.flatten(own.l2(own.l2(own.l1(x))), 1))


def _plain(own: Chain, x: Tensor) -> Tensor:
    return own.l3(torch.flatten(own.l2(torch.relu(own.l1(x))), 1))


def _channels_last(own: Chain, x: Tensor) -> Tensor:
    return own.l3(torch.flatten(own.l2(torch.relu(own.l1(x))).movedim(1, -1), 1))


def _soft(own: Chain, x: Tensor) -> Tensor:
    return own.l3(torch.flatten(own.l2(torch.softmax(own.l1(x), dim=1)), 1))


def _fixed(own: Chain, x: Tensor) -> Tensor:
    return own.l3(own.l2(torch.relu(own.l1(x))).reshape(len(x), -1))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (_residual, "what follows l2 reads more than its output"),
        (_joined, "what follows l1 reads more than its output"),
        (_twice, "l2 runs 2 times"),
        (_channels_last, "between l2 and l3 mixes channels"),
        (_soft, "between l1 and l2 mixes channels"),
        (_fixed, "what follows l1 reads more than its output"),
        (
            lambda own, x: own.l3(torch.flatten(own.l1(x), 1)),
            "ran in the order l1, l3, not l1, l2, l3",
        ),
        (lambda own, x: (_plain(own, x), x), "returns tuple"),
    ],
)
def test_what_is_no_chain_is_refused(run: Callable[[Chain, Tensor], Tensor], message: str) -> None:
    layers = (nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3 * 64, 2))
    wiring = ChannelWiring(ModuleModel(filled(Chain(run, *layers))))
    with pytest.raises(InputError, match=message):
        Examples(wiring, images(3), images(3, seed=1)).__iter__().__next__()
    # The control: the same layers in a plain chain are taken.
    list(
        Examples(
            ChannelWiring(ModuleModel(filled(Chain(_plain, *layers)))), images(3), images(3, seed=1)
        )
    )


@pytest.mark.parametrize(("to", "come"), [(to, come) for to in range(3) for come in range(3)])
def test_a_leak_from_any_channel_to_any_other_is_seen(to: int, come: int) -> None:
    def leaking(own: Chain, x: Tensor) -> Tensor:
        first = torch.relu(own.l1(x))
        return own.l2(
            (first + torch.eye(3)[to][:, None, None] * first[:, come : come + 1]).mean(dim=(2, 3))
        )

    wiring = ChannelWiring(ModuleModel(filled(Chain(leaking, nn.Conv2d(2, 3, 3), nn.Linear(3, 2)))))
    if to == come:
        list(Examples(wiring, images(3), images(3, seed=1)))
        return
    with pytest.raises(InputError, match="between l1 and l2 mixes channels"):
        list(Examples(wiring, images(3), images(3, seed=1)))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Conv2d(2, 4, 3, groups=2)), "grouped convolution"),
        (
            nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(2, 4, 3)),
            "1 reads 2 channels or columns, but 0 has 4",
        ),
        (
            nn.Sequential(nn.Conv2d(2, 4, 3), nn.Linear(10, 2)),
            "1 reads 10 channels or columns, but 0 has 4",
        ),
        (nn.Sequential(nn.ReLU()), "has no nn.Conv2d or nn.Linear"),
    ],
)
def test_layers_that_do_not_fit_are_named(module: nn.Module, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ChannelWiring(ModuleModel(module))


def test_the_network_is_left_as_it_was() -> None:
    wiring, part = wired()
    module = wiring.model.module
    before = {key: value.clone() for key, value in module.state_dict().items()}
    wiring.one_by_one(part.batch, part.changes, wiring.edges, metric, part.rows)
    wiring.linear_effects(part.batch, part.changes, metric, part.rows)
    assert module.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert all(parameter.grad is None for parameter in module.parameters())
