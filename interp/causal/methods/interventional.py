"""The interventional graph of a classifier: edges whose replacement significantly changes the
metric.
"""

import time
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from interp.causal.graph.graph import CausalGraph
from interp.causal.methods.assembly import assembled
from interp.causal.methods.exact import exact
from interp.causal.methods.search import clean_and_replaced
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.wiring import Metric, Wiring
from interp.core import InputError, Progress, silent
from interp.core.false_discovery import adjusted
from interp.core.names import require_known

Test = Literal["wilcoxon", "t"]

FEWEST = 6
"""With fewer examples no two-sided signed-rank test reaches 0.05."""

ROUNDING = 1e-6
"""Effects up to this share of the metric's size count as zero."""


def interventional_graph(
    wiring: Wiring,
    examples: Examples,
    metric: Metric,
    *,
    alpha: float = 0.05,
    epsilon: float = 0.005,
    test: Test = "wilcoxon",
    progress: Progress = silent,
) -> CausalGraph:
    """Keep the edges whose replacement changes the metric reliably across examples, and by more
    than `epsilon` on average.

    From the output back, layer by layer: all edges into the last layer's ports, then only edges
    into parts that a kept edge leaves. Each is replaced alone, `e = m(edge replaced) − m(clean)`
    per example, and kept where symmetry of e about 0 is rejected and `|mean e| > epsilon`, in units
    of the metric (for classifiers the probability of the label).

    Tests are paired, two-sided: Wilcoxon's signed ranks (Wilcoxon 1945; ties with 0 as Pratt 1959,
    normal approximation), or Student's t. False discoveries are controlled (Benjamini & Hochberg
    1995) per layer: of the edges kept into one layer an expected share of at most `alpha` is false.
    They are not controlled over all layers together, and later families are chosen by earlier ones.

    `details` of the graph: `p`, `q` (adjusted p) and `tested` (1 or 0). An edge that was not tested
    has effect 0 and p = q = 1.

    Raises:
        InputError: there are fewer than six examples, or `alpha` or `epsilon` is out of range.

    Source: ours; the top-down order is that of ACDC (Conmy et al. 2023), path interventions on
    classifiers are those of Ahmad et al. 2024.

    Cost: exact patching of the tested edges.

    Example:
        >>> graph = interventional_graph(
        ...     wiring, Examples(wiring, images, value="mean"), probability
        ... )
        >>> [str(graph.edge(number)) for number in np.flatnonzero(graph.kept)]
    """
    _check(len(examples), alpha, epsilon, test)
    start = time.perf_counter()
    clean, replaced = clean_and_replaced(examples, metric)
    count = len(wiring.edges)
    table = np.zeros((len(examples), count), dtype=np.float32)
    p, q = np.ones(count), np.ones(count)
    tested, kept = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    layers = np.array([port.layer for port in wiring.ports])[wiring.edges[:, 1]]
    for layer in sorted(set(layers.tolist()), reverse=True):
        here = np.flatnonzero(
            (layers == layer) & _into_kept(wiring, kept, last=layer == int(layers.max()))
        )
        # A layer is one family: q needs the p of all its edges, and the edges it keeps decide which
        # edges form the next family.
        if len(here):
            table[:, here] = _rounded(
                exact(examples, metric, clean, wiring.edges[here], progress=progress), clean
            )
            p[here] = paired_p_values(table[:, here], test)
            q[here] = adjusted(p[here])
            tested[here] = True
            kept[here] = (q[here] <= alpha) & (np.abs(table[:, here].mean(axis=0)) > epsilon)
    parameters = {"value": examples.value, "alpha": alpha, "epsilon": epsilon, "test": test}
    details = {"p": p, "q": q, "tested": tested.astype(float)}
    return assembled(
        examples,
        metric,
        "interventional",
        table,
        parameters,
        start,
        ends=(clean, replaced),
        kept=kept,
        details=details,
    )


def paired_p_values(
    effects: Float[np.ndarray, "example edge"], test: Test = "wilcoxon"
) -> Float[np.ndarray, " edge"]:
    """Two-sided p of every column being symmetric about 0; 1 where all its values are 0.

    Example:
        >>> paired_p_values(np.array([[0.0], [0.0]], dtype=np.float32))
        array([1.])
    """
    from scipy.stats import ttest_1samp, wilcoxon

    found = np.ones(effects.shape[1])
    moving = np.flatnonzero(effects.any(axis=0))
    # Equal non-zero values have no variance: t is infinite, p is 0.
    varied = moving[np.ptp(effects[:, moving], axis=0) > 0] if test == "t" else moving
    found[np.setdiff1d(moving, varied)] = 0.0
    if len(varied):
        values = effects[:, varied].astype(float)
        if test == "t":
            found[varied] = ttest_1samp(values, 0.0, axis=0).pvalue
        else:
            found[varied] = wilcoxon(values, zero_method="pratt", method="approx", axis=0).pvalue
    return found


def _into_kept(
    wiring: Wiring, kept: Bool[np.ndarray, " edge"], *, last: bool
) -> Bool[np.ndarray, " edge"]:
    """Edges into parts that a kept edge leaves; all edges into the last layer."""
    if last:
        return np.ones(len(kept), dtype=bool)
    leaving = {wiring.sources[source].name for source in np.unique(wiring.edges[kept, 0])}
    wanted = np.array([bool(leaving & set(port.nodes)) for port in wiring.ports])
    return np.asarray(wanted[wiring.edges[:, 1]])


def _rounded(
    effects: Float[np.ndarray, "example edge"], clean: Float[np.ndarray, " example"]
) -> Float[np.ndarray, "example edge"]:
    # Rounding errors of a dead edge may all have one sign, which a signed-rank test would reject.
    return np.where(
        np.abs(effects) <= ROUNDING * max(float(np.abs(clean).max()), 1e-30), 0.0, effects
    ).astype(np.float32)


def _check(examples: int, alpha: float, epsilon: float, test: str) -> None:
    require_known("test", test, get_args(Test))
    if examples < FEWEST:
        raise InputError(
            f"{examples} examples; a paired test needs at least {FEWEST} to find anything, give "
            "more"
        )
    if not 0 < alpha < 1 or not epsilon >= 0:
        raise InputError(
            f"alpha is {alpha} and epsilon {epsilon}; alpha lies between 0 and 1, epsilon is 0 or "
            "more"
        )
