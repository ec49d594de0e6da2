import pytest
import torch

from interp.core import InputError
from interp.decompose import fit_sae, match_directions, random_dictionary, reconstruction
from interp.decompose import sae as module
from interp.decompose.sae import schedule
from tests.decompose import planted


@pytest.fixture(scope="module")
def fitted():
    acts, truth = planted.mixture(0, n_rows=4000, width=64, n_features=12, support=64, noise=0.02)
    shifted = acts + 3.0
    return shifted, truth, fit_sae(shifted, 12, k=4, steps=600, batch_size=128, learning_rate=5e-3)


def test_planted_directions_are_recovered_under_an_offset(fitted):
    acts, truth, sae = fitted
    assert match_directions(sae.directions, truth).mean_cosine > 0.9
    assert match_directions(random_dictionary(acts, 12, seed=99).directions, truth).mean_cosine < 0.5
    assert reconstruction(sae, acts).explained_variance.value > 0.8


def test_at_most_k_coefficients_are_active_and_none_is_negative(fitted):
    acts, _, sae = fitted
    codes = sae.encode(acts)
    assert int((codes > 0).sum(dim=1).max()) <= 4
    assert float(codes.min()) >= 0


def test_the_stored_scale_is_folded_back(fitted):
    acts, _, sae = fitted
    torch.testing.assert_close(sae.directions.norm(dim=1), torch.ones(12))
    larger = fit_sae(acts * 64.0, 12, k=4, steps=60, batch_size=64)
    same = fit_sae(acts, 12, k=4, steps=60, batch_size=64)
    torch.testing.assert_close(larger.decode(larger.encode(acts * 64.0)), same.decode(same.encode(acts)) * 64.0, rtol=1e-3, atol=1e-1)


def test_training_reduces_the_error(fitted):
    trace = fitted[2].trace
    assert float(trace[-50:].mean()) < 0.3 * float(trace[:5].mean())


def test_it_trains_inside_no_grad(fitted):
    with torch.no_grad():
        sae = fit_sae(fitted[0], 4, k=2, steps=40, batch_size=64)
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
        monkeypatch.setattr(module, "AUXILIARY_WEIGHT", weight)
        trainer = module._Trainer(acts, 32, 2, 512, 0)
        with torch.no_grad():
            trainer.encoder[:, :16] *= 0.05
        for _ in range(60):
            trainer.step(128, 3e-3)
        return int((trainer.silent_rows >= 512).sum())

    assert silent_after(1 / 32) < silent_after(0.0)


@pytest.mark.parametrize("arguments", [{"k": 0}, {"k": 5}, {"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}])
def test_wrong_arguments_are_refused(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        fit_sae(torch.ones(10, 4), 4, **{"k": 2, **arguments})
