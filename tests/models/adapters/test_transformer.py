"""Language models: what a site is called is what it holds, on every architecture, against hooks and
sums of the test's own.
"""

from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

import interp
from interp.capture import TokenSelection
from interp.core import InputError
from interp.models import Sampling, TransformerModel

PARALLEL = ("pythia",)
PROMPTS = ["w5 w9 w40 w41 w7 w8", "w12", "w77 w3 w150"]
EVERYTHING = TokenSelection(skip_first=0)


@pytest.fixture(scope="module", params=tiny.ARCHITECTURES)
def model(request: pytest.FixtureRequest) -> TransformerModel:
    return interp.wrap(tiny.language(request.param), tiny.word_tokenizer(), name=request.param)


@pytest.fixture(scope="module")
def llama() -> TransformerModel:
    return interp.wrap(tiny.language("llama"), tiny.word_tokenizer())


def recorded(model: TransformerModel, sites: list[str]) -> dict[str, Tensor]:
    return {
        site: acts.values
        for site, acts in interp.record(model, PROMPTS[0], sites, selection=EVERYTHING).items()
    }


def down(model: TransformerModel, layer: int) -> Any:
    names = ("mlp.c_proj", "mlp.down_proj", "mlp.dense_4h_to_h", "fc2")
    block = tiny.blocks(model.module)[layer]
    return block.get_submodule(next(name for name in names if name in dict(block.named_modules())))


def test_residual_stream_is_a_sum(model: TransformerModel) -> None:
    kinds = ["resid_pre", "attn_out", "mlp_out", "resid_post"] + (
        ["resid_mid"] if model.name not in PARALLEL else []
    )
    held = recorded(
        model, ["embed", *(f"L{layer}.{kind}" for layer in range(tiny.LAYERS) for kind in kinds)]
    )
    for layer in range(tiny.LAYERS):
        pre, attention, mlp, post = (
            held[f"L{layer}.{kind}"] for kind in ("resid_pre", "attn_out", "mlp_out", "resid_post")
        )
        assert torch.allclose(post, pre + attention + mlp, atol=1e-5)
        assert attention.norm() > 0.1
        assert mlp.norm() > 0.1, "control: neither part is nothing"
        if model.name not in PARALLEL:
            assert torch.allclose(held[f"L{layer}.resid_mid"], pre + attention, atol=1e-5)
        if layer:
            assert torch.equal(pre, held[f"L{layer - 1}.resid_post"])


def test_heads_sum_to_the_output_projection(model: TransformerModel) -> None:
    names = (
        "attn.c_proj",
        "self_attn.o_proj",
        "attention.dense",
        "self_attention.dense",
        "self_attn.out_proj",
    )
    block = tiny.blocks(model.module)[1]
    projection = block.get_submodule(
        next(name for name in names if name in dict(block.named_modules()))
    )
    with tiny.seen(projection) as outputs:
        held = recorded(model, [*(f"L1.head{head}" for head in range(tiny.HEADS)), "L1.resid_post"])
    bias = 0 if projection.bias is None else projection.bias
    total = sum(held[f"L1.head{head}"] for head in range(tiny.HEADS))
    assert torch.allclose(total + bias, outputs[0][0], atol=1e-5)
    assert not torch.allclose(held["L1.head0"], held["L1.head1"], atol=1e-2)


def test_neurons_are_the_input_of_the_down_projection(model: TransformerModel) -> None:
    projection = down(model, 1)
    with tiny.seen(projection, first_input=True) as inputs, tiny.seen(projection) as outputs:
        held = recorded(model, ["L1.mlp", "L1.resid_post"])
    inner, outer = (
        inputs[0].reshape(held["L1.mlp"].shape),
        outputs[0].reshape(held["L1.resid_post"].shape),
    )
    assert torch.equal(held["L1.mlp"], inner)
    image = model.residual_effect("L1.mlp", held["L1.mlp"])
    after = tiny.blocks(model.module)[1]
    if model.name.startswith("gemma"):
        assert torch.allclose(image, after.post_feedforward_layernorm(outer), atol=1e-5)
    else:
        bias = 0 if projection.bias is None else projection.bias
        assert torch.allclose(image, outer - bias, atol=1e-5)


