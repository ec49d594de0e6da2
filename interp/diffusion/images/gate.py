"""The sanity gate: does a generator make images like its data? If not, later numbers are
artefacts.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Score, bootstrap_mean, bootstrap_statistic
from interp.core.display.markup import block, element, facts, foreign, numeral, table
from interp.core.display.scores import axis_note, score_cells
from interp.diffusion.images.factors import LEAST, Reader, factor_table

MEAN = 0.15
SD = (0.85, 1.15)
OFF_RANGE = 0.01
UNREADABLE = 0.01
TOLERANCE = 0.05


@dataclass(frozen=True)
class FactorGate:
    """One factor of generated images against the data.

    `mean` is their mean in the data's standard deviations (sd) from its mean, `sd` the ratio of the
    two sds, `ks` the largest distance between the two distribution functions and `p` its p-value
    (Kolmogorov 1933, Smirnov 1948). Controls: the same for as many random images of the data.
    """

    mean: Score
    sd: Score
    ks: float
    p: float

    @property
    def problems(self) -> tuple[str, ...]:
        """What is out of bounds, in words."""
        found = []
        if not abs(self.mean.value) < MEAN:
            found.append(f"mean {self.mean.value:+.2f} sd of the data, allowed ±{MEAN}")
        if not SD[0] <= self.sd.value <= SD[1]:
            found.append(f"sd {self.sd.value:.2f} of the data's, allowed {SD[0]} to {SD[1]}")
        return tuple(found)


@dataclass(frozen=True)
class Gate:
    """Every factor's verdict, the shares of pixels more than 0.05 outside −1 to 1 and of unreadable
    images.
    """

    factors: Mapping[str, FactorGate]
    off_range: float
    unreadable: float
    n: int

    @property
    def failures(self) -> tuple[str, ...]:
        """All failures, by name; empty where the gate is passed."""
        found = [
            f"{name}: {problem}" for name, gate in self.factors.items() for problem in gate.problems
        ]
        if not self.off_range < OFF_RANGE:
            found.append(f"off-range pixels: {self.off_range:.1%}, allowed under {OFF_RANGE:.0%}")
        if not self.unreadable < UNREADABLE:
            found.append(
                f"images without a readable factor: {self.unreadable:.1%}, allowed under "
                f"{UNREADABLE:.0%}"
            )
        return tuple(found)

    @property
    def passed(self) -> bool:
        """Whether there are no failures."""
        return not self.failures

    def __str__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        head = (
            f"sanity gate {verdict} (n={self.n}, off-range {self.off_range:.2%}, unreadable "
            f"{self.unreadable:.2%})"
        )
        factors = (
            f"  {name:10} mean {g.mean} sd {g.sd} KS {g.ks:.3f} (p={g.p:.2g})"
            for name, g in self.factors.items()
        )
        return "\n".join([head, *factors, *(f"  fails: {failure}" for failure in self.failures)])

    def _repr_html_(self) -> str:
        gates = self.factors.values()
        means, sds = [gate.mean for gate in gates], [gate.sd for gate in gates]
        tests = [(numeral(gate.ks), numeral(gate.p)) for gate in gates]
        columns = zip(
            map(foreign, self.factors),
            score_cells(means, signed=True),
            score_cells(sds),
            tests,
            strict=True,
        )
        caption = (
            f"Generated images against the data; mean: {axis_note(means)}; sd: {axis_note(sds)}"
        )
        header = ("factor", "mean, sd of the data", "sd by the data's", "KS", "p")
        body = table(
            header, [(name, mean, sd, *own) for name, mean, sd, own in columns], caption=caption
        )
        shares = facts(
            [
                ("n", f"{self.n:,}"),
                ("off-range pixels", f"{self.off_range:.2%}"),
                ("unreadable", f"{self.unreadable:.2%}"),
            ]
        )
        failures = element(
            "ul", *(element("li", "fails: ", failure) for failure in self.failures), kind="list"
        )
        return block(
            "Sanity gate", shares, body, failures, about="passed" if self.passed else "FAILED"
        )


def sanity_gate(
    images: Float[Tensor, "image channel y x"],
    data: Float[Tensor, "example data_channel data_y data_x"],
    read: Reader,
    *,
    seed: int = 0,
) -> Gate:
    """Compare generated images with the data, factor by factor.

    Passed if every factor's |mean| < 0.15 sd of the data, its sd is 0.85 to 1.15 of the data's, and
    less than 1 % of pixels are off range and of images unreadable. KS is reported, not judged: with
    enough images it finds any difference. Factors that are constant in the data are left out.

    Raises:
        InputError: images and data differ in shape, either has fewer than 8, or no factor of the
            data varies.

    Cost: reads every image once; runs no network.

    Example:
        >>> gate = sanity_gate(sample(model, 512, seed=1), data.images, read_shapes)
        >>> gate.passed, gate.failures
    """
    if images.shape[1:] != data.shape[1:]:
        raise InputError(
            f"generated images are {tuple(images.shape[1:])}, the data's {tuple(data.shape[1:])}; "
            "give the network's own data"
        )
    if min(len(images), len(data)) < LEAST:
        raise InputError(
            f"{len(images)} generated images and {len(data)} of the data were given; give at least "
            f"{LEAST} of each"
        )
    made, known = factor_table(read, images), factor_table(read, data)
    varying = [name for name, value in known.items() if float(_read(value).std()) > 1e-6]
    if not varying:
        raise InputError(
            f"none of {', '.join(known)} varies in the data; give data whose factors vary"
        )
    missing = torch.stack([made[name].isnan() for name in varying]).any(dim=0)
    gates = {name: _gate(_read(made[name]), _read(known[name]), seed) for name in varying}
    off = float((images.abs() > 1 + TOLERANCE).double().mean())
    return Gate(gates, off, float(missing.double().mean()), len(images))


def _read(values: Float[Tensor, " image"]) -> Float[Tensor, " readable"]:
    return values[~values.isnan()]


def _gate(made: Float[Tensor, " image"], known: Float[Tensor, " example"], seed: int) -> FactorGate:
    from scipy.stats import ks_2samp

    if len(made) < 2:
        nothing = Score.undefined(seed, n=len(made))
        return FactorGate(nothing, nothing, float("nan"), float("nan"))
    center, spread = float(known.mean()), float(known.std())
    z, reference = ((made - center) / spread).numpy(), ((known - center) / spread).numpy()
    control = np.random.default_rng(seed).choice(reference, size=len(z))
    mean = bootstrap_mean(z, seed=seed, control=float(control.mean()))
    sd = bootstrap_statistic(
        z, lambda sample: sample.std(axis=-1, ddof=1), seed=seed, control=float(control.std(ddof=1))
    )
    test = ks_2samp(z, reference)
    return FactorGate(mean, sd, float(test.statistic), float(test.pvalue))
