"""Activations as datasets: there and back bit for bit, also after what people do to datasets."""

import json

import datasets
import numpy as np
import pytest
import torch

from interp.core import Activations, Contexts, InputError, Provenance
from interp.corpus import activation_dataset
from interp.corpus.activation_dataset import activations_from_dataset, activations_to_dataset

TEXTS = ("The sea was calm.", "Snow <b> fell")
TOKENS = (("<s>", "The", " sea", " was", " calm"), ("<s>", "Snow", " <b>", " fell"))
ITEM, POSITION = np.array([0, 0, 0, 1, 1, 1]), np.array([1, 2, 4, 1, 2, 3])
CONTEXTS = Contexts(
    item=ITEM, position=POSITION, step=np.array([0, 0, 0, 9, 9, 9]), items=TEXTS, tokens=TOKENS
)
SOURCE = Provenance(
    "record",
    parameters={"batch": 2},
    model="tiny",
    corpus_hash="abc",
    site="L1.mlp",
    selection="all but first",
)


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def recorded(dtype=torch.float32, contexts=CONTEXTS):
    values = torch.randn(len(contexts), 5, generator=torch.Generator().manual_seed(3)).to(dtype)
    return Activations(values, contexts, "L1.mlp", SOURCE)


def same(one, other):
    assert torch.equal(one.values, other.values)
    assert one.values.dtype == other.values.dtype
    for name in ("item", "position", "step"):
        assert np.array_equal(getattr(one.contexts, name), getattr(other.contexts, name)), name
    assert (one.contexts.items, one.contexts.tokens) == (
        other.contexts.items,
        other.contexts.tokens,
    )
    assert (one.site, one.provenance.to_dict()) == (other.site, other.provenance.to_dict())


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str
)
@pytest.mark.parametrize("chunk", [4, 4096])
def test_there_and_back_bit_for_bit(dtype, chunk, monkeypatch):
    monkeypatch.setattr(activation_dataset, "CHUNK", chunk)
    acts = recorded(dtype)
    same(activations_from_dataset(activations_to_dataset(acts)), acts)


def test_a_row_of_the_dataset_is_a_row_of_the_activations():
    acts = recorded()
    row = activations_to_dataset(acts)[2]
    assert row == {
        "values": acts.values[2].tolist(),
        "item": 0,
        "position": 4,
        "step": 0,
        "token": " calm",
    }


def test_chosen_rows_keep_their_contexts(tmp_path):
    acts = recorded()
    dataset = activations_to_dataset(acts)
    chosen = dataset.filter(lambda row: row["item"] == 1).select([2, 0])
    same(activations_from_dataset(chosen), acts.take(np.array([5, 3])))
    chosen.save_to_disk(tmp_path / "chosen")
    loaded = activations_from_dataset(datasets.load_from_disk(tmp_path / "chosen"))
    same(loaded, acts.take(np.array([5, 3])))
    assert loaded.contexts.token(1) == "Snow"
    doubled = dataset.map(lambda row: {"values": [2 * value for value in row["values"]]})
    assert torch.equal(activations_from_dataset(doubled).values, 2 * acts.values)


def test_images_have_no_tokens_and_an_empty_recording_has_no_rows():
    images = Contexts(
        item=np.array([0, 1]), position=np.array([3, 4]), step=np.array([10, 20]), items=("a", "b")
    )
    same(
        activations_from_dataset(activations_to_dataset(recorded(contexts=images))),
        recorded(contexts=images),
    )
    empty = activations_to_dataset(recorded().take(np.array([], dtype=int)))
    assert len(empty) == 0
    with pytest.raises(InputError, match="it has no rows"):
        activations_from_dataset(empty)


def test_a_dataset_of_someone_else_needs_a_site():
    theirs = datasets.Dataset.from_dict({"embedding": [[1.0, 2.0], [3.0, 4.0]], "text": ["a", "b"]})
    with pytest.raises(InputError, match="does not say at which site"):
        activations_from_dataset(theirs, column="embedding")
    acts = activations_from_dataset(theirs, column="embedding", site="L2.mlp")
    assert torch.equal(acts.values, torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64))
    assert acts.contexts.item.tolist() == [0, 1]
    assert (acts.site, acts.contexts.items, acts.contexts.describe(1)[:24]) == (
        "L2.mlp",
        ("input 0", "input 1"),
        "row 1: token '#0' at pos",
    )


def test_another_site_overrules_the_dataset_s():
    assert (
        activations_from_dataset(activations_to_dataset(recorded()), site="L9.mlp").site == "L9.mlp"
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"other": [1.0]}, "no column 'values'; its columns are other"),
        ({"values": [1.0, 2.0]}, "holds double; expected lists"),
        ({"values": [["a"]]}, r"holds list<.*string.*>; expected lists"),
        ({"values": [[1.0], [1.0, 2.0]]}, r"\[1, 2\] numbers"),
        ({"values": [[1.0, None]]}, "a number everywhere"),
        ({"values": [[1.0], None]}, "a number everywhere"),
        ({"values": [[1.0], [2.0]], "item": [0, -1]}, "item goes from -1 to 0"),
    ],
)
def test_what_is_no_table_of_activations_is_refused(columns, message):
    with pytest.raises(InputError, match=message):
        activations_from_dataset(datasets.Dataset.from_dict(columns), site="L1.mlp")


def test_two_recordings_in_one_dataset_are_refused_because_their_inputs_have_the_same_numbers():
    other = Activations(recorded().values, CONTEXTS, "L2.mlp", SOURCE)
    joined = datasets.concatenate_datasets(
        [activations_to_dataset(recorded()), activations_to_dataset(other)]
    )
    with pytest.raises(InputError, match="joined from several recordings"):
        activations_from_dataset(joined)
    changed = activations_to_dataset(recorded()).map(lambda row: {"item": row["item"] + 1})
    with pytest.raises(InputError, match="item goes from 1 to 2, but there are 2 inputs"):
        activations_from_dataset(changed)


@pytest.mark.parametrize(
    ("key", "value"), [("provenance", {"nonsense": 1}), ("dtype", "int8"), ("items", None)]
)
def test_a_description_that_was_changed_is_refused(key, value):
    dataset = activations_to_dataset(recorded())
    note = {
        name: own
        for name, own in {**json.loads(dataset.info.description), key: value}.items()
        if own is not None
    }
    dataset.info.description = json.dumps(note)
    with pytest.raises(InputError, match="convert the activations again"):
        activations_from_dataset(dataset)
