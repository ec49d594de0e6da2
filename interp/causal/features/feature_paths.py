"""The paths along which a feature acts: its edges, and the parts that pass its effect on."""

import copy
import time
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int

from interp.capture import Where
from interp.causal.features.feature_effect import (
    AFTER_FIRST,
    SetCoefficient,
    control_directions,
    named,
)
from interp.causal.graph.graph import CausalGraph
from interp.causal.graph.selection import mean_scores
from interp.causal.methods.assembly import assembled
from interp.causal.methods.eap import eap
from interp.causal.methods.eap_ig import eap_ig_activations
from interp.causal.methods.eap_qk import eap_qk
from interp.causal.methods.exact import exact
from interp.causal.wiring.examples import Examples, whole_examples
from interp.causal.wiring.replacement import Changes, Swap
from interp.causal.wiring.wiring import Metric, Wiring
from interp.core import InputError, Progress, Score, bootstrap_mean, silent
from interp.core.display.markup import block, facts, foreign
from interp.core.display.scores import score_table
from interp.features.feature import Feature
from interp.models.protocol import Hook

PathMethod = Literal["exact", "eap", "eap-ig-activations", "eap-qk"]


class FeatureExamples(Examples):
    """Examples whose contributions are replaced with those of a run in which a site is changed (a
    feature's coefficient set, say).

    Replacing everything gives the changed run itself; replacing one edge gives the part of the
    change that goes through it. Serves wherever `Examples` do; its value is `add`.

    Example:
        >>> examples = FeatureExamples(wiring, texts, feature.site, SetCoefficient.of(feature, 4.0))
        >>> effects = eap(examples, metric)
    """

    def __init__(
        self, wiring: Wiring, inputs: Any, site: str, hook: Hook, *, batch_size: int | None = None
    ) -> None:
        super().__init__(wiring, inputs, value="zero", batch_size=batch_size)
        whole_examples(self._prepared)
        self.value = "add"
        self._hooks = {wiring.model.sites.resolve(site): hook}

    def take(self, rows: Int[np.ndarray, " row"]) -> "FeatureExamples":
        """Some of the examples, numbered anew from 0."""
        found = copy.copy(self)
        found.__dict__.pop("_only", None)
        found._prepared = super().take(rows)._prepared
        return found

    def _changes(self, number: int) -> Changes:
        with self.wiring.model.hooked(self._hooks):
            return Swap(self.wiring.observe(self._prepared.batches[number]), "add")


@dataclass(frozen=True, eq=False, kw_only=True)
class FeaturePaths:
    """How a feature's effect on a metric reaches the output.

    `total` is `m(do(coefficient = value)) − m(clean)`; `direct` the part that goes from `source`
    straight to the output, everything in between unchanged; `through` the effect when one later
    part alone has its output under do(…), for each of `nodes`. Controls are the same along random
    directions moved by the same amounts. What goes through two parts counts in both, so shares need
    not add up to 1.

    `graph` holds the edges' effects: with method `exact` the edges that leave `source`, otherwise
    all.
    """

    feature: str
    value: float
    source: str
    total: Score
    direct: Score
    nodes: tuple[str, ...]
    through: tuple[Score, ...]
    per_example: Float[np.ndarray, "example node"]
    graph: CausalGraph

    def strongest(self, count: int = 10) -> list[tuple[str, Score]]:
        """The parts with the largest |effect|."""
        pairs = sorted(
            zip(self.nodes, self.through, strict=True), key=lambda pair: -abs(pair[1].value)
        )
        return pairs[:count]

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {score.value:+.3f}" for name, score in self.strongest(3))
        return (
            f"{self.feature} set to {self.value:g}: {self.total} on {self.graph.metric}; "
            f"direct {self.direct.value:+.3f}; through {parts}"
        )

    def _repr_html_(self) -> str:
        shown = self.strongest()
        rows = [
            ("all paths", self.total),
            ("straight to the output", self.direct),
            *((f"through {name}", score) for name, score in shown),
        ]
        title = (
            f"Effect on the metric, in all and through one later part at a time ({len(shown)} "
            f"strongest of {len(self.nodes):,})"
        )
        body = score_table(
            ("path", "effect"),
            rows,
            about=f"{title}; control: random directions moved by the same amounts",
            signed=True,
        )
        set_to = [
            ("set to", f"{self.value:g}"),
            ("acts from", foreign(self.source)),
            ("metric", foreign(self.graph.metric)),
        ]
        measured = [("edges", f"{len(self.graph.edges):,}"), ("by", self.graph.method)]
        return block("Feature paths", body, facts([*set_to, *measured]), name=self.feature)


