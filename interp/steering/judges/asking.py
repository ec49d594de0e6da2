"""Many questions at a time, with limited concurrency and a deadline."""

import time
from collections.abc import Generator, Sequence
from queue import SimpleQueue

from anyio import Semaphore, create_task_group, move_on_after
from anyio.from_thread import start_blocking_portal

from interp.steering.judges.chat import Call, Reply, ask, connections
from interp.steering.judges.settings import Endpoint

Answered = tuple[str, Reply]


def ask_all(
    endpoint: Endpoint, questions: Sequence[str], *, concurrency: int, deadline: float
) -> Generator[Answered, None, None]:
    """Questions with their replies as they arrive; after `deadline` seconds the open ones get a
    reply that says so.

    Closing the generator cancels requests under way and sends no more.

    Raises:
        InputError: there is no key.
        UnavailableError: the endpoint refuses such questions altogether.
    """
    key = endpoint.key()
    call = Call(key, time.monotonic() + deadline, connections(key, concurrency))
    replies: SimpleQueue[Answered | None] = SimpleQueue()
    # The event loop has its own thread, because the caller's may run one already (as in Jupyter).
    with start_blocking_portal() as portal:
        done = portal.start_task_soon(_ask_all, endpoint, questions, call, concurrency, replies)
        done.add_done_callback(lambda _: replies.put(None))
        while (answered := replies.get()) is not None:
            yield answered
        try:
            done.result()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None


async def _ask_all(
    endpoint: Endpoint,
    questions: Sequence[str],
    call: Call,
    concurrency: int,
    replies: SimpleQueue[Answered | None],
) -> None:
    waiting = dict.fromkeys(questions)
    slots = Semaphore(concurrency)

    async def answer(question: str) -> None:
        async with slots:
            reply = await ask(endpoint, question, call)
        del waiting[question]
        replies.put((question, reply))

    async with call.client:
        with move_on_after(call.until - time.monotonic()):
            async with create_task_group() as group:
                for question in questions:
                    group.start_soon(answer, question)
    for question in waiting:
        replies.put((question, Reply(None, 0, "deadline", "the time for the whole call was over")))
