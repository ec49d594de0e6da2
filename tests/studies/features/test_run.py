"""The main job from a model's folder to a page, small; and once, slow, on the default model."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small

import interp
from interp.commands.report import main_job
from interp.core import InputError
from interp.decompose import COEFFICIENT_SPARSITY
from interp.decompose.hierarchy import load_hierarchy
from interp.models.adapters.decoding import Sampling
from interp.report import write_features
from interp.report.data.stored import report_from
from interp.steering import Protocol
from interp.studies.features.companions import load_companions
from interp.studies.features.protocol import Settings
from interp.studies.features.run import study_features

HOSTILE = "<script>alert(1)</script> The soup is <b>hot</b> & the pan too."
TEXTS = (HOSTILE, *(text for concept in small.concepts().concepts for text in concept.fit))
PROTOCOL = Protocol(
    strengths=(0.05, 0.2),
    selection_prompts=("I think that",),
    report_prompts=("It seems that", "We saw"),
    n_random=1,
    sampling=Sampling(max_new_tokens=5),
)


@pytest.fixture(scope="module")
def language(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.language_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def made(language: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The same settings run twice: as a job, and as a study whose result is then written."""
    settings = Settings(
        model=str(language),
        site="L1.mlp",
        companion_site="L2.resid_post",
        features=12,
        sparsity=0.2,
        texts=TEXTS,
        concept_names=("cooking", "football"),
        steered_concepts=1,
        protocol=PROTOCOL,
        stability=1,
        seed=3,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "interp.studies.features.run.load_encoder", lambda **options: small.KnowsTheWords()
        )
        patch.setattr("interp.studies.features.run.load_concepts", small.concepts)
        folders = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
        assert main_job(settings, folders[0]) == folders[0] / "index.html"
        result = study_features(settings)
        assert re.fullmatch(
            r"FeaturesResult\(L1.mlp of .+: snmf 12, sae 12, pca 12, "
            r"difference_in_means 2, random 12 features\)",
            repr(result),
        )
        assert write_features(result, folders[1]) == folders[1] / "index.html"
        yield folders


@pytest.fixture(scope="module")
def data(made: tuple[Path, Path]) -> dict[str, Any]:
    return read(made[0])


def read(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    return loaded


def untimed(value: Any) -> Any:
    """The same data without what a clock said."""
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key not in ("seconds", "cost")}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def scores(value: Any) -> Iterator[dict[str, Any]]:
    """Everything in the data that looks like a score, wherever it is."""
    if isinstance(value, dict):
        if {"value", "low", "high"} & value.keys():
            yield value
        for item in value.values():
            yield from scores(item)
    elif isinstance(value, list):
        for item in value:
            yield from scores(item)


def test_the_folder_holds_page_data_and_dictionaries_and_nothing_else(
    made: tuple[Path, Path],
) -> None:
    folder = made[0]
    assert {path.name for path in folder.iterdir()} == {
        *("index.html", "features.json", "dictionaries", "companions.safetensors", "hierarchy")
    }
    assert {path.name for path in (folder / "dictionaries").iterdir()} == {
        "snmf",
        "sae",
        "pca",
        "difference_in_means",
    }
    snmf = interp.load_dictionary(folder / "dictionaries" / "snmf")
    assert (len(snmf), snmf.site, snmf.provenance.seed) == (12, "L1.mlp", 3)
    companions, site = load_companions(folder / "companions.safetensors")
    assert (set(companions), site) == ({"snmf", "sae", "difference_in_means"}, "L2.resid_post")
    assert companions["snmf"].shape[0] == 12


