"""The concept tree of a hierarchy: the fine features that each broad feature consists of."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from interp.core import Activations, InputError
from interp.core.display.markup import Html, block, element, numeral
from interp.decompose.hierarchy import Hierarchy
from interp.features.describe import describe

ROOTS, DEPTH = 6, 3
"""What a tree's display shows: features of the broadest level, and levels below them."""


@dataclass(frozen=True, order=True)
class Branch:
    """One edge: `parent` of `level`, `child` of the level below, and the child's weight over the
    parent's largest.
    """

    level: int
    parent: int
    child: int
    share: float


@dataclass(frozen=True)
class ConceptTree:
    """Levels of features, the finest first, and the branches between them by level and parent, the
    heaviest child first. A fine feature may have several parents or none.
    """

    sizes: tuple[int, ...]
    branches: tuple[Branch, ...]

    def branches_of(self, level: int, feature: int) -> tuple[Branch, ...]:
        """The branches from a feature to the level below, the heaviest first."""
        return tuple(
            branch for branch in self.branches if (branch.level, branch.parent) == (level, feature)
        )

    def children(self, level: int, feature: int) -> tuple[int, ...]:
        """The features of the level below that a feature consists of, the heaviest first."""
        return tuple(branch.child for branch in self.branches_of(level, feature))

    def parents(self, level: int, feature: int) -> tuple[int, ...]:
        """The features of the level above that a feature belongs to."""
        return tuple(
            branch.parent
            for branch in self.branches
            if (branch.level - 1, branch.child) == (level, feature)
        )

    def leaves(self, level: int, feature: int) -> frozenset[int]:
        """The features of level 0 under a feature."""
        if level == 0:
            return frozenset((feature,))
        return frozenset(
            leaf
            for child in self.children(level, feature)
            for leaf in self.leaves(level - 1, child)
        )

    def _repr_html_(self) -> str:
        top = len(self.sizes) - 1
        weight = [0.0] * self.sizes[top]
        for branch in self.branches:
            if branch.level == top:
                weight[branch.parent] += branch.share
        roots = sorted(range(len(weight)), key=lambda root: -weight[root])[:ROOTS]
        sizes = ", ".join(f"{size:,}" for size in self.sizes)
        levels = f"features by level, the finest first: {sizes}"
        title = (
            f"{len(roots)} of {len(weight):,} features of level {top}, the heaviest branches "
            "first; numbers: shares of the largest"
        )
        listed = element("ul", *(self._item(top, root, "") for root in roots), kind="list")
        return block("Concept tree", element("p", title, kind="muted"), listed, about=levels)

    def _item(self, level: int, feature: int, share: str) -> Html:
        below = self.branches_of(level, feature) if level > len(self.sizes) - 1 - DEPTH else ()
        items = [
            self._item(level - 1, branch.child, numeral(branch.share))
            for branch in below[: 4 if level == len(self.sizes) - 1 else 2]
        ]
        style = {"style": "padding-left:1.4em"}
        indented = element("ul", *items, kind="tree", attributes=style) if items else ""
        number = element("span", share, kind="muted")
        return element("li", f"level {level}, feature {feature} ", number, indented)


def concept_tree(
    hierarchy: Hierarchy, *, threshold: float = 0.15, max_children: int = 4
) -> ConceptTree:
    """The features of the level below that each broader feature consists of.

    A feature of level l is a child of one of level l + 1 if its weight is at least `threshold` of
    that parent's largest and among the `max_children` heaviest. A parent without positive weights
    has no children.

    Raises:
        InputError: the threshold is not in (0, 1], or `max_children` is below 1.

    Source: Shafran, Geiger & Geva 2025 (arXiv 2506.10920), whose values are the defaults.

    Example:
        >>> concept_tree(hierarchy).children(1, 0)
    """
    if not 0 < threshold <= 1 or max_children < 1:
        raise InputError(
            f"threshold is {threshold} and max_children {max_children}; expected a share in (0, 1] "
            "and at least one child"
        )
    branches = [
        branch
        for level, weights in enumerate(hierarchy.weights, start=1)
        for parent in range(weights.shape[1])
        for branch in _branches(level, parent, weights[:, parent], threshold, max_children)
    ]
    return ConceptTree(hierarchy.sizes, tuple(branches))


def level_labels(
    hierarchy: Hierarchy,
    acts: Activations,
    coefficients: Float[Tensor, "row feature"] | None = None,
) -> tuple[tuple[str, ...], ...]:
    """A label for every feature of every level above the first, from where it fires through the
    levels below.

    `coefficients` of level 0 on the same rows, where known, save the encoding.

    Raises:
        InputError: the activations are of another site than the hierarchy.

    Cost: one encoding by level 0 unless given, one product per level.

    Example:
        >>> level_labels(hierarchy, acts)[0][3]
    """
    codes = hierarchy.levels[0].encoded(acts, coefficients)
    described = [
        describe(level, acts, coefficients=codes @ hierarchy.mixing(number), count=10)
        for number, level in enumerate(hierarchy.levels[1:], start=1)
    ]
    return tuple(tuple(feature.label for feature in features) for features in described)


def _branches(
    level: int, parent: int, weights: Float[Tensor, " child"], threshold: float, max_children: int
) -> list[Branch]:
    largest = float(weights.max())
    if largest <= 0:
        return []
    shares = weights / largest
    heaviest = torch.argsort(shares, descending=True, stable=True)[:max_children].tolist()
    return [
        Branch(level, parent, child, float(shares[child]))
        for child in heaviest
        if shares[child] >= threshold
    ]
