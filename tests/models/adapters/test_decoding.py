"""Drawing tokens: the frequencies are the probabilities, and each row has its own luck."""

import numpy as np
import pytest
import tiny
import torch
from scipy import stats
from torch import Tensor

import interp
from interp.core import InputError
from interp.models import Sampling
from interp.models.adapters.decoding import _draw, sample_ids

LOGITS = torch.log(torch.tensor([0.4, 0.05, 0.25, 0.2, 0.1]))
DRAWS = 20_000


def expected(sampling: Sampling) -> np.ndarray:
    """The probabilities by their definition, token by token."""
    probability = torch.softmax(LOGITS / sampling.temperature, dim=0).double().numpy()
    ranked = sorted(range(5), key=lambda token: -probability[token])[: sampling.top_k]
    mass, kept = probability[ranked].sum(), []
    for token in ranked:
        if sum(probability[other] for other in kept) / mass < sampling.top_p - 1e-9:
            kept.append(token)
    return np.array(
        [
            probability[token] / probability[kept].sum() if token in kept else 0.0
            for token in range(5)
        ]
    )


def counts(sampling: Sampling) -> np.ndarray:
    uniform = torch.rand(DRAWS, generator=torch.Generator().manual_seed(0))
    return np.bincount(_draw(LOGITS.expand(DRAWS, -1), uniform, sampling).numpy(), minlength=5)


SAMPLINGS = [
    Sampling(top_k=5, top_p=1.0),
    Sampling(top_k=3, top_p=1.0),
    Sampling(top_k=99, top_p=0.6),
    Sampling(top_k=3, top_p=0.7, temperature=2.0),
    Sampling(top_k=4, top_p=0.99, temperature=0.5),
]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_frequencies_are_the_probabilities(sampling: Sampling) -> None:
    probability, found = expected(sampling), counts(sampling)
    possible = probability > 0
    assert found[~possible].sum() == 0
    assert stats.chisquare(found[possible], DRAWS * probability[possible]).pvalue > 0.001
    wrong = np.roll(probability[possible], 1)
    assert stats.chisquare(found[possible], DRAWS * wrong).pvalue < 1e-6, (
        "control: other probabilities are told apart"
    )


@pytest.mark.parametrize("uniform", [0.0, 0.5, float(np.nextafter(np.float32(1), np.float32(0)))])
def test_the_ends_of_the_unit_interval_stay_inside(uniform: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 50, generator=generator)
    sampling = Sampling(top_k=20, top_p=0.3)
    ranked = logits.argsort(dim=1, descending=True)
    chosen = _draw(logits, torch.full((4000,), uniform), sampling)
    rank = (ranked == chosen[:, None]).int().argmax(dim=1)
    top = torch.softmax(logits.gather(1, ranked)[:, :20], dim=1)
    kept = (top.cumsum(dim=1) - top < 0.3).sum(dim=1)
    assert bool((rank < kept).all())
    assert bool((rank == 0).all()) == (uniform == 0.0)


def test_top_one_is_the_most_likely() -> None:
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(1))
    assert torch.equal(
        _draw(logits, torch.arange(50) / 50, Sampling(top_k=1)), logits.argmax(dim=1)
    )


@pytest.mark.parametrize(
    "options",
    [{"max_new_tokens": 0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.1}, {"temperature": 0.0}],
)
def test_settings_that_cannot_be_sampled_are_refused(options: dict) -> None:
    with pytest.raises(InputError, match="cannot be sampled"):
        Sampling(**options)


@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
def test_cached_steps_are_full_passes(name: str) -> None:
    model = interp.wrap(tiny.language(name), tiny.word_tokenizer())
    batch = model.prepare(["w5 w9 w40 w41", "w12"], padding="left").batches[0]
    found = sample_ids(model.module, batch, Sampling(max_new_tokens=7, top_k=1), [0, 0], [])
    for row, new in enumerate(found.tolist()):
        ids = batch.inputs["input_ids"][row][batch.keep[row]].tolist()
        for token in new:
            with torch.no_grad():
                assert (
                    int(model.module(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
                    == token
                )
            ids.append(token)


def test_after_its_stop_token_a_row_is_silent_and_others_go_on() -> None:
    model = interp.wrap(tiny.language("llama"), tiny.word_tokenizer())
    batch = model.prepare(["w5 w9 w40 w41", "w12"], padding="left").batches[0]
    free = sample_ids(model.module, batch, Sampling(max_new_tokens=6, top_k=1), [0, 0], [])
    stop = int(free[0, 2])
    assert stop not in free[1].tolist(), "control: the other row never stops"
    assert stop not in free[0, :2].tolist()
    stopped: Tensor = sample_ids(
        model.module, batch, Sampling(max_new_tokens=6, top_k=1), [0, 0], [stop]
    )
    assert stopped[0].tolist() == [*free[0, :2].tolist(), -1, -1, -1, -1]
    assert torch.equal(stopped[1], free[1])
    both = sample_ids(
        model.module,
        batch,
        Sampling(max_new_tokens=6, top_k=1),
        [0, 0],
        [int(free[0, 0]), int(free[1, 0])],
    )
    assert both.tolist() == [[-1], [-1]], "nothing is computed after the last row has stopped"
