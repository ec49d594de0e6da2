"""The first half of a comparison: fit every method at every site, and find each concept's feature
and its directions.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from interp.capture import record
from interp.core import Activations, Progress, silent
from interp.core.files import replacing
from interp.corpus import ConceptSet, labelled
from interp.decompose import (
    Dictionary,
    Unsupervised,
    fit_unsupervised,
    random_dictionary,
    reconstruction,
    save_dictionary,
)
from interp.detection import Detection, LabelledActivations, detect
from interp.features import companions, concept_means
from interp.models import TransformerModel
from interp.studies.comparison.parts import Parts
from interp.studies.comparison.protocol import Comparison

SUPERVISED = "difference_in_means"
RANDOM = "random"


@dataclass(frozen=True)
class Fit:
    """One dictionary of a comparison; `size` is None for the supervised one, which has a direction
    per concept.
    """

    site: str
    method: str
    size: int | None

    @property
    def name(self) -> str:
        """How its files are called."""
        return f"{self.site}-{self.method}" + (f"-{self.size}" if self.size else "")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A network, labelled sentences, and what the sites held on them; recorded when it is first
    needed.
    """

    model: TransformerModel
    concepts: ConceptSet
    sites: tuple[str, ...]
    places: tuple[str, ...]
    settings: Comparison
    progress: Progress = field(default=silent)

    @cached_property
    def fit(self) -> Mapping[str, Activations]:
        """All sites and places on the fit sentences."""
        texts = labelled(self.concepts, "fit").texts
        return record(self.model, texts, [*self.sites, *self.places], progress=self.progress)

    @cached_property
    def held_out(self) -> Mapping[str, Activations]:
        """All sites and places on the held-out sentences."""
        texts = labelled(self.concepts, "held_out").texts
        return record(self.model, texts, [*self.sites, *self.places], progress=self.progress)


def fits_of(settings: Comparison, sites: tuple[str, ...], places: tuple[str, ...]) -> list[Fit]:
    """Every dictionary of a comparison, the random control of each site and the supervised one of
    each site and place included.
    """
    fits = []
    for site in sites:
        fits += [Fit(site, method, size) for size in settings.sizes for method in settings.methods]
        fits += [Fit(site, SUPERVISED, None), *(Fit(site, RANDOM, size) for size in settings.sizes)]
    return fits + [Fit(place, SUPERVISED, None) for place in places if place not in sites]


def find(bench: Bench, fit: Fit, parts: Parts) -> dict[str, Any]:
    """One dictionary's part: how it reconstructs and detects; its directions go to files beside
    it.
    """
    return dict(parts.get(f"found-{fit.name}", lambda: _found(bench, fit, parts.folder)))


def directions_of(fit: Fit, folder: Path) -> dict[str, Tensor]:
    """The directions of a dictionary's chosen features `[concept, d]`, its own under its site's
    name and the companions under theirs.
    """
    from safetensors.torch import load_file

    return {name: tensor.clone() for name, tensor in load_file(_steering_file(folder, fit)).items()}


def _found(bench: Bench, fit: Fit, folder: Path) -> dict[str, Any]:
    labels = labelled(bench.concepts, "fit").labels, labelled(bench.concepts, "held_out").labels
    acts, unseen, seed = bench.fit[fit.site], bench.held_out[fit.site], bench.settings.seed
    dictionary = _fitted(bench, fit, acts, labels[0])
    codes, codes_unseen = dictionary.encode(acts), dictionary.encode(unseen)
    rows = detect(
        dictionary,
        LabelledActivations(acts, labels[0]),
        LabelledActivations(unseen, labels[1]),
        coefficients=(codes, codes_unseen),
        seed=seed,
    )
    quality = reconstruction(dictionary, unseen, coefficients=codes_unseen, seed=seed)
    save_dictionary(dictionary, folder / "dictionaries" / fit.name)
    chosen = [row.feature for row in rows]
    away = {
        place: companions(dictionary, acts, bench.fit[place], coefficients=codes)[
            chosen
        ].contiguous()
        for place in bench.places
        if place != fit.site and fit.site in bench.sites and fit.method != RANDOM
    }
    _write_directions(
        _steering_file(folder, fit), {fit.site: dictionary.directions[chosen].float().cpu(), **away}
    )
    return {
        "site": fit.site,
        "method": fit.method,
        "size": fit.size or len(dictionary),
        "reconstruction": asdict(quality)
        | {"explained_variance": quality.explained_variance.to_dict()},
        "seconds": float(dictionary.provenance.cost.get("seconds", 0.0)),
        "detections": [_plain(row) for row in rows],
    }


def _fitted(
    bench: Bench, fit: Fit, acts: Activations, labels: tuple[str | None, ...]
) -> Dictionary:
    settings = bench.settings
    if fit.size is None:
        return concept_means(acts, labels)
    if fit.method == RANDOM:
        return random_dictionary(acts, fit.size, seed=settings.seed)
    return fit_unsupervised(
        cast("Unsupervised", fit.method),
        acts,
        fit.size,
        sparsity=settings.sparsity,
        coefficient_sparsity=settings.coefficient_sparsity,
        sae_steps=settings.sae_steps,
        seed=settings.seed,
        progress=bench.progress,
    )


def _plain(row: Detection) -> dict[str, Any]:
    return {
        "concept": row.concept,
        "feature": row.feature,
        "chosen_on": row.chosen_on,
        "auroc": row.auroc.to_dict(),
        "auroc_others": row.auroc_others.to_dict(),
    }


def _steering_file(folder: Path, fit: Fit) -> Path:
    return folder / "directions" / f"{fit.name}.safetensors"


def _write_directions(path: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    with replacing(path) as temporary, torch.no_grad():
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
