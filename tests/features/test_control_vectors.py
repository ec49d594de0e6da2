"""Exported directions, read back by the readers of the formats and placed as llama.cpp's loader
places them.
"""

import numpy as np
import pytest
import torch
from gguf import GGUFReader, GGUFWriter
from safetensors.torch import load_file, save_file

from interp.core import InputError, UnavailableError
from interp.features import Feature
from interp.features.control_vectors import (
    load_control_vector,
    load_directions,
    save_control_vector,
    save_directions,
)

D = 6


def vector(seed):
    return torch.randn(D, generator=torch.Generator().manual_seed(seed))


def added_by_llama_cpp(path, n_layers):
    """What llama.cpp adds to the output of every block: its loader puts direction.N at place N − 1
    of a buffer, and block i (from 1 on) takes place i − 1."""
    buffer = np.zeros((n_layers, D), dtype=np.float32)
    for tensor in GGUFReader(path).tensors:
        kind, number = tensor.name.split(".")
        assert (kind, tensor.tensor_type.name, list(tensor.shape)) == ("direction", "F32", [D])
        assert int(number) > 0, "the loader refuses layer 0"
        buffer[int(number) - 1] += tensor.data
    return {block: buffer[block - 1] for block in range(1, n_layers)}


def test_a_control_vector_is_added_where_the_site_says(tmp_path):
    path = tmp_path / "sea.gguf"
    save_control_vector(
        {"L3.resid_post": 4 * vector(1), "L2.resid_pre": vector(2)}, path, model_hint="llama"
    )
    added = added_by_llama_cpp(path, 6)
    assert np.array_equal(added[3], 4 * vector(1).numpy())
    assert np.array_equal(added[1], vector(2).numpy()), (
        "what enters block 2 is what block 1 puts out"
    )
    assert not any(added[block].any() for block in (2, 4, 5))


def test_the_keys_are_those_of_the_format(tmp_path):
    path = tmp_path / "sea.gguf"
    save_control_vector(
        {"L3.resid_post": vector(1), "L1.resid_post": vector(2)}, path, model_hint="gemma3"
    )
    fields = GGUFReader(path).fields
    assert fields["general.architecture"].contents() == "controlvector"
    assert fields["controlvector.model_hint"].contents() == "gemma3"
    assert fields["controlvector.layer_count"].contents() == 2
    assert [tensor.name for tensor in GGUFReader(path).tensors] == ["direction.1", "direction.3"]
    assert [item.name for item in tmp_path.iterdir()] == ["sea.gguf"]


def test_it_is_read_back_by_site(tmp_path):
    path = tmp_path / "sea.gguf"
    save_control_vector({"L5.resid_pre": vector(1).double()}, path, model_hint="gpt2")
    loaded = load_control_vector(path)
    assert (list(loaded.vectors), loaded.model_hint) == (["L4.resid_post"], "gpt2")
    assert torch.equal(loaded.vectors["L4.resid_post"], vector(1))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({}, "no vectors"),
        ({"L3.mlp": vector(1)}, r"'L3.mlp' is not one llama.cpp can add to.*interp.companion"),
        ({"L3.resid_mid": vector(1)}, "'L3.resid_mid' is not one"),
        ({"mid": vector(1)}, "'mid' is not one"),
        ({"L0.resid_post": vector(1)}, "before the output of block 1"),
        ({"L1.resid_pre": vector(1)}, "before the output of block 1"),
        ({"L0.resid_pre": vector(1)}, "before the output of block 1"),
        (
            {"L3.resid_post": vector(1), "L4.resid_pre": vector(2)},
            "two vectors are for the output of block 3",
        ),
        ({"L3.resid_post": vector(1), "L4.resid_post": torch.ones(D + 1)}, "6 and 7 wide"),
        ({"L3.resid_post": torch.full((D,), torch.nan)}, "not finite"),
    ],
)
def test_what_llama_cpp_cannot_add_is_refused(tmp_path, vectors, message):
    with pytest.raises(InputError, match=message):
        save_control_vector(vectors, tmp_path / "sea.gguf", model_hint="llama")
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_gguf_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"does not end in \.gguf"):
        save_control_vector({"L3.resid_post": vector(1)}, tmp_path / "sea.bin", model_hint="llama")


def written(path, architecture="controlvector", name="direction.2", values=None):
    writer = GGUFWriter(path, architecture)
    writer.add_tensor(name, np.ones(D, dtype=np.float32) if values is None else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_of_another_program_is_read_without_a_hint(tmp_path):
    loaded = load_control_vector(written(tmp_path / "theirs.gguf"))
    assert loaded.model_hint == ""
    assert torch.equal(loaded.vectors["L2.resid_post"], torch.ones(D))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "llama"}, "is a GGUF file of 'llama'"),
        ({"name": "direction.0"}, "holds direction.0"),
        ({"name": "token_embd.weight"}, "holds token_embd.weight"),
        ({"values": np.ones(D, dtype=np.float16)}, "of float16, expected direction.N"),
        ({"values": np.ones((2, D), dtype=np.float32)}, r"\[2, 6\] of float32"),
    ],
)
def test_other_gguf_files_are_refused(tmp_path, changes, message):
    with pytest.raises(UnavailableError, match=message):
        load_control_vector(written(tmp_path / "theirs.gguf", **changes))


def test_a_missing_or_damaged_file_is_told(tmp_path):
    with pytest.raises(UnavailableError, match="cannot read"):
        load_control_vector(tmp_path / "none.gguf")
    (tmp_path / "bad.gguf").write_bytes(b"nothing at all, but longer than a header is")
    with pytest.raises(UnavailableError, match="cannot read"):
        load_control_vector(tmp_path / "bad.gguf")


def test_directions_are_plain_tensors_to_anyone_and_have_sites_here(axes, tmp_path):
    dictionary = axes(4, D, site="L2.mlp")
    path = tmp_path / "directions.safetensors"
    save_directions(
        [
            Feature(dictionary=dictionary, index=3, label="the sea"),
            Feature(dictionary=dictionary, index=1),
        ],
        path,
    )
    assert {name: value.tolist() for name, value in load_file(path).items()} == {
        "random-3": torch.eye(D)[3].tolist(),
        "random-1": torch.eye(D)[1].tolist(),
    }
    loaded = load_directions(path)
    assert set(loaded) == {"random-1", "random-3"}
    site, direction = loaded["random-3"]
    assert site == "L2.mlp"
    assert torch.equal(direction, torch.eye(D)[3])


def test_directions_need_distinct_features_and_a_file_of_ours(axes, tmp_path):
    feature = Feature(dictionary=axes(2, D), index=1)
    with pytest.raises(InputError, match="no features"):
        save_directions([], tmp_path / "directions.safetensors")
    with pytest.raises(InputError, match="random-1 appear twice"):
        save_directions([feature, feature], tmp_path / "directions.safetensors")
    save_file({"random-1": torch.ones(D)}, tmp_path / "foreign.safetensors")
    for name in ("foreign.safetensors", "none.safetensors"):
        with pytest.raises(UnavailableError, match="cannot read directions"):
            load_directions(tmp_path / name)
