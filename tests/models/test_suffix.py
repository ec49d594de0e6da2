"""Running only what comes after a site gives the numbers of the whole network, for every
architecture, or the whole network is run.
"""

import pytest
import tiny
import torch

from interp.capture import Add, ProjectOut
from interp.models.loading import wrap
from interp.models.suffix import Suffix, repeated

TEXTS = [
    "The sea was calm and the ships lay still.",
    "Stir the soup slowly",
    "Nobody knows where the old road goes.",
]
SITES = (
    "L0.resid_pre",
    "L1.mlp",
    "L1.attn_out",
    "L1.resid_mid",
    "L1.head2",
    "L1.mlp_out",
    "L1.resid_post",
    "L2.resid_post",
)
TIMES = 3


def model_of(name):
    return wrap(tiny.language(name), tiny.tokenizer())


def vectors(model, site, count=TIMES, seed=0):
    return torch.randn(
        count, model.sites.width(site), generator=torch.Generator().manual_seed(seed)
    )


def by_hand(model, batch, site, some, keep=0):
    """One full run per vector."""
    return torch.cat(
        [model.run(batch, {site: Add(vector)}, logits_to_keep=keep).detach() for vector in some]
    )


@pytest.mark.parametrize("name", tiny.ARCHITECTURES)
@pytest.mark.parametrize("padding", ["left", "right"])
def test_the_numbers_are_those_of_the_whole_network(name, padding):
    model = model_of(name)
    batch = model.prepare(TEXTS, batch_size=3, padding=padding).batches[0]
    for site in (site for site in SITES if site in model.sites.shapes):
        some = vectors(model, site)
        rest = Suffix(model, batch, site)
        found, expected = rest.logits(Add(some), TIMES), by_hand(model, batch, site, some)
        real = batch.inputs["attention_mask"].bool().repeat(TIMES, 1)
        torch.testing.assert_close(found[real], expected[real], rtol=1e-5, atol=2e-5)
        assert not torch.allclose(found[: len(TEXTS)], rest.plain, rtol=1e-3)


@pytest.mark.parametrize(
    "name", ["gpt2", "llama", "gemma2", "gemma3", "pythia", "qwen2", "mistral"]
)
def test_what_comes_before_the_site_is_spared(name):
    model = model_of(name)
    batch = model.prepare(TEXTS, batch_size=3, padding="left").batches[0]
    rest = Suffix(model, batch, "L1.resid_post", logits_to_keep=1)
    assert rest.reused
    with (
        tiny.seen(tiny.blocks(model.module)[1]) as before,
        tiny.seen(tiny.blocks(model.module)[2]) as after,
    ):
        found = rest.logits(Add(vectors(model, "L1.resid_post")), TIMES)
    assert (len(before), len(after)) == (0, 1)
    torch.testing.assert_close(
        found,
        by_hand(model, batch, "L1.resid_post", vectors(model, "L1.resid_post"), 1),
        rtol=1e-5,
        atol=2e-5,
    )


def test_a_batch_of_one_row_and_another_kind_of_change():
    model = model_of("gemma3")
    batch = model.prepare(TEXTS[:1]).batches[0]
    change = ProjectOut(vectors(model, "L1.resid_post", 2))
    rest = Suffix(model, batch, "L1.resid_post")
    assert rest.reused
    expected = model.run(batch, {"L1.resid_post": change})
    torch.testing.assert_close(
        rest.logits(change, 2), expected.repeat(2, 1, 1).detach(), rtol=1e-5, atol=2e-5
    )


@pytest.mark.parametrize("site", ["embed", "logits"])
def test_a_site_of_no_layer_falls_back(site):
    model = model_of("gpt2")
    batch = model.prepare(TEXTS, batch_size=3).batches[0]
    some = vectors(model, site)
    rest = Suffix(model, batch, site)
    assert not rest.reused
    torch.testing.assert_close(
        rest.logits(Add(some), TIMES), by_hand(model, batch, site, some), rtol=1e-5, atol=2e-5
    )


def test_hooks_of_another_session_are_not_lost():
    model = model_of("llama")
    batch = model.prepare(TEXTS, batch_size=3).batches[0]
    some, other = (
        vectors(model, "L1.resid_post"),
        {"L0.resid_post": Add(vectors(model, "L0.resid_post", 1, seed=5)[0])},
    )
    before = Suffix(model, batch, "L1.resid_post")
    assert before.reused
    with model.hooked(other):
        expected = by_hand(model, batch, "L1.resid_post", some)
        inside = Suffix(model, batch, "L1.resid_post")
        assert not inside.reused
        for rest in (before, inside):
            torch.testing.assert_close(
                rest.logits(Add(some), TIMES), expected, rtol=1e-5, atol=2e-5
            )
    torch.testing.assert_close(
        before.logits(Add(some), TIMES),
        by_hand(model, batch, "L1.resid_post", some),
        rtol=1e-5,
        atol=2e-5,
    )
    assert not torch.allclose(expected, by_hand(model, batch, "L1.resid_post", some), rtol=1e-3)


def test_a_network_that_does_more_than_call_its_layers_is_run_whole():
    model = model_of("llama")
    # Something after the final norm that a call of the layers one by one does not do.
    handle = model.module.model.register_forward_hook(
        lambda module, args, output: output.__setitem__("last_hidden_state", -output[0])
    )
    batch = model.prepare(TEXTS, batch_size=3).batches[0]
    some = vectors(model, "L1.resid_post")
    rest = Suffix(model, batch, "L1.resid_post")
    assert not rest.reused
    torch.testing.assert_close(
        rest.logits(Add(some), TIMES),
        by_hand(model, batch, "L1.resid_post", some),
        rtol=1e-5,
        atol=2e-5,
    )
    handle.remove()


def test_a_layer_that_cannot_be_called_again_is_run_whole():
    model = model_of("llama")
    seen = []

    def refuse(module, args):
        if any(args[0] is earlier for earlier in seen):
            raise RuntimeError("these hidden states were used before")
        seen.append(args[0])

    handle = tiny.blocks(model.module)[2].register_forward_pre_hook(refuse)
    rest = Suffix(model, model.prepare(TEXTS, batch_size=3).batches[0], "L1.resid_post")
    handle.remove()
    assert len(seen) == 1
    assert not rest.reused


def test_the_module_is_left_as_found():
    model = model_of("gemma3")
    model.module.train()
    before = {name: id(part) for name, part in model.module.named_modules()}
    rest = Suffix(model, model.prepare(TEXTS, batch_size=3).batches[0], "L1.mlp")
    rest.logits(Add(vectors(model, "L1.mlp")), TIMES)
    assert {name: id(part) for name, part in model.module.named_modules()} == before
    assert not any(
        part._forward_hooks or part._forward_pre_hooks for part in model.module.modules()
    )
    assert all(part.training for part in model.module.modules())
    assert not model.busy


def test_a_repeated_batch_goes_copy_after_copy():
    model = model_of("gpt2")
    batch = model.prepare(TEXTS, batch_size=3, padding="left").batches[0]
    twice = repeated(batch, 2)
    assert twice.items.tolist() == batch.items.tolist() * 2
    assert (twice.inputs["input_ids"][3:] == batch.inputs["input_ids"]).all()
