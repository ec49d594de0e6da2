"""How the study finds and scores directions."""

from dataclasses import dataclass

from interp.core import InputError
from interp.core.names import require_known
from interp.diffusion.directions.by_name import METHODS, Method
from interp.diffusion.images.factors import LEAST
from interp.diffusion.sampling.ddim import STEPS


@dataclass(frozen=True, kw_only=True)
class DirectionsProtocol:
    """How directions are found and scored.

    They are found in `samples` images; strengths are chosen on `choose` others (half of them for
    the table of effects) and reported on `report` others again: all for scores, the first `matrix`
    for the table, the first `curve` for dose and response. All are compared at an effect of
    `wanted` standard deviations of the data. `gate` images go through the sanity gate. The
    interchange test takes `pairs` pairs, over the whole run and `windows` equal parts of it.
    A mean difference has `per_side` labelled samples a side, a score `controls` random directions,
    a contact sheet `shown` samples. Each method gives `count` directions, or one per factor, in
    `iterations` where it trains (`find_directions`). At the last `curved_steps` steps (0: none)
    edits along curves of `degree` are scored too (`interp.diffusion.edits.curved`).
    """

    methods: tuple[Method, ...] = METHODS
    site: str = "mid"
    steps: int = STEPS
    samples: int = 512
    gate: int = 512
    pairs: int = 128
    windows: int = 3
    choose: int = 24
    report: int = 200
    matrix: int = 24
    curve: int = 24
    count: int | None = None
    wanted: float = 0.5
    per_side: int = 60
    controls: int = 1
    shown: int = 5
    iterations: int = 60
    curved_steps: int = 3
    degree: int = 3
    gate_seed: int = 50
    directions_seed: int = 100
    strengths_seed: int = 101
    report_seed: int = 103
    interchange_seed: int = 20

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError(
                "no method was given; give at least one, methods=('regression', 'pca')"
            )
        for method in self.methods:
            require_known("method", method, METHODS)
        fewest = min(self.choose, self.matrix, self.curve, self.pairs)
        if fewest < LEAST or self.report < max(self.matrix, self.curve):
            raise InputError(
                f"choose={self.choose}, matrix={self.matrix}, curve={self.curve}, "
                f"pairs={self.pairs}, report={self.report}; give at least {LEAST} of each, and "
                "report as many as matrix and curve or more"
            )
        if (
            not 0 <= self.windows <= self.steps
            or self.controls < 1
            or self.shown < 1
            or self.wanted <= 0
        ):
            raise InputError(
                f"windows={self.windows}, controls={self.controls}, shown={self.shown}, "
                f"wanted={self.wanted}; give positive numbers"
            )
        seeds = (self.directions_seed, self.strengths_seed, self.report_seed)
        if len(set(seeds)) < len(seeds):
            raise InputError(
                f"seeds {seeds} of directions, strengths and report; what is chosen on images must "
                "be reported on others"
            )
