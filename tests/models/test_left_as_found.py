"""A wrapped network is the same network afterwards, whatever happened meanwhile."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

import interp
from interp.capture import Add
from interp.core import InputError
from interp.models import ModuleModel, NoisedImages, Sampling, TransformerModel, UNetModel

PROMPTS = ["w5 w9 w40", "w12 w77 w3 w8 w150"]
HOOK_TABLES = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
)


def state(module: nn.Module) -> dict[str, Any]:
    """Everything of a network that a guest could leave changed."""
    parts = dict(module.named_modules())
    config = getattr(module, "config", None)
    return {
        "kinds": {name: type(part) for name, part in parts.items()},
        "identities": {name: id(part) for name, part in parts.items()},
        "training": {name: part.training for name, part in parts.items()},
        "hooks": {
            name: [len(getattr(part, table)) for table in HOOK_TABLES]
            for name, part in parts.items()
        },
        "attributes": {name: sorted(vars(part)) for name, part in parts.items()},
        "gradients": {
            name: (value.requires_grad, value.grad is None)
            for name, value in module.named_parameters()
        },
        "weights": {name: value.clone() for name, value in module.state_dict().items()},
        "attention": getattr(config, "_attn_implementation", None),
        "config": config.to_dict() if hasattr(config, "to_dict") else dict(config or {}),
        "generation": module.generation_config.to_dict()
        if hasattr(module, "generation_config")
        else None,
    }


def assert_same(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for key in before:
        if key != "weights":
            assert before[key] == after[key], key
    assert list(before["weights"]) == list(after["weights"])
    assert all(
        torch.equal(value, after["weights"][name]) for name, value in before["weights"].items()
    )


class Interrupted(Exception):
    """Raised by the tests' own hooks."""


def broken(value: Tensor, call: Any) -> Tensor:
    raise Interrupted


def interrupted(value: Tensor, call: Any) -> Tensor:
    raise KeyboardInterrupt


def in_place(value: Tensor, call: Any) -> None:
    value.add_(1.0)


def misshapen(value: Tensor, call: Any) -> Tensor:
    return value[:, :1]


USES: dict[str, Callable[[TransformerModel], Any]] = {
    "sites": lambda model: list(model.sites),
    "hash": lambda model: model.weight_hash,
    "run": lambda model: model.run(PROMPTS),
    "hooked run": lambda model: model.run(PROMPTS, {"L1.mlp": lambda value, call: value * 2}),
    "stop early": lambda model: model.run(PROMPTS, stop_after="L1.mlp"),
    "record": lambda model: interp.record(model, PROMPTS, ["L0.mlp", "L2.head1", "L1.resid_post"]),
    "generate": lambda model: model.generate(PROMPTS, max_new_tokens=4, do_sample=True, seed=1),
    "beams": lambda model: model.generate(PROMPTS, max_new_tokens=3, num_beams=2),
    "sample": lambda model: model.sample(left(model), Sampling(max_new_tokens=4), [1, 2]),
    "bridge": lambda model: model.bridge(),
    "lens": lambda model: model.vocabulary_effect(
        model.residual_effect("L0.mlp", torch.ones(1, tiny.NEURONS))
    ),
    "steer": lambda model: steered(model),
    "unknown site": lambda model: fails(
        InputError, model.run, PROMPTS, {"L1.mlp": in_place, "L9.mlp": in_place}
    ),
    "broken hook": lambda model: fails(
        Interrupted, model.run, PROMPTS, {"L0.mlp": lambda v, c: None, "L1.mlp": broken}
    ),
    "interrupted hook": lambda model: fails(
        KeyboardInterrupt, model.run, PROMPTS, {"L1.head0": interrupted}
    ),
    "in place": lambda model: fails(InputError, model.run, PROMPTS, {"L1.mlp": in_place}),
    "misshapen": lambda model: fails(InputError, model.run, PROMPTS, {"logits": misshapen}),
    "broken generation": lambda model: fails(Interrupted, hooked_generation, model, broken),
    "interrupted generation": lambda model: fails(
        KeyboardInterrupt, hooked_generation, model, interrupted
    ),
}


def fails(error: type[BaseException], call: Callable[..., Any], *args: Any) -> None:
    with pytest.raises(error):
        call(*args)


