"""The directions of a report folder by feature id, for live steering."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import InputError
from interp.core.names import require_known
from interp.decompose import Dictionary, load_dictionary
from interp.report.data.records import Report
from interp.report.data.stored import read_report
from interp.studies.features.companions import COMPANIONS, load_companions

Route = Literal["native", "companion"]


@dataclass(frozen=True, eq=False)
class Directions:
    """Every direction of a report folder, by feature id and route.

    `data` is the report (`features.json`), `dictionaries` are by method, `companions` are
    directions `[feature, d_site]` by method at `companion_site`, if the folder has them.

    Example:
        >>> site, direction = Directions.read(Path("report")).of("snmf-12", "native")
    """

    data: Report
    dictionaries: Mapping[str, Dictionary]
    companions: Mapping[str, Float[Tensor, "feature d_site"]]
    companion_site: str

    @classmethod
    def read(cls, folder: Path) -> "Directions":
        """Read a report folder.

        Raises:
            InputError: it is no report folder, its schema differs, or a dictionary is missing.
            UnavailableError: a file is damaged.
        """
        data = read_report(folder)
        names = dict.fromkeys(feature.method for feature in data.features)
        dictionaries = {name: _dictionary(folder / "dictionaries", name) for name in names}
        path = folder / COMPANIONS
        companions, site = (
            load_companions(path) if path.is_file() else ({}, data.model.companion_site)
        )
        for method, directions in companions.items():
            if method in dictionaries and len(directions) != len(dictionaries[method]):
                raise InputError(
                    f"{path} has {len(directions)} companions of {method}, its dictionary "
                    f"{len(dictionaries[method])} features; make the report again"
                )
        return cls(data, dictionaries, companions, site)

    @property
    def routes(self) -> dict[str, list[Route]]:
        """The routes of each method's features."""
        return {
            method: ["native", "companion"] if method in self.companions else ["native"]
            for method in self.dictionaries
        }

    def of(self, feature: str, route: Route) -> tuple[str, Float[Tensor, " d"]]:
        """The site and the unit direction of a feature.

        Raises:
            InputError: an unknown feature or route, or a direction without length.
        """
        require_known("route", route, get_args(Route))
        features = {item.id: item for item in self.data.features}
        require_known("feature", feature, features, "give an id of the report")
        method, index = features[feature].method, features[feature].index
        if route == "companion" and method not in self.companions:
            raise InputError(
                f"this report holds no companion of {feature}; steer natively, or make the report "
                f"again (companions are of {', '.join(self.companions) or 'no method'})"
            )
        site, rows = (
            (self.dictionaries[method].site, self.dictionaries[method].directions)
            if route == "native"
            else (self.companion_site, self.companions[method])
        )
        return site, _unit(rows, index, f"{feature} ({route})")


def _dictionary(folder: Path, method: str) -> Dictionary:
    # The name is only compared with existing folders, never made into a path.
    found = (
        {path.name: path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else {}
    )
    if method not in found:
        raise InputError(
            f"{folder} has no dictionary {method!r}, only {', '.join(sorted(found)) or 'none'}; "
            "make the report again"
        )
    return load_dictionary(found[method])


def _unit(rows: Tensor, index: int, what: str) -> Float[Tensor, " d"]:
    if not 0 <= index < len(rows):
        raise InputError(
            f"{what} has number {index} but there are {len(rows)} directions; make the report again"
        )
    if not float(rows[index].norm()) > 0:
        raise InputError(
            f"the direction of {what} has no length (the feature never fired); choose another "
            "feature"
        )
    return torch.nn.functional.normalize(rows[index].float(), dim=0)
