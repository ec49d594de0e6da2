"""The queue before a model: order, bound, and that nobody waits for what was given up."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

from interp.report.live.queue import ModelQueue, QueueFullError, Ticket


async def never() -> bool:
    return False


def outcome(ticket: Ticket) -> Callable[[], Any]:
    """Wait for a ticket on a thread; calling what is returned gives its result, or the kind of its
    error, and fails after five seconds.
    """
    found: list[Any] = []

    def collect() -> None:
        try:
            found.append(asyncio.run(ticket.result(never)))
        except (CancelledError, TimeoutError) as error:
            found.append(type(error))

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()

    def read() -> Any:
        thread.join(5)
        assert not thread.is_alive(), "it waits for ever"
        return found[0]

    return read


def step_for_ever(check: Callable[[], None]) -> None:
    while True:
        check()
        time.sleep(0.01)


def test_jobs_run_in_the_order_they_came_and_no_more_than_may_wait() -> None:
    queue, go, order = ModelQueue(limit=2), threading.Event(), []
    tickets = [queue.submit(lambda check: go.wait(10), "first")]
    tickets += [
        queue.submit(lambda check, name=name: order.append(name), name)
        for name in ("second", "third")
    ]
    with pytest.raises(QueueFullError, match="2 requests wait"):
        queue.submit(lambda check: None)
    assert queue.names == ["first", "second", "third"]
    assert [ticket.ahead for ticket in tickets] == [0, 1, 2]
    go.set()
    for ticket in tickets:
        asyncio.run(ticket.result(never))
    assert order == ["second", "third"]
    queue.close()
    assert queue.names == []


def test_who_gives_up_waiting_is_free_while_the_model_still_runs() -> None:
    queue, go = ModelQueue(), threading.Event()
    queue.submit(lambda check: go.wait(20), "runs")
    waiting = queue.submit(lambda check: 1, "waits")
    read = outcome(waiting)
    waiting.give_up()
    assert read() is CancelledError
    assert queue.names == ["runs"]
    go.set()
    queue.close()


def test_closing_frees_everybody_though_one_runs_and_one_had_given_up() -> None:
    queue = ModelQueue()
    running, gone, waiting = (
        queue.submit(job) for job in (step_for_ever, lambda check: 1, lambda check: 2)
    )
    reads = [outcome(ticket) for ticket in (running, gone, waiting)]
    gone.give_up()
    queue.close()
    assert [read() for read in reads] == [CancelledError] * 3
    assert queue.names == []
    with pytest.raises(CancelledError):
        queue.submit(lambda check: 3)


def test_a_job_has_its_own_timeout_and_its_own_none() -> None:
    def late(check: Callable[[], None]) -> None:
        raise TimeoutError

    queue = ModelQueue()
    assert outcome(queue.submit(late))() is TimeoutError
    assert outcome(queue.submit(lambda check: None))() is None
    queue.close()
