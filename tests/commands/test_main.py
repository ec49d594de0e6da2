"""The command line as a user meets it: help, answers, one line for every mistake, and nothing
half-written when stopped.
"""

import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small
import synthetic
import tiny
import torch

import interp.studies.features.run
from interp.capture import record
from interp.commands.main import app, main
from interp.commands.terminal import shown, table
from interp.models import CATALOG, load_model
from interp.report import write_report
from interp.studies.features.protocol import Settings

ROOT = Path(__file__).parents[2]
SENTENCES = "\n".join(tiny.SENTENCES)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.language("llama"), tmp_path_factory.mktemp("model"))


@pytest.fixture
def few_concepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interp.studies.features.run.load_concepts", small.concepts)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The main job replaced by one that writes a made-up page at once; the settings it was
    given.
    """
    given: list[Settings] = []

    def write(settings: Settings, folder: Path, *, progress: Any) -> Path:
        given.append(settings)
        progress("record", 1, 2, "batch")
        return write_report(synthetic.report_data(2), folder)

    monkeypatch.setattr(interp.studies.features.run, "main_job", write)
    return given


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    command = [sys.executable, "-m", "interp.commands.main", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=120,
        check=False,
    )


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line that a wrong call gets; nothing goes to standard output."""
    assert main([*map(str, arguments)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = [line for line in shown.err.splitlines() if line.startswith("interp: ")]
    assert shown.err.splitlines()[-1:] == lines, "one line, and it is the last"
    return lines[0]


def leftovers(folder: Path) -> list[str]:
    """Hidden files and folders: what a write that did not finish would leave."""
    return [path.name for path in folder.rglob(".*")]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_says_what_it_is_for_and_names_every_command(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(arguments)) == 0
    text = capsys.readouterr().out
    assert "Find the features of a neural network" in " ".join(text.split())
    assert all(
        command.callback is not None and command.callback.__name__ in text
        for command in app.registered_commands
    )


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            "report",
            (
                "writes? a page",
                "report/index.html",
                "--model",
                "--site",
                "--companion-site",
                "--texts",
                "--seed",
                "--out",
                "--quiet",
            ),
        ),
        ("models", ("where their weights come from",)),
        ("sites", ("recorded and changed", "local folder")),
    ],
)
def test_each_command_explains_itself(
    command: str, words: tuple[str, ...], monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([command, "--help"]) == 0
    text = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert [word for word in words if not re.search(word, text)] == []


def test_what_the_help_calls_default_is_the_default(job: list[Settings], tmp_path: Path) -> None:
    assert main(["report", "--quiet", "--out", str(tmp_path)]) == 0
    assert job == [Settings()]


def test_every_option_arrives(job: list[Settings], tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text(SENTENCES, encoding="utf-8")
    options = (
        "--model m --site L1.mlp --companion-site L2.resid_post --method sae --method snmf "
        "--method sae --features 7 --sparsity 0.5"
    )
    seeds = ("--seed", "4", "--stability", "2")
    assert (
        main(
            [
                "report",
                *options.split(),
                "--texts",
                str(texts),
                "--steered",
                "3",
                *seeds,
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    wanted = Settings(
        model="m",
        site="L1.mlp",
        companion_site="L2.resid_post",
        methods=("sae", "snmf"),
        features=7,
        sparsity=0.5,
        texts=tiny.SENTENCES,
        steered_concepts=3,
        stability=2,
        seed=4,
    )
    assert job == [wanted]


def test_quiet_prints_the_path_alone(
    job: list[Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--quiet", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'index.html'}\n", "")


def test_progress_goes_elsewhere_than_the_path(
    job: list[Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr() == (f"{tmp_path / 'index.html'}\n", "record: 1/2 batch\n")


def test_models_are_listed_without_a_network(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unreachable(*arguments: Any, **options: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", unreachable)
    monkeypatch.setattr("subprocess.Popen", unreachable)
    assert main(["models"]) == 0
    header, *rows, hint = capsys.readouterr().out.splitlines()
    assert header.split("\t") == ["name", "kind", "what", "licence", "cached"]
    assert [row.split("\t")[0].removesuffix(" (default)") for row in rows] == list(CATALOG)
    assert "interp report --model PATH" in hint


def test_sites_of_a_folder(language: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sites", str(language)]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header == "site\tshape of one example"
    assert dict(row.split("\t") for row in rows)["L2.mlp"] == f"any × {tiny.NEURONS}"
    assert [row.split("\t")[0] for row in rows] == list(load_model(language).sites)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("report", "--featurs", "3"), "No such option: --featurs .*--features"),
        (("reprot",), "No such command 'reprot'. Did you mean 'report'?"),
        (("report", "--features", "many"), "--features.*valid integer"),
        (("report", "--features", "0"), "--features.*1"),
        (("sites",), "Missing argument"),
        (("report", "--method", "snfm"), "unknown method 'snfm'; nearest: snmf"),
        (("report", "--texts", "no/such/file.txt"), "cannot read no/such/file.txt: No such file"),
        (("sites", "no/such/folder/"), "there is no folder no/such/folder"),
        (("sites", "?"), "'\\?' is no folder.*smollm2-135m-instruct"),
    ],
)
def test_a_mistake_gets_one_line(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", str(tmp_path)) if arguments[0] == "report" else ()
    line = refused(capsys, *arguments, *out)
    assert re.search(expected, line)
    assert len(line) < 300


def test_a_mistake_gets_exit_code_2_and_no_traceback_from_a_process() -> None:
    done = run("report", "--bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"interp: No such option: --bogus.*\n", done.stderr)


def test_a_slip_in_a_models_name_is_answered_with_the_name(
    monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("interp.models.weights.fetch.from_hub", _no_hub)
    assert main(["sites", "smollm2-135m-instrct"]) == 2
    assert "did you mean 'smollm2-135m-instruct'?" in capsys.readouterr().err.splitlines()[0]


def _no_hub(*arguments: Any, **options: Any) -> None:
    from interp.core import UnavailableError

    raise UnavailableError("the hub did not answer")


def test_an_unknown_site_is_answered_with_the_nearest(
    language: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(
        capsys, "report", "--quiet", "--model", language, "--site", "L1.mpl", "--out", tmp_path
    )
    assert "unknown site 'L1.mpl'; nearest: L1.mlp" in line


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "holds no text; give one text per line"),
        (b" \n\n", "holds no text; give one text per line"),
        (
            "Le café est fermé.".encode("latin-1"),
            "is not UTF-8: line 1 holds byte 0xe9; convert it",
        ),
    ],
)
def test_a_corpus_that_cannot_be_read_is_refused(
    content: bytes, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_bytes(content)
    assert expected in refused(capsys, "report", "--texts", texts, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_corpus_of_other_unicode_encodings_is_read(
    encoding: str, job: list[Settings], tmp_path: Path
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("Le café est fermé.\r\nDie Tür auch.\r\n", encoding=encoding, newline="")
    assert main(["report", "--quiet", "--texts", str(texts), "--out", str(tmp_path)]) == 0
    assert job[0].texts == ("Le café est fermé.", "Die Tür auch.")


@pytest.mark.usefixtures("few_concepts")
def test_a_corpus_of_one_line_has_too_few_rows_for_many_features(
    language: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("The sea was calm.", encoding="utf-8")
    line = refused(
        capsys,
        "report",
        "--model",
        language,
        "--texts",
        texts,
        "--features",
        "100",
        "--out",
        tmp_path / "out",
    )
    rows = len(record(load_model(language), ["The sea was calm."], "L1.mlp"))
    assert f"n_features is 100; expected at most {rows} " in line


def test_a_text_of_100000_characters_is_cut_and_nothing_of_it_is_dropped(language: Path) -> None:
    model = load_model(language)
    text = (SENTENCES * (100_000 // len(SENTENCES) + 1))[:100_000]
    acts = record(model, [text, "Short."], "L1.mlp")
    assert "".join(acts.contexts.tokens[0]) == text
    tokens, segment = len(acts.contexts.tokens[0]), model.context_length
    pieces = -(-tokens // segment)
    assert pieces > 100
    # By the default rule each piece's first position is not a row; every other token is one, once.
    kept = acts.contexts.position[acts.contexts.item == 0].tolist()
    assert kept == [position for position in range(tokens) if position % segment]
    assert len(kept) == tokens - pieces


@pytest.mark.usefixtures("few_concepts")
def test_activations_that_are_not_finite_are_refused_with_their_context(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module = tiny.language("llama")
    with torch.no_grad():
        module.get_input_embeddings().weight[tiny.tokenizer().convert_tokens_to_ids("z")] = (
            torch.nan
        )
    folder = tiny.save(module, tmp_path / "model")
    texts = tmp_path / "texts.txt"
    texts.write_text("The sea was calm.\nA zoo by the sea.\n", encoding="utf-8")
    line = refused(
        capsys,
        "report",
        "--quiet",
        "--model",
        folder,
        "--texts",
        texts,
        "--features",
        "3",
        "--out",
        tmp_path / "out",
    )
    assert re.search(
        (
            r"rows of L\d.mlp are not finite, first row \d+: token .+ at position \d+ of input 1 "
            r"\('A "
            r"zoo by the sea.'\)"
        ),
        line,
    )
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr("interp.studies.features.run.load_model", never)
    file = tmp_path / "file"
    file.write_text("kept", encoding="utf-8")
    assert "is a file; give the name of a folder" in refused(capsys, "report", "--out", file)
    # A file where a folder should be is refused by the system whoever asks; permissions would not
    # stop root.
    assert re.search(
        "cannot write .*Not a directory; .*choose another folder",
        refused(capsys, "report", "--out", file / "report"),
    )
    assert file.read_text(encoding="utf-8") == "kept"


def test_a_full_disk_is_one_line_and_the_old_report_stays(
    job: list[Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = half_writes(tmp_path, monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    capsys.readouterr()
    line = refused(capsys, "report", "--quiet", "--out", tmp_path)
    assert re.search("cannot write .*No space left on device; free some space", line)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_stop_in_the_middle_of_writing_leaves_the_old_report(
    job: list[Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = half_writes(tmp_path, monkeypatch, KeyboardInterrupt())
    capsys.readouterr()
    assert main(["report", "--quiet", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr() == ("", "interp: stopped; nothing half-written was left\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def half_writes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> dict[str, bytes]:
    """A report in the folder, whose next writing breaks off half-way; the folder's content before
    that.
    """
    assert main(["report", "--quiet", "--out", str(folder)]) == 0
    whole = Path.write_text

    def half(path: Path, text: str, encoding: str | None = None) -> int:
        whole(path, text[: len(text) // 2], encoding=encoding)
        raise fault

    monkeypatch.setattr(Path, "write_text", half)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_ctrl_c_ends_a_running_report(language: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "interp.commands.main",
        "report",
        "--model",
        str(language),
        "--out",
        str(tmp_path / "out"),
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        command, **pipes, cwd=ROOT, env=environment(), preexec_fn=interruptible
    ) as process:
        assert process.stderr is not None
        seen = list(until("record: ", process.stderr))
        process.send_signal(signal.SIGINT)
        out, rest = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert out == ""
    assert "Traceback" not in "".join(seen) + rest
    assert rest.splitlines()[-1] == "interp: stopped; nothing half-written was left"
    assert list(tmp_path.rglob("*")) == [tmp_path / "out"]
    assert leftovers(tmp_path) == []


def interruptible() -> None:
    """What a shell starts in the background ignores Ctrl-C, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(start: str, lines: io.TextIOBase | Any) -> Iterator[str]:
    for line in lines:
        yield line
        if line.startswith(start):
            return


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "stdout", stream)
    for name, value in (("COLUMNS", "80"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    return stream


def test_bars_show_stage_rate_and_unit_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    with shown(False) as progress:
        for step in range(3):
            progress("semi-NMF [early]", step + 1, 500, "iterations")
        for step in range(5):
            progress("generate at L15.resid_post", step + 1, 5, "cell")
            time.sleep(0.02)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    last = text.rstrip().splitlines()[-1]
    assert re.match(r"generate at L15.resid_post +━+ 5/5 +cell +[\d.]+/s", last)
    assert len(last) <= 80
    # A stage that met its tolerance early ends with the steps it took.
    assert re.search(r"semi-NMF \[early\] +━+ 3/3 +iterations", text)


def test_without_a_terminal_a_stage_is_a_line_at_its_beginning_and_its_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with shown(False) as progress:
        for step in range(100):
            progress("record", step + 1, 100, "batch")
        progress("download", 10, 0, "byte")
        progress("download", 20, 0, "byte")
        progress("record", 1, 2, "batch")
    out, err = capsys.readouterr()
    assert out == ""
    lines = [re.sub(r", [\d.,]+/s$", ", rate", line) for line in err.splitlines()]
    assert lines == [
        "record: 1/100 batch",
        "record: 100/100 batch, rate",
        "download: 10/? byte",
        "record: 1/2 batch",
    ]


@pytest.mark.parametrize("quiet", [True, False])
def test_a_warning_is_one_line_and_the_display_gives_the_old_way_back(
    quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with shown(quiet):
            warnings.warn("did not\nconverge", UserWarning, stacklevel=1)
        assert capsys.readouterr() == ("", "UserWarning: did not converge\n")
    assert warnings.showwarning is before


def test_a_table_in_a_terminal_keeps_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    table(("site", "shape"), [("[x]", "any × 3")])
    assert "[x]" in stream.getvalue()
