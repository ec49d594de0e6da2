"""do(coefficient = c): what setting a feature changes in a later feature or an output metric."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from interp.capture import Intervention, Where
from interp.causal.wiring.examples import whole_examples
from interp.causal.wiring.wiring import Metric
from interp.core import InputError, Progress, Score, bootstrap_mean, silent
from interp.core.display.markup import block, facts, foreign, numeral
from interp.core.display.scores import score_table
from interp.decompose.dictionary import Dictionary
from interp.decompose.random_directions import random_dictionary
from interp.features.feature import Feature
from interp.models.adapters.tokens import last_positions
from interp.models.protocol import Batch, Call, Hook, Model

AFTER_FIRST = Where(first_position=1)
"""All tokens but the first, whose activations are unlike all others."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SetCoefficient(Intervention):
    """Set a feature's coefficient: `x + (value − coefficient(x)) · along`, token by token.

    `along [d]` is the feature's direction, or another one for a control moved by the same amounts.
    Where directions overlap, encoding the new activation need not give `value`: the edit is what is
    defined.

    Example:
        >>> with interp.intervene(model, {feature.site: SetCoefficient.of(feature, 0.0)}):
        ...     model.generate("I think that")
    """

    dictionary: Dictionary
    index: int
    value: float
    along: Float[Tensor, " d"]
    where: Where = AFTER_FIRST

    @classmethod
    def of(cls, feature: Feature, value: float, where: Where = AFTER_FIRST) -> "SetCoefficient":
        """Along the feature's own direction."""
        return cls(
            dictionary=feature.dictionary,
            index=feature.index,
            value=value,
            along=feature.direction,
            where=where,
        )

    def _change(self, value: Tensor) -> Tensor:
        present = _coefficient(self.dictionary, self.index, value)
        return value + (self.value - present)[..., None] * self.along.to(value)

    def _where(self) -> Where:
        return self.where


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureEffect:
    """How setting a feature's coefficient to each of `values` changes what is `read`.

    `changes` are means with intervals over examples; their controls are the same along random
    directions of the same length and number of entries, moved by the same amounts. `per_example`
    and `control` (mean over the random directions) are `[value, example]`; `clean` is what is read
    without any change.
    """

    cause: str
    read: str
    values: tuple[float, ...]
    changes: tuple[Score, ...]
    per_example: Float[np.ndarray, "value example"]
    control: Float[np.ndarray, "value example"]
    clean: Float[np.ndarray, " example"]

    @property
    def curve(self) -> list[tuple[float, Score]]:
        """The dose-response curve: coefficient, change."""
        return list(zip(self.values, self.changes, strict=True))

    def __str__(self) -> str:
        return f"{self.cause} on {self.read}: " + "; ".join(
            f"{value:g}: {change}" for value, change in self.curve
        )

    def _repr_html_(self) -> str:
        rows = [(f"{value:g}", change) for value, change in self.curve]
        title = (
            "Mean change of what is read; control: the same along random directions, moved by "
            "the same amounts"
        )
        body = score_table(("coefficient set to", "change"), rows, about=title, signed=True)
        about = [
            ("read", foreign(self.read)),
            ("without any change", numeral(float(self.clean.mean()))),
        ]
        return block("Feature effect", body, facts(about), name=f"{self.cause} → {self.read}")


