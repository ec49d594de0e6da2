"""A whole comparison on a tiny language model: complete, resumable, and shown."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small

from interp.core import InputError
from interp.core.plain import plain
from interp.core.reading import read_record
from interp.models.adapters.decoding import Sampling
from interp.report import write_comparison
from interp.steering import Protocol
from interp.studies.comparison import Comparison, ComparisonResult, LiftProtocol, compare

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"
PROTOCOL = Protocol(
    strengths=(0.05, 0.2),
    selection_prompts=("I think that",),
    report_prompts=("It seems that", "We saw"),
    n_random=1,
    sampling=Sampling(max_new_tokens=4),
)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = small.language_folder(tmp_path_factory.mktemp("model"))
    return Comparison(
        model=str(folder),
        sites=("L1.mlp",),
        places=("L2.resid_post",),
        sizes=(8,),
        sparsity=0.2,
        sae_steps=40,
        concepts=2,
        concept_names=("cooking", "football"),
        protocol=PROTOCOL,
        lift=LiftProtocol(kl=0.05, n_random=5, concept_sentences=3, other_sentences=4, tokens=8),
        seed=3,
    )


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "interp.studies.comparison.run.load_encoder", lambda **options: small.KnowsTheWords()
        )
        patch.setattr("interp.studies.comparison.run.load_concepts", small.concepts)
        yield patch


@pytest.fixture(scope="module")
def made(
    settings: Comparison, patched: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    compare(settings, folder)
    return folder


@pytest.fixture(scope="module")
def result(made: Path) -> dict[str, Any]:
    return dict(json.loads((made / "comparison.json").read_text(encoding="utf-8")))


def test_every_way_is_there_with_interval_control_and_lift(result: dict[str, Any]) -> None:
    ways = {(row["method"], row["route"], row["place"]) for row in result["steering"]}
    methods = ("snmf", "sae", "pca", "difference_in_means")
    assert ways >= {(method, "native", "L1.mlp") for method in methods}
    assert ways >= {
        ("snmf", "companion", "L2.resid_post"),
        ("difference_in_means", "native", "L2.resid_post"),
    }
    for row in result["steering"]:
        assert row["n"] <= 2
        if row["report"]:
            assert row["report"]["low"] <= row["report"]["value"] <= row["report"]["high"]
            assert row["margin"] is not None
        if row["lift_percentile"]:
            assert 0 <= row["lift_percentile"]["value"] <= 100
    assert any(row["lift_percentile"] for row in result["steering"])
    assert {row["place"] for row in result["controls"]} == {"L1.mlp", "L2.resid_post"}
    assert {row["method"] for row in result["detection"]} == {*methods, "random"}
    assert result["judge"]["auroc"]["value"] > 0.9


def test_differences_are_paired_and_at_one_strength(result: dict[str, Any]) -> None:
    questions = {row["question"] for row in result["differences"]}
    assert "companion minus own direction" in questions
    assert "unsupervised minus difference in means, same place" in questions
    assert {row["kl"] for row in result["differences"]} == {0.05}


def test_a_run_that_was_stopped_goes_on_to_the_same_result(
    settings: Comparison, patched: pytest.MonkeyPatch, made: Path, tmp_path: Path
) -> None:
    import interp.studies.comparison.effects as effects

    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(effects, "likelihood_lift", stop)
        with pytest.raises(KeyboardInterrupt):
            compare(settings, tmp_path)
    assert (tmp_path / "parts" / "steering-L1.mlp.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("interp.studies.stages.fit_unsupervised", stop)
        compare(settings, tmp_path)
    first, second = (
        json.loads((folder / "comparison.json").read_text()) for folder in (made, tmp_path)
    )
    for part in (first, second):
        for row in part["detection"]:
            row.pop("seconds")
    assert first == second


@pytest.mark.parametrize("name", ["smollm2", "gemma", "gemma-early"])
def test_a_result_on_disk_comes_back_as_it_was(name: str) -> None:
    kept = json.loads((RESULTS / f"comparison-{name}.json").read_text(encoding="utf-8"))
    assert plain(read_record(ComparisonResult, kept)) == kept
    del kept["judge"]["auroc"]
    with pytest.raises(InputError, match=r"the file lacks 'judge\.auroc'"):
        read_record(ComparisonResult, kept)


def test_a_folder_of_another_comparison_is_refused(
    settings: Comparison, patched: pytest.MonkeyPatch, made: Path
) -> None:
    from dataclasses import replace

    with pytest.raises(InputError, match="holds a run with seed=3, not 4"):
        compare(replace(settings, seed=4), made)


def test_the_page_shows_the_result_and_runs_nothing_of_it(
    result: dict[str, Any], tmp_path: Path
) -> None:
    hostile = {**result, "settings": {**result["settings"], "model": "<script>alert(1)</script>"}}
    page = write_comparison(read_record(ComparisonResult, hostile), tmp_path).read_text(
        encoding="utf-8"
    )
    assert "steers best" in page
    assert "companion at L2.resid_post" in page
    assert not re.search(r"<script>alert", page)
    assert page.count("<script") == page.count("</script")


@pytest.mark.parametrize("wrong", [{"methods": ()}, {"sizes": (0,)}, {"concepts": 0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Comparison(**wrong)
