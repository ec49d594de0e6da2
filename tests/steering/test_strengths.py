"""Strength by effect: every divergence that a multiple of a direction has is found, and what no
multiple has is said.
"""

import math

import pytest
import tiny
import torch
from hand_made import logprobs

from interp.core import InputError
from interp.steering import calibrate, steering_kl
from interp.steering.strengths import typical_norm

PROMPTS = ("The sea was calm and", "Nobody knows")
TARGETS = (0.001, 0.01, 0.05, 0.15, 0.5, 1.0)


def directions(count, width, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_divergence_equals_a_hand_computation(speaker, sea):
    vectors = torch.stack([0.5 * sea, -2.0 * sea, torch.zeros(32), torch.linspace(-1, 1, 32)])
    prompts = ("a ship", "the sea of the")
    expected = []
    for vector in vectors:
        pairs = [
            (logprobs(speaker, word, torch.zeros(32)), logprobs(speaker, word, vector))
            for word in ("ship", "the")
        ]
        expected.append(
            sum(float((plain.exp() * (plain - steered)).sum()) for plain, steered in pairs) / 2
        )
    assert steering_kl(speaker, prompts, "L1.resid_post", vectors).tolist() == pytest.approx(
        expected, rel=1e-3, abs=1e-6
    )


def test_divergence_of_many_vectors_equals_that_of_each_alone_with_a_hook_of_ones_own(llama):
    vectors = directions(300, 16)
    together = steering_kl(llama, PROMPTS, "L1.resid_post", vectors)
    for number in (0, 150, 299):
        total = 0.0
        for prompt in PROMPTS:
            plain = llama.run(prompt).detach().log_softmax(-1)[0, -1]
            handle = llama.module.model.layers[1].register_forward_hook(
                lambda module, args, output, v=vectors[number]: output + v
            )
            steered = llama.run(prompt).detach().log_softmax(-1)[0, -1]
            handle.remove()
            total += float((plain.exp() * (plain - steered)).sum()) / len(PROMPTS)
        assert float(together[number]) == pytest.approx(total, rel=1e-3)


@pytest.mark.parametrize("site", ["L0.mlp", "L1.resid_post", "L2.attn_out"])
def test_every_reachable_target_is_met_for_both_signs_and_agrees_with_a_fine_scan(llama, site):
    some = directions(3, llama.sites.width(site))
    both = torch.nn.functional.normalize(torch.cat([some, -some]), dim=1)
    found = calibrate(llama, PROMPTS, site, both, TARGETS)
    measured = torch.stack(
        [
            steering_kl(llama, PROMPTS, site, both * found.alpha[:, [column]])
            for column in range(len(TARGETS))
        ],
        dim=1,
    )
    torch.testing.assert_close(found.kl, measured, rtol=1e-2, atol=1e-6)

    scan = typical_norm(llama, PROMPTS, site) * torch.logspace(-4, 1, 300)
    curve = torch.stack(
        [steering_kl(llama, PROMPTS, site, direction * scan[:, None]) for direction in both]
    )
    reachable = 0
    for row in range(len(both)):
        for column, target in enumerate(TARGETS):
            above = curve[row] >= 0.95 * target
            assert bool(found.reached[row, column]) == bool(above.any())
            if not bool(above.any()):
                continue
            reachable += 1
            assert float(found.kl[row, column]) == pytest.approx(target, rel=0.05)
            # The strength lies where the scan first comes near the target, not at a later crossing.
            near = [int((curve[row] >= share * target).float().argmax()) for share in (0.94, 1.06)]
            assert float(scan[max(near[0] - 1, 0)]) <= float(found.alpha[row, column])
            assert near[1] == 0 or float(found.alpha[row, column]) <= float(scan[near[1]])
    assert reachable >= 4 * len(both)


def test_the_length_of_a_direction_does_not_matter_and_its_sign_does(llama):
    direction = directions(1, 16)
    found = calibrate(
        llama,
        PROMPTS,
        "L1.resid_post",
        torch.cat([direction, 7.3 * direction, -direction]),
        (0.1, 0.3),
    )
    torch.testing.assert_close(found.alpha[0], found.alpha[1])
    assert not torch.allclose(found.alpha[0], found.alpha[2], rtol=1e-2)


def test_a_direction_is_calibrated_alike_alone_and_among_others(llama):
    some = directions(3, 16)
    together = calibrate(llama, PROMPTS, "L1.resid_post", some, TARGETS)
    for row, direction in enumerate(some):
        alone = calibrate(llama, PROMPTS, "L1.resid_post", direction[None], TARGETS)
        torch.testing.assert_close(alone.alpha[0], together.alpha[row], rtol=2e-2, atol=0)


def test_a_tiny_target_below_the_whole_grid_is_met(llama):
    found = calibrate(llama, PROMPTS, "L1.resid_post", directions(3, 16), (3e-5,))
    assert found.reached.all()


def test_what_cannot_be_reached_is_reported_with_the_largest_that_was_seen(llama):
    found = calibrate(llama, PROMPTS, "L1.resid_post", directions(3, 16), (0.1, 500.0))
    assert found.reached.tolist() == [[True, False]] * 3
    assert found.alpha.shape == (3, 2)
    again = steering_kl(
        llama,
        PROMPTS,
        "L1.resid_post",
        torch.nn.functional.normalize(directions(3, 16), dim=1) * found.alpha[:, [1]],
    )
    torch.testing.assert_close(found.kl[:, 1], again, rtol=1e-2, atol=1e-6)
    assert (found.kl[:, 1] > found.kl[:, 0]).all()


def test_typical_norm_is_the_median_length_of_rows(speaker):
    embedding = speaker.module.model.embed_tokens.weight.detach()
    ids = speaker.tokenizer.convert_tokens_to_ids(["ship", "of", "the"])
    expected = embedding[ids].norm(dim=1).median()
    assert typical_norm(speaker, ["a ship of the"], "L0.resid_post") == pytest.approx(
        float(expected)
    )


def test_bad_input_is_named_in_one_line(llama, speaker):
    good = directions(2, 16)
    dead = torch.stack([good[0], torch.zeros(16)])
    for call, complaint in [
        (lambda: calibrate(llama, PROMPTS, "L1.resid_post", good, ()), "must be positive, got ()"),
        (lambda: calibrate(llama, PROMPTS, "L1.resid_post", good, (0.1, -1.0)), "must be positive"),
        (lambda: calibrate(llama, PROMPTS, "L1.resid_post", good, (math.nan,)), "must be positive"),
        (
            lambda: calibrate(llama, PROMPTS, "L1.resid_post", dead, (0.1,)),
            "direction 1 at L1.resid_post has no length",
        ),
        (lambda: calibrate(llama, PROMPTS, "L1.mlp", good, (0.1,)), "16 wide but the site 24"),
        (
            lambda: calibrate(speaker, ["a ship"], "L0.mlp_out", torch.ones(1, 32), (0.1,)),
            "holds only zeros",
        ),
        (lambda: calibrate(llama, PROMPTS, "L9.mlp", good, (0.1,)), "unknown site"),
    ]:
        with pytest.raises(InputError) as caught:
            call()
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_network_before_the_site_runs_a_few_times_and_the_strengths_are_those_of_whole_runs(
    llama,
):
    some = directions(3, 16)
    layers = tiny.blocks(llama.module)
    with tiny.seen(layers[1]) as before, tiny.seen(layers[2]) as after:
        spared = calibrate(llama, PROMPTS, "L1.resid_post", some, TARGETS)
    assert len(before) <= 4 < len(after)
    # An open session, even without hooks, makes the whole network run.
    with llama.hooked({}), tiny.seen(layers[1]) as before:
        whole = calibrate(llama, PROMPTS, "L1.resid_post", some, TARGETS)
    assert len(before) > 4
    torch.testing.assert_close(spared.alpha, whole.alpha, rtol=1e-3, atol=0)


def test_nothing_is_left_behind(llama):
    before = llama.run(PROMPTS[0]).clone()
    calibrate(llama, PROMPTS, "L1.resid_post", directions(1, 16), (0.1,))
    assert (llama.run(PROMPTS[0]) == before).all()
