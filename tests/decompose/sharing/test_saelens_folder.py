"""SAELens folders against that format's own forward pass, written out here, and there and back."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from interp.core import Activations, Contexts, InputError, Provenance, UnavailableError
from interp.decompose import Sae, fit_pca, fit_sae, fit_snmf, random_dictionary
from interp.decompose.sharing.saelens_folder import load_saelens, save_saelens

ROWS, D, N = 120, 7, 9
VALUES = 2 * torch.randn(ROWS, D, generator=torch.Generator().manual_seed(1)) + 0.5
CONTEXTS = Contexts(
    item=np.zeros(ROWS, int), position=np.arange(ROWS), step=np.zeros(ROWS, int), items=("text",)
)
ACTS = Activations(
    VALUES,
    CONTEXTS,
    "L3.resid_post",
    Provenance("record", model="gpt2", corpus_hash="abc", site="L3.resid_post"),
)


def fitted(variant, acts=ACTS):
    return fit_sae(acts, N, variant=variant, k=3, steps=40, batch_size=32, seed=2)


def made(variant="relu", threshold=0.0, gain=1.0, k=0, site=None):
    """An autoencoder with drawn weights, whose gains and offset are nothing special."""
    draw = torch.Generator().manual_seed(5)
    directions = torch.nn.functional.normalize(torch.randn(N, D, generator=draw), dim=1)
    return Sae(
        directions=directions,
        offset=torch.randn(D, generator=draw),
        provenance=Provenance("sae", site=site),
        encoder=torch.randn(D, N, generator=draw),
        encoder_bias=torch.randn(N, generator=draw),
        threshold=torch.full((N,), threshold),
        gain=gain * torch.linspace(0.5, 3.0, N),
        variant=variant,
        k=k,
        trace=torch.zeros(0),
    )


def their_forward(folder, x):
    """Codes and output by the format's definition, from the two files alone."""
    config, w = (
        json.loads((folder / "cfg.json").read_text()),
        load_file(folder / "sae_weights.safetensors"),
    )
    assert config["apply_b_dec_to_input"] is True
    assert config["normalize_activations"] == "none"
    assert (config["d_in"], config["d_sae"]) == tuple(w["W_enc"].shape) == tuple(w["W_dec"].T.shape)
    latents = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    codes = torch.relu(latents)
    if config["architecture"] == "jumprelu":
        codes = codes * (latents > w["threshold"])
    if config["architecture"] == "topk":
        assert config["rescale_acts_by_decoder_norm"] is False
        codes = torch.where(latents >= latents.topk(config["k"], dim=1).values[:, -1:], codes, 0.0)
    return codes, codes @ w["W_dec"] + w["b_dec"]


