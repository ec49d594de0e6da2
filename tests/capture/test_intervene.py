"""Interventions: the same with a cache, without one, in a padded batch and in a loop written by
hand.
"""

from collections.abc import Callable
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

import interp
from interp.capture import Add, Call, Intervention, ProjectOut, Replace, TokenSelection, Where
from interp.core import InputError
from interp.models import NoisedImages, Sampling, TransformerModel

PROMPTS = ["w5 w9 w40 w41 w7 w8", "w12", "w77 w3 w150"]
NEW = 6
WHERES = {
    "everywhere": Where(),
    "prompt": Where(generated=False),
    "generated": Where(prompt=False),
    "from 2": Where(first_position=2),
    "generated from 4": Where(prompt=False, first_position=4),
}


def draw(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


CHANGES: dict[str, Callable[[Where], Intervention]] = {
    "add": lambda where: Add(4 * draw(tiny.WIDTH), where),
    "project out": lambda where: ProjectOut(draw(3, tiny.WIDTH), where),
    "replace": lambda where: Replace(2 * draw(tiny.WIDTH), where),
}


@pytest.fixture(scope="module", params=["gpt2", "llama", "gemma3"])
def model(request: pytest.FixtureRequest) -> TransformerModel:
    return interp.wrap(tiny.language(request.param), tiny.word_tokenizer())


@pytest.fixture(scope="module")
def plain(model: TransformerModel) -> list[str]:
    return model.generate(PROMPTS, max_new_tokens=NEW)


def by_hand(model: TransformerModel, prompt: str, kind: str, where: Where) -> str:
    """Greedy decoding of one prompt: the whole text anew at each step, changed by a hook and
    formulas of the test's own.
    """
    ids = model.tokenizer(prompt)["input_ids"]
    start = len(ids)
    vector, others = 4 * draw(tiny.WIDTH), draw(3, tiny.WIDTH)

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        hidden = (output if isinstance(output, Tensor) else output[0]).clone()
        for position in range(hidden.shape[1]):
            allowed = where.generated if position >= start else where.prompt
            if not allowed or position < where.first_position:
                continue
            value = hidden[0, position]
            if kind == "add":
                hidden[0, position] = value + vector
            elif kind == "replace":
                hidden[0, position] = vector / 2
            else:
                hidden[0, position] = (
                    value - torch.linalg.lstsq(others.T, value[:, None]).solution[:, 0] @ others
                )
        return hidden if isinstance(output, Tensor) else (hidden, *output[1:])

    handle = tiny.blocks(model.module)[1].register_forward_hook(hook)
    with torch.no_grad():
        while len(ids) < start + NEW and ids[-1] != 1:
            ids = [
                *ids,
                int(model.module(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()),
            ]
    handle.remove()
    return model.tokenizer.decode(ids[start:], skip_special_tokens=True)


@pytest.mark.parametrize(
    ("kind", "where"),
    [
        *(("add", where) for where in WHERES),
        ("project out", "everywhere"),
        ("replace", "prompt"),
        ("replace", "from 2"),
    ],
)
def test_every_way_to_decode_gives_the_same_tokens(
    model: TransformerModel, plain: list[str], kind: str, where: str
) -> None:
    change = CHANGES[kind](WHERES[where])
    with interp.intervene(model, {"L1.resid_post": change}):
        cached = model.generate(PROMPTS, max_new_tokens=NEW)
        uncached = model.generate(PROMPTS, max_new_tokens=NEW, use_cache=False)
        batch = model.prepare(PROMPTS, padding="left").batches[0]
        sampled = model.sample(batch, Sampling(max_new_tokens=NEW, top_k=1), [0] * len(PROMPTS))
    expected = [by_hand(model, prompt, kind, WHERES[where]) for prompt in PROMPTS]
    assert cached == expected
    assert uncached == expected
    assert [sampled[int(row)] for row in batch.items.argsort()] == expected
    assert expected != plain, "control: the intervention matters"


def test_several_sequences_per_prompt_and_beams_know_their_prompts(model: TransformerModel) -> None:
    starts = []

    def look(value: Tensor, call: Call) -> None:
        assert call.positions is not None
        assert call.prompt_length is not None
        starts.append(call.prompt_length.tolist())
        assert call.positions.shape == value.shape[:2]

    with model.hooked({"L0.mlp": look, "logits": look}):
        model.generate(PROMPTS, max_new_tokens=2, num_return_sequences=2, do_sample=True)
        model.generate(PROMPTS, max_new_tokens=2, num_beams=2)
    assert {tuple(lengths) for lengths in starts} <= {(6, 1, 3), (6, 6, 1, 1, 3, 3)}
    assert [6, 6, 1, 1, 3, 3] in starts


def test_changing_logits_while_generating_forces_a_token(model: TransformerModel) -> None:
    forced = torch.zeros(300)
    forced[77] = 1e4
    where = Where(prompt=False)
    with interp.intervene(model, {"logits": Add(forced, where)}):
        texts = model.generate(PROMPTS, max_new_tokens=3)
        assert texts == model.generate(PROMPTS, max_new_tokens=3, use_cache=False)
    # The first new token is read off the prompt's last position, which is left alone; every later
    # one is forced.
    assert all(text.split()[-2:] == ["w77", "w77"] for text in texts if len(text.split()) == 3)
    assert any(text.split()[0] != "w77" for text in texts)


def test_project_out_removes_the_span_and_nothing_else(model: TransformerModel) -> None:
    # The second direction is twice the first and the third tiny: the span has two dimensions.
    first, last = draw(tiny.WIDTH), draw(tiny.WIDTH, seed=6)
    directions = torch.stack([first, 2 * first, 1e-3 * last])
    before = interp.record(model, PROMPTS, "L1.resid_post").values
    with interp.intervene(model, {"L1.resid_post": ProjectOut(directions)}):
        after = interp.record(model, PROMPTS, "L1.resid_post").values
    assert torch.allclose(
        after @ torch.stack([first, last]).T, torch.zeros(len(after), 2), atol=1e-4
    )
    basis = torch.linalg.qr(torch.stack([first, last]).T).Q
    complement = before - before @ basis @ basis.T
    assert torch.allclose(after, complement, atol=1e-4)
    assert complement.norm() > 0.5 * before.norm(), "control: something is left to be kept"


@pytest.mark.parametrize(
    "site",
    [
        "embed",
        "L0.resid_pre",
        "L1.attn_out",
        "L1.head2",
        "L1.resid_mid",
        "L1.mlp",
        "L1.mlp_out",
        "L2.resid_post",
    ],
)
def test_a_recorded_site_shows_its_intervention(model: TransformerModel, site: str) -> None:
    vector = draw(model.sites.width(site))
    other = "L1.head1" if site == "L1.head2" else "L0.head0"
    sites = [site, other]
    before = interp.record(model, PROMPTS, sites)
    with interp.intervene(model, {site: Add(vector)}):
        after = interp.record(model, PROMPTS, sites)
    assert torch.allclose(after[site].values, before[site].values + vector, atol=1e-5)
    if site not in ("embed", "L0.resid_pre"):
        assert torch.allclose(after[other].values, before[other].values, atol=1e-5)


def test_two_heads_changed_at_once_add_up(model: TransformerModel) -> None:
    one, two = draw(tiny.WIDTH), draw(tiny.WIDTH, seed=9)
    with interp.intervene(model, {"L1.head0": Add(one), "L1.head3": Add(two)}):
        heads = model.run(PROMPTS)
    with (
        interp.intervene(model, {"L1.head3": Add(two)}),
        interp.intervene(model, {"L1.head0": Add(one)}),
    ):
        nested = model.run(PROMPTS)
    assert torch.allclose(heads, nested, atol=1e-5)
    with (
        interp.intervene(model, {"L1.head0": Replace(one)}),
        interp.intervene(model, {"L1.head0": Add(two)}),
    ):
        seen = interp.record(model, PROMPTS, "L1.head0").values
    assert torch.allclose(seen, (one + two).expand_as(seen), atol=1e-5)


def test_replacing_a_site_by_its_own_recorded_value_changes_nothing(
    model: TransformerModel,
) -> None:
    text, everything = PROMPTS[0], TokenSelection(skip_first=0)
    own = interp.record(model, text, "L1.mlp", selection=everything).values
    with torch.no_grad():
        expected = model.run(text)
        assert torch.allclose(
            model.run(text, {"L1.mlp": lambda value, call: own[None].clone()}), expected, atol=1e-6
        )
        assert not torch.allclose(
            model.run(text, {"L1.mlp": lambda value, call: own.flip(0)[None]}), expected, atol=1e-3
        )


def test_vectors_of_cells_are_separate_runs_in_one(model: TransformerModel) -> None:
    vectors = 3 * draw(3, tiny.WIDTH)
    with torch.no_grad(), interp.intervene(model, {"L1.resid_post": Add(vectors)}):
        together = model.run([PROMPTS[0], PROMPTS[0]] * 3)
    for cell, vector in enumerate(vectors):
        with torch.no_grad(), interp.intervene(model, {"L1.resid_post": Add(vector)}):
            alone = model.run(PROMPTS[0])
        assert torch.allclose(together[2 * cell : 2 * cell + 2], alone.expand(2, -1, -1), atol=1e-5)
    with (
        interp.intervene(model, {"L1.resid_post": Add(vectors)}),
        pytest.raises(InputError, match="3 vectors"),
    ):
        model.run([PROMPTS[0]] * 4)


@pytest.mark.parametrize(
    "change",
    [
        Add(torch.ones(7)),
        Replace(torch.ones(7)),
        ProjectOut(torch.ones(1, 7)),
        Add(torch.ones(2, 7)),
    ],
)
def test_a_vector_of_another_width_is_refused(change: Intervention) -> None:
    model = interp.wrap(tiny.language("gpt2"), tiny.word_tokenizer())
    with (
        pytest.raises(InputError, match="7 wide but the site 16"),
        interp.intervene(model, {"L1.resid_post": change}),
    ):
        pass


def test_low_precision_networks_keep_their_precision() -> None:
    module = tiny.language("llama").to(torch.bfloat16)
    model = interp.wrap(module, tiny.word_tokenizer())
    with (
        torch.no_grad(),
        interp.intervene(
            model,
            {"L1.resid_post": Add(draw(tiny.WIDTH)), "L0.head1": ProjectOut(draw(1, tiny.WIDTH))},
        ),
    ):
        assert model.run(PROMPTS).dtype == torch.bfloat16


def test_unet_channels_are_added_at_every_pixel_and_step() -> None:
    model = interp.wrap(tiny.unet())
    plan, vector = interp.SamplingPlan(seeds=(0, 1), steps=2), draw(16)
    steps = []

    def note(value: Tensor, call: Call) -> None:
        steps.append(call.step)

    before = interp.record(model, plan, "mid")
    with interp.intervene(model, {"mid": Add(vector)}), interp.intervene(model, {"mid": note}):
        after = interp.record(model, plan, "mid")
    first = before.contexts.step == 0
    assert torch.allclose(after.values[first], before.values[first] + vector, atol=1e-5)
    assert not torch.allclose(after.values[~first], before.values[~first] + vector, atol=1e-3), (
        "control: the second step starts elsewhere"
    )
    assert steps == [0, 1], "hooks of an outer block are told the step too"


def test_unet_cells_are_separate_runs() -> None:
    model = interp.wrap(tiny.unet())
    image, vectors = tiny.images(1, channels=1), draw(2, 16)
    with torch.no_grad(), interp.intervene(model, {"mid": Add(vectors)}):
        together = model.run(NoisedImages(image.expand(2, -1, -1, -1), 10))
    with torch.no_grad(), interp.intervene(model, {"mid": Add(vectors[1])}):
        alone = model.run(NoisedImages(image, 10))
    assert torch.allclose(together[1:], alone, atol=1e-5)
    assert not torch.allclose(together[:1], alone, atol=1e-3)


def test_classifier_vectors_and_channels() -> None:
    module = tiny.classifier().eval()
    model = interp.wrap(module)
    inputs, vector = tiny.images(), draw(6)
    with torch.no_grad(), interp.intervene(model, {"dropout": Add(vector)}):
        changed = model.run(inputs)
    with torch.no_grad():
        assert torch.allclose(changed, module(inputs) + vector @ module.head.weight.T, atol=1e-5)
