"""The tree of a hand-made hierarchy is known by eye."""

import pytest
import torch

from interp.core import InputError, Provenance
from interp.decompose.hierarchy import Hierarchy
from interp.decompose.random_directions import RandomDirections
from interp.features.tree import Branch, concept_tree


def level(count):
    return RandomDirections(torch.eye(count, 8), torch.zeros(8), Provenance("hand-made"))


@pytest.fixture
def hierarchy():
    first = torch.tensor(
        [
            [2.0, 0.0, 0.0],
            [1.0, 0.0, 0.0],
            [0.3, 0.5, 0.0],
            [0.29, 1.0, 0.0],
            [0.0, 0.9, 0.0],
            [0.31, 0.0, 0.0],
        ]
    )
    second = torch.tensor([[0.2], [1.0], [0.0]])
    return Hierarchy((level(6), level(3), level(1)), (first, second))


def test_children_are_those_above_the_share_the_heaviest_first(hierarchy):
    tree = concept_tree(hierarchy)
    assert tree.sizes == (6, 3, 1)
    assert tree.children(1, 0) == (0, 1, 5, 2)
    assert tree.children(1, 1) == (3, 4, 2)
    assert tree.children(1, 2) == ()
    assert tree.children(2, 0) == (1, 0)
    assert tree.branches[0] == Branch(1, 0, 0, 1.0)
    assert tree.branches[1].share == 0.5


def test_a_feature_may_have_two_parents_and_leaves_are_of_the_finest_level(hierarchy):
    tree = concept_tree(hierarchy)
    assert tree.parents(0, 2) == (0, 1)
    assert tree.parents(0, 0) == (0,)
    assert tree.parents(1, 2) == ()
    assert tree.leaves(2, 0) == {0, 1, 2, 3, 4, 5}
    assert tree.leaves(1, 1) == {2, 3, 4}
    assert tree.leaves(0, 5) == {5}


def test_threshold_and_number_of_children_are_arguments(hierarchy):
    assert concept_tree(hierarchy, threshold=0.5).children(1, 0) == (0, 1)
    assert concept_tree(hierarchy, max_children=1).children(1, 1) == (3,)
    assert concept_tree(hierarchy, threshold=0.14, max_children=9).children(1, 0) == (0, 1, 5, 2, 3)


@pytest.mark.parametrize("options", [{"threshold": 0.0}, {"threshold": 1.1}, {"max_children": 0}])
def test_arguments_out_of_range_are_refused(hierarchy, options):
    with pytest.raises(InputError, match="share in"):
        concept_tree(hierarchy, **options)
