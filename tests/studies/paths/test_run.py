"""A task from file to page on a tiny network, found on some examples and judged on others."""

import json
import warnings
from pathlib import Path

import pytest
from tiny import language, word_tokenizer

from interp.causal.wiring.metrics import TaskWarning
from interp.core import InputError
from interp.corpus import Task, read_task
from interp.models import ModuleModel, wrap
from interp.report import write_paths
from interp.studies.paths import PathsProtocol, trace_task
from interp.studies.paths.result import PathsResult

PROTOCOL = PathsProtocol(
    methods=("eap", "exact"), examples=6, judged=4, top=5, random=5, orders=1, splits=3
)


def lines(count: int = 10) -> list[dict[str, object]]:
    """Sentences of words; the counterfactual has another word in the middle."""
    return [
        {
            "prompt": f"w{10 + n} w{40 + n} w7 w{70 + n}",
            "counterfactual": f"w{10 + n} w{90 + n} w7 w{70 + n}",
            "right": " w5",
            "wrong": [" w6", " w8"],
        }
        for n in range(count)
    ]


def written(folder: Path, rows: list[dict[str, object]]) -> Path:
    path = folder / "mine.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return read_task(written(tmp_path_factory.mktemp("task"), lines()))


@pytest.fixture(scope="module")
def result(task: Task) -> PathsResult:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TaskWarning)
        return trace_task(wrap(language("gpt2"), word_tokenizer()), task, PROTOCOL)


def test_a_file_is_a_task(task: Task) -> None:
    assert task.name == "mine"
    assert len(task) == 10
    assert task.right[0] == (" w5",)
    assert task.wrong[0] == (" w6", " w8")


def test_it_is_found_on_some_examples_and_judged_on_others(task: Task, result: PathsResult) -> None:
    assert len(result.graph.per_example) == 6
    assert result.items == task.prompts[6:]
    assert result.accuracy is not None
    assert result.accuracy.n == result.faithfulness.cmd.n == 4
    assert result.graph.method == "eap"
    assert [curve.method for curve in result.others] == ["exact"]
    assert result.checked is not None
    assert len(result.checked.names) == 10
    assert result.sufficiency is not None
    assert result.sufficiency.whole.metric.value == pytest.approx(
        float(result.faithfulness.clean.value)
    )


def test_the_page_and_its_data_are_written(result: PathsResult, tmp_path: Path) -> None:
    page = write_paths(result, tmp_path / "out")
    assert page.read_text(encoding="utf-8").count("mine") >= 1
    assert {path.name for path in page.parent.iterdir()} == {
        "index.html",
        "paths.json",
        "graph.json",
        "graph.graphml",
    }


def test_a_model_that_cannot_do_the_task_warns_with_its_accuracy(task: Task) -> None:
    with pytest.warns(TaskWarning, match=r"right on 0\.\d+ \[.*\(n=4, control .*of mine"):
        trace_task(wrap(language("gpt2", seed=1), word_tokenizer()), task, PROTOCOL)


def test_wrong_files_are_named_by_line(tmp_path: Path) -> None:
    rows = lines(2)
    del rows[1]["wrong"]
    with pytest.raises(InputError, match=r"line 2 of .* has no wrong"):
        read_task(written(tmp_path, rows))
    (tmp_path / "bad.jsonl").write_text("{}\nnot json\n", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"line 1 of .* has no prompt, counterfactual, right, wrong"
    ):
        read_task(tmp_path / "bad.jsonl")
    (tmp_path / "worse.jsonl").write_text("not json\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 1 of .* is not json"):
        read_task(tmp_path / "worse.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="is empty"):
        read_task(tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_task(tmp_path / "none.jsonl")


def test_what_cannot_be_traced_is_refused(task: Task) -> None:
    model = wrap(language("gpt2"), word_tokenizer())
    with pytest.raises(InputError, match="10 examples of mine fit this tokenizer"):
        trace_task(model, task, PathsProtocol(examples=20))
    with pytest.raises(InputError, match="no method was given"):
        PathsProtocol(methods=())
    with pytest.raises(InputError, match="1 examples for finding"):
        PathsProtocol(examples=1)
    with pytest.raises(InputError, match="acdc"):
        PathsProtocol(methods=("acdc",))
    import torch

    with pytest.raises(InputError, match="no language model"):
        trace_task(ModuleModel(torch.nn.Linear(2, 2)), task)
