"""The shell lines of documents: the package's own are run in process on small sizes, all others are
known word for word.
"""

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import typer

from interp.commands.main import UsageError, app, main

KNOWN = frozenset(
    {
        "pip install -c constraints.txt .",
        'pip install "interp[serve]"',
        'pip install -c constraints.txt -e ".[dev]"',
        'pip install -c constraints.txt -e ".[docs]"',
        "ruff check . && ruff format --check . && mypy",
        "pytest",
        "bash .ci/run",
        "mkdocs serve",
        "mkdocs build --strict",
        "hf auth login",
        "llama-cli -m smollm2.gguf --control-vector-scaled sea.gguf:60",
    }
)
"""Lines that no test of documents runs: what installs the package, checks its code, or belongs to
other programs.
"""

SMALLER: dict[tuple[str, ...], tuple[str, ...]] = {
    ("report",): (
        "--model",
        "small",
        "--site",
        "L1.mlp",
        "--method",
        "pca",
        "--features",
        "6",
        "--steered",
        "1",
        "--out",
        "report",
    ),
    ("compare",): (
        *(
            "--model",
            "small",
            "--site",
            "L1.mlp",
            "--place",
            "L1.resid_post",
            "--method",
            "pca",
            "--features",
            "6",
        ),
        *("--concepts", "1", "--random", "2", "--sentences", "2", "--out", "comparison"),
    ),
    ("diffusion", "report"): (
        *(
            "--samples",
            "16",
            "--judged",
            "8",
            "--gate",
            "8",
            "--pairs",
            "8",
            "--steps",
            "2",
            "--method",
            "pca",
            "--out",
            "directions",
        ),
    ),
    ("diffusion", "directions"): ("--samples", "16", "--steps", "2"),
    ("diffusion", "train"): ("--images", "16", "--steps", "2"),
    ("diffusion", "edit"): ("--count", "2"),
    ("diffusion", "invert"): ("--steps", "2"),
    ("track", "train"): ("--steps", "22"),
    ("track", "language"): ("--features", "3", "--prompts", "4"),
}
"""Options that make a command small; they take the place of those that a line gives."""

PARSED = frozenset({("track", "language"), ("paths",)})
"""Commands that take longer than 20 seconds whatever their options: their arguments are parsed, and
`tests/` runs them elsewhere.
"""


def commands_of(text: str) -> list[str]:
    """The command lines of a block: comments and blank lines left out, continued lines joined, `&&`
    kept.
    """
    joined = text.replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in joined.splitlines()]
    return [line for line in map(_uncommented, lines) if line]


def _uncommented(line: str) -> str:
    mark = line.find("#")
    return (line if mark < 0 else line[:mark]).strip()


def execute(line: str, installed: Collection[str]) -> None:
    """Run a line, or check that it is known; `installed` are the lines of `.ci/run`.

    Raises:
        AssertionError: the line is not known, or a command fails or does not take its arguments.
    """
    if line in installed:
        return
    for part in line.split(" && "):
        words = shlex.split(part)
        if words[0] == "interp":
            _command(words[1:])
        else:
            assert line in KNOWN or part in KNOWN, f"no test knows how to run {part!r}"


def _command(words: list[str]) -> None:
    name = name_of(words)
    rest = words[len(name) :]
    if "|" in words:
        for other in [*rest, name[-1]]:
            assert other == "|" or other in _subcommands(name[:-1]), (
                f"interp {' '.join(words)} names {other!r}, which is no command"
            )
    elif name in PARSED or any(word.isupper() for word in rest) or "--serve" in rest:
        parse(name, [*rest, *SMALLER.get(name, ())])
    else:
        parse(name, rest)
        quiet = [] if name in {("models",), ("sites",)} else ["--quiet"]
        given = [*name, *_without(rest, SMALLER.get(name, ())), *SMALLER.get(name, ()), *quiet]
        assert main(given) == 0, f"interp {' '.join(given)} failed"


def _without(words: Sequence[str], replaced: Sequence[str]) -> list[str]:
    """Arguments but those options, each with its value, that are given anew."""
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] in replaced and kept[-1].startswith("--"):
            kept.pop()
        else:
            kept.append(word)
    return kept


def name_of(words: Sequence[str]) -> tuple[str, ...]:
    """The command that a line's words begin with."""
    command, name = typer.main.get_command(app), []
    for word in words:
        inside = getattr(command, "commands", {})
        if word not in inside:
            break
        command = inside[word]
        name.append(word)
    assert name, f"interp {' '.join(words)} begins with no command"
    return tuple(name)


def parse(name: Sequence[str], arguments: Sequence[str]) -> None:
    """Parse arguments as the command line would, without running anything."""
    command: Any = typer.main.get_command(app)
    for part in name:
        command = command.commands[part]
    try:
        command.make_context(name[-1], list(arguments), resilient_parsing=False)
    except UsageError as error:
        raise AssertionError(f"interp {' '.join([*name, *arguments])}: {error}") from error


def _subcommands(group: Sequence[str]) -> set[str]:
    command: Any = typer.main.get_command(app)
    for part in group:
        command = command.commands[part]
    return set(command.commands)


def installing(root: Path) -> set[str]:
    """What continuous integration does, line by line, as a person types it."""
    lines = (root / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    return {line.replace("pip install -q ", "pip install ") for line in lines}
