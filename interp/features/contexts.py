"""The input side of a feature: the contexts in which it fires, and how often."""

import numpy as np
from jaxtyping import Float, Int

from interp.core import Contexts
from interp.features.feature import FeatureContext

FIRING_SHARE = 0.05


def top_contexts(
    coefficients: Float[np.ndarray, " row"],
    contexts: Contexts,
    *,
    count: int = 25,
    radius: int = 15,
) -> tuple[FeatureContext, ...]:
    """The rows with the largest coefficients, at most one per input, each with the tokens around it
    and their coefficients.

    Rows with a coefficient ≤ 0 are not contexts, so a dead feature has none. A token that was not
    recorded (the first of a text) has coefficient 0.

    Cost: one sort of the rows, and one pass over them per context.
    """
    rows = _best_row_per_item(coefficients, contexts.item, count)
    return tuple(_context(row, coefficients, contexts, radius) for row in rows)


def firing_rate(coefficients: Float[np.ndarray, " row"]) -> float:
    """The share of rows whose coefficient is above 5 % of the feature's largest."""
    top = coefficients.max(initial=0.0)
    return float((coefficients > FIRING_SHARE * top).mean()) if top > 0 else 0.0


def _best_row_per_item(
    coefficients: Float[np.ndarray, " row"], item: Int[np.ndarray, " row"], count: int
) -> list[int]:
    rows: list[int] = []
    seen: set[int] = set()
    for row in np.argsort(-coefficients, kind="stable"):
        if len(rows) == count or coefficients[row] <= 0:
            break
        if int(item[row]) not in seen:
            seen.add(int(item[row]))
            rows.append(int(row))
    return rows


def _context(
    row: int, coefficients: Float[np.ndarray, " row"], contexts: Contexts, radius: int
) -> FeatureContext:
    window = contexts.window(row, radius)
    values = tuple(float(coefficients[other]) if other >= 0 else 0.0 for other in window.rows)
    return FeatureContext(window.tokens, values, len(window.before))
