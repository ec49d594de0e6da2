"""Small weights with known contents: a wheel, a folder, and a tiny Llama as a `.gguf` file."""

import base64
import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from transformers import LlamaConfig, LlamaForCausalLM

from interp.models.weights.catalog import Entry, Member, PackageSource, Wheel

DISTRIBUTION = "interp-fake-weights"
PACKAGE = "interp_fake_weights"
FILES = {
    "config.json": json.dumps({"model_type": "bert"}).encode(),
    "model.safetensors": save({"weight": torch.arange(4.0)}),
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheel(folder: Path, files: Mapping[str, bytes], distribution: str = DISTRIBUTION) -> Path:
    """A valid wheel of version 1.0 that holds `files` under its package's folder."""
    package = distribution.replace("-", "_")
    info = f"{package}-1.0.dist-info"
    contents = {f"{package}/{name}": content for name, content in files.items()}
    contents[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n".encode()
    )
    contents[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    lines = [
        f"{name},sha256={_urlsafe(content)},{len(content)}" for name, content in contents.items()
    ]
    contents[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def folder_entry(files: Mapping[str, bytes] = FILES) -> Entry:
    """A catalog entry whose package holds a ready folder."""
    members = tuple(
        Member(f"{PACKAGE}/{name}", sha256(content), name) for name, content in files.items()
    )
    return Entry(
        name="tiny-encoder",
        title="test",
        licence="MIT",
        kind="encoder",
        hub_id="nobody/tiny-encoder",
        package=PackageSource((Wheel(DISTRIBUTION, "1.0", members),), megabytes=1),
    )


def parts_entry(parts: list[bytes]) -> Entry:
    """A catalog entry whose `.gguf` file lies in parts, one wheel each."""
    wheels = tuple(
        Wheel(
            f"{DISTRIBUTION}-part{i}", "1.0", (Member(f"{PACKAGE}_part{i}/part{i}", sha256(part)),)
        )
        for i, part in enumerate(parts)
    )
    package = PackageSource(
        wheels, megabytes=1, gguf="tiny.gguf", gguf_sha256=sha256(b"".join(parts))
    )
    return Entry(
        name="tiny-llama",
        title="test",
        licence="MIT",
        kind="language",
        hub_id="nobody/tiny-llama",
        package=package,
    )


def tiny_llama() -> LlamaForCausalLM:
    """A Llama of two layers with grouped keys and untied embeddings, weights from a fixed
    generator.
    """
    config = LlamaConfig(
        vocab_size=len(_tokens()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers": "blk",
}


def write_gguf(path: Path, model: LlamaForCausalLM) -> Path:
    """Write a tiny Llama as ggml does: its own names, and the rotary halves of queries and keys
    interleaved.
    """
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    _write_facts(writer, model.config)
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        for ours, theirs in NAMES.items():
            name = name.replace(ours, theirs)
        if "attn_q." in name or "attn_k." in name:
            heads = (
                model.config.num_attention_heads
                if "attn_q." in name
                else model.config.num_key_value_heads
            )
            values = (
                values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
            )
        writer.add_tensor(name, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_facts(writer, config: LlamaConfig) -> None:
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    tokens = _tokens()
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (len(tokens) - 1))
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def _tokens() -> list[str]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return ["<|end|>", *bytes_to_unicode().values(), "th", "the"]
