"""p values adjusted for the false discovery rate of many comparisons."""

import numpy as np
from jaxtyping import Float


def adjusted(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Adjusted p values of one family, `q_(i) = min over j ≥ i of p_(j) · n / j` (Benjamini &
    Hochberg 1995).
    """
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p, method="bh"))