def test_features_have_neighbours_and_broader_features(
    data: dict[str, Any], made: tuple[Path, Path]
) -> None:
    ids = {feature["id"] for feature in data["features"]}
    for feature in data["features"]:
        near = [neighbour["id"] for neighbour in feature["neighbours"]]
        assert len(near) == len(set(near) - {feature["id"]}) == 6
        assert set(near) <= ids
    assert [len(level["features"]) for level in data["hierarchy"]["levels"]] == [12, 6, 3]
    hierarchy = load_hierarchy(made[0] / "hierarchy")
    assert hierarchy.levels[0].directions.equal(
        interp.load_dictionary(made[0] / "dictionaries" / "snmf").directions
    )
    assert [(item["first"], item["second"]) for item in data["matches"]][:2] == [
        ("snmf", "sae"),
        ("snmf", "pca"),
    ]


def test_the_model_is_called_by_its_folder_and_can_be_loaded_again(
    data: dict[str, Any], language: Path
) -> None:
    assert (data["model"]["name"], data["model"]["source"]) == (language.name, str(language))
    assert data["provenance"]["activations"]["model"] == language.name
    assert interp.load_model(data["model"]["source"]).weight_hash == data["model"]["weight_hash"]


def test_the_data_passes_its_schema_and_lists_every_feature(data: dict[str, Any]) -> None:
    report_from(data)
    counts = {item["method"]: item["features"] for item in data["methods"]}
    assert counts == {"snmf": 12, "sae": 12, "pca": 12, "difference_in_means": 2, "random": 12}
    listed = [feature["method"] for feature in data["features"]]
    assert {name: listed.count(name) for name in counts} == {**counts, "random": 0}, (
        "a control has no features to show"
    )


def test_the_same_seed_gives_the_same_report(made: tuple[Path, Path], data: dict[str, Any]) -> None:
    assert untimed(read(made[1])) == untimed(data)
    assert data["provenance"]["seed"] == 3
    first, second = (
        (folder / "dictionaries/snmf/dictionary.safetensors").read_bytes() for folder in made
    )
    assert first == second


def test_another_seed_gives_other_dictionaries(made: tuple[Path, Path], language: Path) -> None:
    model = interp.load_model(language)
    acts = interp.record(model, TEXTS, "L1.mlp")
    same, other = (
        interp.fit_snmf(
            acts, 12, sparsity=0.2, coefficient_sparsity=COEFFICIENT_SPARSITY, seed=seed
        ).directions
        for seed in (3, 4)
    )
    written = interp.load_dictionary(made[0] / "dictionaries" / "snmf").directions
    assert written.equal(same)
    assert not written.equal(other)


def test_the_texts_given_are_what_the_features_were_found_on(data: dict[str, Any]) -> None:
    assert data["corpus"]["texts"] == len(TEXTS)
    assert data["corpus"]["concepts"] == 2
    assert (
        data["corpus"]["selection"]
        == "padding left out, special tokens left out, first position left out"
    )
    joined = [
        "".join(context["tokens"])
        for feature in data["features"]
        for context in feature["contexts"]
    ]
    assert joined
    assert all(any(part in text for text in TEXTS) for part in joined)


def test_a_text_with_html_in_it_is_shown_and_cannot_act(
    made: tuple[Path, Path], data: dict[str, Any]
) -> None:
    contexts = [
        "".join(context["tokens"])
        for feature in data["features"]
        for context in feature["contexts"]
    ]
    assert any("<script>alert(1)" in text for text in contexts), "else this test shows nothing"
    page = (made[0] / "index.html").read_text(encoding="utf-8")
    # Plotly's own source, packed, is the only other place where these letters could stand.
    assert not re.search(r"<script>alert|<b>hot", page)
    assert page.count("<script") == page.count("</script")


def test_controls_stand_beside_the_results(data: dict[str, Any]) -> None:
    assert "random" in {
        best["method"] for concept in data["detection"]["concepts"] for best in concept["best"]
    }
    families = data["steering"]["families"]
    sites = {family["site"] for family in families if not family["control"]}
    controlled = {
        family["site"] for family in families if family["control"] and family["route"] == "random"
    }
    assert controlled == sites == {"L1.mlp", "L2.resid_post"}
    assert [family["route"] for family in families].count("unsteered") == 1
    assert data["steering"]["unsteered"]["continuations"]
    assert {family["method"] for family in families} == {
        "snmf",
        "sae",
        "difference_in_means",
        "random",
        "none",
    }


