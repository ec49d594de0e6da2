"""`interp track` as a user meets it: runs are trained and shown, a language model is followed,
mistakes take one line.
"""

import json
import shutil
from pathlib import Path

import pytest

from interp.commands.main import main
from interp.corpus.concepts import data_folder
from interp.testbeds.concepts import load_concept_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    assert (
        main(
            [
                "track",
                "train",
                "--signal",
                "0.4",
                "--seed",
                "3",
                "--steps",
                "22",
                "--out",
                str(folder),
                "-q",
            ]
        )
        == 0
    )
    return folder


def test_a_trained_run_is_that_of_its_options_with_its_checkpoints_beside_it(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = load_concept_run(runs / "colour0.4_seed3.json")
    assert (run.settings.colour, run.settings.seed, run.settings.steps, run.finished) == (
        0.4,
        3,
        22,
        True,
    )
    kept = sorted(path.stem for path in (runs / "colour0.4_seed3").glob("*.safetensors"))
    assert kept == [f"step_{step:06d}" for step in run.steps]
    before = (runs / "colour0.4_seed3.json").stat().st_mtime_ns
    assert (
        main(
            [
                "track",
                "train",
                "--signal",
                "0.4",
                "--seed",
                "3",
                "--steps",
                "22",
                "--out",
                str(runs),
                "-q",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.strip() == str(runs / "colour0.4_seed3.json")
    assert (runs / "colour0.4_seed3.json").stat().st_mtime_ns == before


def test_the_page_of_runs_has_their_numbers_and_samples_of_the_kept_checkpoints(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "track",
                "shapes",
                str(runs),
                "--out",
                str(tmp_path / "page"),
                "--threshold",
                "0",
                "--hold",
                "1",
                "-q",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.strip() == str(tmp_path / "page" / "index.html")
    table = json.loads((tmp_path / "page" / "dynamics.json").read_text(encoding="utf-8"))["tables"][
        "times"
    ]
    # At a threshold of 0 all is learned at the first checkpoint.
    assert table["rows"] == [["0.4", *["20 [20, 20], 1 of 1"] * 4]]
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    steps = len(load_concept_run(runs / "colour0.4_seed3.json").steps)
    assert page.count("data:image/png;base64") == steps + 1


def test_a_language_model_is_followed_over_its_checkpoints(tmp_path: Path) -> None:
    shipped, run = data_folder() / "dynamics" / "language", tmp_path / "run"
    run.mkdir()
    recipe = json.loads((shipped / "recipe.json").read_text(encoding="utf-8"))
    recipe["steps"] = [0, 599, 2400]
    (run / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    for name in (
        "tokenizer.json",
        "tokenizer_config.json",
        *(f"step_{step:06d}.safetensors" for step in recipe["steps"]),
    ):
        shutil.copy(shipped / name, run / name)
    given = [
        "--features",
        "5",
        "--prompts",
        "12",
        "--hold",
        "1",
        "--out",
        str(tmp_path / "page"),
        "-q",
    ]
    assert main(["track", "language", str(run), *given]) == 0
    found = json.loads((tmp_path / "page" / "dynamics.json").read_text(encoding="utf-8"))
    assert [row[0] for row in found["tables"]["onsets"]["rows"]] == [
        "article",
        "number",
        "place",
        "induction",
    ]
    # At the last checkpoint the final direction is its own, and the rotation to it is none.
    for _, _, own, transported, final, _ in found["tables"]["shifts"]["rows"]:
        assert own == transported == final
    assert found["tables"]["likeness"]["rows"][-1][:3] == ["2,400", "1.00", "1.00"]


def test_wrong_arguments_take_one_line_and_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out"), "-q"]
    assert main(["track", "train", "--signal", "3", *out]) == 2
    assert main(["track", "train", "--hidden", "shape", *out]) == 2
    assert main(["track", "shapes", str(tmp_path), *out]) == 2
    assert main(["track", "language", str(tmp_path), *out]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert "the colour signal is 3.0" in said[0]
    assert "unknown hidden 'shape'" in said[1]
    assert "holds no runs" in said[2]
    assert "recipe.json" in said[3]
    assert not list((tmp_path / "out").glob("*.html"))
