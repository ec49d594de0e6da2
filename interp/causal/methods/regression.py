"""The correlational baseline for interventional graphs: norms of parts regressed on their parents'
norms.
"""

import time

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp.causal.graph.graph import CausalGraph
from interp.causal.methods.assembly import assembled
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.wiring import Metric, Wiring
from interp.core import InputError, Progress, silent
from interp.core.false_discovery import adjusted

CONSTANT = 1e-7
"""A column that varies by less than this share of its size is constant."""


def regression_graph(
    wiring: Wiring,
    examples: Examples,
    metric: Metric,
    *,
    alpha: float = 0.05,
    progress: Progress = silent,
) -> CausalGraph:
    """Regress the norm of every part's output on the norms of the parts that feed it, by least
    squares, over examples.

    `‖a_child‖ = b_0 + Σ_parents b ‖a_parent‖`; an edge's score is its standardised coefficient
    `b · s_parent / s_child` (s: standard deviation). A last layer's child is the output itself (a
    class logit). Nothing is intervened on: parents that vary together share or swap their credit.
    All rows of `per_example` are equal. Edges are kept by a t test of the coefficient, false
    discoveries controlled at `alpha` over the edges into one layer (`details`: `p`, `q`). The
    metric is measured but not used.

    Raises:
        InputError: the output is not one number per part of the last layer, there are not more
            examples than parents, or `alpha` is out of range.

    Source: Narendra et al. 2018, a linear structural model of the norms of filter responses.

    Cost: one forward pass and one least-squares problem per part.

    Example:
        >>> baseline = regression_graph(wiring, Examples(wiring, images, value="mean"), probability)
    """
    if not 0 < alpha < 1:
        raise InputError(f"alpha is {alpha}; it lies between 0 and 1")
    start = time.perf_counter()
    parents, outputs = _norms(wiring, examples, progress)
    children = _children(wiring, parents, outputs)
    sources, ports = wiring.edges.T
    coefficients, p, q = np.zeros(len(ports)), np.ones(len(ports)), np.ones(len(ports))
    for port in np.unique(ports):
        here = np.flatnonzero(ports == port)
        coefficients[here], p[here] = least_squares(parents[:, sources[here]], children[:, port])
    layers = np.array([port.layer for port in wiring.ports])[ports]
    for layer in np.unique(layers):
        q[layers == layer] = adjusted(p[layers == layer])
    table = np.broadcast_to(coefficients, (len(examples), len(ports))).astype(np.float32)
    return assembled(
        examples,
        metric,
        "regression",
        table,
        {"alpha": alpha},
        start,
        kept=q <= alpha,
        details={"p": p, "q": q},
    )


def least_squares(
    parents: Float[np.ndarray, "example parent"], child: Float[np.ndarray, " example"]
) -> tuple[Float[np.ndarray, " parent"], Float[np.ndarray, " parent"]]:
    """Standardised coefficients and the p values of their t tests; 0 and 1 for constant parents
    (for all, if the child is constant).

    Parents that are copies of each other share the credit (the solution of least norm).

    Raises:
        InputError: there are not more examples than parents that vary.
    """
    from scipy.stats import t as student

    coefficients, p = np.zeros(parents.shape[1]), np.ones(parents.shape[1])
    varied = np.flatnonzero(parents.std(axis=0) > CONSTANT * np.abs(parents).max(axis=0))
    if not len(varied) or child.std() <= CONSTANT * np.abs(child).max():
        return coefficients, p
    design = (parents[:, varied] - parents[:, varied].mean(axis=0)) / parents[:, varied].std(axis=0)
    target = (child - child.mean()) / child.std()
    inverse = np.linalg.pinv(design)
    freedom = len(child) - np.linalg.matrix_rank(design) - 1
    if freedom < 1:
        raise InputError(
            f"{len(child)} examples for a part with {len(varied)} parents; a regression needs more "
            "examples than parents"
        )
    coefficients[varied] = inverse @ target
    left = float(((target - design @ coefficients[varied]) ** 2).sum()) / freedom
    error = np.sqrt(left * (inverse**2).sum(axis=1))
    p[varied] = 2 * student.sf(np.abs(coefficients[varied]) / np.maximum(error, 1e-300), freedom)
    return coefficients, p


def _norms(
    wiring: Wiring, examples: Examples, progress: Progress
) -> tuple[Float[np.ndarray, "example source"], Float[np.ndarray, "example out"]]:
    """The norm of every source's output, and the network's output."""
    norms = np.empty((len(examples), len(wiring.sources)))
    outputs: list[tuple[np.ndarray, Tensor]] = []
    done = 0
    for part in examples:
        rows = part.rows.numpy()
        norms[rows] = (
            torch.stack(
                [value.flatten(1).norm(dim=1) for value in wiring.observe(part.batch)], dim=1
            )
            .cpu()
            .numpy()
        )
        outputs.append((rows, wiring.output(part.batch).detach().flatten(1).cpu()))
        done += len(rows)
        progress("regression", done, len(examples), "example")
    whole = np.empty((len(examples), outputs[0][1].shape[1]))
    for rows, values in outputs:
        whole[rows] = values.numpy()
    return norms, whole


def _children(
    wiring: Wiring,
    norms: Float[np.ndarray, "example source"],
    outputs: Float[np.ndarray, "example out"],
) -> Float[np.ndarray, "example port"]:
    """For each port's part the norm of its output, or its number of the network's output."""
    known = {node.name: number for number, node in enumerate(wiring.sources)}
    last = [number for number, port in enumerate(wiring.ports) if port.nodes[0] not in known]
    if len(last) != outputs.shape[1]:
        raise InputError(
            f"{len(last)} parts of {wiring.model.name} have no output of their own, but its output "
            f"has {outputs.shape[1]} numbers; "
            "the regression baseline is for classifiers of channels"
        )
    children = [
        outputs[:, last.index(number)] if number in last else norms[:, known[port.nodes[0]]]
        for number, port in enumerate(wiring.ports)
    ]
    return np.stack(children, axis=1)