def test_gated_neurons_are_the_gated_product(llama: TransformerModel) -> None:
    mlp = tiny.blocks(llama.module)[1].mlp
    with tiny.seen(mlp, first_input=True) as inputs:
        held = recorded(llama, ["L1.mlp", "L1.resid_post"])["L1.mlp"]
    product = torch.nn.functional.silu(mlp.gate_proj(inputs[0][0])) * mlp.up_proj(inputs[0][0])
    assert torch.allclose(held, product, atol=1e-6)


def test_residuals_and_logits_are_those_transformers_reports(model: TransformerModel) -> None:
    ids = torch.tensor([model.tokenizer(PROMPTS[0])["input_ids"]])
    with torch.no_grad():
        output = model.module(ids, output_hidden_states=True)
        logits = model.run(PROMPTS[0])
    held = recorded(model, ["L0.resid_pre", "L0.resid_post", "L1.resid_post", "logits"])
    for site, hidden in zip(list(held)[:3], output.hidden_states, strict=False):
        assert torch.equal(held[site], hidden[0])
    assert torch.equal(held["logits"], output.logits[0])
    assert torch.equal(logits, output.logits)


def test_values_are_those_of_transformer_lens(model: TransformerModel) -> None:
    ids = torch.tensor([model.tokenizer(PROMPTS[0])["input_ids"]])
    with torch.no_grad():
        _, cache = model.bridge().run_with_cache(ids)
    # TransformerLens counts BLOOM's norm of the embedding, and the residual that its parts add, to
    # these sites.
    other = ("hook_embed", "hook_attn_out", "hook_mlp_out") if model.name == "bloom" else ()
    aliases = [
        alias
        for alias in model.sites.aliases
        if alias in cache and not alias.endswith(other or "none")
    ]
    assert {"blocks.0.mlp.hook_post", "blocks.2.hook_resid_post", "blocks.1.hook_resid_pre"} <= set(
        aliases
    )
    for alias, acts in interp.record(model, PROMPTS[0], aliases, selection=EVERYTHING).items():
        assert acts.site == model.sites.resolve(alias)
        assert torch.allclose(acts.values, cache[alias][0], atol=1e-4), alias


def test_shapes_of_sites_are_the_recorded_ones(model: TransformerModel) -> None:
    for site, acts in interp.record(model, PROMPTS, list(model.sites)).items():
        assert acts.values.shape[1] == model.sites.width(site), site


def test_nothing_after_the_last_site_runs(model: TransformerModel) -> None:
    blocks = tiny.blocks(model.module)
    with (
        tiny.seen(blocks[0]) as first,
        tiny.seen(down(model, 1)) as middle,
        tiny.seen(blocks[2]) as last,
    ):
        interp.record(model, PROMPTS, ["L1.mlp", "L0.resid_post"])
        assert (len(first), len(middle), len(last)) == (1, 0, 0)
        assert model.run(PROMPTS, stop_after="L1.mlp_out") is None
        assert (len(middle), len(last)) == (1, 0)
        assert model.run(PROMPTS) is not None
        assert len(last) == 1, "control"


def test_dropout_is_off_whatever_the_flag() -> None:
    module = tiny.language("gpt2")
    with torch.no_grad():
        ids = torch.tensor([[5, 9, 40]])
        expected = module(ids).logits
        module.train()
        assert not torch.allclose(module(ids).logits, expected), "control: dropout matters"
        assert torch.equal(interp.wrap(module).run(ids), expected)
    assert module.training


def test_gradients_flow_when_torch_lets_them(llama: TransformerModel) -> None:
    held = []
    logits = llama.run(PROMPTS[0], {"L1.mlp": lambda value, call: held.append(value)})
    (gradient,) = torch.autograd.grad(logits.sum(), held[0])
    assert gradient.shape == held[0].shape
    assert gradient.norm() > 0


