"""Fits every method of a comparison at every site, and finds each concept's directions."""

from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from interp.core import Progress, silent
from interp.core.files import replacing
from interp.corpus import ConceptSet
from interp.decompose import save_dictionary
from interp.features import companions
from interp.models import TransformerModel
from interp.studies.comparison.parts import Parts
from interp.studies.comparison.protocol import Comparison, ResolvedComparison
from interp.studies.comparison.records import Detected, DetectionPart
from interp.studies.methods import RANDOM, SUPERVISED
from interp.studies.stages import Recorded, measure, record_split


@dataclass(frozen=True)
class Fit:
    """A dictionary; `size` is None for the supervised one, which has a direction per concept."""

    site: str
    method: str
    size: int | None

    @property
    def name(self) -> str:
        """The stem of its files' names."""
        return f"{self.site}-{self.method}" + (f"-{self.size}" if self.size else "")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A network, labelled sentences, and the sites' activations on them, recorded when needed."""

    model: TransformerModel
    concepts: ConceptSet
    settings: ResolvedComparison
    progress: Progress = field(default=silent)

    @property
    def places(self) -> tuple[str, ...]:
        """Where activations are recorded and steered: the sites, then the companions' places."""
        return tuple(dict.fromkeys((*self.settings.sites, *self.settings.places)))

    @cached_property
    def fit(self) -> Recorded:
        """All sites and places on the fit sentences."""
        return record_split(self.model, self.concepts, "fit", self.places, self.progress)

    @cached_property
    def held_out(self) -> Recorded:
        """All sites and places on the held-out sentences."""
        return record_split(self.model, self.concepts, "held_out", self.places, self.progress)


def fits_of(settings: Comparison) -> list[Fit]:
    """Every dictionary of a comparison, with each site's random control and the supervised one of
    each site and place.
    """
    fits, sites = [], settings.sites
    for site in sites:
        fits += [Fit(site, method, size) for size in settings.sizes for method in settings.methods]
        fits += [Fit(site, SUPERVISED, None), *(Fit(site, RANDOM, size) for size in settings.sizes)]
    return fits + [Fit(place, SUPERVISED, None) for place in settings.places if place not in sites]


def detection_part(bench: Bench, fit: Fit, parts: Parts) -> DetectionPart:
    """One dictionary's part: its reconstruction and detection; directions go to files beside it."""
    make = partial(_measured, bench, fit, parts.folder)
    return parts.get(f"found-{fit.name}", DetectionPart, make)


def directions_of(fit: Fit, folder: Path) -> dict[str, Tensor]:
    """Directions of a dictionary's chosen features `[concept, d]`, own and companions, by site."""
    from safetensors.torch import load_file

    return {site: tensor.clone() for site, tensor in load_file(_steering_file(folder, fit)).items()}


def _measured(bench: Bench, fit: Fit, folder: Path) -> DetectionPart:
    settings, known = bench.settings, bench.fit.at(fit.site)
    dictionary = settings.fitting.fit(fit.method, known.acts, known, fit.size, bench.progress)
    found = measure(dictionary, known.acts, known, bench.held_out.at(fit.site), seed=settings.seed)
    save_dictionary(dictionary, folder / "dictionaries" / fit.name)
    chosen = [row.feature for row in found.detections]
    elsewhere = {
        place: companions(
            dictionary, known.acts, bench.fit.acts[place], coefficients=found.coefficients
        )[chosen]
        for place in settings.places
        if place != fit.site and fit.site in settings.sites and fit.method != RANDOM
    }
    own = dictionary.directions[chosen].float().cpu()
    _write_directions(_steering_file(folder, fit), {fit.site: own, **elsewhere})
    return DetectionPart(
        site=fit.site,
        method=fit.method,
        size=fit.size or len(dictionary),
        reconstruction=found.reconstruction,
        seconds=float(dictionary.provenance.cost.get("seconds", 0.0)),
        detections=tuple(
            Detected(
                concept=row.concept,
                feature=row.feature,
                chosen_on=row.chosen_on,
                auroc=row.auroc,
                auroc_others=row.auroc_others,
            )
            for row in found.detections
        ),
    )


def _steering_file(folder: Path, fit: Fit) -> Path:
    return folder / "directions" / f"{fit.name}.safetensors"


def _write_directions(path: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    with replacing(path) as temporary, torch.no_grad():
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
