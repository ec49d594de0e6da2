"""The rules of the house, read off the source: who imports whom, what is never used, what is
documented.
"""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from import_graph import cycles

ROOT = Path(__file__).parent.parent / "interp"
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}

ARRAYS = {"core", "decompose", "features", "detection"}
NETWORKS = ARRAYS | {"corpus", "models", "capture"}
STAGES = NETWORKS | {"steering", "causal", "diffusion", "dynamics"}
MAY_IMPORT = {
    "core": set(),
    "corpus": {"core"},
    "decompose": {"core"},
    "models": {"core"},
    "capture": {"core", "models"},
    "features": {"core", "decompose", "capture"},
    "detection": {"core", "decompose", "features"},
    "steering": NETWORKS,
    "causal": NETWORKS,
    "diffusion": NETWORKS | {"steering"},
    "dynamics": NETWORKS | {"steering", "diffusion"},
    "testbeds": {"core", "corpus", "models", "capture", "diffusion", "dynamics"},
    "studies": STAGES | {"testbeds"},
    "report": STAGES | {"testbeds", "studies"},
    "commands": STAGES | {"testbeds", "studies", "report"},
    "__init__.py": set(),
}
"""A room may import itself and these; `report` only the results of studies (see below)."""

ONLY_IN = {
    "transformer_lens": ("models/adapters",),
    "diffusers": ("models/adapters", "diffusion", "testbeds/generators"),
    "plotly": ("report",),
    "networkx": ("causal/graph",),
    "datasets": ("corpus",),
    "jinja2": ("report", "core/display"),
    "typer": ("commands",),
    "rich": ("commands",),
    "httpx": ("steering/judges",),
    "starlette": ("report/live",),
    "uvicorn": ("report/live",),
}
SLOW = (
    *("transformers", "transformer_lens", "diffusers", "datasets", "plotly", "sklearn", "pyarrow"),
    *("networkx", "jinja2", "typer", "rich", "httpx", "starlette", "uvicorn"),
)
FREE_OPTIONS = {("models/adapters/transformer.py", "generate")}
"""Generation options go through to transformers under their names there, and each is checked."""

FULLEST, WIDEST, POSITIONAL, FIELDS = 15, 100, 6, 4
"""Modules in a folder, columns of a line, positional arguments of a call, fields by position."""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def without_types(tree: ast.Module) -> ast.Module:
    """A module without what stands under `if TYPE_CHECKING`."""
    kept = [node for node in tree.body if not _for_types(node)]
    return ast.Module(body=kept, type_ignores=[])


def _for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def rooms(tree: ast.AST) -> set[str]:
    """The rooms of interp that a file imports."""
    return {found.split(".")[1] for found in imports(tree) if found.startswith("interp.")} & set(
        MAY_IMPORT
    )


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def called(call: ast.Call) -> str:
    return ast.unparse(call.func).split(".")[-1]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_follow_the_table(path: Path) -> None:
    home = room(path)
    assert home in MAY_IMPORT, f"{home} is not in the table"
    tree = without_types(TREES[path]) if home == "__init__.py" else TREES[path]
    forbidden = rooms(tree) - MAY_IMPORT[home] - {home}
    assert not forbidden, f"{home} may not import {sorted(forbidden)}"


def test_no_import_goes_round_in_a_circle() -> None:
    assert cycles() == []


@pytest.mark.parametrize("library", ONLY_IN)
def test_libraries_have_one_home(library: str) -> None:
    users = {
        name(path)
        for path, tree in TREES.items()
        if library in {found.split(".")[0] for found in imports(tree)}
    }
    assert users, f"nothing imports {library}"
    assert {user for user in users if not user.startswith(ONLY_IN[library])} == set()


def test_methods_do_not_import_each_other() -> None:
    """One published method a file: what two of them need lies beside them."""
    for folder, shared in {
        "causal/methods": {"search", "assembly", "effects", "exact", "nodes"},
        "diffusion/directions": {"step_directions", "by_name", "storage", "components"},
    }.items():
        for path in (ROOT / folder).glob("*.py"):
            if path.stem in shared | {"__init__"}:
                continue
            own = f"interp.{folder.replace('/', '.')}."
            used = {
                found.removeprefix(own).split(".")[0]
                for found in imports(TREES[path])
                if found.startswith(own)
            }
            assert not used - shared - {path.stem}, f"{name(path)} imports {sorted(used - shared)}"


def test_methods_of_decomposition_do_not_import_each_other() -> None:
    methods = {"snmf", "sae", "pca", "difference_in_means", "random_directions", "hierarchy"}
    for path in (ROOT / "decompose").rglob("*.py"):
        own = path.relative_to(ROOT / "decompose").parts[0].removesuffix(".py")
        if own in methods:
            used = {
                found.split(".")[2]
                for found in imports(TREES[path])
                if found.startswith("interp.decompose.")
            }
            assert not used & methods - {own}, name(path)


@pytest.mark.parametrize("path", [path for path in FILES if room(path) == "report"], ids=name)
def test_pages_only_show(path: Path) -> None:
    """No statistic is computed where pages are drawn: nothing is resampled, nothing drawn."""
    used = {called(call) for call in calls(TREES[path])}
    computing = {one for one in used if re.search(r"bootstrap|default_rng|manual_seed", one)}
    computing |= used & {"Generator", "quantile", "percentile", "permutation", "randn", "randint"}
    assert not computing, f"{sorted(computing)} belong into a study or a stage"