def test_left_and_right_padding_agree(model: TransformerModel) -> None:
    alone = torch.stack([model.run(prompt)[0, -1] for prompt in PROMPTS]).detach()
    batch = model.prepare(PROMPTS, padding="left").batches[0]
    expected = torch.log_softmax(alone, dim=-1)[torch.from_numpy(batch.items)]
    assert torch.allclose(model.next_token_logprobs(batch), expected, atol=1e-4)
    with pytest.raises(InputError, match="padded on the left"):
        model.next_token_logprobs(model.prepare(PROMPTS).batches[0])


def test_run_keeps_the_order_of_the_inputs(llama: TransformerModel) -> None:
    logits = llama.run(PROMPTS)
    for row, prompt in enumerate(PROMPTS):
        alone = llama.run(prompt)
        assert torch.allclose(logits[row, : alone.shape[1]], alone[0], atol=1e-5)


@pytest.mark.parametrize("padding", ["left", "right"])
def test_token_logprobs(llama: TransformerModel, padding: Any) -> None:
    batch = llama.prepare(PROMPTS, padding=padding).batches[0]
    found = llama.token_logprobs(batch)
    for row, item in enumerate(batch.items):
        ids = torch.tensor(llama.tokenizer(PROMPTS[item])["input_ids"])
        with torch.no_grad():
            all_of = torch.log_softmax(llama.module(ids[None]).logits[0], dim=-1)
        expected = [0.0, *(float(all_of[place - 1, ids[place]]) for place in range(1, len(ids)))]
        assert torch.allclose(found[row][batch.keep[row]], torch.tensor(expected), atol=1e-4)
        assert float(found[row][~batch.keep[row]].abs().sum()) == 0


def test_vocabulary_effect_of_the_last_residual_is_the_logits(model: TransformerModel) -> None:
    held = recorded(model, [f"L{tiny.LAYERS - 1}.resid_post", "logits"])
    read = model.vocabulary_effect(held[f"L{tiny.LAYERS - 1}.resid_post"])
    cap = getattr(model.module.config, "final_logit_softcapping", None)
    read = torch.tanh(read / cap) * cap if cap else read
    assert torch.allclose(read, held["logits"], atol=1e-4)


def test_residual_effect_of_a_residual_direction_is_itself(llama: TransformerModel) -> None:
    direction = torch.ones(2, tiny.WIDTH)
    assert torch.equal(llama.residual_effect("L1.attn_out", direction), direction)
    with pytest.raises(InputError, match="no direct effect"):
        llama.residual_effect("logits", torch.ones(1, 300))


def test_a_sampled_text_does_not_depend_on_its_batch(model: TransformerModel) -> None:
    sampling = Sampling(max_new_tokens=5, top_k=20, top_p=0.9)
    together = {}
    batch = model.prepare(PROMPTS * 2, padding="left").batches[0]
    seeds = [100 + int(item) for item in batch.items]
    for item, text in zip(batch.items, model.sample(batch, sampling, seeds), strict=True):
        together[int(item)] = text
    for item, prompt in enumerate(PROMPTS * 2):
        alone = model.sample(
            model.prepare(prompt, padding="left").batches[0], sampling, [100 + item]
        )
        assert alone == [together[item]]
    assert together[0] != together[3], "control: another seed draws another text"


def test_top_one_is_greedy_and_stops_at_the_end_token(llama: TransformerModel) -> None:
    greedy = [llama.generate(prompt, max_new_tokens=8) for prompt in PROMPTS]
    assert llama.generate(PROMPTS, max_new_tokens=8) == greedy
    stop = llama.tokenizer(greedy[0])["input_ids"][2]
    before = llama.module.generation_config.eos_token_id
    llama.module.generation_config.eos_token_id = [1, stop]
    try:
        short = llama.generate(PROMPTS[0], max_new_tokens=8)
        sampled = llama.sample(
            llama.prepare(PROMPTS[0], padding="left").batches[0],
            Sampling(max_new_tokens=8, top_k=1),
            [0],
        )[0]
    finally:
        llama.module.generation_config.eos_token_id = before
    # transformers keeps the stop word itself, sampling leaves it out.
    assert short.split() == greedy[0].split()[: greedy[0].split().index(f"w{stop}") + 1]
    assert sampled.split() == short.split()[:-1]


