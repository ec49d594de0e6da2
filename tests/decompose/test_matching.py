import pytest
import torch

from interp.core import InputError
from interp.decompose import match_directions


def test_a_permutation_is_undone():
    first = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    matching = match_directions(first, 7 * first[order])
    assert order[matching.second].tolist() == matching.first.tolist()
    assert matching.mean_cosine == pytest.approx(1, abs=1e-5)
    other = torch.randn(6, 20, generator=torch.Generator().manual_seed(1))
    assert match_directions(first, other).mean_cosine < 0.6


def test_the_whole_assignment_is_best_and_not_each_pair():
    first = torch.tensor([[1.0, 0.0], [0.9, 0.4358899]])
    second = torch.tensor([[0.95, 0.3122499], [1.0, 0.0]])
    matching = match_directions(first, second)
    assert matching.second.tolist() == [1, 0]


def test_flipped_directions_match_only_without_signs():
    first = torch.eye(3)
    assert match_directions(first, -first).mean_cosine > -0.5
    unsigned = match_directions(first, -first, signed=False)
    assert unsigned.cosines.tolist() == [-1, -1, -1]


def test_spare_directions_stay_unpaired():
    assert match_directions(torch.eye(5), torch.eye(5)[1:3]).first.tolist() == [1, 2]


def test_widths_and_zero_directions_are_refused():
    with pytest.raises(InputError, match="5 and 4 wide"):
        match_directions(torch.eye(5), torch.eye(4))
    with pytest.raises(InputError, match="all zero"):
        match_directions(torch.eye(3), torch.zeros(3, 3))
