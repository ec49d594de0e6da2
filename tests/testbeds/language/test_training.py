"""Training is seeded and resumes exactly; checkpoints keep the weights; rows repeat where they
should; glosses are read.
"""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from interp.core import InputError, UnavailableError
from interp.core.files import read_json
from interp.testbeds.language import training as tiny_language
from interp.testbeds.language.data import IGNORED, Rows, packed, train_tokenizer, wordnet_glosses
from interp.testbeds.language.store import (
    checkpoint_path,
    checkpoint_steps,
    load_checkpoint,
    quantised,
    read_checkpoint,
)
from interp.testbeds.language.training import (
    TinyLanguageSettings,
    spaced_steps,
    train_tiny_language,
)
from interp.testbeds.training import training_curve

PARTS = (
    ("red", "green", "old"),
    ("ship", "tree", "fish", "bird"),
    ("near", "under", "behind"),
    ("house", "river", "road"),
)
TEXTS = [f"the {one} {two} is {three} the {four}" for one, two, three, four in product(*PARTS)]
SMALL = TinyLanguageSettings(
    vocabulary=280,
    context=16,
    width=16,
    layers=1,
    heads=2,
    steps=12,
    checkpoints=4,
    batch_size=6,
    repeating=2,
    warm_up=4,
)


class StoppedError(Exception):
    """What a killed run raises here."""


def stop_after(step: int) -> tiny_language.Progress:
    def progress(stage: str, done: int, total: int, unit: str) -> None:
        if done > step:
            raise StoppedError

    return progress


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny_language(
        TEXTS, tmp_path_factory.mktemp("language"), settings=SMALL, data="sentences"
    )


def test_a_stopped_run_goes_on_to_the_same_weights(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_language, "SAVE_EVERY", 5)
    with pytest.raises(StoppedError):
        train_tiny_language(TEXTS, tmp_path, settings=SMALL, progress=stop_after(7))
    with pytest.raises(InputError, match="other settings"):
        train_tiny_language(TEXTS[:-1], tmp_path, settings=SMALL)
    train_tiny_language(TEXTS, tmp_path, settings=SMALL)
    for step in checkpoint_steps(run):
        assert (
            checkpoint_path(tmp_path, step).read_bytes() == checkpoint_path(run, step).read_bytes()
        )
    assert training_curve(tmp_path) == training_curve(run)
    assert not (tmp_path / tiny_language.STATE).exists()