def test_generation_options_are_those_of_transformers(llama: TransformerModel) -> None:
    several = llama.generate(
        PROMPTS,
        max_new_tokens=3,
        do_sample=True,
        num_return_sequences=2,
        temperature=0.7,
        top_k=5,
        seed=3,
    )
    assert len(several) == 6
    assert several == llama.generate(
        PROMPTS,
        max_new_tokens=3,
        do_sample=True,
        num_return_sequences=2,
        temperature=0.7,
        top_k=5,
        seed=3,
    )
    first = llama.tokenizer(llama.generate(PROMPTS[0], max_new_tokens=1))["input_ids"]
    banned = llama.generate(PROMPTS[0], max_new_tokens=1, suppress_tokens=first)
    assert banned != llama.generate(PROMPTS[0], max_new_tokens=1)
    assert llama.generate(
        PROMPTS[0], max_new_tokens=3, return_dict_in_generate=True
    ) == llama.generate(PROMPTS[0], max_new_tokens=3)
    with pytest.raises(
        InputError, match="unknown generation option 'temprature'; nearest: temperature"
    ):
        llama.generate(PROMPTS, temprature=0.5)


def test_a_prompt_longer_than_a_segment_is_continued_from_its_end(
    monkeypatch: pytest.MonkeyPatch, llama: TransformerModel
) -> None:
    monkeypatch.setattr("interp.models.adapters.transformer.DEFAULT_SEGMENT", 4)
    long = " ".join(f"w{number}" for number in range(30, 50))
    ids = torch.tensor([llama.tokenizer(long)["input_ids"]])
    with torch.no_grad():
        expected = llama.module.generate(ids, max_new_tokens=3, do_sample=False, pad_token_id=2)[
            0, 20:
        ]
    assert llama.generate([long, "w5"], max_new_tokens=3)[0] == llama.tokenizer.decode(
        expected, skip_special_tokens=True
    )
    assert llama.run(long).shape[1] == 20


@pytest.mark.parametrize("call", ["run", "generate"])
def test_prompts_that_cannot_be_run_are_refused(llama: TransformerModel, call: str) -> None:
    with pytest.raises(InputError, match="input 1 has 0 tokens"):
        getattr(llama, call)(["w5", ""])
    with pytest.raises(InputError, match="input 0 has 65 tokens, the network takes 1 to 64"):
        getattr(llama, call)("w5 " * 65)
    with pytest.raises(InputError, match="token ids from 5 to 300"):
        getattr(llama, call)([[5, 300]])
    with pytest.raises(InputError, match="no inputs"):
        getattr(llama, call)([])


def test_sampling_needs_a_seed_per_row_left_padding_and_a_tokenizer(
    llama: TransformerModel,
) -> None:
    with pytest.raises(InputError, match="2 seeds were given for 3 rows"):
        llama.sample(llama.prepare(PROMPTS, padding="left").batches[0], Sampling(), [1, 2])
    with pytest.raises(InputError, match="padded on the left"):
        llama.sample(llama.prepare(PROMPTS).batches[0], Sampling(), [1, 2, 3])
    bare = interp.wrap(llama.module)
    with pytest.raises(InputError, match="without a tokenizer"):
        bare.sample(llama.prepare(PROMPTS, padding="left").batches[0], Sampling(), [1, 2, 3])
    with pytest.raises(InputError, match="without a tokenizer"):
        bare.generate([[5, 6]])
    with pytest.raises(InputError, match="without a tokenizer"):
        bare.run("text")


def test_names_are_escaped_in_notebooks() -> None:
    assert "<script>" not in interp.wrap(tiny.language("gpt2"), name="<script>")._repr_html_()
