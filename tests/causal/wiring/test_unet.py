"""UNets as wiring: nothing replaced is the network, everything replaced the counterfactual, an edge
half of what one resnet reads.
"""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from tiny import conditional_unet, unet
from torch import Tensor

from interp.causal.methods.effects import path_effects, wiring_of
from interp.causal.wiring.examples import Examples, Part
from interp.causal.wiring.replacement import Changes, Value
from interp.causal.wiring.unet import UNetWiring
from interp.causal.wiring.wiring import Edge, Moment
from interp.core import InputError
from interp.models.adapters.unet import NoisedImages, SamplingPlan, UNetModel

VALUES: tuple[Value, ...] = ("zero", "mean", "resample", "add", "project out")
DIRECTIONS = {"mid": torch.linspace(-1, 1, 16), "down0.skip0": torch.ones(8)}
KINDS = {"plain": (unet, 1), "conditional": (conditional_unet, 2)}


def images(channels: int, seed: int, rows: int = 2) -> NoisedImages:
    generator = torch.Generator().manual_seed(seed)
    conditions = (
        torch.randn(rows, 3, 12, generator=torch.Generator().manual_seed(9))
        if channels == 2
        else None
    )
    return NoisedImages(torch.randn(rows, channels, 8, 8, generator=generator), 100, conditions)


def metric(
    output: Float[Tensor, "case channel y x"], rows: Int[Tensor, " case"]
) -> Float[Tensor, " case"]:
    return (output[:, 0, :3].tanh()).sum(dim=(1, 2)) * (1 + rows)


def wired(kind: str = "plain", value: Value = "resample") -> tuple[UNetWiring, Part]:
    make, channels = KINDS[kind]
    wiring = UNetWiring(UNetModel(make()))
    others = images(channels, 1) if value == "resample" else None
    directions = DIRECTIONS if value in ("add", "project out") else None
    return wiring, next(
        iter(Examples(wiring, images(channels, 0), others, value=value, directions=directions))
    )


