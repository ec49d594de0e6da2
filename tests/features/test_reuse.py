"""Shared neurons are counted, and turning them up moves the tokens that they write."""

import math

import pytest
import tiny
import torch

import interp
from interp.core import InputError, Provenance
from interp.decompose.random_directions import RandomDirections
from interp.features.reuse import amplify_neurons, family_neurons, neuron_reuse

SITE = "L2.mlp"
TOKENS = ("w10", "w20", "w30")
PROMPTS = ("w3 w4 w5", "w6 w7", "w8 w9 w3 w4", "w11 w12 w13", "w5", "w40 w41 w3")
CORE, OWN = (0, 1), 2


def dictionary(rows):
    directions = torch.zeros(len(rows), 12)
    for feature, entries in enumerate(rows):
        for entry in entries:
            directions[feature, abs(entry)] = math.copysign(1 / math.sqrt(len(entries)), entry)
    return RandomDirections(directions, torch.zeros(12), Provenance("hand-made", site=SITE))


@pytest.fixture
def family():
    """Three features share neurons 1 and 2, the second with another sign at 2; the first two also
    5; a fourth shares nothing.
    """
    return dictionary([(1, 2, 5, -6), (1, -2, -5), (1, 2, 8, 9), (10, -3, 4)])


def test_shared_neurons_are_counted(family):
    assert neuron_reuse(family).tolist() == [[4, 3, 2, 0], [3, 3, 2, 0], [2, 2, 4, 0], [0, 0, 0, 3]]
    assert neuron_reuse(family, same_sign=True).tolist() == [
        [4, 1, 2, 0],
        [1, 3, 1, 0],
        [2, 1, 4, 0],
        [0, 0, 0, 3],
    ]


def test_core_is_what_all_use_alike_and_exclusive_what_one_alone_uses(family):
    found = family_neurons(family, [2, 0, 1])
    assert found.core.tolist() == [1]
    assert found.opposed.tolist() == [2]
    assert {feature: own.tolist() for feature, own in found.exclusive.items()} == {
        2: [8, 9],
        0: [6],
        1: [],
    }
    apart = family_neurons(family, [0, 3])
    assert (apart.core.tolist(), apart.opposed.tolist()) == ([], [])


@pytest.mark.parametrize("members", [[1], [1, 1], [0, 4], [-1, 2]])
def test_what_is_no_family_is_refused(family, members):
    with pytest.raises(InputError, match="expected at least two different features of 0 to 3"):
        family_neurons(family, members)


@pytest.fixture(scope="module")
def model():
    """A tiny Llama whose last MLP has two neurons that write all three tokens, and one that writes
    the first against the others.
    """
    module = tiny.language("llama")
    tokenizer = tiny.word_tokenizer()
    unembedding = module.lm_head.weight.detach()
    first, second, third = (unembedding[tokenizer.convert_tokens_to_ids(token)] for token in TOKENS)
    down = tiny.blocks(module)[-1].mlp.down_proj.weight
    with torch.no_grad():
        for neuron in CORE:
            down[:, neuron] = first + second + third
        down[:, OWN] = 2 * first - second - third
    return interp.wrap(module, tokenizer)


def test_core_neurons_raise_every_token_and_exclusive_ones_raise_one_and_lower_the_others(model):
    options = {"spared": torch.tensor([*CORE, OWN]), "draws": 20}
    core = amplify_neurons(
        model, SITE, torch.tensor(CORE), torch.ones(2), 4.0, PROMPTS, TOKENS, **options
    )
    assert all(core.change[token].low > core.change[token].control + 0.3 for token in TOKENS)
    assert set(core.percentile.values()) == {100.0}
    assert core.draws.shape == (20, 3)
    own = amplify_neurons(
        model, SITE, torch.tensor([OWN]), torch.ones(1), 4.0, PROMPTS, TOKENS, **options
    )
    assert own.change["w10"].low > own.draws[:, 0].max()
    assert all(own.change[token].high < min(0, own.change[token].control) for token in TOKENS[1:])


def test_the_change_is_the_difference_of_two_runs_and_nothing_stays_behind(model):
    found = amplify_neurons(
        model,
        SITE,
        torch.tensor([7, 4]),
        torch.tensor([3.0, -4.0]),
        10.0,
        PROMPTS[:1],
        TOKENS[:1],
        draws=20,
    )
    token = model.tokenizer.convert_tokens_to_ids(TOKENS[0])

    def logit() -> float:
        last = model.run(PROMPTS[0]).detach()[0, -1]
        return float(last[token] - last.mean())

    def turned_up(module, args):
        return (
            args[0]
            + torch.nn.functional.one_hot(torch.tensor(7), 24) * 6.0
            - torch.nn.functional.one_hot(torch.tensor(4), 24) * 8.0,
        )

    plain = logit()
    handle = tiny.blocks(model.module)[-1].mlp.down_proj.register_forward_pre_hook(turned_up)
    steered = logit()
    handle.remove()
    assert found.change["w10"].value == pytest.approx(steered - plain, abs=1e-4)
    assert abs(steered - plain) > 0.1
    assert logit() == plain


def test_prompts_keep_their_order_and_seeds_their_draws(model):
    def changed(prompts, seed=0):
        return amplify_neurons(
            model, SITE, torch.tensor([3]), torch.ones(1), 5.0, prompts, TOKENS, draws=20, seed=seed
        )

    few = PROMPTS[:3]
    alone = [changed([prompt]).change["w20"].value for prompt in few]
    together = changed(few)
    assert together.change["w20"].value == pytest.approx(sum(alone) / len(alone), abs=1e-4)
    assert (changed(few).draws == together.draws).all()
    assert (changed(few, seed=1).draws != together.draws).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": ["w10 w20"]}, "2 tokens"),
        ({"tokens": []}, "no token"),
        ({"neurons": torch.tensor([24])}, "0 to 23"),
        ({"neurons": torch.tensor([1, 1]), "values": torch.ones(2)}, "different ones"),
        ({"values": torch.ones(2)}, "one value for each"),
        ({"values": torch.zeros(1)}, "all zero"),
        ({"draws": 19}, "at least 20"),
        ({"spared": torch.arange(24)}, "0 neurons are left"),
        ({"site": "L9.mlp"}, "L9.mlp"),
    ],
)
def test_what_cannot_be_amplified_is_refused(model, changes, message):
    given = {
        "neurons": torch.tensor([3]),
        "values": torch.ones(1),
        "tokens": TOKENS,
        "site": SITE,
        "draws": 20,
        "spared": None,
    } | changes
    with pytest.raises(InputError, match=message):
        amplify_neurons(
            model,
            given["site"],
            given["neurons"],
            given["values"],
            2.0,
            PROMPTS,
            given["tokens"],
            spared=given["spared"],
            draws=given["draws"],
        )
