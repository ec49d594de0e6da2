"""steer(): the same as a hook placed by hand, at the strength that was asked for, gone after the
block.
"""

import pytest
import torch

from interp.capture import Where
from interp.core import InputError, Provenance
from interp.decompose.random_directions import RandomDirections
from interp.features import Feature
from interp.steering import steer, steering_kl
from interp.steering.adding import PROMPTS

SITE = "L1.resid_post"
TEXT = "The sea was calm"


@pytest.fixture
def direction():
    return torch.randn(16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def feature():
    directions = torch.nn.functional.normalize(
        torch.randn(3, 24, generator=torch.Generator().manual_seed(1)), dim=1
    )
    return Feature(
        dictionary=RandomDirections(
            directions, torch.zeros(24), Provenance("random", site="L1.mlp")
        ),
        index=2,
    )


def by_hand(model, part, vector, *, before=False):
    """Logits with a vector added by a torch hook of the test's own."""
    if before:
        handle = part.register_forward_pre_hook(lambda module, args: (args[0] + vector,))
    else:
        handle = part.register_forward_hook(lambda module, args, output: output + vector)
    with torch.no_grad():
        logits = model.module(**model.prepare(TEXT).batches[0].inputs).logits
    handle.remove()
    return logits


@torch.no_grad()
def test_alpha_is_a_multiple_of_the_unit_direction(llama, direction):
    unit = direction / direction.norm()
    for given, sign in ((direction, 1), (direction, -1), (100 * direction, 1)):
        with steer(llama, given, alpha=3.0, site=SITE, sign=sign) as strength:
            logits = llama.run(TEXT)
        assert strength == 3.0
        torch.testing.assert_close(
            logits, by_hand(llama, llama.module.model.layers[1], sign * 3.0 * unit)
        )
    assert not torch.allclose(logits, llama.run(TEXT), atol=1e-2), (
        "the block changed something, and no longer does"
    )


@torch.no_grad()
def test_a_feature_is_added_at_its_own_site(llama, feature):
    with steer(llama, feature, alpha=2.0):
        logits = llama.run(TEXT)
    down = llama.module.model.layers[1].mlp.down_proj
    torch.testing.assert_close(logits, by_hand(llama, down, 2.0 * feature.direction, before=True))


@torch.no_grad()
def test_a_companion_is_added_at_its_site_and_other_names_of_a_site_will_do(
    llama, feature, direction
):
    with steer(llama, feature, alpha=2.0, site=SITE, direction=direction):
        companion = llama.run(TEXT)
    with steer(llama, direction, alpha=2.0, site=SITE):
        bare = llama.run(TEXT)
    torch.testing.assert_close(companion, bare)
    with steer(llama, feature, alpha=2.0, site="blocks.1.mlp.hook_post"):
        alias = llama.run(TEXT)
    with steer(llama, feature, alpha=2.0):
        torch.testing.assert_close(alias, llama.run(TEXT))


@pytest.mark.parametrize("sign", [1, -1])
def test_kl_is_the_divergence_that_is_caused(llama, direction, sign):
    with steer(llama, direction, kl=0.2, site=SITE, sign=sign) as strength:
        pass
    vector = sign * strength * direction / direction.norm()
    assert float(steering_kl(llama, PROMPTS, SITE, vector[None])) == pytest.approx(0.2, rel=0.05)


def test_where_limits_the_tokens(llama, direction):
    with steer(llama, direction, alpha=50.0, site=SITE, where=Where(prompt=False)):
        untouched = llama.run(TEXT)
        continued = llama.generate(TEXT, max_new_tokens=8)
    assert (untouched == llama.run(TEXT)).all()
    assert continued != llama.generate(TEXT, max_new_tokens=8)


def test_it_is_undone_after_an_error(llama, direction):
    before = llama.run(TEXT)
    with pytest.raises(KeyError), steer(llama, direction, alpha=3.0, site=SITE):
        raise KeyError
    assert (llama.run(TEXT) == before).all()


def test_bad_input_is_named_in_one_line(llama, feature, direction):
    for call, complaint in [
        (lambda: steer(llama, feature), "either kl or alpha, got kl=None and alpha=None"),
        (lambda: steer(llama, feature, kl=0.1, alpha=1.0), "either kl or alpha"),
        (lambda: steer(llama, feature, alpha=1.0, sign=0), "sign is 1 or -1, got 0"),
        (lambda: steer(llama, direction, alpha=1.0), "give site="),
        (
            lambda: steer(llama, feature, alpha=1.0, site=SITE),
            "the feature's direction lives at L1.mlp",
        ),
        (
            lambda: steer(llama, direction, alpha=1.0, site="L1.resid_pots"),
            "nearest: L1.resid_post",
        ),
        (lambda: steer(llama, torch.ones(7), alpha=1.0, site=SITE), "7 wide but the site 16"),
        (lambda: steer(llama, torch.ones(7), kl=0.1, site=SITE), "7 wide but the site 16"),
        (lambda: steer(llama, torch.zeros(16), alpha=1.0, site=SITE), "has no length"),
        (lambda: steer(llama, direction, kl=-1.0, site=SITE), "must be positive"),
        (
            lambda: steer(llama, direction, kl=500.0, site=SITE),
            "no strength at L1.resid_post reaches KL 500.0",
        ),
    ]:
        with pytest.raises(InputError) as caught, call():
            pass
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)