def test_every_number_has_its_interval_its_cases_and_its_seed(data: dict[str, Any]) -> None:
    found = [score for score in scores(data) if "n_random" not in score]
    assert len(found) > 50
    for score in found:
        assert {"value", "low", "high", "n", "seed", "interval"} <= score.keys()
        assert score["interval"]
        if score["value"] is None:
            assert score["n"] == 0
        else:
            assert score["n"] > 0
            assert score["low"] <= score["value"] <= score["high"]
    assert {score["seed"] for score in found} == {3}


def test_every_unsupervised_feature_says_how_well_it_is_found_again(data: dict[str, Any]) -> None:
    found = {
        name: [item["stability"] for item in data["features"] if item["method"] == name]
        for name in ("snmf", "sae", "pca")
    }
    for name, own in found.items():
        assert all(item is not None and -1 <= item["seeds"] <= 1.0001 for item in own), name
    assert min(item["seeds"] for item in found["pca"]) > 0.999, "nothing in PCA depends on the seed"
    assert all(
        item["stability"] is None
        for item in data["features"]
        if item["method"] == "difference_in_means"
    )


def test_strengths_are_chosen_on_prompts_that_are_not_reported(data: dict[str, Any]) -> None:
    chosen, reported = (
        set(data["steering"]["prompts_selection"]),
        set(data["steering"]["prompts_report"]),
    )
    assert chosen == {"I think that"}
    assert not chosen & reported
    steered = [item["steering"] for item in data["features"] if item["steering"]]
    doses = [dose for item in steered for route in item["routes"] for dose in route["dose"]]
    shown = {text["prompt"] for dose in doses for text in dose["continuations"]}
    assert shown
    assert shown <= reported


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"site": "L1.mpl"}, r"unknown site 'L1.mpl'; nearest: L1.mlp"),
        ({"concept_names": ("cookign",)}, r"unknown concept 'cookign'; nearest: cooking"),
        (
            {"features": 10_000, "texts": ("One short line.",)},
            r"n_features is 10000; expected at most \d+",
        ),
    ],
)
def test_a_setting_that_does_not_fit_is_named(
    language: Path, tmp_path: Path, wrong: dict[str, Any], expected: str
) -> None:
    with pytest.raises(InputError, match=expected):
        main_job(
            Settings(**{"model": str(language), "concept_names": ("cooking",), **wrong}), tmp_path
        )


@pytest.mark.slow
def test_the_default_model_is_reported_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer neutral sentences than are shipped: under a minute on two cores that do nothing
    else.
    """
    names = ("cooking", "football", "weather")
    monkeypatch.setattr(
        "interp.studies.features.run.load_concepts", lambda: small.concepts(names, neutral=60)
    )
    protocol = Protocol(
        strengths=(0.5,),
        selection_prompts=("I think that",),
        report_prompts=("It seems to me that",),
        n_random=1,
        sampling=Sampling(max_new_tokens=8),
    )
    settings = Settings(
        methods=("snmf",), features=20, concept_names=names, steered_concepts=1, protocol=protocol
    )
    page = main_job(settings, tmp_path)
    data = read(tmp_path)
    report_from(data)
    assert data["model"]["name"] == settings.model
    assert [concept["concept"] for concept in data["detection"]["concepts"]] == list(names)
    assert [
        feature["index"] for feature in data["features"] if feature["method"] == "snmf"
    ] == list(range(20))
    assert page.stat().st_size > 1_000_000
    # The direction of the labelled means tells each concept apart on sentences it has not seen;
    # random ones do so less well.
    means = {item["method"]: item["mean_auroc"]["value"] for item in data["detection"]["summary"]}
    assert means["difference_in_means"] > 0.9
    assert means["difference_in_means"] > means["random"]
