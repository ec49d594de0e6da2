"""record(): one call for every kind of network, rows in the order of the inputs, values those of a
plain torch hook.
"""

import itertools

import numpy as np
import pytest
import tiny
import torch

import interp
from interp.capture import TokenSelection
from interp.core import InputError
from interp.models import NoisedImages, TransformerModel

TEXTS = [*tiny.SENTENCES, "Ünïcode – naïve 漢字 🙂🙃!", "a", "  spaced   out  "]
EVERYTHING = TokenSelection(skip_first=0, skip_special=False)


@pytest.fixture(scope="module", params=["gpt2", "llama", "gemma3"])
def model(request: pytest.FixtureRequest) -> TransformerModel:
    return interp.wrap(tiny.language(request.param), tiny.tokenizer(bos=True))


@pytest.fixture(scope="module")
def gpt2() -> TransformerModel:
    return interp.wrap(tiny.language("gpt2"), tiny.tokenizer())


def test_rows_are_those_of_each_text_alone(model: TransformerModel) -> None:
    acts = interp.record(model, TEXTS, "L1.resid_post", selection=EVERYTHING, batch_size=3)
    start = 0
    for item, text in enumerate(TEXTS):
        ids = model.tokenizer(text)["input_ids"]
        with tiny.seen(tiny.blocks(model.module)[1]) as values, torch.no_grad():
            model.module(torch.tensor([ids]), use_cache=False)
        stop = start + len(ids)
        assert acts.contexts.item[start:stop].tolist() == [item] * len(ids)
        assert acts.contexts.position[start:stop].tolist() == list(range(len(ids)))
        assert torch.allclose(acts.values[start:stop], values[0][0], atol=1e-5)
        start = stop
    assert start == len(acts)
    assert acts.contexts.items == tuple(TEXTS)
    assert set(acts.contexts.step) == {0}


@pytest.mark.parametrize("size", [1, 3, None])
def test_batching_does_not_change_rows(model: TransformerModel, size: int | None) -> None:
    expected = interp.record(model, TEXTS, "L2.mlp", batch_size=len(TEXTS))
    acts = interp.record(model, TEXTS, "L2.mlp", batch_size=size)
    assert torch.allclose(acts.values, expected.values, atol=1e-5)
    assert np.array_equal(acts.contexts.item, expected.contexts.item)
    assert np.array_equal(acts.contexts.position, expected.contexts.position)
    assert not torch.allclose(acts.values, acts.values.flip(0), atol=1e-2), (
        "control: the order of rows matters"
    )


def test_several_sites_in_one_pass_are_separate_passes(model: TransformerModel) -> None:
    sites = ["L2.resid_post", "L0.mlp", "L1.head3", "embed", "logits"]
    together = interp.record(model, TEXTS, sites, batch_size=4)
    assert list(together) == sites
    for site in sites:
        alone = interp.record(model, TEXTS, site, batch_size=4)
        assert torch.equal(alone.values, together[site].values)
        assert alone.site == together[site].site == site


def test_aliases_keep_the_name_asked_for_and_the_site_its_own(gpt2: TransformerModel) -> None:
    acts = interp.record(gpt2, TEXTS, ["blocks.1.mlp.hook_post"])
    assert acts["blocks.1.mlp.hook_post"].site == "L1.mlp"


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        (TokenSelection(), [1, 2, 3]),
        (TokenSelection(skip_first=0), [1, 2, 3]),
        (TokenSelection(skip_special=False, skip_first=0), [0, 1, 2, 3, 4]),
        (TokenSelection(skip_special=False), [1, 2, 3, 4]),
        (TokenSelection(skip_first=3), [3]),
        (TokenSelection(which="last"), [3]),
        (TokenSelection(which="last", skip_special=False), [4]),
    ],
)
def test_selections(gpt2: TransformerModel, selection: TokenSelection, kept: list[int]) -> None:
    ids = [[0, 7, 8, 9, 1], [0, 7, 8, 9, 10, 11, 12, 1]]
    acts = interp.record(gpt2, ids, "L0.resid_post", selection=selection)
    assert acts.contexts.position[acts.contexts.item == 0].tolist() == kept
    assert str(selection) == acts.provenance.selection


