import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from interp.core import InputError, InterpError, UnavailableError
from interp.decompose import fit_pca, load_dictionary


@pytest.fixture
def folder(tmp_path):
    fit_pca(torch.randn(30, 5, generator=torch.Generator().manual_seed(0)), 2).save(
        tmp_path / "pca"
    )
    return tmp_path / "pca"


def edit_json(folder, **changes):
    path = folder / "dictionary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(folder, **changes):
    tensors = {**load_file(folder / "dictionary.safetensors"), **changes}
    save_file(
        {name: tensor for name, tensor in tensors.items() if tensor is not None},
        folder / "dictionary.safetensors",
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "dictionary.json").unlink(), "cannot read"),
        (lambda folder: (folder / "dictionary.safetensors").unlink(), "cannot read"),
        (
            lambda folder: (folder / "dictionary.safetensors").write_bytes(b"not tensors"),
            "cannot read",
        ),
        (lambda folder: (folder / "dictionary.json").write_text("[]"), "does not describe"),
        (lambda folder: edit_json(folder, method="magic"), "unknown method 'magic'"),
        (lambda folder: edit_json(folder, provenance={"metod": 1}), "provenance"),
        (lambda folder: edit_tensors(folder, variance=None), "lacks variance"),
        (lambda folder: edit_tensors(folder, variance=torch.ones(3)), r"variance is \(3,\)"),
        (lambda folder: edit_tensors(folder, offset=torch.ones(5, 1)), r"offset is \(5, 1\)"),
        (lambda folder: edit_tensors(folder, offset=torch.full((5,), torch.nan)), "not finite"),
    ],
)
def test_damage_is_told_in_one_line(folder, damage, message):
    assert load_dictionary(folder).method == "pca"
    damage(folder)
    with pytest.raises(InterpError, match=message) as caught:
        load_dictionary(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not a dictionary's folder"):
        fit_pca(torch.eye(5), 2).save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_older_dictionary_is_replaced_whole(folder):
    fit_pca(torch.eye(7), 3).save(folder)
    assert load_dictionary(folder).directions.shape == (3, 7)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["pca"]


def test_a_missing_folder_is_unavailable(tmp_path):
    with pytest.raises(UnavailableError, match="cannot read"):
        load_dictionary(tmp_path / "nowhere")
