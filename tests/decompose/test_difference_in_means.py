import pytest
import torch

from interp.core import InputError
from interp.decompose import fit_difference_in_means, fit_difference_in_means_many


def test_the_direction_joins_the_means_and_the_projection_measures_along_it():
    negative = torch.tensor([[1.0, 0.0, 0.0], [1.0, 2.0, 0.0]])
    positive = torch.tensor([[1.0, 1.0, 4.0], [4.0, 1.0, 4.0]]) + torch.tensor([1.5, 0.0, 0.0])
    dim = fit_difference_in_means(positive, negative, name="up")
    torch.testing.assert_close(dim.directions, torch.tensor([[3.0, 0.0, 4.0]]) / 5)
    torch.testing.assert_close(dim.offset, torch.tensor([1.0, 1.0, 0.0]))
    torch.testing.assert_close(
        dim.encode(torch.tensor([[4.0, 1.0, 4.0], [1.0, 9.0, 0.0]])), torch.tensor([[5.0], [0.0]])
    )
    assert dim.names == ("up",)


def test_many_are_each_what_one_would_be():
    rows = torch.randn(3, 20, 8, generator=torch.Generator().manual_seed(0))
    many = fit_difference_in_means_many({"a": rows[0], "b": rows[1]}, rows[2])
    assert many.names == ("a", "b")
    for index in range(2):
        torch.testing.assert_close(
            many.directions[index], fit_difference_in_means(rows[index], rows[2]).directions[0]
        )
    assert float(many.directions[0] @ many.directions[1]) < 0.99


def test_equal_means_no_concepts_and_other_widths_are_refused():
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    with pytest.raises(InputError, match="equals the mean"):
        fit_difference_in_means(rows, rows)
    with pytest.raises(InputError, match="at least one concept"):
        fit_difference_in_means_many({}, rows)
    with pytest.raises(InputError, match="3 wide, the negatives 4"):
        fit_difference_in_means_many({"a": rows[:, :3]}, rows)
