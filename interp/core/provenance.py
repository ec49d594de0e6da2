"""Provenance: where an artifact came from and what it cost."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from typing import Any

from interp.core.display.markup import block, facts, foreign, table

PACKAGES = ("interp", "torch", "numpy", "transformers", "transformer-lens", "diffusers")


def package_versions() -> dict[str, str]:
    """Versions of those packages that numbers depend on and that are installed."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def text_hash(texts: Iterable[str]) -> str:
    """sha256 over texts and their lengths, so that moving a boundary changes the hash."""
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()


@dataclass(frozen=True)
class Provenance:
    """How an artifact was made.

    `method` and `parameters` say by what means; `model`, `weight_hash`, `corpus_hash`, `site` and
    `selection` from what; `cost` holds measured seconds, passes and bytes by name.
    """

    method: str
    _: KW_ONLY
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    model: str | None = None
    weight_hash: str | None = None
    corpus_hash: str | None = None
    site: str | None = None
    selection: str | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=package_versions)

    def derive(
        self,
        method: str,
        *,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        cost: Mapping[str, float] | None = None,
        site: str | None = None,
    ) -> "Provenance":
        """The provenance of something made from this: the same source (and site, unless given), all
        else new.
        """
        return replace(
            self,
            method=method,
            parameters=parameters or {},
            seed=seed,
            cost=cost or {},
            site=site or self.site,
        )

    def to_dict(self) -> dict[str, Any]:
        """The provenance as json-ready values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Provenance":
        """The inverse of `to_dict`."""
        return cls(**values)

    def _repr_html_(self) -> str:
        own = self.to_dict()
        named = [
            (key, foreign(own[key]))
            for key in ("model", "site", "selection", "seed")
            if own[key] is not None
        ]
        parts = [(key, own[key]) for key in ("parameters", "cost", "versions") if own[key]]
        hashes = [
            (key.replace("_", " "), own[key]) for key in ("weight_hash", "corpus_hash") if own[key]
        ]
        rows = [*((key, foreign(_listed(values))) for key, values in parts), *hashes]
        return block(
            "Provenance",
            facts(named),
            table(("part", "values"), rows, wrapped={1}),
            name=self.method,
        )


def _listed(values: Mapping[str, Any]) -> str:
    """Names with their values, long ones cut."""
    words = {key: _word(value) for key, value in values.items()}
    return ", ".join(
        f"{key} {text if len(text) <= 120 else text[:117] + '…'}" for key, text in words.items()
    )


def _word(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
