"""Notebooks run from top to bottom on small sizes and say what they must; what is committed is
whole, small and was run in order.
"""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

FOLDER = Path(__file__).parent.parent / "notebooks"
HELPERS = Path(__file__).parent / "helpers"
FEWER = """import interp
from small import concepts as few_concepts
interp.load_concepts = lambda: few_concepts(("cooking", "football", "sea", "weather"), neutral=60)
"""
"""Concepts as in the default model's report of `tests/studies/features/test_run.py`."""
NAMES = (
    "01_first_features",
    "02_steering",
    "03_causal_paths",
    "04_diffusion_directions",
    "05_learning_dynamics",
    "06_your_own_model",
)
NUMBER = r"-?\d+\.\d+"
SCORE = rf"{NUMBER} \[ ?{NUMBER}, +{NUMBER}\] \(n=\d+, control {NUMBER}\)"
FIGURE = "application/vnd.plotly.v1+json"


def read(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(notebook: Any) -> list[Any]:
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def printed(notebook: Any, name: str = "stdout") -> str:
    return "".join(
        output["text"]
        for output in outputs_of(notebook)
        if output["output_type"] == "stream" and output["name"] == name
    )


def shown(notebook: Any, kind: str) -> int:
    return sum(kind in output.get("data", {}) for output in outputs_of(notebook))


def functions(source: str) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))


def test_there_are_the_six_and_no_other() -> None:
    assert tuple(sorted(path.stem for path in FOLDER.glob("*.ipynb"))) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_was_run_in_order_without_errors_and_is_small(name: str) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert (FOLDER / f"{name}.ipynb").stat().st_size < 200_000
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert "widgets" not in notebook.metadata
    assert [cell.execution_count for cell in code_cells(notebook)] == list(
        range(1, len(code_cells(notebook)) + 1)
    )
    assert {output["output_type"] for output in outputs_of(notebook)} <= {
        "stream",
        "execute_result",
        "display_data",
    }
    assert printed(notebook, "stderr") == "", "no warnings of the machine it ran on"


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_tells_its_story_and_nothing_of_the_machine(name: str) -> None:
    notebook = read(name)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert prose[0].startswith("# ")
    assert not any(re.search(r"TEXT_|TODO", text) for text in prose)
    said = str(outputs_of(notebook))
    assert not re.search(r"/(?:work|opt|home|root|tmp|usr)/", said)
    assert not re.search(r" at 0x[0-9a-f]{6}", said)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_thin(name: str) -> None:
    cells = [cell.source for cell in code_cells(read(name))]
    assert max(len(source.splitlines()) for source in cells) <= 25
    assert all(
        node.end_lineno - node.lineno < 8
        for source in cells
        for node in functions(source)
        if node.end_lineno
    )
    assert sum("INTERP_NOTEBOOK_SMALL" in source for source in cells) == 1, (
        "sizes are chosen in one place"
    )


def test_the_committed_generators_pass_their_gate() -> None:
    assert printed(read("04_diffusion_directions")).count("sanity gate passed") == 2