def feature_paths(
    wiring: Wiring,
    inputs: Any,
    feature: Feature,
    metric: Metric,
    *,
    value: float,
    method: PathMethod = "exact",
    where: Where = AFTER_FIRST,
    controls: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = silent,
) -> FeaturePaths:
    """Trace a feature to the output: set its coefficient to `value` and measure what passes where.

    The feature is one of an MLP's neurons or of its output (`L{i}.mlp`, `L{i}.mlp_out`), so that
    the change enters the stream at one source alone: the difference between that source's outputs
    for the changed and the present activation, token by token.

    Args:
        value: of the coefficient; see `SetCoefficient`.
        method: how edges get their effects: `exact` for those that leave the feature's part, or an
            estimate for all.
        controls: how many random directions.

    Raises:
        InputError: the feature is at another kind of site, an option does not exist, there are no
            controls, or a text is longer than the network takes.

    Source: the effect through one part is the natural indirect effect (Pearl 2001; for networks Vig
    et al. 2020).

    Cost: one forward pass per later part, batch and direction (`1 + controls`), and the method's
    own.

    Example:
        >>> paths = feature_paths(ResidualWiring(model), texts, feature, metric, value=4.0)
        >>> print(paths)
        >>> [str(paths.graph.edge(int(number))) for number in paths.graph.strongest(5)]
    """
    if method not in get_args(PathMethod) or controls < 1:
        raise InputError(
            f"method {method!r} with {controls} controls; give one of "
            f"{', '.join(get_args(PathMethod))} and at least one control"
        )
    source = _source(wiring, feature)
    later = [
        number
        for number in range(source + 1, len(wiring.sources))
        if wiring.sources[number].layer > wiring.sources[source].layer
    ]
    sets = [
        FeatureExamples(
            wiring,
            inputs,
            feature.site,
            SetCoefficient(
                dictionary=feature.dictionary,
                index=feature.index,
                value=value,
                along=along,
                where=where,
            ),
            batch_size=batch_size,
        )
        for along in (feature.direction, *control_directions(feature, controls, seed))
    ]
    read = [_mediated(examples, metric, source, later, progress) for examples in sets]
    control = np.mean([one.mean(axis=0) for one in read[1:]], axis=0)
    through = mean_scores(read[0][:, 2:], seed=seed) if later else []
    return FeaturePaths(
        feature=named(feature),
        value=value,
        source=wiring.sources[source].name,
        total=bootstrap_mean(read[0][:, 0], seed=seed, control=float(control[0])),
        direct=bootstrap_mean(read[0][:, 1], seed=seed, control=float(control[1])),
        nodes=tuple(wiring.sources[number].name for number in later),
        through=tuple(
            replace(score, control=float(other))
            for score, other in zip(through, control[2:], strict=True)
        ),
        per_example=read[0][:, 2:],
        graph=_graph(
            sets[0],
            metric,
            source,
            method,
            parameters={"feature": named(feature), "coefficient": value, "controls": controls},
            seed=seed,
            progress=progress,
        ),
    )


def _source(wiring: Wiring, feature: Feature) -> int:
    """The source through which all of a feature's effect goes."""
    site = wiring.model.sites.resolve(feature.site)
    names = [node.name for node in wiring.sources]
    if not site.endswith((".mlp", ".mlp_out")) or site.removesuffix("_out") not in names:
        raise InputError(
            f"a feature at {site!r} does not act through one MLP; paths are traced from mlp and "
            "mlp_out sites"
        )
    return names.index(site.removesuffix("_out"))


@torch.no_grad()
def _mediated(
    examples: Examples, metric: Metric, source: int, later: list[int], progress: Progress
) -> Float[np.ndarray, "example part"]:
    """Total effect, direct effect, and the effect through each later part."""
    wiring = examples.wiring
    straight = torch.zeros_like(wiring.connected)
    straight[source, -1] = wiring.connected[source, -1]
    found = np.empty((len(examples), 2 + len(later)))
    done = 0
    for part in examples:
        clean = metric(wiring.output(part.batch), part.rows)
        whole = metric(wiring.output(part.batch, part.changes, wiring.connected), part.rows)
        direct = metric(wiring.output(part.batch, part.changes, straight), part.rows)
        through = wiring.nodes_one_by_one(part.batch, part.changes, later, metric, part.rows)
        changed = torch.cat([torch.stack([whole, direct]).float().cpu(), through])
        found[part.rows.numpy()] = (changed - clean.float().cpu()).T.numpy()
        done += len(part.rows)
        progress("what passes on a feature", done, len(examples), "example")
    return found


def _graph(
    examples: Examples,
    metric: Metric,
    source: int,
    method: PathMethod,
    *,
    parameters: dict[str, Any],
    seed: int,
    progress: Progress,
) -> CausalGraph:
    start = time.perf_counter()
    wiring = examples.wiring
    edges = wiring.edges
    if method == "exact":
        edges = edges[edges[:, 0] == source]
        table = exact(examples, metric, None, edges, progress=progress)
    else:
        estimate = {"eap": eap, "eap-ig-activations": eap_ig_activations, "eap-qk": eap_qk}[method]
        table = estimate(examples, metric, progress=progress)
    return assembled(examples, metric, method, table, parameters, start, edges=edges, seed=seed)
