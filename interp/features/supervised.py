"""Directions from labels: the supervised reference for unsupervised dictionaries."""

from collections.abc import Sequence

import numpy as np

from interp.core import Activations
from interp.decompose import DifferenceInMeans, fit_difference_in_means_many


def concept_means(acts: Activations, labels: Sequence[str | None]) -> DifferenceInMeans:
    """One difference-in-means direction per concept: the mean over its inputs' rows minus the mean
    over the rows of unlabelled inputs.

    `labels [item]` is the concept of each input, None for a neutral one.

    Raises:
        InputError: there are no concepts or no neutral inputs.

    Example:
        >>> concept_means(acts, ("joy", "joy", None, None)).names
        ('joy',)
    """
    names = np.array([label or "" for label in labels])
    groups = {
        name: acts.of_items(np.flatnonzero(names == name))
        for name in sorted(set(names.tolist()) - {""})
    }
    return fit_difference_in_means_many(groups, acts.of_items(np.flatnonzero(names == "")))
