"""Converts a `.gguf` file, once, to a folder of float32 safetensors that loads within a second."""

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

from interp.core.errors import UnavailableError
from interp.core.files import replacing_folder, write_json
from interp.core.progress import Progress, silent
from interp.models.weights.cached import NOTE, Kind, file_sha256, models_folder, note_for, read_note


class _AlreadyFilled(Exception):
    """Ends the block, so that the temporary folder is removed and the existing one kept."""


def convert_gguf(path: Path, *, progress: Progress = silent) -> Path:
    """Convert a `.gguf` file into our cache, under its content's hash, unless it is there already.

    Arguments: `path` is a single-file GGUF checkpoint of an architecture that transformers reads.
    Returns: a folder with `config.json`, `model.safetensors` (float32), the tokenizer's files and
    `interp.json`.
    Raises:
        UnavailableError: the file is missing, not GGUF, one shard of several, or of an unknown
            architecture; or the disk is full.
    Source: the GGUF format of ggml; dequantised by transformers' `from_pretrained(gguf_file=…)`.
    Cost: one pass over the file; about 25 s and 1.2 GB of memory for 135 M parameters, 4 bytes of
    disk per parameter.

    Example:
        >>> folder = convert_gguf(Path("SmolLM2-135M-Instruct.Q4_1.gguf"))
        >>> AutoModelForCausalLM.from_pretrained(folder)
    """
    digest = file_sha256(path)
    folder = models_folder() / f"gguf-{digest[:16]}"
    return convert_into(
        folder, path, name=path.stem, source=f"file {path.name}", sha256=digest, progress=progress
    )


def convert_into(
    folder: Path, path: Path, *, name: str, source: str, sha256: str, progress: Progress = silent
) -> Path:
    """Convert a `.gguf` file of known hash into `folder`, unless that was done before."""
    return fill_once(
        folder,
        lambda temporary: _convert(path, temporary, progress),
        name=name,
        kind="language",
        source=source,
        source_sha256=sha256,
    )


def fill_once(
    folder: Path,
    fill: Callable[[Path], None],
    *,
    name: str,
    kind: Kind,
    source: str,
    source_sha256: str,
) -> Path:
    """Fill a folder of our cache whole or not at all; of two processes the first one's stays.

    Raises:
        UnavailableError: the disk is full or the cache cannot be written.
    """
    if read_note(folder, source_sha256) is not None:
        return folder
    try:
        with replacing_folder(folder) as temporary:
            fill(temporary)
            note = note_for(
                temporary, name=name, kind=kind, source=source, source_sha256=source_sha256
            )
            write_json(temporary / NOTE, note)
            if read_note(folder, source_sha256) is not None:
                raise _AlreadyFilled
    except _AlreadyFilled:
        return folder
    except UnavailableError:
        # The rename fails if the folder appeared in the meantime; that one is as good.
        if read_note(folder, source_sha256) is None:
            raise
    return folder


def _convert(path: Path, folder: Path, progress: Progress) -> None:
    from safetensors import SafetensorError

    _require_single_gguf(path)
    progress("convert weights", 0, 2, "part")
    try:
        # transformers draws its bars whatever its settings; errors and logs do not pass here.
        with redirect_stderr(io.StringIO()):
            _save_model(path, folder)
            progress("convert weights", 1, 2, "part")
            _save_tokenizer(path, folder)
    except (ValueError, LookupError, RuntimeError, SafetensorError, OSError) as error:
        # transformers' own OSErrors have no number; one with a number comes from the disk.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:200]
        raise UnavailableError(
            f"cannot convert {path.name}: {reason}; give a folder with config.json and "
            ".safetensors instead"
        ) from error
    progress("convert weights", 2, 2, "part")


def _require_single_gguf(path: Path) -> None:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise UnavailableError(
            f"{path} is not a GGUF file (it begins with {magic!r}); give a .gguf file or a folder "
            "with .safetensors"
        )
    if "-of-0" in path.name:
        raise UnavailableError(
            f"{path.name} is one shard of several; join them with llama.cpp's gguf-split --merge "
            "first"
        )


def _save_model(path: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, local_files_only=True
    )
    # The weights are float32 by now, but saving is refused while the module says it is quantised.
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(folder, max_shard_size="1TB")


def _save_tokenizer(path: Path, folder: Path) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(
        path.parent, gguf_file=path.name, local_files_only=True
    ).save_pretrained(folder)