def same(sae, loaded, folder):
    codes = sae.encode(VALUES)
    assert 0 < float((codes > 0).float().mean()) < 0.9, (
        "some features are on and some off, so the test can fail"
    )
    output, scale = sae.decode(codes), float(codes.max())
    torch.testing.assert_close(loaded.encode(VALUES), codes, rtol=0, atol=1e-6 * scale)
    torch.testing.assert_close(loaded.decode(codes), output, rtol=0, atol=1e-6 * scale)
    torch.testing.assert_close(loaded.directions, sae.directions, rtol=0, atol=1e-6)
    their_codes, their_output = their_forward(folder, VALUES)
    torch.testing.assert_close(their_codes * sae.gain, codes, rtol=0, atol=1e-6 * scale)
    torch.testing.assert_close(their_output, output, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize(
    ("variant", "written"),
    [("topk", "topk"), ("batch_topk", "jumprelu"), ("jumprelu", "jumprelu"), ("gated", "jumprelu")],
)
def test_a_trained_autoencoder_there_and_back(tmp_path, variant, written):
    sae = fitted(variant)
    save_saelens(sae, tmp_path / "sae")
    config = json.loads((tmp_path / "sae" / "cfg.json").read_text())
    assert (config["architecture"], config["metadata"]["hook_name"]) == (
        written,
        "blocks.3.hook_resid_post",
    )
    assert config["metadata"]["model_name"] == "gpt2"
    assert config["metadata"]["sae_lens_version"].startswith("6."), (
        "without it SAELens reads no metadata"
    )
    assert config.get("k") == (3 if variant == "topk" else None)
    loaded = load_saelens(tmp_path / "sae")
    same(sae, loaded, tmp_path / "sae")
    assert (loaded.variant, loaded.site, loaded.l0) == (written, "L3.resid_post", sae.l0)


@pytest.mark.parametrize(
    "sae", [made(), made(threshold=0.7), made("topk", k=4), made("gated", threshold=-0.5)]
)
def test_decoder_norms_thresholds_and_offsets_are_kept(tmp_path, sae):
    save_saelens(sae, tmp_path / "sae")
    loaded = load_saelens(tmp_path / "sae")
    same(sae, loaded, tmp_path / "sae")
    torch.testing.assert_close(loaded.gain, sae.gain)
    torch.testing.assert_close(
        load_file(tmp_path / "sae" / "sae_weights.safetensors")["W_dec"].norm(dim=1), sae.gain
    )
    forgotten = loaded.encode(VALUES) / sae.gain
    assert float((forgotten - sae.encode(VALUES)).abs().max()) > 0.1, "the norms matter here"


def test_a_second_round_changes_nothing(tmp_path):
    save_saelens(made(threshold=0.7), tmp_path / "first")
    once = load_saelens(tmp_path / "first")
    save_saelens(once, tmp_path / "second")
    twice = load_saelens(tmp_path / "second")
    for name in ("encoder", "encoder_bias", "threshold", "offset"):
        assert torch.equal(getattr(twice, name), getattr(once, name)), name
    torch.testing.assert_close(twice.directions, once.directions, rtol=0, atol=1e-6)


def test_the_provenance_comes_back_with_the_file_it_was_read_from(tmp_path):
    sae = fitted("topk")
    save_saelens(sae, tmp_path / "sae")
    loaded = load_saelens(tmp_path / "sae").provenance
    assert (loaded.corpus_hash, loaded.seed, loaded.model) == ("abc", 2, "gpt2")
    assert loaded.parameters["steps"] == 40
    assert len(loaded.parameters["sha256"]) == 64
    assert load_saelens(tmp_path / "sae", "L4.mlp_out").site == "L4.mlp_out"


def test_a_folder_of_another_package_has_no_such_provenance(tmp_path):
    save_saelens(fitted("topk"), tmp_path / "sae")
    path = tmp_path / "sae" / "cfg.json"
    config = json.loads(path.read_text())
    del config["metadata"]["interp_provenance"]
    path.write_text(json.dumps(config))
    assert load_saelens(tmp_path / "sae").provenance.corpus_hash is None
    path.write_text(json.dumps({**config, "metadata": {"interp_provenance": {"nonsense": 1}}}))
    with pytest.raises(UnavailableError, match=r"interp_provenance cannot be read.*save again"):
        load_saelens(tmp_path / "sae")


@pytest.mark.parametrize(
    ("fit", "reason"),
    [
        (lambda: fit_snmf(VALUES, 3, sparsity=0.5), "non-negative least squares"),
        (lambda: fit_pca(VALUES, 3), "signed coefficients"),
        (lambda: random_dictionary(VALUES, 3), "a dictionary of random has no rectified encoder"),
    ],
)
def test_what_the_format_cannot_hold_is_refused_with_what_to_do(tmp_path, fit, reason):
    with pytest.raises(InputError, match=f"{reason}.*keep it whole with `save`"):
        save_saelens(fit(), tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


def test_sites_without_a_hook_name_need_one(tmp_path):
    for site in ("mid", "L2.head3", "module:encoder.layer", "Lx.mlp"):
        with pytest.raises(InputError, match="has no hook name"):
            save_saelens(made(site=site), tmp_path / "sae")
    save_saelens(made(site="L2.head3"), tmp_path / "sae", hook_name="blocks.2.attn.hook_result")
    assert (
        json.loads((tmp_path / "sae" / "cfg.json").read_text())["metadata"]["hook_name"]
        == "blocks.2.attn.hook_result"
    )
    assert load_saelens(tmp_path / "sae").site == "L2.head3"
    save_saelens(made(), tmp_path / "bare")
    assert load_saelens(tmp_path / "bare").site == ""


def test_a_negative_gain_and_a_folder_of_something_else_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"gain of feature 0 is -0\.5"):
        save_saelens(made(gain=-1.0), tmp_path / "sae")
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        save_saelens(made(), tmp_path)
    assert (tmp_path / "note.txt").read_text() == "mine"