def run_small(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """From scratch, in a folder of its own, with few sentences; whatever warns, in the package or
    out of it, is on stderr and fails the test.
    """
    from nbclient import NotebookClient

    monkeypatch.setenv("INTERP_NOTEBOOK_SMALL", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(FOLDER.parent), str(HELPERS)]))
    # tqdm says so where ipywidgets is not installed; nothing here draws with it.
    monkeypatch.setenv("PYTHONWARNINGS", "ignore:IProgress not found")
    notebook = read(name)
    if any("load_concepts" in cell.source for cell in code_cells(notebook)):
        notebook.cells.insert(0, nbformat.v4.new_code_cell(FEWER))
    NotebookClient(
        notebook, timeout=180, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    assert printed(notebook, "stderr") == ""
    assert not list(folder.iterdir()), "a notebook leaves no files"
    return notebook


@pytest.mark.slow
def test_first_features_detects_beside_random_directions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = run_small("01_first_features", tmp_path, monkeypatch)
    text = printed(notebook)
    for concept in ("cooking", "football", "weather"):
        assert re.search(rf"\n{concept} +snmf-\d+ +{SCORE} +{SCORE}\n", text)
    for title in ("semi-NMF", "random directions"):
        assert re.search(
            rf"{title} +\d of 3 concepts at \.9 or more; mean over concepts {SCORE}", text
        )
    assert re.search(rf"from another seed: {SCORE}", text)
    assert shown(notebook, "text/html") >= 5


@pytest.mark.slow
def test_steering_runs_every_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = run_small("02_steering", tmp_path, monkeypatch)
    text = printed(notebook)
    for family in (
        "snmf companion",
        "snmf native",
        "sae companion",
        "difference_in_means companion",
    ):
        assert re.search(rf"^{family} .*minus best control {NUMBER} \[", text, re.MULTILINE)
    for control in (
        "random dense at L15.resid_post",
        "random dense at L5.mlp",
        "random sparse at L5.mlp",
        "no steering",
    ):
        assert re.search(rf"^{control} .*minus best control –$", text, re.MULTILINE)
    assert re.search(r"\n0 of \d+ judgements failed", text)
    assert shown(notebook, FIGURE) == 1


@pytest.mark.slow
def test_causal_paths_judges_its_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = run_small("03_causal_paths", tmp_path, monkeypatch)
    text = printed(notebook)
    assert re.search(rf"eap-ig-inputs +CMD {SCORE}", text)
    assert re.search(rf"rank correlation of predicted and measured: {SCORE}", text)
    assert re.search(rf"from halves of the examples: {SCORE}", text)
    everything = re.search(
        rf"strongest 100\.0% \( 70651 edges\): f = +({NUMBER}) .* random +({NUMBER})\n", text
    )
    assert everything
    assert everything.groups() == ("1.000", "1.000"), (
        "with all edges kept nothing is replaced, in the graph as in random ones"
    )
    assert shown(notebook, FIGURE) == 3


@pytest.mark.costly
def test_directions_finds_that_only_one_bottleneck_carries_the_factors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = run_small("04_diffusion_directions", tmp_path, monkeypatch)
    text = printed(notebook)
    assert text.count("sanity gate") == 2
    slopes = [
        float(value)
        for value in re.findall(rf"steps 0-\d+ +(?:x|y|radius|colour) +({NUMBER}) \[", text)
    ]
    assert len(slopes) == 8
    assert max(map(abs, slopes[:4])) < 0.1, "the ordinary network"
    assert min(slopes[4:]) > 0.6, "the study network"
    assert len(re.findall(rf"change {SCORE} right sign {SCORE} leak {SCORE}", text)) == 4
    assert shown(notebook, "image/png") == 2


@pytest.mark.costly
def test_dynamics_gives_the_shipped_runs_times_and_controls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = run_small("05_learning_dynamics", tmp_path, monkeypatch)
    text = printed(notebook)
    assert "Δcolour 0.1  colour  1900 [1166, > 2400] (5 of 8 runs)" in text
    assert "Δcolour 0.2  size    194 [158, 194] (8 of 8 runs)" in text
    assert re.search(rf"speed of learning colour and signal: {SCORE}", text)
    assert all(
        f"Δcolour {signal}  {arm} " in text
        for signal in ("0.1", "0.2")
        for arm in ("linear", "random")
    )
    assert all(
        re.search(rf"{name} +{arm} +first ", text)
        for name in ("number", "place")
        for arm in ("asked", "own direction", "random")
    )
    assert shown(notebook, FIGURE) == 4


@pytest.mark.costly
def test_your_own_model_leaves_the_module_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = run_small("06_your_own_model", tmp_path, monkeypatch)
    text = printed(notebook)
    for fact in ("same outputs, bit for bit", "same names of weights", "same weights"):
        assert re.search(rf"{fact}: +True\n", text)
    assert re.search(r"hooks left behind: +0\n", text)
    right = re.search(rf"right on the test images: ({NUMBER})", text)
    assert right
    assert float(right.group(1)) > 0.5
    assert len(re.findall(rf"digit \d: feature \d+ +{SCORE}\n", text)) == 10
    assert (
        len(re.findall(rf"digit \d: feature \d+ +{SCORE}, a random direction {NUMBER}\n", text))
        == 10
    )
    before, steered, after = re.findall(r"^(?:plain|steered) +(.*)$", text, re.MULTILINE)
    assert before == after != steered
