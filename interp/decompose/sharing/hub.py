"""Dictionaries on the model hub: a repository of the two files, their sha256, and a card written
from the provenance.
"""

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
# Without a network the first question to the hub must fail within seconds.
HUB_SECONDS = 5.0


@dataclass(frozen=True)
class Pushed:
    """What `push_dictionary` made: the repository's page, the commit to give as `revision`, and the
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
    """Upload a dictionary to a repository of the model hub, which is made if it is not there, with
    a model card.

    The repository holds what `save` writes, `sha256.json` with the hashes of both files, and a
    card: what it is, the numbers with interval, n, seed and control, how to load it, and the whole
    provenance, so look at that before a repository is opened to others. The login is that of
    `hf auth login`: no token is an argument here, and none is written to a file.

    Args:
        repo_id: "owner/name".
        licence: the hub's identifier, "mit" say; it should allow what the model's and the texts'
            licences allow.
        scores: measured numbers by name.
        summary: what the author says, Markdown.
        base_model: the hub id of the model whose activations these are; the hub links the two.
        private: of a repository that is made now.
        endpoint: another hub than huggingface.co (or than the environment's `HF_ENDPOINT`).

    Raises:
        InputError: `repo_id` or `licence` is no such name.
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
    with tempfile.TemporaryDirectory() as temporary, _told(f"push {repo_id}"):
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
    """Download a dictionary that `push_dictionary` uploaded, check its files, and load it; no code
    is run from them.

    Both files must have the sha256 that `sha256.json` says, and, where the hub knows one (large
    files), the hub's. What does not is removed from the hub's cache.

    Args:
        repo_id: "owner/name".
        revision: a commit, branch or tag; left out, the newest commit of the main branch.
        sha256: of the tensors' file, from `Pushed` or from a person you trust, if it must be that
            one and no other.
        endpoint: another hub than huggingface.co (or than the environment's `HF_ENDPOINT`).

    Raises:
        InputError: `repo_id` is no such name.
        UnavailableError: no network, no such repository or revision or no right to read it, it
            holds no dictionary, or a file is not what it should be.

    Cost: one download, from the hub's cache the second time, and one pass over the files.

    Example:
        >>> pull_dictionary("me/smollm2-l15-snmf", revision="4f5d…").directions
    """
    from huggingface_hub import HfApi, snapshot_download

    with _told(f"pull {repo_id}"):
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
        # The commit that was just looked up, so that what is checked and what is downloaded are
        # the same.
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
            "was asked for": (pinned or found) if name == TENSORS else found,
        }
        for who, expected in wanted.items():
            if found != expected:
                _remove(folder / name)
                raise UnavailableError(
                    f"{name} has sha256 {found}, but {expected} {who}; it was removed, pull it "
                    "again or ask its author"
                )


def _remove(path: Path) -> None:
    """Remove a file of the hub's cache, which is a link to its content there."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _no_bar() -> type:
    """A bar for the hub's downloader that draws nothing."""
    from huggingface_hub.utils.tqdm import tqdm

    class NoBar(tqdm):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    return NoBar


@contextmanager
def _told(what: str) -> Iterator[None]:
    """The hub's errors as one line of what to do."""
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
        # What the hub says of a card it does not take comes as this and nothing narrower.
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
