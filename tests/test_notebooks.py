"""Notebooks run from top to bottom, on small sizes, and what is committed is small and whole."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from report import synthetic

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook: Any) -> str:
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream" and output["name"] == "stdout")


def test_the_quickstart_is_among_them() -> None:
    assert "quickstart.ipynb" in [path.name for path in NOTEBOOKS]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_was_run_in_order_without_errors_and_is_small(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 200_000
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert {output["name"] for output in outputs if output["output_type"] == "stream"} == {"stdout"}, "no warnings of the machine it ran on"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a minute on two cores that do nothing else; a report lies where the notebook looks for one."""
    from nbclient import NotebookClient

    monkeypatch.setenv("INTERP_NOTEBOOK_SMALL", "1")
    monkeypatch.setenv("PYTHONPATH", str(path.parent.parent))
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "features.json").write_text(json.dumps(synthetic.report_data(2)), encoding="utf-8")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    text = printed(notebook)
    for concept in ("cooking", "football", "weather"):
        assert f"\n{concept} " in text
    assert text.count("no steering ") == text.count("companion  ") == text.count("random direction ") == 2
    figure = code_cells(notebook)[-1].outputs[-1]
    assert "application/vnd.plotly.v1+json" in figure["data"]
