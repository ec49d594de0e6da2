"""Who imports whom inside `interp`, read from the source: nothing is imported to find out.

Every import counts, those inside functions too; only those under `if TYPE_CHECKING` do not, because
they never run. `from interp.a import b` is an import of `interp.a.b` where that is a module, else
of `interp.a`. Importing `interp.a.b.c` does not count as importing the packages `interp.a.b` and
`interp.a`, whose re-exports are imports of their own `__init__` alone.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx

PACKAGE = Path(__file__).parents[2] / "interp"


def module_imports(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Every module of the package with the package's modules that it imports."""
    trees = {
        _name(path, package): ast.parse(path.read_text()) for path in sorted(package.rglob("*.py"))
    }
    return {
        module: {found for node in _running(tree) for found in _imported(node, trees)} - {module}
        for module, tree in trees.items()
    }


def cycles(package: Path = PACKAGE) -> list[set[str]]:
    """The sets of modules each of which imports, directly or not, every other of its set."""
    imports = networkx.DiGraph(
        [(one, other) for one, others in module_imports(package).items() for other in others]
    )
    return [found for found in networkx.strongly_connected_components(imports) if len(found) > 1]


def _name(path: Path, package: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                yield other
                yield from _running(other)
        else:
            yield node
            yield from _running(node)


def _imported(node: ast.AST, modules: dict[str, ast.Module]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
    elif isinstance(node, ast.ImportFrom) and node.module in modules:
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner in modules else node.module
