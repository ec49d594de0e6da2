"""`interp report --serve`: an existing report is served as it is, a missing one is made first."""

import json
from pathlib import Path
from typing import Any

import live_folder
import pytest

import interp.commands.report
import interp.report.live.serve
from interp.commands.main import main


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The server replaced by one that ends at once; what it was asked to serve."""
    asked: list[tuple[Any, ...]] = []

    def serve(folder: Path, model: Any, port: int, *, ready: Any, progress: Any) -> None:
        asked.append((folder, model, port))
        ready("http://127.0.0.1:1/")

    monkeypatch.setattr(interp.report.live.serve, "serve", serve)
    return asked


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The main job replaced by one that writes a made-up report."""
    folders: list[Path] = []

    def job(settings: Any, folder: Path, *, progress: Any) -> Path:
        folders.append(folder)
        return live_folder.write(folder, live_folder.speaker()) / "index.html"

    monkeypatch.setattr(interp.commands.report, "main_job", job)
    return folders


def test_a_report_that_is_there_is_served_as_it_is(
    tmp_path: Path, served: list[Any], made: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = live_folder.write(tmp_path / "out", live_folder.speaker())
    assert main(["report", "--serve", "--out", str(folder), "--port", "8123"]) == 0
    assert (served, made) == ([(folder, None, 8123)], [])
    shown = capsys.readouterr()
    assert shown.out == "http://127.0.0.1:1/\n"
    assert f"serving the report in {folder} as it is; use --out for a new one" in shown.err


def test_without_one_it_is_made_first(
    tmp_path: Path, served: list[Any], made: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--serve", "--quiet", "--out", str(tmp_path)]) == 0
    assert (served, made) == ([(tmp_path, None, 0)], [tmp_path])
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("http://127.0.0.1:1/\n", "")


def test_a_model_that_is_named_is_the_one_that_is_loaded(
    tmp_path: Path, served: list[Any], made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = live_folder.speaker()
    monkeypatch.setattr("interp.models.load_model", lambda name, **_: {"moved": model}[name])
    assert main(["report", "--serve", "--quiet", "--model", "moved", "--out", str(tmp_path)]) == 0
    assert served == [(tmp_path, model, 0)]


def test_what_serves_is_missed_before_a_report_is_made(
    tmp_path: Path,
    served: list[Any],
    made: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(interp.report.live.serve, "find_spec", lambda name: None)
    assert main(["report", "--serve", "--out", str(tmp_path)]) == 2
    assert (served, made) == ([], [])
    assert 'pip install "interp[serve]"' in capsys.readouterr().err
    assert main(["report", "--quiet", "--out", str(tmp_path)]) == 0


def test_without_serve_nothing_is_served(
    tmp_path: Path, served: list[Any], made: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--quiet", "--out", str(tmp_path)]) == 0
    assert served == []
    assert capsys.readouterr().out == f"{tmp_path / 'index.html'}\n"


@pytest.mark.parametrize(
    ("described", "asked"),
    [
        ({"name": "mine", "source": "some/where/mine"}, "some/where/mine"),
        ({"name": "mine"}, "mine"),
    ],
)
def test_the_model_is_loaded_from_where_it_was_and_else_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, described: dict[str, str], asked: str
) -> None:
    model = live_folder.speaker()
    folder = live_folder.write(tmp_path / "out", model)
    data = json.loads((folder / "features.json").read_text())
    (folder / "features.json").write_text(json.dumps(data | {"model": data["model"] | described}))
    monkeypatch.setattr(
        interp.report.live.serve, "load_model", lambda name, **_: {asked: model}[name]
    )
    with interp.report.live.serve.serving(folder) as url:
        assert url.startswith("http://127.0.0.1:")