@torch.no_grad()
def feature_effect(
    model: Model,
    inputs: Any,
    cause: Feature,
    reader: Feature | Metric,
    *,
    values: Sequence[float],
    where: Where = AFTER_FIRST,
    controls: int = 3,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = silent,
) -> FeatureEffect:
    """Set a feature's coefficient and measure the change in each example.

    Args:
        inputs: what the network takes.
        cause: the feature; it is set to each of `values` at all tokens that `where` names.
        reader: a feature of a later site (its mean coefficient over the same tokens), or a metric
            of the output (of a language model: of the logits at each example's last token).
        controls: how many random directions.

    Raises:
        InputError: there are no values or controls, the reader's site does not come after the
            cause's, or a text is longer than the network takes.

    Cost: `1 + len(values) · (1 + controls)` forward passes over the inputs, each with one encoding
    of the cause's site; those for a feature end at its site.

    Example:
        >>> found = feature_effect(
        ...     model, texts, snmf_features[3], later_features[7], values=[0.0, 2.0, 4.0]
        ... )
        >>> print(found.curve[0])
    """
    if not values or controls < 1:
        raise InputError(
            f"{len(values)} values and {controls} controls; give at least one value and one control"
        )
    prepared = whole_examples(model.prepare(inputs, batch_size))
    directions = [cause.direction, *control_directions(cause, controls, seed)]
    found = np.empty((len(values), len(directions), len(prepared.items)))
    clean = np.empty(len(prepared.items))
    done, total = 0, found.size
    for batch in prepared.batches:
        clean[batch.items] = _read(model, batch, reader, cause, None, where)
        for place in np.ndindex(found.shape[:2]):
            hook = SetCoefficient(
                dictionary=cause.dictionary,
                index=cause.index,
                value=float(values[place[0]]),
                along=directions[place[1]],
                where=where,
            )
            found[(*place, batch.items)] = _read(model, batch, reader, cause, hook, where)
            done += len(batch.items)
            progress("feature effects", done, total, "run of an example")
    own, control = found[:, 0] - clean, found[:, 1:].mean(axis=1) - clean
    return FeatureEffect(
        cause=named(cause),
        read=named(reader) if isinstance(reader, Feature) else getattr(reader, "name", "metric"),
        values=tuple(float(value) for value in values),
        changes=tuple(
            bootstrap_mean(row, seed=seed, control=float(other.mean()))
            for row, other in zip(own, control, strict=True)
        ),
        per_example=own,
        control=control,
        clean=clean,
    )


def named(feature: Feature) -> str:
    """A feature and where it is."""
    return f"{feature.id} at {feature.site}"


def control_directions(feature: Feature, count: int, seed: int) -> Float[Tensor, "control d"]:
    """Random directions with a feature's length and number of non-zero entries."""
    direction = feature.direction
    unit = random_dictionary(
        direction[None], count, sparsity=feature.nonzero / len(direction), seed=seed
    ).directions
    return unit * direction.norm()


def _read(
    model: Model,
    batch: Batch,
    reader: Feature | Metric,
    cause: Feature,
    hook: Hook | None,
    where: Where,
) -> np.ndarray:
    """The reader's value for every row of a batch."""
    site, events, kept = model.sites.resolve(cause.site), [], []

    def change(value: Tensor, call: Call) -> Tensor | None:
        events.append("cause")
        return None if hook is None else hook(value, call)

    if not isinstance(reader, Feature):
        output = model.run(batch, {site: change})
        return reader(_last(output, batch), torch.from_numpy(batch.items)).float().cpu().numpy()
    there = model.sites.resolve(reader.site)

    def look(value: Tensor, call: Call) -> None:
        events.append("read")
        kept.append(_mean_coefficient(reader, value, call, where))

    hooks: dict[str, Hook] = {site: change, there: look}
    if there != site:
        model.run(batch, hooks, stop_after=there)
    if events != ["cause", "read"]:
        raise InputError(f"{there} does not come after {site}; read a feature of a later site")
    return kept[0].cpu().numpy()


def _coefficient(
    dictionary: Dictionary, index: int, value: Float[Tensor, "*axes d"]
) -> Float[Tensor, "*axes"]:
    rows = value.detach().reshape(-1, value.shape[-1])
    return dictionary.encode(rows)[:, index].to(value).reshape(value.shape[:-1])


def _mean_coefficient(
    feature: Feature, value: Tensor, call: Call, where: Where
) -> Float[Tensor, " row"]:
    """A feature's mean coefficient over the tokens in `where`, or over a whole image."""
    last = rearrange(value, "row d y x -> row y x d") if value.ndim == 4 else value
    found = _coefficient(feature.dictionary, feature.index, last.float()).reshape(len(value), -1)
    if call.positions is None:
        return found.mean(dim=1)
    touched = call.positions >= max(where.first_position, 0)
    if not bool(touched.any(dim=1).all()):
        raise InputError(
            f"an input has no token from position {where.first_position} on; give longer inputs, "
            "or where=Where()"
        )
    return (found * touched).sum(dim=1) / touched.sum(dim=1)


def _last(output: Any, batch: Batch) -> Float[Tensor, "row *out"]:
    """The logits at each example's last token; for other networks the whole output."""
    if batch.keep is None:
        return output
    places = last_positions(batch.keep.long())
    return output[torch.arange(len(output), device=output.device), places.to(output.device)]
