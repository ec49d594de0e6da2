"""Every block of every document runs, every link leads somewhere, and the site builds without a
warning or a foreign host.
"""

import ast
import contextlib
import functools
import io
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import documents_shell as shell
import pytest
import small
import tiny
from documents_blocks import Block, anchors_of, blocks_of, links_of, same

import interp

ROOT = Path(__file__).parent.parent
SITE = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "data" / "README.md",
    *sorted((ROOT / "benchmarks").glob("*.md")),
    *SITE,
]
LINKED = [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "data").rglob("README.md"))]
LANGUAGES = {"python", "output", "text", "sh", "json", "setup"}
MODEL = "smollm2-135m-instruct"
EXTERNAL: frozenset[str] = frozenset()
"""Every address that a document links to, so that a new one is seen."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


with_python = [
    path for path in PAGES if any(block.language == "python" for block in blocks_of(path))
]
with_shell = [path for path in PAGES if any(block.language == "sh" for block in blocks_of(path))]


@pytest.fixture(scope="module", autouse=True)
def loaded_once() -> Iterator[None]:
    """The real model and encoder, read from disk once: every other name is loaded as it is for
    anyone.
    """
    from interp.models import load_encoder, load_model

    known: dict[str, Any] = {}

    @functools.wraps(load_model)
    def model(name: str | Path, **options: Any) -> Any:
        if name != MODEL or set(options) - {"progress"}:
            return load_model(name, **options)
        return known.setdefault(MODEL, known.get(MODEL) or load_model(MODEL))

    encoder = functools.cache(lambda: load_encoder())
    with pytest.MonkeyPatch.context() as patch:
        for module in (
            "interp.models",
            "interp.studies.features.run",
            "interp.studies.comparison.run",
        ):
            patch.setattr(f"{module}.load_model", model)
            patch.setattr(f"{module}.load_encoder", lambda **options: encoder())
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader works: the package's data, a small model in a folder, a GPT-2 under the name
    that the hub has, some texts.
    """
    place = tmp_path_factory.mktemp("reader")
    (place / "data").symlink_to(ROOT / "data")
    small.language_folder(place / "small")
    tiny.save(tiny.language("gpt2"), place / "gpt2")
    (place / "my.txt").write_text(
        "\n".join([*tiny.SENTENCES, *small.concepts().concepts[0].fit]), encoding="utf-8"
    )
    return place


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_every_block_is_of_a_kind_that_is_tested(path: Path) -> None:
    previous = None
    for block in blocks_of(path):
        assert block.language in LANGUAGES, (
            f"{block} is of {block.language!r}, which no test runs; choose among "
            f"{sorted(LANGUAGES)}"
        )
        if block.language == "json":
            as_json(block)
        elif block.language in {"output", "text"}:
            assert previous is not None, f"{block} shows what nothing printed"
            assert previous.language in {"python", "output"}, f"{block} shows what nothing printed"
        previous = block


def as_json(block: Block) -> None:
    try:
        json.loads(block.text)
    except json.JSONDecodeError:
        for line in block.text.splitlines():
            json.loads(line)


