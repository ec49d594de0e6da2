"""Continuations in shared batches are those that each cell, prompt and sample has alone."""

import pytest
import torch

from interp.models.adapters.decoding import Sampling
from interp.steering.generation import ROWS_PER_CALL, Cell, Continuation, continuations

PROMPTS = ("The sea", "Stir the soup slowly, then add", "Nobody knows where")
SAMPLING = Sampling(max_new_tokens=6, top_p=0.9)
SAMPLES = 2


def cell(target, site, scale, reached=True):
    width = {"": 0, "L0.mlp": 24, "L1.resid_post": 16}[site]
    vector = scale * torch.randn(width, generator=torch.Generator().manual_seed(target or 0))
    return Cell(
        target=target,
        site=site,
        vector=vector,
        kl=0.5,
        sign=1,
        alpha=scale,
        measured_kl=0.5,
        reached=reached,
    )


@pytest.fixture(scope="module")
def cells():
    mixed = [
        cell(0, "L1.resid_post", 2.0),
        cell(1, "L0.mlp", 5.0),
        cell(None, "", 0.0),
        cell(2, "L1.resid_post", 3.0, reached=False),
    ]
    return [*mixed, *(cell(number, "L1.resid_post", 4.0) for number in range(3, 22))]


@pytest.fixture(scope="module")
def together(llama, cells):
    return continuations(llama, cells, PROMPTS, SAMPLES, SAMPLING, 0)


def test_more_than_one_call_was_needed(cells):
    assert len(cells) * len(PROMPTS) * SAMPLES > ROWS_PER_CALL


def test_a_cells_texts_are_those_it_has_alone(llama, cells, together):
    for number in (0, 1, 2, 21):
        (alone,) = continuations(llama, [cells[number]], PROMPTS, SAMPLES, SAMPLING, 0)
        assert alone == together[number]


def test_a_prompts_texts_are_those_it_has_in_a_batch_of_one_with_a_hook_of_ones_own(
    llama, cells, together
):
    handle = llama.module.model.layers[1].register_forward_hook(
        lambda module, args, output: output + cells[21].vector
    )
    texts = []
    for number, prompt in enumerate(PROMPTS):
        for sample in range(SAMPLES):
            batch = llama.prepare([prompt], padding="left").batches[0]
            texts.append(
                Continuation(prompt, llama.sample(batch, SAMPLING, [number * SAMPLES + sample])[0])
            )
    handle.remove()
    assert tuple(texts) == together[21]


def test_texts_differ_between_cells_and_samples(together):
    assert together[0] != together[2] != together[1]
    assert together[2][0].text != together[2][1].text


def test_every_cell_has_its_prompts_in_order_and_an_unreached_one_nothing(together):
    assert together[3] == ()
    expected = [prompt for prompt in PROMPTS for _ in range(SAMPLES)]
    assert all(
        [text.prompt for text in texts] == expected
        for number, texts in enumerate(together)
        if number != 3
    )


def test_the_seed_decides(llama, cells, together):
    assert continuations(llama, cells[:1], PROMPTS, SAMPLES, SAMPLING, 0) == together[:1]
    assert continuations(llama, cells[:1], PROMPTS, SAMPLES, SAMPLING, 1) != together[:1]


def test_adding_nothing_is_no_steering(llama, together):
    (texts,) = continuations(llama, [cell(0, "L1.resid_post", 0.0)], PROMPTS, SAMPLES, SAMPLING, 0)
    assert texts == together[2]
