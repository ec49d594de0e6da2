"""`interp paths` as a user meets it: on a file of their own and their own model, on the real model,
and with slips.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import tiny

from interp.causal.checks.faithfulness import faithfulness
from interp.causal.methods.effects import path_effects
from interp.causal.wiring.examples import Examples
from interp.causal.wiring.metrics import TaskWarning, task_metric
from interp.causal.wiring.residual import ResidualWiring
from interp.commands.main import main
from interp.corpus import task
from interp.corpus.tasks import resolve


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny.language("llama").save_pretrained(folder)
    tiny.word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("task") / "mine.jsonl"
    rows = [
        {
            "prompt": f"w{10 + n} w{40 + n} w7",
            "counterfactual": f"w{10 + n} w{90 + n} w7",
            "right": " w5",
            "wrong": " w6",
        }
        for n in range(6)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


SMALL = ("--examples", "4", "--judged", "2", "--measured", "4", "--method", "eap", "--quiet")


def test_a_page_from_ones_own_model_and_examples(
    model: Path, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TaskWarning)
        assert (
            main(["paths", str(examples), "--model", str(model), "--out", str(tmp_path), *SMALL])
            == 0
        )
    assert capsys.readouterr().out.strip() == str(tmp_path / "index.html")
    kept = json.loads((tmp_path / "paths.json").read_text(encoding="utf-8"))
    assert kept["task"] == "mine"
    assert "mine" in (tmp_path / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["indirect-objekt"], "indirect-object"),
        (["nowhere.jsonl"], "cannot be read"),
        (["agreement", "--method", "eap-igg"], "eap-ig-inputs"),
        (["agreement", "--value", "resampel"], "resample"),
    ],
)
def test_slips_get_one_line(
    arguments: list[str],
    expected: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["paths", *arguments, "--model", str(model), "--out", str(tmp_path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert expected in shown.err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_real_models_agreement_is_found(default_model: Any) -> None:
    """A known behaviour of the real network: the graph keeps what as many random edges per layer
    lose.
    """
    found, judged = (
        resolve(task("agreement", 6, 0).take(rows), default_model.tokenizer)
        for rows in (range(4), range(4, 6))
    )
    wiring = ResidualWiring(default_model)
    sides = [list(part) for part in (found.task.prompts, found.task.counterfactuals)]
    graph = path_effects(wiring, *sides, metric=task_metric(found), method="eap")
    kept = faithfulness(
        wiring,
        Examples(wiring, list(judged.task.prompts), list(judged.task.counterfactuals)),
        task_metric(judged),
        graph,
        fractions=(0.01, 0.1, 1.0),
        random=1,
    )
    assert kept.cmd.value < 0.5 * kept.random_cmd.value