def test_special_tokens_of_chats_and_of_the_tokenizer_are_left_out(model: TransformerModel) -> None:
    acts = interp.record(model, "The sea", "embed")
    assert acts.contexts.position[0] == 1, "the start token is left out, and no word for it"
    assert "".join(acts.contexts.token(row) for row in range(len(acts))) == "The sea"
    chat = [{"role": "user", "content": "sea"}, {"role": "assistant", "content": "calm"}]
    acts = interp.record(model, [chat], "embed", selection=TokenSelection(skip_first=0))
    assert acts.contexts.items == ("<|user|>sea</s><|assistant|>calm</s>",)
    assert (
        "".join(acts.contexts.token(row) for row in range(len(acts)))
        == "<|user|>sea<|assistant|>calm"
    )
    assert "".join(acts.contexts.tokens[0]) == acts.contexts.items[0]
    same = interp.record(model, [chat], "embed", selection=EVERYTHING)
    assert len(same) - len(acts) == 2, "control: the two end tokens"


def test_long_texts_are_cut_and_positions_go_on(
    monkeypatch: pytest.MonkeyPatch, gpt2: TransformerModel
) -> None:
    monkeypatch.setattr("interp.models.adapters.transformer.DEFAULT_SEGMENT", 8)
    text = tiny.SENTENCES[1]
    ids = gpt2.tokenizer(text)["input_ids"]
    assert len(ids) > 16, "control: three pieces at least"
    acts = interp.record(gpt2, ["a b", text], "L1.resid_post", selection=EVERYTHING, batch_size=2)
    long = acts.of_items(np.array([1]))
    assert long.contexts.position.tolist() == list(range(len(ids)))
    assert "".join(long.contexts.token(row) for row in range(len(long))) == text
    pieces = [
        interp.record(gpt2, [ids[at : at + 8]], "L1.resid_post", selection=EVERYTHING).values
        for at in range(0, len(ids), 8)
    ]
    assert torch.allclose(long.values, torch.cat(pieces), atol=1e-5)
    inner = interp.record(gpt2, text, "L1.resid_post").contexts.position.tolist()
    assert inner == [place for place in range(len(ids)) if place % 8], (
        "every piece's first position has no context"
    )
    last = interp.record(
        gpt2,
        ["a b", text, "ab"],
        "L1.resid_post",
        selection=TokenSelection(skip_first=0, which="last"),
    )
    assert last.contexts.item.tolist() == [0, 1, 2]
    assert last.contexts.position[1] == len(ids) - 1
    assert torch.allclose(last.values[1], long.values[-1], atol=1e-5)


@pytest.mark.parametrize("bos", [False, True])
def test_tokens_join_to_the_text(bos: bool) -> None:
    model = interp.wrap(tiny.language("gpt2"), tiny.tokenizer(bos=bos))
    for text, tokens in zip(
        TEXTS, interp.record(model, TEXTS, "embed").contexts.tokens, strict=True
    ):
        assert "".join(tokens[bos:]) == text


def test_empty_texts_give_no_rows_and_move_no_other(gpt2: TransformerModel) -> None:
    acts = interp.record(gpt2, ["", "The sea", "", "was calm"], "L0.mlp")
    assert sorted(set(acts.contexts.item)) == [1, 3]
    expected = interp.record(gpt2, ["The sea", "was calm"], "L0.mlp")
    assert torch.allclose(acts.values, expected.values, atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "site", "message"),
    [
        ([], "L0.mlp", "no inputs were given"),
        ([""], "L0.mlp", "no row is left at L0.mlp: padding left out"),
        (["a"], "L0.mlp", "no row is left.*longest 1 tokens"),
        (["The sea"], "L0.mpl", r"unknown site 'L0.mpl'; nearest: L0.mlp"),
        (["The sea"], "L7.mlp", "unknown site 'L7.mlp'; nearest: L"),
        (["The sea"], [], "no site was given"),
        ([3.5], "L0.mlp", "cannot read an input of type float"),
        ([[5, 999]], "L0.mlp", "token ids from 5 to 999, the network knows 0 to 299"),
    ],
)
def test_wrong_arguments_get_one_line(
    gpt2: TransformerModel, inputs: list, site: str | list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        interp.record(gpt2, inputs, site)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [0, -1])
def test_batch_sizes_below_one_are_refused(gpt2: TransformerModel, size: int) -> None:
    for model, inputs, site in [
        (gpt2, TEXTS, "L0.mlp"),
        (interp.wrap(tiny.unet()), interp.SamplingPlan((0,), 1), "mid"),
        (interp.wrap(tiny.classifier()), tiny.images(), "head"),
    ]:
        with pytest.raises(InputError, match=f"batch_size is {size}"):
            interp.record(model, inputs, site, batch_size=size)


