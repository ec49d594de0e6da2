"""A user's own folder of concepts: read by the same rule, refused in one line."""

import json

import pytest

from interp.core import InputError, UnavailableError
from interp.corpus import load_concepts


@pytest.fixture
def folder(tmp_path):
    tea = {
        "name": "tea",
        "description": "about tea",
        "sentences": [f"tea {n}" for n in range(8)],
        "held_out": ["pot", "cup"],
    }
    write(tmp_path, "tea", tea)
    write(tmp_path, "neutral", {"sentences": [f"plain {n}" for n in range(5)]})
    return tmp_path


def write(folder, name, value):
    (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")


def test_three_quarters_are_for_fitting(folder):
    concepts = load_concepts(folder)
    assert concepts.names == ("tea",)
    assert concepts["tea"].fit == tuple(f"tea {n}" for n in range(6))
    assert concepts["tea"].held_out == ("tea 6", "tea 7", "pot", "cup")
    assert concepts.neutral.held_out == ("plain 0", "plain 4")


def test_an_unknown_concept_names_the_nearest(folder):
    with pytest.raises(InputError, match="unknown concept 'teas'; nearest: tea"):
        load_concepts(folder)["teas"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sentences": "tea is a drink"}, "no 'sentences' of type list"),
        ({"sentences": ["tea", 3]}, "'sentences' holds 3"),
        ({"held_out": ["pot", "  "]}, "'held_out' holds '  '"),
        ({"name": None}, "no 'name' of type str"),
    ],
)
def test_a_malformed_file_is_named_with_what_is_wrong(folder, change, complaint):
    good = {"name": "tea", "description": "about tea", "sentences": ["tea"], "held_out": ["pot"]}
    write(folder, "tea", good)
    assert load_concepts(folder).names == ("tea",)
    write(folder, "tea", good | change)
    with pytest.raises(InputError, match=complaint) as caught:
        load_concepts(folder)
    assert "tea.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_neutral_sentences_is_refused(folder):
    (folder / "neutral.json").unlink()
    with pytest.raises(InputError, match="1 concepts and 0 neutral"):
        load_concepts(folder)


def test_a_file_that_is_not_json_is_named(folder):
    (folder / "tea.json").write_text("{", encoding="utf-8")
    with pytest.raises(UnavailableError, match=r"tea\.json"):
        load_concepts(folder)
