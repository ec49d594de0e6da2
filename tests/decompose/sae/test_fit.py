import planted
import pytest
import torch

from interp.core import InputError
from interp.decompose import load_dictionary, match_directions, random_dictionary, reconstruction
from interp.decompose.sae import training
from interp.decompose.sae.fit import fit_sae, sweep_sae
from interp.decompose.sae.training import schedule

VARIANTS = ("topk", "batch_topk", "jumprelu", "gated")
K = 3


@pytest.fixture(scope="module")
def acts():
    values, truth = planted.mixture(0, n_rows=4000, width=64, n_features=12, support=64, noise=0.02)
    return values + 3.0, truth


@pytest.fixture(scope="module", params=VARIANTS)
def fitted(request, acts):
    return fit_sae(
        acts[0], 12, variant=request.param, k=K, steps=300, batch_size=128, learning_rate=1e-2
    )


def test_planted_directions_are_recovered_under_an_offset(fitted, acts):
    values, truth = acts
    assert match_directions(fitted.directions, truth).mean_cosine > 0.8
    assert (
        match_directions(random_dictionary(values, 12, seed=99).directions, truth).mean_cosine < 0.5
    )
    assert reconstruction(fitted, values).explained_variance.value > 0.95


def test_the_wanted_number_of_coefficients_is_active_on_average(fitted, acts):
    codes = fitted.encode(acts[0])
    active = (codes > 0).sum(dim=1)
    assert float(codes.min()) >= 0
    assert float(active.float().mean()) == pytest.approx(fitted.l0, rel=0.02)
    # Some rows of the planted mixture hold fewer than k features, so top-k stays below it.
    assert fitted.l0 == pytest.approx(K, rel=0.06)
    assert int(active.max()) <= K if fitted.variant == "topk" else int(active.max()) > K, (
        "only top-k bounds every row"
    )


def test_only_its_own_threshold_decides_where_a_variant_has_one(fitted, acts):
    thresholds = fitted.threshold
    match fitted.variant:
        case "topk":
            assert not thresholds.any()
        case "batch_topk":
            assert len(set(thresholds.tolist())) == 1
            assert thresholds[0] > 0
        case _:
            assert len(set(thresholds.tolist())) == 12
    raised = {**vars(fitted), "threshold": thresholds + 1e6}
    silent = not type(fitted)(**raised).encode(acts[0]).any()
    assert silent == (fitted.variant != "topk")


def test_a_saved_variant_comes_back_bit_for_bit(fitted, acts, tmp_path):
    fitted.save(tmp_path / "sae")
    loaded = load_dictionary(tmp_path / "sae")
    assert (loaded.variant, loaded.k, loaded.l0) == (fitted.variant, K, fitted.l0)
    assert torch.equal(loaded.encode(acts[0]), fitted.encode(acts[0]))


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_stored_scale_is_folded_back(variant, acts):
    options = {"variant": variant, "k": K, "steps": 40, "batch_size": 64}
    larger, same = fit_sae(acts[0] * 64.0, 12, **options), fit_sae(acts[0], 12, **options)
    torch.testing.assert_close(larger.directions.norm(dim=1), torch.ones(12))
    torch.testing.assert_close(
        larger.decode(larger.encode(acts[0] * 64.0)),
        same.decode(same.encode(acts[0])) * 64.0,
        rtol=1e-3,
        atol=1e-1,
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_several_sparsities_in_one_pass_are_the_separate_fits(variant, acts):
    options = {"variant": variant, "steps": 30, "batch_size": 64, "seed": 5}
    reads = []
    together = sweep_sae(acts[0], 12, (5, 2), progress=lambda *seen: reads.append(seen), **options)
    assert len(reads) == 30, "one pass over the data"
    for sae, k in zip(together, (5, 2), strict=True):
        alone = fit_sae(acts[0], 12, k=k, **options)
        assert sae.k == alone.k == k
        for name, value in vars(alone).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(sae, name), value), name
    assert not torch.equal(together[0].directions, together[1].directions)


def test_training_reduces_the_error(fitted):
    assert float(fitted.trace[-50:].mean()) < 0.3 * float(fitted.trace[:5].mean())


def test_it_trains_inside_no_grad(acts):
    with torch.no_grad():
        sae = fit_sae(acts[0], 4, k=2, steps=40, batch_size=64)
    assert float(sae.trace[-1]) < float(sae.trace[0])
    assert not sae.directions.requires_grad


def test_the_schedule_warms_up_and_decays():
    factors = [schedule(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.2)
    assert factors[10:80] == [1.0] * 70
    assert factors[-1] == pytest.approx(0.05)


def test_the_auxiliary_loss_revives_latents_that_never_win(monkeypatch):
    acts, _ = planted.mixture(1, n_rows=1000, width=32, n_features=8, support=32)

    def silent_after(weight):
        monkeypatch.setattr(training, "AUXILIARY_WEIGHT", weight)
        generator = torch.Generator().manual_seed(0)
        start, batches = (
            torch.randn(32, 32, generator=generator),
            training.Batches(acts, 128, generator),
        )
        trainer = training.Trainer(
            training.TopK(2, 32, acts.device), start, batches.mean * batches.scale, 512
        )
        trainer.encoder[:16] *= 0.05
        for _ in range(60):
            trainer.step(batches.draw(), 3e-3)
        return int((trainer.silent_rows >= 512).sum())

    assert silent_after(1 / 32) < silent_after(0.0)


@pytest.mark.parametrize(
    "arguments", [{"k": 0}, {"k": 5}, {"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}]
)
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        fit_sae(torch.ones(10, 4), 4, **{"k": 2, **arguments})


def test_a_sweep_of_nothing_is_refused():
    with pytest.raises(InputError, match="no k was given"):
        sweep_sae(torch.ones(10, 4), 4, ())
