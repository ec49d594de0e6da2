"""Mean, standard deviation and leading components of a site over more samples than fit in
memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError, Progress, silent
from interp.core.display.markup import block, table
from interp.diffusion.directions.step_directions import StepDirections, directions_like
from interp.diffusion.records.activations import Keeper, StepActivations, checked_window
from interp.diffusion.sampling.ddim import BATCH, STEPS, batches, sample_batch, timesteps, unclipped
from interp.diffusion.sampling.labels import Labels
from interp.models import UNetModel


@dataclass(frozen=True, eq=False, kw_only=True)
class StepStatistics:
    """Statistics of a site over `count` samples that were not kept.

    `sd` is the standard deviation (with n − 1); `directions` are the leading components of all
    steps together, each as long as the samples' sd along it; `explained` is the share of the whole
    variance along each.

    Example:
        >>> statistics.directions.norms
    """

    count: int
    mean: Float[Tensor, "step channel y x"]
    sd: Float[Tensor, "step channel y x"]
    directions: StepDirections
    explained: Float[Tensor, " direction"]

    def _repr_html_(self) -> str:
        shares = [f"{share:.1%}" for share in self.explained[:12].tolist()]
        rows = list(zip(self.directions.names[:12], shares, strict=True))
        body = table(
            ("component", "share of the variance"),
            rows,
            caption=f"The first {len(rows)} of {len(self.explained)} components",
        )
        return block("Statistics", body, name=self.directions.site, about=f"{self.count:,} samples")


def streamed_statistics(
    parts: Iterable[StepActivations], components: int = 10, *, kept: int | None = None
) -> StepStatistics:
    """Mean, standard deviation and leading components of activations that come part by part; a part
    may be freed once the next is requested.

    Mean and deviation are exact. `kept` components (by default four times `components`, at least
    64) are merged with each part by a singular value decomposition: exact while at most `kept`
    directions vary, else close where little variance lies beyond them (see `explained`).

    Raises:
        InputError: fewer than `components + 1` samples or `components` numbers, `kept` below
            `components`, parts of different samplers or sites, values that are not finite, or fewer
            directions that vary.

    Source: Ross, Lim, Lin & Yang 2008 (incremental PCA, in scikit-learn); Haas et al. 2024 (arXiv
    2303.11073) use it for h. Cost: per part one decomposition of `[kept + samples, d]`; memory for
    `kept · d` numbers and one part.

    Example:
        >>> parts = (record_steps(model, 500, seed=seed) for seed in range(100))
        >>> streamed_statistics(parts).explained
    """
    from sklearn.decomposition import IncrementalPCA

    carried = max(64, 4 * components) if kept is None else kept
    if not 0 < components <= carried:
        raise InputError(
            f"{components} components with {carried} kept were asked for; keep as many as "
            "there are components, or more"
        )
    fitted: IncrementalPCA | None = None
    first: StepActivations | None = None
    for part, rows in _gathered(parts, carried):
        if first is None:
            first, fitted = part, IncrementalPCA(min(carried, *rows.shape))
        assert fitted is not None
        fitted.partial_fit(rows.numpy(), check_input=False)
    if (
        first is None
        or fitted is None
        or not components <= min(fitted.n_components_, int(fitted.n_samples_seen_) - 1)
    ):
        raise InputError(
            f"{components} components were asked for of too few samples or numbers; give more than "
            f"{components} samples"
        )
    return _statistics(first, fitted, components)


def record_statistics(
    model: UNetModel,
    count: int,
    site: str = "mid",
    *,
    seed: int,
    components: int = 10,
    kept: int | None = None,
    steps: int = STEPS,
    window: range | None = None,
    labels: Labels | None = None,
    batch_size: int = BATCH,
    progress: Progress = silent,
) -> StepStatistics:
    """`streamed_statistics` of what `record_steps` would record, storing only a few batches of it.

    Raises:
        InputError: as `record_steps` and `streamed_statistics`.

    Cost: `count × steps` evaluations of the UNet; memory for `kept · d` numbers,
    `d = steps · channels · y · x`.

    Example:
        >>> record_statistics(model, 50_000, seed=0, components=25).directions
    """
    chosen = checked_window(window, steps)
    model = unclipped(model)
    name, times = model.sites.resolve(site), timesteps(model, steps)

    def recorded() -> Iterator[StepActivations]:
        for batch in batches(count, seed, labels, batch_size):
            keeper = Keeper(chosen)
            images = sample_batch(model, batch, steps, {name: keeper.hook})
            yield StepActivations(
                values=keeper.values(),
                steps=tuple(chosen),
                timesteps=tuple(times[step] for step in chosen),
                images=images,
                site=name,
                total=steps,
                seed=seed,
            )
            progress("record statistics", batch.rows.stop, count, "image")

    return streamed_statistics(recorded(), components, kept=kept)


def _gathered(
    parts: Iterable[StepActivations], least: int
) -> Iterator[tuple[StepActivations, Float[Tensor, "sample d"]]]:
    """Rows of at least `least` samples at once (fewer at the end), as the first decomposition finds
    no more components than samples.
    """
    first: StepActivations | None = None
    waiting: list[Tensor] = []
    for part in parts:
        first = first or part
        _require_same(first, part)
        waiting.append(part.values.flatten(1).double().cpu())
        if sum(len(rows) for rows in waiting) >= least:
            yield first, torch.cat(waiting)
            waiting = []
    if first is not None and waiting:
        yield first, torch.cat(waiting)


def _require_same(first: StepActivations, part: StepActivations) -> None:
    for name in ("site", "steps", "timesteps", "total"):
        if getattr(part, name) != getattr(first, name):
            raise InputError(
                f"parts differ in {name}: {getattr(first, name)} and {getattr(part, name)}; stream "
                "one site of one sampler"
            )
    if part.values.shape[1:] != first.values.shape[1:]:
        raise InputError(
            f"parts differ in shape: {tuple(first.values.shape[1:])} and "
            f"{tuple(part.values.shape[1:])}; stream one network"
        )
    if not bool(part.values.isfinite().all()):
        raise InputError(
            f"activations of {part.site} are not finite; see whether the network passes its gate"
        )


def _statistics(first: StepActivations, fitted: Any, components: int) -> StepStatistics:
    count, shape = int(fitted.n_samples_seen_), first.values.shape[1:]
    sizes = torch.from_numpy(fitted.singular_values_[:components].copy())
    if float(sizes[-1]) <= 1e-6 * float(sizes[0]) or float(sizes[0]) == 0:
        raise InputError(
            f"the activations vary along fewer than {components} directions; ask for fewer "
            "components"
        )
    unit = torch.from_numpy(fitted.components_[:components].copy())
    # The decomposition leaves the sign open: make the largest entry positive.
    signs = unit.gather(1, unit.abs().argmax(dim=1, keepdim=True)).sign()
    found = (unit * signs * sizes[:, None] / (count - 1) ** 0.5).to(first.values.dtype)
    names = [f"component {i}" for i in range(components)]
    variance = torch.from_numpy(fitted.var_.copy()) * count / (count - 1)
    return StepStatistics(
        count=count,
        mean=torch.from_numpy(fitted.mean_.copy()).reshape(shape).to(first.values.dtype),
        sd=variance.sqrt().reshape(shape).to(first.values.dtype),
        directions=directions_like(first, found, names, "pca streamed"),
        explained=(sizes.square() / (count - 1) / variance.sum()).to(first.values.dtype),
    )
