"""Probes on planted codes and on noise, and a factor that can be read from a site that nothing
comes out of.
"""

from collections.abc import Callable

import pytest
import torch
from small_generator import Through, brighter, brightness, untrained
from torch import Tensor

from interp.core import InputError, Score
from interp.diffusion.bottleneck.interchange import interchange
from interp.diffusion.bottleneck.readable import Readability, readable, readable_writable
from interp.diffusion.edits.boundary import Passing, record_passing
from interp.diffusion.edits.straight import Edit
from interp.diffusion.scores.effects import Judge, fresh_trial, random_edit, score_edit
from interp.models import UNetModel

STEPS = 3
COUNT = 1000


def planted() -> tuple[Passing, dict[str, Tensor]]:
    """`a` in the site from step 1 on, `b` in the noised image with as much noise, `c` nowhere."""
    generator = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, COUNT, generator=generator)
    held, noised = (
        torch.randn(COUNT, 2, 16, generator=generator),
        torch.randn(COUNT, 2, 48, generator=generator),
    )
    held[:, 1] = held[:, 1] * torch.arange(16).gt(3) + a[:, None] * torch.arange(16).eq(2)
    noised[:, :, 7] = b[:, None] + noised[:, :, 7]
    return Passing(
        values=held.reshape(COUNT, 2, 4, 2, 2),
        noised=noised.reshape(COUNT, 2, 3, 4, 4),
        images=torch.zeros(COUNT, 3, 4, 4),
        timesteps=(999, 499),
        site="mid",
    ), {
        "a": a,
        "b": b,
        "c": c,
    }


@pytest.fixture(scope="module")
def reading() -> Readability:
    return readable(*planted())


def test_a_planted_code_is_read_where_it_is(reading: Readability) -> None:
    found = reading.at(1)
    assert found["a"].site.value == pytest.approx(1.0, abs=1e-3)
    assert found["a"].site.low > 0.99
    assert (found["a"].site.n, reading.train, found["a"].timestep) == (250, 750, 499)
    assert reading.at(0)["a"].site.value < 0.1, "not there yet"
    assert found["a"].image.value < 0.1
    # Signal and noise of equal variance: the best guess is half of what the number holds, whose R²
    # is about 1/2.
    passing, labels = planted()
    best_guess = passing.noised[:, 1].flatten(1)[:, 7] / 2
    known = 1 - float((labels["b"] - best_guess).square().mean() / labels["b"].var())
    assert known == pytest.approx(0.5, abs=0.1)
    assert found["b"].image.value == pytest.approx(known, abs=0.05)
    assert found["b"].image.low < known < found["b"].image.high
    assert max(row.site.value for row in reading.rows if row.factor == "c") < 0.1
    assert max(row.image.value for row in reading.rows if row.factor == "c") < 0.1
    assert all(
        abs(score.control or 0) < 0.15 for row in reading.rows for score in (row.site, row.image)
    ), "shuffled labels teach nothing"
    assert all(
        score.low <= score.value <= score.high
        for row in reading.rows
        for score in (row.site, row.image)
    )


def test_the_step_is_chosen_in_the_training_part(reading: Readability) -> None:
    assert reading.best("a").step == 1
    assert reading.best("a").site_fit == pytest.approx(1.0, abs=1e-3)
    assert reading == readable(*planted())
    assert reading != readable(*planted(), seed=1)
    passing, labels = planted()
    labels["a"][:100] = torch.nan
    fewer = readable(passing, labels, steps=(1,))
    assert (fewer.left_out, fewer.train, fewer.rows[0].site.n) == (100, 675, 225)
    assert "step  1 a" in str(fewer)


class Disconnected(Through):
    """What the site holds tells the image, but nothing is made of it."""

    def forward(self, images: Tensor, timestep: Tensor) -> object:
        from diffusers.models.unets.unet_2d import UNet2DOutput

        self.mid_block(0.1 * images)
        return UNet2DOutput(sample=0.1 * images)


@pytest.mark.parametrize(
    ("network", "verdict", "slope"),
    [(Through, "read and written", 1.0), (Disconnected, "read, not written", 0.0)],
)
def test_reading_is_not_writing(
    network: Callable[[torch.nn.Module], torch.nn.Module], verdict: str, slope: float
) -> None:
    plain = untrained()
    model = UNetModel(network(plain.module), plain.scheduler)
    passing = record_passing(model, 320, seed=0, steps=STEPS)
    reading = readable(passing, brightness(passing.images), steps=(2,))
    judge = Judge(brightness, {"mean": 0.1, "lean": 0.2})
    trial = fresh_trial(model, judge, 16, seed=1, steps=STEPS)
    effects = {}
    for factor in judge.factors:
        edit = Edit(brighter(model)[factor], (0.1,))
        effects[factor] = score_edit(trial, edit, [random_edit(edit, seed=0)], factor).change
    swapped = interchange(model, brightness, pairs=16, steps=STEPS).at(range(STEPS))
    table = readable_writable(reading, effects, swapped)
    for factor in judge.factors:
        row = table[factor]
        assert row.site.low > 0.9, "read in both networks"
        assert row.verdict == verdict
        assert row.slope is not None
        assert row.slope.value == pytest.approx(slope, abs=1e-3)
    assert verdict in str(table)
    assert table["lean"].effect.value == pytest.approx(slope, abs=1e-4)


def score(value: float, control: float = 0.0) -> Score:
    return Score(value, value - 0.05, value + 0.05, n=100, seed=0, control=control)


@pytest.mark.parametrize(
    ("factor", "effect", "control", "slope", "sign", "verdict"),
    [
        ("a", 0.4, 0.0, 0.9, 1, "read and written"),
        ("a", -0.4, 0.0, 0.9, -1, "read and written"),
        ("a", -0.4, 0.0, 0.0, 1, "read, written the wrong way"),
        ("a", 0.4, 0.35, 0.0, 1, "read, not written"),
        ("a", 0.02, 0.0, 0.9, 1, "read and carried, not written"),
        ("a", 0.12, 0.0, 0.52, 1, "read, not written"),
        ("c", 0.4, 0.0, 0.9, 1, "written, not read"),
        ("c", -0.4, 0.0, 0.9, 1, "neither"),
    ],
)
def test_verdicts_follow_the_rule(
    reading: Readability,
    factor: str,
    effect: float,
    control: float,
    slope: float,
    sign: int,
    verdict: str,
) -> None:
    effects, slopes = (
        dict.fromkeys("abc", score(effect, control)),
        dict.fromkeys("abc", score(slope)),
    )
    assert readable_writable(reading, effects, slopes, sign=sign)[factor].verdict == verdict


def test_wrong_arguments_are_told_in_one_line(reading: Readability) -> None:
    passing, labels = planted()
    with pytest.raises(InputError, match="give one or more of 0 to 1"):
        readable(passing, labels, steps=(2,))
    with pytest.raises(InputError, match="30 images with known factors"):
        readable(passing, {"a": torch.where(torch.arange(COUNT) < 30, labels["a"], torch.nan)})
    with pytest.raises(InputError, match="the same in every image"):
        readable(passing, labels | {"d": torch.ones(COUNT)})
    with pytest.raises(InputError, match="3 values of 'a' for 1000 images"):
        readable(passing, {"a": torch.ones(3)})
    with pytest.raises(InputError, match="no probe was fitted at step 5"):
        reading.at(5)
    with pytest.raises(InputError, match="no effect of 'b'"):
        readable_writable(reading, {"a": score(0.1)})
    with pytest.raises(InputError, match="sign is 2"):
        readable_writable(reading, {}, sign=2)
