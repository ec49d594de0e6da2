"""The rules of the layout, read off the source: who imports whom, what is never used, what is
documented.
"""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "interp"
FILES = sorted(ROOT.rglob("*.py"))
STAGES = {
    "core",
    "corpus",
    "models",
    "capture",
    "decompose",
    "features",
    "detection",
    "steering",
    "causal",
    "diffusion",
    "dynamics",
}
MAY_IMPORT = {
    "core": set(),
    "corpus": {"core"},
    "decompose": {"core"},
    "models": {"core"},
    "capture": {"core", "models"},
    "features": {"core", "decompose", "capture"},
    "detection": {"core", "decompose", "features"},
    "steering": {"core", "corpus", "models", "capture", "decompose", "features", "detection"},
    "causal": {"core", "corpus", "models", "capture", "decompose", "features", "detection"},
    "diffusion": {"core", "models", "capture", "decompose", "features"},
    "dynamics": STAGES - {"causal", "dynamics"},
    "report": STAGES,
    "comparison": STAGES - {"causal", "diffusion", "dynamics"},
}
ONLY_IN = {
    "transformer_lens": {"models/anatomy.py", "models/transformer.py"},
    "diffusers": {
        "models/unet.py",
        *(f"diffusion/{path.name}" for path in (ROOT / "diffusion").glob("*.py")),
    },
    "plotly": {
        "report/figures.py",
        "report/captions.py",
        "report/page.py",
        "report/path_figures.py",
        "report/steering_figures.py",
        "report/direction_figures.py",
        "report/dynamics_axes.py",
        "report/dynamics_figures.py",
    },
    "networkx": {"causal/export.py", "causal/graph.py"},
    "datasets": {f"corpus/{path.name}" for path in (ROOT / "corpus").glob("*.py")},
}
SLOW = (
    "transformers",
    "transformer_lens",
    "diffusers",
    "datasets",
    "plotly",
    "sklearn",
    "pyarrow",
    "networkx",
)
FREE_OPTIONS = {("models/transformer.py", "generate")}
"""Generation options go through to transformers under their names there, and each name is
checked.
"""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts(tree: ast.Module) -> set[str]:
    """The packages of interp that a file imports (a file of the package itself counts as none)."""
    return {module.split(".")[1] for module in imports(tree) if module.startswith("interp.")}


TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_follow_the_table(path: Path) -> None:
    home = path.relative_to(ROOT).parts[0]
    if home not in MAY_IMPORT:
        assert path.parent == ROOT, f"{home} is not in the table"
        return
    forbidden = parts(TREES[path]) & (set(MAY_IMPORT) | {"pipeline", "cli"}) - MAY_IMPORT[home] - {
        home
    }
    assert not forbidden, f"{home} may not import {sorted(forbidden)}"


@pytest.mark.parametrize("library", ONLY_IN)
def test_libraries_have_one_home(library: str) -> None:
    users = {
        name(path)
        for path, tree in TREES.items()
        if library in {module.split(".")[0] for module in imports(tree)}
    }
    assert users <= ONLY_IN[library]


def test_methods_of_decomposition_do_not_import_each_other() -> None:
    methods = {"snmf", "sae", "pca", "difference_in_means", "random_directions", "hierarchy"}
    for method in methods:
        path = ROOT / "decompose" / f"{method}.py"
        if path in TREES:
            used = {
                module.split(".")[2]
                for module in imports(TREES[path])
                if module.startswith("interp.decompose.")
            }
            assert not used & methods - {method}


def test_importing_the_package_is_quick_and_every_public_name_is_there() -> None:
    command = f"import interp, sys; print([name for name in {SLOW} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert done.stdout.strip() == "[]"
    control = subprocess.run(
        [sys.executable, "-c", f"import plotly; {command}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
    )
    assert control.stdout.strip() == "['plotly']"


@pytest.mark.parametrize(
    "package",
    [
        "interp",
        *(
            f"interp.{path.parent.name}"
            for path in FILES
            if path.name == "__init__.py" and path.parent != ROOT
        ),
    ],
)
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


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_the_source_never_does(path: Path) -> None:
    text, tree = path.read_text(encoding="utf-8"), TREES[path]
    assert "from __future__ import annotations" not in text
    assert not {"pickle", "dill", "joblib"} & {module.split(".")[0] for module in imports(tree)}
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
