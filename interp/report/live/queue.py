"""A bounded queue of jobs on one thread, which can be given up waiting or running."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from interp.core import InterpError

LIMIT = 16
POLL_SECONDS = 0.05

Check = Callable[[], None]
"""Called by a running job between its steps; raises CancelledError once the job is given up."""


class QueueFullError(InterpError):
    """The queue is full."""


@dataclass(frozen=True, eq=False)
class Ticket:
    """A job in the queue: its name, the number of jobs ahead when it came, and its result."""

    name: str
    ahead: int
    future: "Future[Any]"
    given_up: threading.Event = field(default_factory=threading.Event)

    def give_up(self) -> None:
        """Remove a waiting job at once; stop a running one at its next step."""
        self.given_up.set()
        self.future.cancel()

    async def result(self, gone: Callable[[], Awaitable[bool]]) -> Any:
        """Wait for the job, and give it up once its client is `gone`.

        Raises:
            CancelledError: the job was given up, or the queue closed.
            Exception: any that the job raised.
        """
        while not self.future.done():
            if await gone():
                self.give_up()
            await asyncio.sleep(POLL_SECONDS)
        return self.future.result()


class ModelQueue:
    """Runs jobs one at a time, in order, on a thread; at most `limit` wait.

    Example:
        >>> with closing(ModelQueue()) as queue:
        ...     queue.submit(lambda check: 6 * 7).future.result()
        42
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="interp-live-model")
        self._lock = threading.Lock()
        self._tickets: list[Ticket] = []
        self._closed = False

    @property
    def names(self) -> list[str]:
        """The names of unfinished jobs, the running one first."""
        with self._lock:
            return [ticket.name for ticket in self._tickets]

    def submit(self, job: Callable[[Check], Any], name: str = "") -> Ticket:
        """Put a job at the end of the queue; it is called with a `Check`.

        Raises:
            QueueFullError: `limit` jobs are waiting.
            CancelledError: the queue is closed.
        """
        with self._lock:
            if self._closed:
                raise CancelledError
            ahead = len(self._tickets)
            if ahead > self._limit:
                raise QueueFullError(
                    f"{ahead - 1} requests wait for the model, the most that may; try again in a "
                    "while"
                )
            given_up = threading.Event()
            ticket = Ticket(name, ahead, self._worker.submit(_run, job, given_up), given_up)
            self._tickets.append(ticket)
        ticket.future.add_done_callback(lambda _: self._leave(ticket))
        return ticket

    def close(self) -> None:
        """Give every job up and wait for the thread to end, one step of the running job."""
        with self._lock:
            self._closed, tickets = True, list(self._tickets)
        for ticket in tickets:
            ticket.give_up()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _leave(self, ticket: Ticket) -> None:
        with self._lock:
            self._tickets.remove(ticket)


def _run(job: Callable[[Check], Any], given_up: threading.Event) -> Any:
    def check() -> None:
        if given_up.is_set():
            raise CancelledError

    check()
    return job(check)
