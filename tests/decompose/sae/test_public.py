"""Made files of every public format against forward passes written out here from the formats' own
definitions.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from interp.core import Activations, Contexts, InputError, InterpError, Provenance, UnavailableError
from interp.decompose import load_dictionary
from interp.decompose.sae.public import load_public_sae

D, N, ROWS = 6, 10, 200


def drawn(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ROWS_OF_X = drawn(ROWS, D, seed=9, scale=2.0) + 0.5
WEIGHTS = {
    "W_enc": drawn(D, N, seed=1),
    # Norms of 1.5 to 4 by feature, so that forgetting them, or ranking by the wrong side of them,
    # shows.
    "W_dec": drawn(N, D, seed=2) * torch.linspace(0.3, 2.0, N)[:, None],
    "b_enc": drawn(N, seed=3, scale=0.5),
    "b_dec": drawn(D, seed=4),
    "threshold": torch.linspace(0.1, 1.5, N),
    "b_gate": drawn(N, seed=5, scale=0.5),
    "b_mag": drawn(N, seed=6, scale=0.5),
    "r_mag": drawn(N, seed=7, scale=0.4),
    "scaling_factor": torch.linspace(0.5, 1.5, N),
}
GATES = ("b_gate", "b_mag", "r_mag")


def kept(latents, k):
    """The k largest of each row, then ReLU."""
    least = latents.sort(dim=1, descending=True).values[:, k - 1 : k]
    return torch.where(latents >= least, latents, 0.0).clamp(min=0)


def sae_lens_forward(architecture, x, *, centred=True, k=3, scaled=False, ranked_by_norm=False):
    w = WEIGHTS
    rows = x - w["b_dec"] if centred else x
    if architecture == "gated":
        on = (rows @ w["W_enc"] + w["b_gate"]) > 0
        codes = on * torch.relu(rows @ (w["W_enc"] * w["r_mag"].exp()) + w["b_mag"])
    else:
        latents = rows @ w["W_enc"] + w["b_enc"]
        norms = w["W_dec"].norm(dim=1)
        match architecture:
            case "standard":
                codes = torch.relu(latents)
            case "topk":
                codes = kept(latents * norms, k) / norms if ranked_by_norm else kept(latents, k)
            case "jumprelu":
                codes = torch.relu(latents) * (latents > w["threshold"])
    return (codes * w["scaling_factor"] if scaled else codes) @ w["W_dec"] + w["b_dec"]


def sae_lens(folder, architecture="standard", tensors=(), **config):
    folder.mkdir()
    own = {"gated": GATES, "jumprelu": ("b_enc", "threshold")}.get(architecture, ("b_enc",))
    save_file(
        {key: WEIGHTS[key] for key in ("W_enc", "W_dec", "b_dec", *own, *tensors)},
        folder / "sae_weights.safetensors",
    )
    (folder / "cfg.json").write_text(
        json.dumps({"architecture": architecture, "d_in": D, "d_sae": N, **config})
    )
    return folder


def sparsify(folder, k=3, **config):
    folder.mkdir()
    tensors = {"encoder.weight": WEIGHTS["W_enc"].T.contiguous(), "encoder.bias": WEIGHTS["b_enc"]}
    save_file(
        {**tensors, "W_dec": WEIGHTS["W_dec"], "b_dec": WEIGHTS["b_dec"]},
        folder / "sae.safetensors",
    )
    (folder / "cfg.json").write_text(
        json.dumps({"expansion_factor": 32, "num_latents": N, "k": k, "d_in": D, **config})
    )
    return folder


def gemma_scope(folder):
    folder.mkdir()
    np.savez(
        folder / "params.npz",
        **{key: WEIGHTS[key].numpy() for key in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")},
    )
    return folder


def same_forward(sae, expected):
    codes = sae.encode(ROWS_OF_X)
    torch.testing.assert_close(sae.directions.norm(dim=1), torch.ones(N))
    torch.testing.assert_close(sae.decode(codes), expected, rtol=1e-4, atol=1e-4)
    return codes


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "gated"])
def test_sae_lens_architectures(tmp_path, architecture, centred):
    sae = load_public_sae(
        sae_lens(tmp_path / "sae", architecture, k=3, apply_b_dec_to_input=centred)
    )
    expected = sae_lens_forward(architecture, ROWS_OF_X, centred=centred)
    codes = same_forward(sae, expected)
    assert 0 < float((codes > 0).float().mean()) < 0.9
    wrong = sae_lens_forward(architecture, ROWS_OF_X, centred=not centred)
    assert float((wrong - expected).abs().max()) > 0.1, (
        "the two settings differ, so the test can fail"
    )


def test_older_sae_lens_files_name_top_k_as_an_activation_and_scale_after_finetuning(tmp_path):
    older = {
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": 4},
        "normalize_activations": "expected_average_only_in",
    }
    folder = sae_lens(
        tmp_path / "sae", tensors=("scaling_factor",), finetuning_scaling_factor=True, **older
    )
    sae = load_public_sae(folder)
    assert (sae.variant, sae.k) == ("topk", 4)
    same_forward(sae, sae_lens_forward("topk", ROWS_OF_X, k=4, scaled=True))


def test_latents_can_be_ranked_by_what_they_contribute(tmp_path):
    sae = load_public_sae(
        sae_lens(tmp_path / "sae", "topk", k=3, rescale_acts_by_decoder_norm=True)
    )
    expected = sae_lens_forward("topk", ROWS_OF_X, ranked_by_norm=True)
    same_forward(sae, expected)
    assert not torch.allclose(expected, sae_lens_forward("topk", ROWS_OF_X))


def test_sparsify(tmp_path):
    sae = load_public_sae(sparsify(tmp_path / "layers.10.mlp"))
    same_forward(sae, sae_lens_forward("topk", ROWS_OF_X, centred=True))
    assert (sae.site, sae.k) == ("L10.mlp_out", 3)
    assert load_public_sae(sparsify(tmp_path / "layers.3")).site == "L3.resid_post"


def test_gemma_scope_from_its_folder_or_its_file(tmp_path):
    folder = gemma_scope(tmp_path / "average_l0_71")
    for path in (folder, folder / "params.npz"):
        same_forward(load_public_sae(path), sae_lens_forward("jumprelu", ROWS_OF_X, centred=False))


@pytest.mark.parametrize(
    ("config", "site"),
    [
        ({"hook_name": "blocks.7.hook_resid_pre"}, "L7.resid_pre"),
        ({"metadata": {"hook_name": "blocks.0.mlp.hook_post", "model_name": "gpt2"}}, "L0.mlp"),
        ({"hook_name": "blocks.7.attn.hook_z"}, ""),
        ({}, ""),
    ],
)
def test_the_site_comes_from_the_file_where_it_names_one_of_ours(tmp_path, config, site):
    folder = sae_lens(tmp_path / "sae", **config)
    sae = load_public_sae(folder)
    assert sae.site == site
    assert sae.provenance.model == config.get("metadata", {}).get("model_name")
    assert load_public_sae(folder, "L2.mlp").site == "L2.mlp"
    contexts = Contexts(
        item=np.zeros(ROWS, int),
        position=np.arange(ROWS),
        step=np.zeros(ROWS, int),
        items=("text",),
    )
    acts = Activations(ROWS_OF_X, contexts, "L5.mlp", Provenance("record"))
    if site:
        with pytest.raises(InputError, match=r"activations of 'L5.mlp'"):
            sae.encode(acts)
    else:
        assert sae.encode(acts).shape == (ROWS, N)


def test_a_feature_whose_decoder_row_is_zero_contributes_nothing(tmp_path):
    folder = sae_lens(tmp_path / "sae")
    tensors = load_file(folder / "sae_weights.safetensors")
    tensors["W_dec"][4] = 0.0
    save_file(tensors, folder / "sae_weights.safetensors")
    sae = load_public_sae(folder)
    codes = sae.encode(ROWS_OF_X)
    assert not codes[:, 4].any()
    assert codes[:, 3].any()
    torch.testing.assert_close(sae.directions.norm(dim=1), torch.ones(N))


def test_it_is_saved_and_loaded_as_any_dictionary(tmp_path):
    sae = load_public_sae(sae_lens(tmp_path / "sae", "gated"))
    sae.save(tmp_path / "ours")
    loaded = load_dictionary(tmp_path / "ours")
    assert torch.equal(loaded.encode(ROWS_OF_X), sae.encode(ROWS_OF_X))
    assert loaded.provenance.parameters["sha256"] == sae.provenance.parameters["sha256"]
    assert sae.l0 is None


def edit(folder, **changes):
    tensors = {**load_file(folder / "sae_weights.safetensors"), **changes}
    save_file(
        {key: value for key, value in tensors.items() if value is not None},
        folder / "sae_weights.safetensors",
    )


def configure(folder, **changes):
    path = folder / "cfg.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "kind", "message"),
    [
        (
            lambda folder: shutil.rmtree(folder),
            UnavailableError,
            "holds none of sae_weights.safetensors",
        ),
        (
            lambda folder: (folder / "cfg.json").unlink(),
            UnavailableError,
            r"cannot read .*cfg.json",
        ),
        (
            lambda folder: (folder / "cfg.json").write_text("[1]"),
            UnavailableError,
            "does not describe an autoencoder",
        ),
        (
            lambda folder: (folder / "sae_weights.safetensors").write_bytes(b"nothing"),
            UnavailableError,
            r"cannot read .*sae_weights",
        ),
        (
            lambda folder: edit(folder, b_enc=None),
            UnavailableError,
            r"lacks b_enc, expected \[10\]; it holds W_dec, W_enc, b_dec",
        ),
        (
            lambda folder: edit(folder, W_dec=torch.ones(N, D + 1)),
            UnavailableError,
            r"W_dec is \[10, 7\], expected \[10, 6\]",
        ),
        (
            lambda folder: edit(folder, b_dec=torch.full((D,), torch.nan)),
            UnavailableError,
            "b_dec holds values that are not finite",
        ),
        (
            lambda folder: configure(folder, d_sae=N + 1),
            UnavailableError,
            r"W_enc is \[6, 10\], expected \[6, 11\]",
        ),
        (
            lambda folder: configure(folder, d_in=None),
            UnavailableError,
            "d_in is None, expected a whole number",
        ),
        (
            lambda folder: configure(folder, architecture="topk"),
            UnavailableError,
            "k is None, expected a whole number",
        ),
        (
            lambda folder: configure(folder, architecture="transcoder"),
            InputError,
            "unknown architecture .* 'transcoder'",
        ),
        (
            lambda folder: configure(folder, normalize_activations="layer_norm"),
            InputError,
            "normalize_activations is 'layer_norm'",
        ),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, damage, kind, message):
    folder = sae_lens(tmp_path / "sae")
    assert load_public_sae(folder).variant == "relu"
    damage(folder)
    with pytest.raises(kind, match=message) as caught:
        load_public_sae(folder)
    assert isinstance(caught.value, InterpError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config", [{"transcode": True}, {"skip_connection": True}, {"activation": "groupmax"}]
)
def test_what_sparsify_trains_besides_autoencoders_is_refused(tmp_path, config):
    with pytest.raises(InputError, match=next(iter(config))):
        load_public_sae(sparsify(tmp_path / "layers.3", **config))


def test_an_archive_that_would_need_pickle_or_is_none_is_refused(tmp_path):
    folder = gemma_scope(tmp_path / "sae")
    np.savez(folder / "params.npz", W_enc=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnavailableError, match="cannot read"):
        load_public_sae(folder)
    np.savez(folder / "params.npz", W_enc=WEIGHTS["W_enc"].numpy())
    with pytest.raises(UnavailableError, match=r"lacks W_dec, expected \[10, 6\]"):
        load_public_sae(folder)
    (folder / "params.npz").write_bytes(b"nothing")
    with pytest.raises(UnavailableError, match="cannot read"):
        load_public_sae(folder)
