"""Weights from the model hub or its local cache: safetensors only, no remote code."""

from pathlib import Path
from typing import Any

from interp.core.errors import UnavailableError
from interp.core.progress import Progress, silent
from interp.models.weights.cached import file_sha256, folder_problem
from interp.models.weights.registry import HashMismatchError

PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
# Without a network the first request must fail within seconds.
HUB_SECONDS = 5.0


def from_hub_cache(hub_ids: tuple[str, ...]) -> tuple[Path, str]:
    """The folder of one of these hub ids in the hub's own cache, and the source in words.

    Raises:
        UnavailableError: there is none, or it is incomplete.
    """
    from huggingface_hub import try_to_load_from_cache

    problems = []
    for hub_id in hub_ids:
        found = (
            try_to_load_from_cache(hub_id, name) for name in ("config.json", "model_index.json")
        )
        folder = next((Path(path).parent for path in found if isinstance(path, str)), None)
        problem = f"{hub_id} is not in it" if folder is None else folder_problem(folder)
        if folder is not None and problem is None:
            return folder, f"the hub's cache: {hub_id} at {folder.name[:12]}"
        problems.append(str(problem))
    raise UnavailableError(", ".join(problems))


def from_hub(hub_id: str, *, progress: Progress = silent) -> tuple[Path, str]:
    """Download a model into the hub's own cache and check each weight file's sha256.

    Raises:
        HashMismatchError: a file has another hash than the hub says; it is removed.
        UnavailableError: no network, offline mode (`HF_HUB_OFFLINE`), no such model, no access, or
            only pickled weights.
    Cost: the download, and one pass over the weights.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    # The base class is httpx's, whose name depends on the version of huggingface_hub.
    network_errors: tuple[type[Exception], ...] = (
        next(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)),
        OSError,
    )
    try:
        info = HfApi().model_info(hub_id, timeout=HUB_SECONDS, files_metadata=True)
        hashes = _published_hashes(hub_id, info)
        bar = _bar(f"download {hub_id}", progress)
        folder = Path(
            snapshot_download(
                hub_id, allow_patterns=list(PATTERNS), etag_timeout=HUB_SECONDS, tqdm_class=bar
            )
        )
    except UnavailableError:
        raise
    except GatedRepoError as error:
        raise UnavailableError(
            f"{hub_id} is gated: accept its licence on the hub and log in with `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise UnavailableError(
            f"the hub has no model {hub_id!r}, or it is private (`hf auth login`)"
        ) from error
    except network_errors as error:
        raise UnavailableError(
            f"the hub did not answer: {' '.join(str(error).split())[:160] or type(error).__name__}"
        ) from error
    _require_published(folder, hashes)
    problem = folder_problem(folder)
    if problem:
        raise UnavailableError(problem)
    return folder, f"the hub: {hub_id} at {folder.name[:12]}"


def _published_hashes(hub_id: str, info: Any) -> dict[str, str]:
    weights = [file for file in info.siblings or () if file.rfilename.endswith(".safetensors")]
    if not weights:
        raise UnavailableError(
            f"{hub_id} has no .safetensors file on the hub (pickled weights are never loaded)"
        )
    return {file.rfilename: file.lfs.sha256 for file in weights if file.lfs is not None}


def _require_published(folder: Path, hashes: dict[str, str]) -> None:
    for name, expected in hashes.items():
        file = folder / name
        if file.is_file() and (found := file_sha256(file)) != expected:
            file.resolve().unlink()
            file.unlink(missing_ok=True)
            raise HashMismatchError(
                f"{file} has sha256 {found}, expected {expected} as the hub says; it was removed, "
                "download it again"
            )


def _bar(stage: str, progress: Progress) -> type:
    """A bar class for the hub's downloader that reports to `progress` and draws nothing."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            # Of the two byte counters only that of bytes on disk is reported.
            self._reported = options.get("unit") == "B" and not str(options.get("name")).endswith(
                ".transfer"
            )
            self._done = 0
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: int | float | None = 1) -> bool | None:
            self._done += int(n or 0)
            if self._reported:
                progress(stage, self._done, int(self.total or 0), "byte")
            return None

    return Bar
