"""The house in numbers: what the plan of 0.2 counts, over the source of the package.

`python benchmarks/house.py` prints the table and writes benchmarks/results/house.json and
docs/house.svg, the picture of which study goes through which stage. `--lines 10 --seed 1` prints
that many lines of code, each with the function around it, without saying where they stand;
`--answers` says where: would you have looked there first?
"""

import argparse
import ast
import io
import random
import sys
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from import_graph import cycles, module_imports  # noqa: E402

from interp.core.files import write_json, write_text  # noqa: E402

PACKAGE = ROOT / "interp"
STAGES = (
    *("corpus", "models", "capture", "decompose", "features", "detection"),
    *("steering", "causal", "diffusion", "dynamics", "testbeds"),
)
JOBS = ("features", "comparison", "paths", "directions", "learning")


def sources() -> dict[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def functions(tree: ast.Module) -> list[int]:
    return [
        int(node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def lookups(tree: ast.Module) -> int:
    """`data["key"]` and `data.get("key")`: what a type checker cannot see."""
    count = 0
    for node in ast.walk(tree):
        key = node.slice if isinstance(node, ast.Subscript) else None
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".get") and node.args:
            key = node.args[0]
        count += isinstance(key, ast.Constant) and isinstance(key.value, str)
    return count


def counted() -> dict[str, float]:
    texts = sources()
    trees = {path: ast.parse(text) for path, text in texts.items()}
    lines = [line for text in texts.values() for line in text.splitlines()]
    lengths = sorted(length for tree in trees.values() for length in functions(tree))
    calls = [
        node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Call)
    ]
    comments = sum(
        token.type == tokenize.COMMENT
        for text in texts.values()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
    )
    folders = Counter(path.parent for path in texts)
    shown = [
        tree for path, tree in trees.items() if "report" in path.relative_to(PACKAGE).parts[:1]
    ]
    return {
        "files": len(texts),
        "lines": len(lines),
        "characters": sum(map(len, texts.values())),
        "characters without spaces": sum(len("".join(text.split())) for text in texts.values()),
        "lines over 100 columns": sum(len(line) > 100 for line in lines),
        "longest file, lines": max(text.count("\n") for text in texts.values()),
        "function length, median": lengths[len(lengths) // 2],
        "function length, 95th percentile": lengths[int(0.95 * len(lengths))],
        "function length, longest": lengths[-1],
        "comments per 100 lines": round(100 * comments / len(lines), 2),
        "calls with 7 or more positional arguments": sum(len(call.args) > 6 for call in calls),
        "string look-ups in report": sum(map(lookups, shown)),
        "string look-ups": sum(map(lookups, trees.values())),
        "files in the fullest folder": max(folders.values()),
        "folders": len(folders),
        "import cycles": len(cycles()),
    }


def reached() -> dict[str, dict[str, list[int]]]:
    """By study and stage: how many of the stage's modules the study's files import themselves (with
    what the studies share), and how many more are reached by way of other stages.
    """
    graph = module_imports()
    found = {}
    for job in JOBS:
        own = {one for one in graph if one.startswith(f"interp.studies.{job}")}
        own |= {used for one in own for used in graph[one] if used.startswith("interp.studies.")}
        direct = {used for one in own for used in graph[one]}
        every = _closure(graph, direct)
        found[job] = {
            stage: [len(_of(stage, direct)), len(_of(stage, every - direct))] for stage in STAGES
        }
    return found


def _of(stage: str, modules: set[str]) -> set[str]:
    return {one for one in modules if one.split(".")[1:2] == [stage]}


def _closure(graph: dict[str, set[str]], modules: set[str]) -> set[str]:
    found, new = set(modules), set(modules)
    while new:
        new = {used for one in new for used in graph.get(one, ())} - found
        found |= new
    return found


def picture(found: dict[str, dict[str, list[int]]]) -> str:
    """Studies by stages: a disc where the study imports the stage, a ring where it reaches it by
    way of another stage only; the number of modules in it.
    """
    left, top, cell, row_height = 104, 84, 64, 46
    width, height = left + cell * len(STAGES) + 24, top + row_height * len(JOBS) + 6
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="ui-sans-serif, system-ui, sans-serif" font-size="13">',
        "<title>Which stages each study goes through</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for column, stage in enumerate(STAGES):
        x, y = left + cell * (column + 0.5) - 10, top - 14
        parts.append(
            f'<text x="{x}" y="{y}" fill="#444" transform="rotate(-35 {x} {y})">{stage}</text>'
        )
    for row, (job, stages) in enumerate(found.items()):
        y = top + row_height * (row + 0.5)
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end" fill="#222">{job}</text>')
        parts.append(f'<path d="M{left} {y}H{width - 10}" stroke="#ddd"/>')
        for column, (direct, further) in enumerate(stages.values()):
            if direct or further:
                parts.append(_mark(left + cell * (column + 0.5), y, direct, further))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _mark(x: float, y: float, direct: int, further: int) -> str:
    count = direct or further
    fill, ink = ("#5f8cd6", "#fff") if direct else ("#fff", "#5f8cd6")
    return (
        f'<circle cx="{x}" cy="{y}" r="{9 + 0.7 * min(count, 14):.1f}" fill="{fill}" '
        f'stroke="#5f8cd6"/><text x="{x}" y="{y + 4.5}" text-anchor="middle" '
        f'fill="{ink}">{count}</text>'
    )


def strangers(count: int, seed: int, answers: bool) -> None:
    """Lines of code taken at random, each with the function that it stands in and what that says of
    itself; imports and short lines are left out.
    """
    lines = [
        (text.splitlines()[number - 1].strip(), name, f"{path.relative_to(PACKAGE)}:{number}")
        for path, text in sources().items()
        for number, name in statements(ast.parse(text))
    ]
    kept = [one for one in lines if len(one[0]) > 24]
    for place, (line, name, where) in enumerate(random.Random(seed).sample(kept, count), 1):
        print(f"{place:>2}. {line}\n      in {name}" + (f"\n      {where}" if answers else ""))


def statements(tree: ast.Module) -> list[tuple[int, str]]:
    """The statements of functions, by line, with the function's name and first line."""
    found = {}
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            said = (ast.get_docstring(function) or "").split("\n\n")[0].replace("\n", " ")
            for node in function.body[bool(said) :]:
                found[node.lineno] = f"{function.name}: {said}" if said else function.name
    return sorted(found.items())


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--lines", type=int, default=0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--answers", action="store_true")
    chosen = options.parse_args()
    if chosen.lines:
        strangers(chosen.lines, chosen.seed, chosen.answers)
        return
    counts, found = counted(), reached()
    for what, number in counts.items():
        print(f"{what:45} {number:>12,}")
    write_json(ROOT / "benchmarks" / "results" / "house.json", {"counts": counts, "studies": found})
    write_text(ROOT / "docs" / "house.svg", picture(found))


if __name__ == "__main__":
    main()