def test_provenance_and_progress(gpt2: TransformerModel) -> None:
    seen = []
    acts = interp.record(
        gpt2, TEXTS, "L0.mlp", batch_size=2, progress=lambda *args: seen.append(args)
    )
    assert seen == [("record", done, 4, "batch") for done in range(1, 5)]
    assert acts.provenance.cost["forward_batches"] == 4
    assert acts.provenance.site == "L0.mlp"
    assert acts.provenance.weight_hash == gpt2.weight_hash
    other = interp.record(gpt2, [*TEXTS[:-1], "b c"], "L0.mlp")
    assert other.provenance.corpus_hash != acts.provenance.corpus_hash


def test_recorded_rows_are_copies(gpt2: TransformerModel) -> None:
    acts = interp.record(gpt2, TEXTS, "L0.mlp")
    assert not acts.values.requires_grad
    assert acts.values.untyped_storage().nbytes() == acts.values.nbytes


def test_unet_rows_are_pixels_of_every_step() -> None:
    module = tiny.unet()
    model = interp.wrap(module)
    plan = interp.SamplingPlan(seeds=(4, 9, 2), steps=2)
    acts = interp.record(model, plan, ["mid", "eps"], batch_size=2)
    mid = acts["mid"]
    assert len(mid) == 3 * 2 * 16
    expected = list(itertools.product(range(3), range(2), range(16)))
    assert (
        list(zip(mid.contexts.item, mid.contexts.step, mid.contexts.position, strict=True))
        == expected
    )
    assert mid.contexts.items == ("seed 4", "seed 9", "seed 2")
    noise = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(9))[None]
    with tiny.seen(module.mid_block) as values, torch.no_grad():
        eps = module(noise, 500).sample
    assert torch.allclose(
        mid.of_items(np.array([1])).values[:16], values[0][0].flatten(1).T, atol=1e-5
    )
    assert torch.allclose(
        acts["eps"].of_items(np.array([1])).values[:64, 0], eps[0, 0].flatten(), atol=1e-5
    )


def test_noised_images_and_conditions() -> None:
    module = tiny.conditional_unet()
    model = interp.wrap(module)
    conditions = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(1))
    images = tiny.images(channels=2)
    acts = interp.record(
        model, NoisedImages(images, 300, conditions), ["down0", "up1", "mid"], batch_size=2
    )
    with (
        tiny.seen(module.down_blocks[0]) as down,
        tiny.seen(module.up_blocks[1]) as up,
        torch.no_grad(),
    ):
        module(images, 300, encoder_hidden_states=conditions)
    for site, values in (("down0", down[0]), ("up1", up[0])):
        assert torch.allclose(
            acts[site].values, values.permute(0, 2, 3, 1).flatten(0, 2), atol=1e-4
        )
    other = interp.record(model, NoisedImages(images, 300, conditions.flip(0)), "mid")
    assert not torch.allclose(other.values, acts["mid"].values, atol=1e-3), (
        "control: conditions matter"
    )


@pytest.mark.parametrize("size", [8, 1])
def test_classifier_rows_are_copies_of_what_was_there(size: int) -> None:
    module = tiny.classifier().eval()
    images = tiny.images(size=size)
    acts = interp.record(
        interp.wrap(module), images, ["convolution", "module:rectifier", "head"], batch_size=2
    )
    with torch.no_grad():
        held = torch.nn.functional.conv2d(
            images, module.convolution.weight, module.convolution.bias, padding=1
        )
        logits = module(images)
    # The rectifier writes over the convolution's output; what was recorded before stays.
    assert torch.allclose(
        acts["convolution"].values, held.permute(0, 2, 3, 1).flatten(0, 2), atol=1e-5
    )
    assert torch.allclose(
        acts["module:rectifier"].values, acts["convolution"].values.clamp(min=0), atol=1e-6
    )
    assert bool((acts["convolution"].values < 0).any())
    assert torch.allclose(acts["head"].values, logits, atol=1e-5)
    assert acts["head"].contexts.items == ("input 0", "input 1", "input 2")
    assert acts["head"].contexts.item.tolist() == [0, 1, 2]


def test_a_module_used_twice_gives_its_first_run_however_it_is_recorded() -> None:
    shared = torch.nn.Tanh()
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 3), shared, torch.nn.Linear(3, 3), shared, torch.nn.Linear(3, 2)
    )
    model, inputs = interp.wrap(module), torch.eye(3)
    together = interp.record(model, inputs, ["1", "4"])
    assert torch.equal(interp.record(model, inputs, "1").values, together["1"].values)
    assert torch.allclose(together["1"].values, torch.tanh(module[0](inputs)).detach())


def test_a_module_that_does_not_run_is_named() -> None:
    class Partial(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            return self.used(value)

    with pytest.raises(InputError, match="without reaching module:unused"):
        interp.record(interp.wrap(Partial()), torch.eye(3), ["used", "unused"])
