"""Sites, contexts, activations, provenance: lookups that help, rows that stay with their contexts,
notes that survive json.
"""

import hashlib
import json

import numpy as np
import pytest
import torch

from interp.core import Activations, Contexts, InputError, Provenance, Sites, text_hash
from interp.core.names import require_known

SITES = Sites(
    {
        "L0.mlp": (None, 64),
        "L10.mlp": (None, 64),
        "mid": (8, None, None),
        "head": (4,),
        "relu": (None,),
        "<b>": (8, 5, 5),
    },
    {"hook": "mid"},
)
ATTACK = "<script>alert(1)</script><img src=x onerror=alert(1)>"


def contexts() -> Contexts:
    tokens = (("a", "b", "c"), ("d",))
    return Contexts(
        item=np.array([0, 0, 1]),
        position=np.array([0, 2, 0]),
        step=np.zeros(3, int),
        items=("abc", "d"),
        tokens=tokens,
    )


def acts(site: str = "L0.mlp", selection: str = "all") -> Activations:
    return Activations(
        torch.arange(6.0).reshape(3, 2), contexts(), site, Provenance("record", selection=selection)
    )


def test_sites_are_found_by_name_and_alias() -> None:
    assert SITES.resolve("hook") == "mid"
    assert SITES["hook"] == SITES["mid"]
    assert list(SITES) == list(SITES.shapes)
    assert {site: SITES.width(site) for site in SITES} == {
        "L0.mlp": 64,
        "L10.mlp": 64,
        "mid": 8,
        "head": 4,
        "relu": 0,
        "<b>": 8,
    }


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("L0.mpl", "L0.mlp"), ("l10.mlp", "L10.mlp"), ("middle", "mid"), ("qqqqq", "L0.mlp")],
)
def test_an_unknown_site_names_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(InputError, match=f"unknown site '{wrong}'; nearest: {near}") as caught:
        SITES.resolve(wrong)
    assert "\n" not in str(caught.value)
    assert require_known("site", near, SITES) == near


def test_rows_stay_with_their_contexts() -> None:
    for rows in (np.array([2, 0]), np.array([True, False, True])):
        taken = acts().take(rows)
        kept = [2, 0] if rows.dtype != bool else [0, 2]
        assert (
            taken.values.tolist() == [[4.0, 5.0], [0.0, 1.0]]
            if kept == [2, 0]
            else [[0.0, 1.0], [4.0, 5.0]]
        )
        assert [taken.contexts.token(row) for row in range(2)] == (
            ["d", "a"] if kept == [2, 0] else ["a", "d"]
        )
    everything = acts().take(np.array([True, True, True]))
    assert torch.equal(everything.values, acts().values), "a mask is no list of row numbers"
    assert acts().of_items(np.array([1])).values.tolist() == [[4.0, 5.0]]


def test_rows_and_contexts_must_be_as_many() -> None:
    with pytest.raises(InputError, match="values has 2 rows but contexts 3"):
        Activations(torch.zeros(2, 2), contexts(), "x", Provenance("record"))


def test_many_long_texts_are_not_printed_whole() -> None:
    long = Contexts(
        item=np.arange(3),
        position=np.zeros(3, int),
        step=np.zeros(3, int),
        items=("word " * 1000,) * 3,
        tokens=(("word ",) * 1000,) * 3,
    )
    shown = repr(Activations(torch.zeros(3, 2), long, "L0.mlp", Provenance("record")))
    assert shown == "Activations(L0.mlp: 3 rows × 2, 3 inputs, torch.float32)"


def test_windows_end_with_the_text() -> None:
    window = contexts().window(1, radius=5)
    assert (window.before, window.token, window.after) == (("a", "b"), "c", ())
    assert window.rows == (0, -1, 1), "the token between was not recorded"
    assert contexts().window(1, radius=1).tokens == ("b", "c")
    assert contexts().window(2).tokens == ("d",)
    pixels = Contexts(
        item=np.array([0]), position=np.array([9]), step=np.array([3]), items=("seed 4",)
    )
    assert pixels.window(0).tokens == ("#9",)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_named(value: float) -> None:
    acts().require_finite()
    broken = acts().values.clone()
    broken[1, 0] = value
    with pytest.raises(
        InputError,
        match=(
            r"1 of 3 rows of L0.mlp are not finite, first row 1: token 'c' at position 2 of "
            r"input 0 \('abc'\)"
        ),
    ):
        Activations(broken, contexts(), "L0.mlp", Provenance("record")).require_finite()


def test_provenance_survives_json() -> None:
    whole = Provenance(
        "snmf",
        parameters={"k": 3, "nested": {"a": [1, 2.5, None]}},
        seed=7,
        model="m",
        weight_hash="w",
        corpus_hash="c",
        site="L0.mlp",
        selection="all",
        cost={"seconds": 1.5},
    )
    assert Provenance.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
    assert (
        whole.versions["torch"] == torch.__version__ or whole.versions["torch"] in torch.__version__
    )
    derived = whole.derive("pca", parameters={"n": 2})
    assert (derived.method, derived.parameters, derived.seed, derived.cost) == (
        "pca",
        {"n": 2},
        None,
        {},
    )
    assert (derived.model, derived.corpus_hash, derived.site) == ("m", "c", "L0.mlp")
    assert whole.derive("pca", site="L1.mlp").site == "L1.mlp"


def test_a_text_hash_sees_boundaries_order_and_half_characters() -> None:
    hashes = {
        text_hash(texts)
        for texts in (
            ["ab", "c"],
            ["a", "bc"],
            ["abc"],
            ["c", "ab"],
            ["ab", "c", ""],
            ["\ud800"],
            [],
        )
    }
    assert len(hashes) == 7
    assert text_hash(iter(["ab", "c"])) == text_hash(["ab", "c"])
    by_hand = hashlib.sha256(b"\x02" + bytes(7) + b"ab" + b"\x01" + bytes(7) + b"c")
    assert text_hash(["ab", "c"]) == by_hand.hexdigest()


def test_notebooks_are_shown_no_foreign_markup() -> None:
    shown = [
        acts(ATTACK, ATTACK)._repr_html_(),
        Provenance("record", parameters={"note": ATTACK}, model=ATTACK)._repr_html_(),
        Sites({ATTACK: (1,)})._repr_html_(),
    ]
    for page in shown:
        assert "<script" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page