def left(model: TransformerModel) -> Any:
    return model.prepare(PROMPTS, padding="left").batches[0]


def steered(model: TransformerModel) -> None:
    with interp.intervene(
        model,
        {"L1.resid_post": Add(torch.ones(tiny.WIDTH)), "L0.head2": Add(torch.ones(tiny.WIDTH))},
    ):
        model.generate(PROMPTS, max_new_tokens=3)
        model.run(PROMPTS)


def hooked_generation(model: TransformerModel, hook: Any) -> None:
    with model.hooked({"L1.mlp": hook}):
        model.generate(PROMPTS, max_new_tokens=3)


@pytest.fixture(scope="module", params=["gpt2", "llama", "pythia"])
def network(request: pytest.FixtureRequest) -> Any:
    return tiny.language(request.param)


@pytest.mark.parametrize("use", USES)
def test_language_model_is_left_as_found(network: Any, use: str) -> None:
    ids = torch.tensor([[5, 9, 40, 7, 11]])
    network.eval()
    # One norm in training mode, as a user may have it: every flag is its own.
    next(
        part for name, part in network.named_modules() if "norm" in type(part).__name__.lower()
    ).train()
    with torch.no_grad():
        logits = network(ids).logits
    before = state(network)
    USES[use](interp.wrap(network, tiny.word_tokenizer()))
    assert_same(before, state(network))
    with torch.no_grad():
        assert torch.equal(network(ids).logits, logits)


def test_the_comparison_sees_a_difference() -> None:
    network = tiny.language("gpt2")
    before = state(network)
    handle = network.lm_head.register_forward_hook(lambda *_: None)
    with pytest.raises(AssertionError):
        assert_same(before, state(network))
    handle.remove()
    network.lm_head.train()
    with pytest.raises(AssertionError):
        assert_same(before, state(network))


@contextlib.contextmanager
def watched(module: nn.Module) -> Iterator[None]:
    before = state(module)
    yield
    assert_same(before, state(module))


def test_unet_is_left_as_found() -> None:
    network = tiny.unet().train()
    model = interp.wrap(network)
    assert isinstance(model, UNetModel)
    plan = interp.SamplingPlan(seeds=(0, 1), steps=2)
    with watched(network):
        interp.record(model, plan, ["mid", "down0"])
        with pytest.raises(InputError):
            model.run(plan, {"mid": in_place, "middle": in_place})
        with pytest.raises(KeyboardInterrupt):
            model.run(plan, {"mid": interrupted})
        with interp.intervene(model, {"mid": Add(torch.ones(16))}), torch.no_grad():
            model.run(NoisedImages(tiny.images(channels=1), 10))


def test_classifier_is_left_as_found() -> None:
    network = tiny.classifier()
    model = interp.wrap(network, example=tiny.images(1))
    assert isinstance(model, ModuleModel)
    with watched(network):
        interp.record(model, tiny.images(), "convolution")
        with pytest.raises(InputError):
            model.run(tiny.images(), {"head": in_place, "heads": in_place})
        with pytest.raises(KeyboardInterrupt):
            model.run(tiny.images(), {"rectifier": interrupted})
        with interp.intervene(model, {"head": Add(torch.ones(4))}):
            model.run(tiny.images())


@pytest.mark.parametrize("seed", [0, 3])
def test_the_global_generator_is_neither_read_nor_set(seed: int) -> None:
    model = interp.wrap(tiny.language("llama"), tiny.word_tokenizer())
    drawn = []
    for start in (11, 12):
        torch.manual_seed(start)
        before = torch.get_rng_state()
        texts = model.generate(
            PROMPTS, max_new_tokens=5, do_sample=True, seed=seed, temperature=2.0
        )
        drawn.append(
            (
                texts,
                model.sample(left(model), Sampling(max_new_tokens=5, top_p=1.0), [seed, seed + 1]),
            )
        )
        model.run(PROMPTS)
        assert torch.equal(torch.get_rng_state(), before)
    assert drawn[0] == drawn[1]
    other = model.generate(
        PROMPTS, max_new_tokens=5, do_sample=True, seed=seed + 1, temperature=2.0
    )
    assert other != drawn[0][0], "control: another seed draws other texts"