def test_names() -> None:
    wiring, part = wired()
    assert [node.name for node in wiring.sources] == [
        *("input.skip", "down0.skip0", "down0.skip1", "down1.skip0", "mid"),
        *("up0.resnet0", "up0.resnet1", "up1.resnet0", "up1.resnet1"),
    ]
    assert [str(edge) for edge in wiring.named(wiring.edges)] == [
        "mid → up0.resnet0.backbone",
        "down1.skip0 → up0.resnet0.skip",
        "up0.resnet0 → up0.resnet1.backbone",
        "down0.skip1 → up0.resnet1.skip",
        "up0.resnet1 → up1.resnet0.backbone",
        "down0.skip0 → up1.resnet0.skip",
        "up1.resnet0 → up1.resnet1.backbone",
        "input.skip → up1.resnet1.skip",
        "up1.resnet1 → eps",
    ]
    assert isinstance(wiring_of(wiring.model), UNetWiring)
    assert [value.shape[1] for value in wiring.observe(part.batch)] == [
        8,
        8,
        8,
        16,
        16,
        16,
        16,
        8,
        8,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_with_nothing_replaced_it_is_the_network_and_with_everything_the_counterfactual(
    kind: str,
) -> None:
    wiring, part = wired(kind)
    with torch.no_grad():
        own, other = (wiring.model.run(images(KINDS[kind][1], seed)) for seed in (0, 1))
    torch.testing.assert_close(wiring.output(part.batch), own, rtol=0, atol=0)
    torch.testing.assert_close(
        wiring.output(part.batch, part.changes, torch.zeros_like(wiring.connected)),
        own,
        rtol=0,
        atol=0,
    )
    torch.testing.assert_close(
        wiring.output(part.batch, part.changes, wiring.connected), other, rtol=1e-4, atol=1e-4
    )
    # The last edge alone carries everything.
    last = wiring.mask(wiring.edges[-1:])
    torch.testing.assert_close(
        wiring.output(part.batch, part.changes, last), other, rtol=1e-4, atol=1e-4
    )
    assert not torch.allclose(own, other, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", VALUES)
def test_one_by_one_is_the_live_run_with_one_edge(kind: str, value: Value) -> None:
    wiring, part = wired(kind, value)
    found = wiring.one_by_one(part.batch, part.changes, wiring.edges, metric, part.rows)
    for edge, values in zip(wiring.edges, found, strict=True):
        torch.testing.assert_close(
            values,
            metric(wiring.output(part.batch, part.changes, wiring.mask(edge[None])), part.rows),
        )
    moved = (found - metric(wiring.output(part.batch), part.rows)).abs().max(dim=1).values > 1e-4
    touched = [
        node in DIRECTIONS or value not in ("add", "project out")
        for node in (wiring.sources[source].name for source, _ in wiring.edges)
    ]
    assert moved.tolist() == touched


def test_an_edge_is_half_of_what_one_resnet_reads() -> None:
    """Against diffusers' own code, with that half overwritten by hand."""
    wiring, part = wired()
    module, other = (
        wiring.model.module,
        wiring.observe(wiring.model.prepare(images(1, 1)).batches[0]),
    )
    resnet = module.up_blocks[1].resnets[0]
    sources = [node.name for node in wiring.sources]
    for edge, channels in (("down0.skip0", slice(16, 24)), ("up0.resnet1", slice(0, 16))):

        def overwrite(
            part: object, args: tuple[Tensor, ...], edge: str = edge, channels: slice = channels
        ) -> tuple[Tensor, ...]:
            read = args[0].clone()
            read[:, channels] = other[sources.index(edge)]
            return (read, *args[1:])

        handle = resnet.register_forward_pre_hook(overwrite)
        with torch.no_grad():
            expected = module(images(1, 0).images, 100).sample
        handle.remove()
        port = "up1.resnet0." + ("skip" if "skip" in edge else "backbone")
        found = wiring.output(
            part.batch, part.changes, wiring.mask(wiring.numbers([Edge(edge, port)]))
        )
        torch.testing.assert_close(found, expected)


def test_linear_effects_are_the_slope_of_patching() -> None:
    wiring, part = wired("plain", "add")
    step = 1e-2
    small = {name: step * vector for name, vector in DIRECTIONS.items()}
    [little] = list(Examples(wiring, images(1, 0), value="add", directions=small))
    slope = (
        wiring.one_by_one(part.batch, little.changes, wiring.edges, metric, part.rows)
        - metric(wiring.output(part.batch), part.rows)
    ) / step
    linear = wiring.linear_effects(part.batch, part.changes, metric, part.rows)[
        :, wiring.edges[:, 0], wiring.edges[:, 1]
    ].T
    torch.testing.assert_close(linear, slope, rtol=0.05, atol=0.05)
    assert float(linear.abs().max()) > 0.2


def test_gradients_are_taken_where_the_moment_says() -> None:
    """With all that comes from the way down moved, they are the counterfactual's."""
    wiring, part = wired()
    held = Held(
        [
            part.changes.change(source, value)
            for source, value in enumerate(wiring.observe(part.batch))
        ]
    )
    other = wiring.model.prepare(images(1, 1)).batches[0]
    moved = wiring.linear_effects(
        part.batch, part.changes, metric, part.rows, Moment(wiring.source_groups[0], 1.0)
    )
    torch.testing.assert_close(
        moved, wiring.linear_effects(other, held, metric, part.rows), rtol=1e-3, atol=1e-3
    )
    own = wiring.linear_effects(part.batch, part.changes, metric, part.rows)
    torch.testing.assert_close(
        wiring.linear_effects(part.batch, part.changes, metric, part.rows, Moment((0, 4), 0.0)), own
    )
    assert not torch.allclose(moved, own, atol=0.05)


@dataclass(frozen=True)
class Held(Changes):
    """Changes as given, whatever the values are."""

    given: list[Tensor]
    name: Value = "resample"

    def change(self, source: int, value: Tensor) -> Tensor:
        return self.given[source]


def test_a_replacement_is_live() -> None:
    wiring, part = wired("plain", "zero")
    mask = wiring.mask(wiring.numbers([Edge("mid", "up0.resnet0.backbone")]))
    clean, present = wiring.observe(part.batch), wiring.observe(part.batch, part.changes, mask)
    moved = [
        wiring.sources[source].name
        for source in range(len(clean))
        if not torch.equal(clean[source], present[source])
    ]
    assert moved == ["up0.resnet0", "up0.resnet1", "up1.resnet0", "up1.resnet1"]


def test_the_call_for_all_networks_measures_it() -> None:
    wiring, _ = wired()
    graph = path_effects(wiring.model, images(1, 0), images(1, 1), metric=metric, method="exact")
    estimate = path_effects(wiring.model, images(1, 0), images(1, 1), metric=metric, method="eap")
    assert graph.per_example.shape == estimate.per_example.shape == (2, 9)
    # All that is replaced goes through the last edge.
    np.testing.assert_allclose(graph.per_example[:, -1], graph.replaced - graph.clean, atol=1e-3)
    assert np.abs(graph.effects).min() > 0


def test_what_does_not_fit_is_named() -> None:
    wiring, _ = wired()
    with pytest.raises(InputError, match="give NoisedImages, one batch whole, not SamplingPlan"):
        wiring.output(wiring.model.prepare(SamplingPlan((0, 1), 2)).batches[0])
    with pytest.raises(InputError, match=r"no edge mid → up0\.resnet0\.skip"):
        wiring.numbers([Edge("mid", "up0.resnet0.skip")])
    freed, part = wired("conditional")
    freed.model.module.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    with pytest.raises(
        InputError,
        match=(
            r"up0\.resnet0 of UNet2DConditionModel does not read down1\.skip0 as it was handed "
            r"over"
        ),
    ):
        UNetWiring(freed.model).output(part.batch)
    assert not any(
        part._forward_hooks or part._forward_pre_hooks for part in wiring.model.module.modules()
    )
