"""Serves a report on this machine with live steering."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from interp.core import InputError, Progress, UnavailableError, silent
from interp.models import load_model
from interp.models.adapters.transformer import TransformerModel
from interp.report.live.directions import Directions
from interp.report.live.queue import ModelQueue
from interp.report.live.steering import LiveSteering


def serve(
    folder: str | Path,
    model: TransformerModel | None = None,
    port: int = 0,
    *,
    ready: Callable[[str], object] = print,
    progress: Progress = silent,
) -> None:
    """Serve a report's page on this machine, with live steering, until Ctrl-C.

    The page is rebuilt from `features.json`; its panel continues any prompt with and without a
    feature at any strength. Only this machine can reach it, and no page of another origin.

    Args:
        folder: written by `interp report`.
        model: the report's model; by default loaded from its source or by its name.
        port: 0 takes any free one.
        ready: called with the page's address once it can be opened; by default `print`.

    Raises:
        InputError: the folder holds no report, or the model is not the report's.
        UnavailableError: the port is taken, the weights cannot be had, or starlette and uvicorn
            are missing (they come with `interp[serve]`).

    Cost: the model stays in memory; one thread runs it, requests queue.

    Example:
        >>> interp.report.serve("report")
        http://127.0.0.1:41234/
    """
    with _opened(folder, model, port, progress) as url, suppress(KeyboardInterrupt):
        ready(url)
        while True:
            time.sleep(3600)


@contextmanager
def serving(
    folder: str | Path,
    model: TransformerModel | None = None,
    port: int = 0,
    *,
    queue: ModelQueue | None = None,
) -> Iterator[str]:
    """`serve` during a `with` block; gives the page's address.

    At its end the model stops at its next token, and no thread, hook or open port is left. Until
    then leave the model to the server: hooks by other threads would change its texts. `queue` may
    have another length.

    Raises:
        InputError: the folder holds no report, or the model is not the report's.
        UnavailableError: the port is taken, the weights cannot be had, or starlette and uvicorn
            are missing (they come with `interp[serve]`).

    Example:
        >>> with serving("report", model) as url:
        ...     urllib.request.urlopen(url + "state").read()
    """
    with _opened(folder, model, port, silent, queue) as url:
        yield url


def require_installed() -> None:
    """Check that starlette and uvicorn are installed, before slow work.

    Raises:
        UnavailableError: they are not.
    """
    if any(find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise UnavailableError(
            'serving a report needs starlette and uvicorn; pip install "interp[serve]"'
        )


@contextmanager
def _opened(
    folder: str | Path,
    model: TransformerModel | None,
    port: int,
    progress: Progress,
    queue: ModelQueue | None = None,
) -> Iterator[str]:
    require_installed()
    from interp.report.live.server import listening

    if not 0 <= port < 65536:
        raise InputError(f"port is {port}, expected 0 (any free one) to 65535; choose another")
    directions = Directions.read(Path(folder))
    described = directions.data.model
    found = model or load_model(described.source or described.name, progress=progress)
    if not isinstance(found, TransformerModel):
        raise InputError(f"{found.name} is not a language model; live steering continues texts")
    with listening(port, LiveSteering(directions, found), queue or ModelQueue()) as url:
        yield url
