"""Dictionaries on the model hub: a repository of two files, their sha256 and a model card."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.core import InputError, InterpError, Score, UnavailableError
from interp.core.files import read_json, write_json, write_text
from interp.decompose.dictionary import Dictionary
from interp.decompose.sharing.card import dictionary_card
from interp.decompose.storage import DESCRIPTION, TENSORS, load_dictionary, save_dictionary

HASHES = "sha256.json"
CARD = "README.md"
FILES = (TENSORS, DESCRIPTION)
# Without a network the first request must fail within seconds.
HUB_SECONDS = 5.0


@dataclass(frozen=True)
class Pushed:
    """What `push_dictionary` made: the repository's page, the commit to pass as `revision`, and the
    sha256 of the tensors.
    """

    url: str
    revision: str
    sha256: str


def push_dictionary(
    dictionary: Dictionary,
    repo_id: str,
    *,
    licence: str,
    scores: Mapping[str, Score] | None = None,
    summary: str = "",
    base_model: str | None = None,
    private: bool = True,
    endpoint: str | None = None,
) -> Pushed:
    """Upload a dictionary with a model card to the model hub, creating the repository if needed.

    The repository gets what `save` writes, `sha256.json` with the hashes of both files, and a card
    with the numbers (interval, n, seed, control), how to load it, and the whole provenance: look at
    that before making a repository public. The login is that of `hf auth login`; tokens are neither
    arguments nor written to files.

    Args:
        repo_id: "owner/name".
        licence: the hub's identifier, such as "mit"; it should be compatible with the licences of
            the model and the texts.
        scores: measured numbers by name.
        summary: the author's text, Markdown.
        base_model: hub id of the model whose activations these are; the hub links the two.
        private: whether a new repository is private.
        endpoint: a hub other than huggingface.co (or the environment's `HF_ENDPOINT`).

    Raises:
        InputError: `repo_id` or `licence` is not valid.
        UnavailableError: no network, not logged in, or no right to write there.

    Cost: one upload of what `save` writes.

    Example:
        >>> pushed = push_dictionary(
        ...     snmf, "me/smollm2-l15-snmf", licence="mit", scores={"explained variance": score}
        ... )
        >>> pull_dictionary("me/smollm2-l15-snmf", revision=pushed.revision)
    """
    from huggingface_hub import HfApi

    if not licence.strip():
        raise InputError(
            "licence is empty; give the hub's identifier of one, 'mit' say, or 'other'"
        )
    with tempfile.TemporaryDirectory() as temporary, _hub_errors(f"push {repo_id}"):
        folder = Path(temporary) / "dictionary"
        save_dictionary(dictionary, folder)
        hashes = {name: _sha256(folder / name) for name in FILES}
        write_json(folder / HASHES, hashes)
        card = dictionary_card(
            dictionary,
            repo_id,
            licence=licence,
            scores=scores or {},
            hashes=hashes,
            summary=summary,
            base_model=base_model,
        )
        write_text(folder / CARD, card)
        hub = HfApi(endpoint=endpoint)
        page = hub.create_repo(repo_id, private=private, exist_ok=True)
        commit = hub.upload_folder(
            repo_id=repo_id, folder_path=folder, commit_message=f"{dictionary.method} dictionary"
        )
    return Pushed(str(page), str(commit.oid), hashes[TENSORS])


def pull_dictionary(
    repo_id: str,
    *,
    revision: str | None = None,
    sha256: str | None = None,
    endpoint: str | None = None,
) -> Dictionary:
    """Download, check and load a dictionary that `push_dictionary` uploaded; runs no code from the
    files.

    Both files must have the sha256 in `sha256.json` and, for large files, the hub's; a file that
    does not is removed from the hub's cache.

    Args:
        repo_id: "owner/name".
        revision: a commit, branch or tag; by default the newest commit of the main branch.
        sha256: required hash of the tensors' file, from `Pushed` or a person you trust.
        endpoint: a hub other than huggingface.co (or the environment's `HF_ENDPOINT`).

    Raises:
        InputError: `repo_id` is not valid.
        UnavailableError: no network, no such repository or revision or no right to read it, it
            contains no dictionary, or a hash differs.

    Cost: one download (later from the hub's cache) and one pass over the files.

    Example:
        >>> pull_dictionary("me/smollm2-l15-snmf", revision="4f5d…").directions
    """
    from huggingface_hub import HfApi, snapshot_download

    with _hub_errors(f"pull {repo_id}"):
        info = HfApi(endpoint=endpoint).model_info(
            repo_id, revision=revision, timeout=HUB_SECONDS, files_metadata=True
        )
        published = {
            file.rfilename: file.lfs.sha256 if file.lfs else None for file in info.siblings or ()
        }
        missing = [name for name in (*FILES, HASHES) if name not in published]
        if missing:
            raise UnavailableError(
                f"{repo_id} lacks {', '.join(missing)}, which push_dictionary writes; is it a "
                "dictionary's repository?"
            )
        # The commit just looked up, so that the files downloaded are those checked.
        folder = snapshot_download(
            repo_id,
            revision=info.sha,
            allow_patterns=[*FILES, HASHES],
            endpoint=endpoint,
            etag_timeout=HUB_SECONDS,
            tqdm_class=_no_bar(),
        )
    _require_hashes(Path(folder), published, sha256)
    return load_dictionary(folder)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_hashes(folder: Path, published: Mapping[str, str | None], pinned: str | None) -> None:
    noted = read_json(folder / HASHES)
    for name in FILES:
        found = _sha256(folder / name)
        wanted = {
            f"{HASHES} says": noted.get(name) if isinstance(noted, dict) else None,
            "the hub says": published[name] or found,
            "was requested": (pinned or found) if name == TENSORS else found,
        }
        for who, expected in wanted.items():
            if found != expected:
                _remove(folder / name)
                raise UnavailableError(
                    f"{name} has sha256 {found}, but {expected} {who}; it was removed, pull it "
                    "again or ask its author"
                )


def _remove(path: Path) -> None:
    """Remove a file of the hub's cache, a link, and its content."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _no_bar() -> type:
    """A progress bar for the hub's downloader that draws nothing."""
    from huggingface_hub.utils.tqdm import tqdm

    class NoBar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    return NoBar


@contextmanager
def _hub_errors(what: str) -> Iterator[None]:
    """Turn the hub's errors into one line that says what to do."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # The base class is httpx's, whose name depends on the version of huggingface_hub.
    network: tuple[type[Exception], ...] = (
        next(base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)),
        OSError,
    )
    try:
        yield
    except InterpError:
        raise
    except HFValidationError as error:
        raise InputError(f"cannot {what}: {_line(error)}; give 'owner/name'") from error
    except RevisionNotFoundError as error:
        raise UnavailableError(
            f"cannot {what}: there is no such revision; leave it out for the newest"
        ) from error
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise UnavailableError(
            f"cannot {what}: no such repository, or it is private or gated; log in with `hf auth "
            "login`"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        remedy = (
            "log in with `hf auth login` as someone who may"
            if status in (401, 403)
            else "try again later"
        )
        raise UnavailableError(f"cannot {what}: the hub answered {status}; {remedy}") from error
    except ValueError as error:
        # The hub raises nothing narrower for a card that it rejects.
        if "Invalid metadata" not in str(error):
            raise
        raise InputError(
            f"cannot {what}: {_line(error)}; give a licence and a base model that the hub knows"
        ) from error
    except network as error:
        raise UnavailableError(
            f"cannot {what}: the hub did not answer: {_line(error)}; is there a network?"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
