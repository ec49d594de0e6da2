"""loss_recovered(): the identity recovers all, the ablation itself nothing, and the number is that
of a loop written out here.
"""

import pytest
import tiny
import torch

from interp.capture import record
from interp.core import InputError, Provenance
from interp.decompose.random_directions import RandomDirections, random_dictionary
from interp.features.recovered import loss_recovered
from interp.models.loading import wrap

SITE, WIDTH = "L1.resid_post", tiny.WIDTH


@pytest.fixture(scope="module")
def model():
    return wrap(tiny.language("llama"), tiny.word_tokenizer())


@pytest.fixture(scope="module")
def texts(model):
    """The network's own continuations: what it predicts well, so that changing it makes the loss
    larger.
    """
    prompts = [f"w{number} w{3 * number}" for number in range(3, 15)]
    written = model.generate(prompts, max_new_tokens=20, do_sample=True, temperature=0.5)
    return [f"{prompt} {text}" for prompt, text in zip(prompts, written, strict=True)]


def dictionary(directions, offset=None, site=SITE):
    """Coefficients are the products of rows (less the offset) with the directions."""
    width = directions.shape[1]
    return RandomDirections(
        directions, torch.zeros(width) if offset is None else offset, Provenance("made", site=site)
    )


@pytest.fixture(scope="module")
def identity():
    return dictionary(torch.eye(WIDTH))


def by_hand(model, texts, change):
    """Summed cross-entropy and number of predictions, one text at a time, with a torch hook on the
    module behind the site.
    """
    total, count = 0.0, 0

    def hook(module, args, output):
        hidden = output if isinstance(output, torch.Tensor) else output[0]
        changed = torch.cat([hidden[:, :1], change(hidden[:, 1:])], dim=1)
        return changed if isinstance(output, torch.Tensor) else (changed, *output[1:])

    handle = tiny.blocks(model.module)[1].register_forward_hook(hook)
    try:
        for text in texts:
            ids = torch.tensor([model.tokenizer(text)["input_ids"]])
            with torch.no_grad():
                logits = model.module(ids).logits
            total += float(
                torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum")
            )
            count += ids.shape[1] - 1
    finally:
        handle.remove()
    return total, count


def test_the_identity_recovers_everything_and_its_shuffled_coefficients_do_not(
    model, texts, identity
):
    found = loss_recovered(model, identity, texts)
    assert found.recovered.value == pytest.approx(1.0, abs=1e-5)
    assert found.recovered.low == pytest.approx(1.0, abs=1e-4)
    assert found.reconstructed == pytest.approx(found.original, abs=1e-5)
    assert found.recovered.control < 0.5
    assert found.recovered.n == len(texts)
    assert found.original < found.ablated


@pytest.mark.parametrize("ablation", ["zero", "mean"])
def test_what_says_no_more_than_the_ablation_recovers_nothing(model, texts, ablation):
    mean = record(model, texts, SITE).values.mean(dim=0)
    offset = mean if ablation == "mean" else torch.zeros(WIDTH)
    silent = _Silent(torch.eye(1, WIDTH), offset, Provenance("made", site=SITE))
    found = loss_recovered(model, silent, texts, ablation=ablation)
    assert found.recovered.value == pytest.approx(0.0, abs=1e-4)
    other = loss_recovered(model, silent, texts, ablation="zero" if ablation == "mean" else "mean")
    assert abs(other.recovered.value) > 1e-3, "the two ablations differ"


class _Silent(RandomDirections):
    """A dictionary whose coefficients are all zero."""

    def _encode(self, values):
        return torch.zeros(len(values), len(self))


def test_the_numbers_are_those_of_a_loop_over_texts(model, texts):
    half = dictionary(torch.eye(WIDTH)[: WIDTH // 2])
    kept = torch.cat([torch.ones(WIDTH // 2), torch.zeros(WIDTH - WIDTH // 2)])
    found = loss_recovered(model, half, texts)
    (original, count), (reconstructed, _), (ablated, _) = (
        by_hand(model, texts, change)
        for change in (lambda x: x, lambda x: x * kept, torch.zeros_like)
    )
    assert found.n_tokens == count
    assert found.original == pytest.approx(original / count, rel=1e-4)
    assert found.reconstructed == pytest.approx(reconstructed / count, rel=1e-4)
    assert found.ablated == pytest.approx(ablated / count, rel=1e-4)
    assert found.recovered.value == pytest.approx(
        (ablated - reconstructed) / (ablated - original), rel=1e-3
    )
    assert 0 < found.recovered.value < 1
    assert found.recovered.low < found.recovered.value < found.recovered.high


def test_random_directions_recover_little(model, texts):
    drawn = random_dictionary(torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(0)), 2)
    found = loss_recovered(model, drawn, texts, site=SITE)
    assert found.recovered.value < 0.3


def test_neither_batches_nor_padding_matter_and_nothing_stays_behind(model, texts, identity):
    half = dictionary(torch.eye(WIDTH)[: WIDTH // 2])
    lengths = [*texts, "w3 w4 w5"]
    alone, together = (loss_recovered(model, half, lengths, batch_size=size) for size in (1, 64))
    assert together.reconstructed == pytest.approx(alone.reconstructed, rel=1e-5)
    assert together.recovered.value == pytest.approx(alone.recovered.value, rel=1e-4)
    assert not any(
        part._forward_hooks or part._forward_pre_hooks for part in model.module.modules()
    )


def test_the_same_seed_gives_the_same_control(model, texts, identity):
    first, second, other = (loss_recovered(model, identity, texts, seed=seed) for seed in (1, 1, 2))
    assert first == second
    assert first.recovered.control != other.recovered.control


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"site": "L9.resid_post"}, "unknown site"),
        ({"site": "L1.mlp"}, "wide, the dictionary"),
        ({"inputs": ["w3"]}, "nothing to recover|no token is selected"),
    ],
)
def test_what_cannot_be_measured_is_refused(model, texts, identity, arguments, message):
    with pytest.raises(InputError, match=message):
        loss_recovered(model, identity, **{"inputs": texts, **arguments})


def test_a_dictionary_without_a_site_and_a_model_without_tokens_are_refused(model, texts, identity):
    bare = random_dictionary(torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(0)), 2)
    with pytest.raises(InputError, match="names no site"):
        loss_recovered(model, bare, texts)
    with pytest.raises(InputError, match="predicts no tokens"):
        loss_recovered(wrap(tiny.classifier()), identity, tiny.images())