def test_the_seed_alone_decides_and_global_state_is_left_alone(run: Path, tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    other = train_tiny_language(
        TEXTS, tmp_path, settings=TinyLanguageSettings(**{**vars(SMALL), "seed": 1})
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (
        read_json(other / "recipe.json")["weights_sha256"]
        != read_json(run / "recipe.json")["weights_sha256"]
    )


def test_the_folder_tells_the_run_and_its_checkpoints_load(run: Path) -> None:
    recipe = read_json(run / "recipe.json")
    assert checkpoint_steps(run) == recipe["steps"] == spaced_steps(12, 4)
    assert recipe["data"]["texts"] == len(TEXTS)
    assert sum(recipe["token_shares"]) == pytest.approx(1, abs=1e-4)
    assert recipe["loss"]["stored"] == pytest.approx(recipe["loss"]["exact"], abs=0.01)
    model = load_checkpoint(run, 12)
    assert model.sites.width("L0.resid_post") == SMALL.width
    first, last = load_checkpoint(run, 0).run("the red ship"), model.run("the red ship")
    assert first is not None
    assert last is not None
    assert not torch.allclose(first, last)
    assert model.module.lm_head.weight is model.module.transformer.wte.weight


def test_a_finished_run_is_not_trained_again_and_a_step_that_is_not_there_is_refused(
    run: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="already holds"):
        train_tiny_language(TEXTS, run, settings=SMALL)
    with pytest.raises(InputError, match="no checkpoint of step 5; there are 0, 4"):
        load_checkpoint(run, 5)
    with pytest.raises(UnavailableError, match="no step_"):
        checkpoint_steps(tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "step_000001.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(UnavailableError, match="train the run again"):
        read_checkpoint(path)


def test_bytes_are_off_by_at_most_half_a_scale() -> None:
    weights = (
        torch.randn(20, 30, generator=torch.Generator().manual_seed(0))
        * torch.logspace(-3, 1, 20)[:, None]
    )
    numbers, scale = quantised(weights)
    assert bool(
        (
            (numbers.float() * scale[:, None] - weights).abs()
            <= 0.51 * scale[:, None] + 1e-3 * weights.abs()
        ).all()
    )
    assert quantised(torch.zeros(2, 3))[0].tolist() == [[0, 0, 0], [0, 0, 0]]


def tokens() -> Tensor:
    return torch.arange(1, 2001)


def test_every_row_comes_once_an_epoch_in_an_order_of_the_seed() -> None:
    rows = Rows(tokens=tokens(), length=20, batch_size=10, repeating=0, seed=0)
    firsts = torch.cat([rows.batch(step)[0][:, 0] for step in range(10)]).tolist()
    assert sorted(firsts) == list(range(1, 2001, 20))
    assert firsts != sorted(firsts)
    assert torch.equal(
        Rows(tokens=tokens(), length=20, batch_size=10, repeating=0, seed=0).batch(3)[0],
        rows.batch(3)[0],
    )
    assert not torch.equal(
        Rows(tokens=tokens(), length=20, batch_size=10, repeating=0, seed=1).batch(3)[0],
        rows.batch(3)[0],
    )
    assert not torch.equal(rows.batch(13)[0], rows.batch(3)[0])


def test_repeating_rows_start_over_and_bear_no_loss_before() -> None:
    ids, labels = Rows(tokens=tokens(), length=40, batch_size=10, repeating=4, seed=0).batch(0)
    assert torch.equal(ids[:6], labels[:6])
    for row, label in zip(ids[6:], labels[6:], strict=True):
        first = int((label == IGNORED).sum())
        assert 4 <= first <= 20
        assert torch.equal(label[first:], row[first:])
        assert torch.equal(row[first:], row[np.arange(first, 40) % first])


def test_the_steps_are_even_in_their_square_root() -> None:
    steps = spaced_steps(2400, 25)
    assert (steps[0], steps[1], steps[-1], len(steps)) == (0, 4, 2400, 25)
    assert np.diff(np.sqrt(steps[1:])) == pytest.approx(np.full(23, (2400**0.5 - 2) / 23), abs=0.15)


def test_texts_are_packed_each_after_an_end_token() -> None:
    tokenizer = train_tokenizer(TEXTS, 280)
    ids = packed(TEXTS[:2], tokenizer)
    assert tokenizer.decode(ids) == f"<|end|>{TEXTS[0]}<|end|>{TEXTS[1]}"
    assert int((ids == 0).sum()) == 2


def test_glosses_are_read_without_the_licence_and_each_once(tmp_path: Path) -> None:
    entry = '00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is;  "it is"  \n'
    for name in ("data.noun", "data.verb", "data.adj", "data.adv"):
        (tmp_path / name).write_text(
            "  1 This software | is licensed\n" + entry, encoding="latin-1"
        )
    assert wordnet_glosses(tmp_path) == ['that which is; "it is"']
    (tmp_path / "data.adv").unlink()
    with pytest.raises(UnavailableError, match="wordnet-base"):
        wordnet_glosses(tmp_path)


def test_settings_and_rows_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="checkpoints"):
        TinyLanguageSettings(steps=3, checkpoints=5)
    with pytest.raises(InputError, match="repeating"):
        Rows(tokens=tokens(), length=20, batch_size=10, repeating=10, seed=0)
    with pytest.raises(InputError, match="do not fill"):
        Rows(tokens=tokens()[:50], length=20, batch_size=10, repeating=2, seed=0)
    with pytest.raises(InputError, match="vocabulary"):
        train_tokenizer(TEXTS, 100)