@pytest.mark.parametrize("path", [path for path in FILES if room(path) == "studies"], ids=name)
def test_a_study_returns_a_frozen_result(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if [ast.unparse(base) for base in node.bases] == ["NamedTuple"]:
                continue
            made = [
                ast.unparse(one) for one in node.decorator_list if "dataclass" in ast.unparse(one)
            ]
            assert made, f"{node.name} is no dataclass"
            assert all("frozen=True" in one for one in made), f"{node.name} can be changed"


@pytest.mark.parametrize("path", [path for path in FILES if room(path) == "commands"], ids=name)
def test_a_command_calls_one_study_and_writes_one_page(path: Path) -> None:
    studies = re.compile(r"^(study_\w+|trace_task|compare|main_job)$")
    pages = re.compile(r"^write_(features|report|comparison|paths|directions|dynamics)$")
    for node in TREES[path].body:
        if isinstance(node, ast.FunctionDef):
            used = [called(call) for call in calls(node)]
            for what in (studies, pages):
                assert sum(bool(what.match(one)) for one in used) <= 1, f"{node.name} does more"


def test_every_job_has_the_same_rooms() -> None:
    jobs = {"features", "comparison", "paths", "directions", "learning"}
    assert {path.name for path in (ROOT / "studies").iterdir() if path.is_dir()} - {
        "__pycache__"
    } == jobs
    for job in jobs:
        files = {path.stem for path in (ROOT / "studies" / job).glob("*.py")}
        assert files >= {"__init__", "protocol", "run", "result"}, job
        assert (ROOT / "report" / "pages" / f"{job}.py").exists()


def test_hooks_are_placed_in_one_room() -> None:
    placing = re.compile(r"^register_(full_|module_)?(forward|backward)\w*hook$")
    users = {
        name(path)
        for path, tree in TREES.items()
        if any(placing.match(called(call)) for call in calls(tree))
    }
    assert users
    assert {user for user in users if not user.startswith("models/")} == set()


def test_no_folder_is_crowded() -> None:
    counts = Counter(path.parent for path in FILES)
    assert {name(folder): n for folder, n in counts.items() if n > FULLEST} == {}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_lines_and_calls_can_be_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    wide = [number for number, line in enumerate(text.splitlines(), 1) if len(line) > WIDEST]
    assert wide == [], f"lines {wide} are wider than {WIDEST} columns"
    long = [call.lineno for call in calls(TREES[path]) if len(call.args) > POSITIONAL]
    assert long == [], f"calls in lines {long} pass more than {POSITIONAL} arguments by position"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_large_records_are_built_by_keyword(path: Path) -> None:
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ClassDef):
            assert positional_fields(node) <= FIELDS, f"{node.name} needs kw_only=True"


def positional_fields(record: ast.ClassDef) -> int:
    """How many own fields of a dataclass are given by position; 0 for any other class."""
    made = [ast.unparse(one) for one in record.decorator_list]
    if not any(one.startswith("dataclass") for one in made) or any(
        "kw_only=True" in one for one in made
    ):
        return 0
    count = 0
    for node in record.body:
        if isinstance(node, ast.AnnAssign):
            kind, value = (
                ast.unparse(node.annotation),
                ast.unparse(node.value or ast.Constant(None)),
            )
            if kind == "KW_ONLY":
                return count
            count += not kind.startswith("ClassVar") and "init=False" not in value
    return count


def test_importing_the_package_is_quick_and_every_public_name_is_there() -> None:
    command = f"import interp, sys; print([name for name in {SLOW} if name in sys.modules])"
    done = _python(command)
    assert done == "[]"
    assert _python(f"import plotly; {command}") == "['plotly']"


def _python(command: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    ).stdout.strip()


@cache
def packages() -> list[str]:
    folders = [path.parent for path in FILES if path.name == "__init__.py"]
    return [".".join(folder.relative_to(ROOT.parent).parts) for folder in folders]


@pytest.mark.parametrize("package", packages())
def test_public_names_exist_and_are_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__doc__
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{package}.{public} has no docstring"
            assert not value.__doc__.startswith(f"{public}("), (
                f"{package}.{public} has only the docstring that dataclass makes"
            )


def test_every_room_says_what_it_is_for() -> None:
    for folder in {ROOT / room(path) for path in FILES if path.parent != ROOT}:
        lines = (folder / "README.md").read_text(encoding="utf-8").strip().splitlines()
        assert len(lines) == 3, name(folder)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_the_source_never_does(path: Path) -> None:
    text, tree = path.read_text(encoding="utf-8"), TREES[path]
    assert "from __future__ import annotations" not in text
    libraries = {module.split(".")[0] for module in imports(tree)}
    assert not {"pickle", "dill", "joblib", "urllib3", "requests"} & libraries
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {
                ("torch", "load"),
                ("torch", "save"),
                ("torch", "manual_seed"),
                ("np", "load"),
            }
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            ends_in_raise = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            assert caught not in ("everything", "Exception", "BaseException") or ends_in_raise, (
                f"line {node.lineno} catches {caught}"
            )
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.args.kwarg:
            open_ended = (name(path), node.name) in FREE_OPTIONS or not public(tree, node)
            assert open_ended, f"line {node.lineno}: {node.name} takes **{node.args.kwarg.arg}"


def public(tree: ast.Module, function: ast.FunctionDef) -> bool:
    """Whether a function is one of the module, or a method of a public class of it."""
    owners = [
        tree,
        *(
            node
            for node in tree.body
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        ),
    ]
    return any(function in owner.body for owner in owners)
