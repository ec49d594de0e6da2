"""A report served on this machine with live steering: type a prompt, move a slider, read the
continuation.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from interp.core import InputError, Progress, UnavailableError, silent
from interp.models import load_model
from interp.models.adapters.transformer import TransformerModel
from interp.report.live.directions import Directions
from interp.report.live.guard import HOST
from interp.report.live.queue import ModelQueue
from interp.report.live.server import LiveServer
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

    The page is made anew from `features.json`; its panel continues any prompt with and without a
    feature, at a strength of the reader's choice. Nothing but this machine can reach it, and no
    page of another origin that a browser has open.

    Args:
        folder: what `interp report` wrote.
        model: the model the report is about; by default it is loaded from where the report says it
            was, or by its name.
        port: 0 takes any that is free.
        ready: called with the page's address once it can be opened; it is printed by default.

    Raises:
        InputError: the folder holds no report, or the model is another than the report's.
        UnavailableError: the port is taken, or the weights cannot be had.

    Cost: the model stays in memory; one thread runs it, requests queue.

    Example:
        >>> interp.report.serve("report")
        http://127.0.0.1:41234/
    """
    server = _opened(folder, model, port, progress)
    try:
        with suppress(KeyboardInterrupt):
            ready(server.url)
            server.serve_forever()
    finally:
        server.server_close()


@contextmanager
def serving(
    folder: str | Path,
    model: TransformerModel | None = None,
    port: int = 0,
    *,
    queue: ModelQueue | None = None,
) -> Iterator[str]:
    """`serve` for the length of a `with` block, beside the program; gives the page's address.

    At the block's end the model is stopped at its next token, and no thread, hook or open port is
    left. Until then the model is the server's: hooks that another thread puts on it would act on
    the texts. `queue` is one of another length.

    Raises:
        InputError: the folder holds no report, or the model is another than the report's.
        UnavailableError: the port is taken, or the weights cannot be had.

    Example:
        >>> with serving("report", model) as url:
        ...     urllib.request.urlopen(url + "state").read()
    """
    server = _opened(folder, model, port, silent, queue)
    thread = threading.Thread(
        target=partial(server.serve_forever, poll_interval=0.05), name="interp-live"
    )
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _opened(
    folder: str | Path,
    model: TransformerModel | None,
    port: int,
    progress: Progress,
    queue: ModelQueue | None = None,
) -> LiveServer:
    if not 0 <= port < 65536:
        raise InputError(f"port is {port}, expected 0 (any free one) to 65535; choose another")
    directions = Directions.read(Path(folder))
    described = directions.data.model
    found = (
        model
        if model is not None
        else load_model(described.source or described.name, progress=progress)
    )
    if not isinstance(found, TransformerModel):
        raise InputError(f"{found.name} is not a language model; live steering continues texts")
    steering = LiveSteering(directions, found)
    try:
        return LiveServer(port, steering, queue or ModelQueue())
    except OSError as error:
        raise UnavailableError(
            f"port {port} of {HOST} cannot be had: {error.strerror}; give another, or 0 for any"
        ) from error