@pytest.mark.slow
@pytest.mark.parametrize("path", with_python, ids=name)
def test_the_python_blocks_of_a_page_run_in_order_and_print_what_it_shows(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    module = types.ModuleType(f"document_{path.stem.replace('-', '_').lower()}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    printed = ""
    # A setup may leave something to be closed: `closing.callback(...)`.
    with contextlib.ExitStack() as closing, mock.patch.dict(os.environ):
        module.__dict__["closing"] = closing
        for block, kind in kinds_of(path):
            if kind == "python":
                printed = ran(block, module)
            elif kind == "output":
                assert same(block.text, printed), (
                    f"{block} shows\n{block.text}\nbut what came out is\n{printed}"
                )
            elif kind == "text":
                assert len(block.text.splitlines()) == len(printed.splitlines()), (
                    f"{block} has other lines than\n{printed}"
                )


def kinds_of(path: Path) -> list[tuple[Block, str]]:
    """The blocks of a page, each with its language; a setup has that of the block it stands
    before.
    """
    blocks = blocks_of(path)
    following = [*(block.language for block in blocks[1:]), ""]
    return [
        (block, after if block.language == "setup" else block.language)
        for block, after in zip(blocks, following, strict=True)
    ]


def ran(block: Block, module: types.ModuleType) -> str:
    """What a block prints; its line numbers are those of its page."""
    code = compile(
        ast.parse("\n" * (block.line - 1) + block.text, str(block.path)), str(block.path), "exec"
    )
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, module.__dict__)
    return output.getvalue()


@functools.cache
def once(line: str) -> None:
    shell.execute(line, shell.installing(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("path", with_shell, ids=name)
def test_the_commands_of_a_page_do_what_they_are_asked(
    path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that several pages show is run once."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("interp.studies.features.run.load_concepts", small.concepts)
    monkeypatch.setattr("interp.studies.comparison.run.load_concepts", small.concepts)
    for block, kind in kinds_of(path):
        if block.language == "setup" and kind == "sh":
            ran(block, types.ModuleType("setup"))
        elif kind == "sh":
            for line in shell.commands_of(block.text):
                once(line)


@pytest.mark.parametrize(
    "line",
    [
        "interp raport",
        "interp report --sites L1.mlp",
        "make",
        "pip install interp",
        "interp track a | b",
        "pytest && make",
    ],
)
def test_a_command_that_does_not_exist_is_seen(line: str) -> None:
    with pytest.raises(AssertionError):
        shell.execute(line, shell.installing(ROOT))


def test_what_a_page_shows_is_held_against_what_is_printed() -> None:
    assert same("sea 0.98, n=3", "sea 0.97, n=3")
    assert not same("sea 0.98, n=3", "sea 0.90, n=3")
    assert not same("sea 0.98", "tea 0.98")
    assert not same("sea 0.98", "sea 0.98 0.98")


@pytest.mark.parametrize("path", LINKED, ids=name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in links_of(path):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            assert re.fullmatch(r"https://[\w.-]+\.[a-z]{2,}(/[^\s]*)?", link), (
                f"{name(path)} links to {link}, which is no https address"
            )
            assert link in EXTERNAL, f"{name(path)} links to {link}; list it in EXTERNAL"
            continue
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), f"{name(path)} links to {link}, which is not there"
        # The reference's anchors are made from docstrings when the site is built, which checks
        # them.
        if anchor and there.parent.name != "reference":
            assert anchor in anchors_of(there), (
                f"{name(path)} links to {link}; {there.name} has no such heading"
            )


def address(home: str, public: str) -> str:
    """Where the site finds a name: in its package, or in the module of the same name, which would
    hide it there.
    """
    module = ROOT / "interp" / home / f"{public}.py"
    return f"interp.{home}.{public}.{public}" if module.is_file() else f"interp.{home}.{public}"


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md")
    )
    documented = set(re.findall(r"^::: (\S+)$", text, flags=re.MULTILINE))
    wanted = {address(home, public) for public, home in interp._HOMES.items()}
    assert sorted(wanted - documented) == []
    index = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    assert [public for public in interp.__all__ if f"[`{public}`]" not in index] == []


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(SITE)
    for page in pages:
        tags = re.findall(
            r"<(?:link|script|img|iframe|source|video|audio)\b[^>]*>",
            page.read_text(encoding="utf-8"),
        )
        foreign = [
            tag for tag in tags if re.search(r"""(?:src|href|srcset)=["']?(?:[a-z]+:)?//""", tag)
        ]
        assert foreign == [], f"{page.name} loads {foreign}"
    styles = "".join(
        path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.css")
    )
    assert re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"']+", styles) == []
    shown = (tmp_path / "site" / "reference" / "decompose.html").read_text(encoding="utf-8")
    assert 'id="interp.decompose.fit_snmf"' in shown
