"""Of many comparisons, which stand: p values adjusted by the false discovery rate."""

import numpy as np
from jaxtyping import Float


def adjusted(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """p values adjusted for one family (Benjamini & Hochberg 1995):
    `q_(i) = min over j ≥ i of p_(j) · n / j`.
    """
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p, method="bh"))
