"""Asking many questions at a time, no more than the endpoint is to bear, and never longer than the
call may take.
"""

import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event

from interp.steering.judges.chat import Call, Endpoint, Reply, ask, door


def ask_all(
    endpoint: Endpoint, questions: Sequence[str], *, concurrency: int, deadline: float
) -> Generator[tuple[str, Reply], None, None]:
    """Questions with their replies, in the order in which they come; what has none after `deadline`
    seconds is given one that says so.

    Whoever stops early closes the generator: what has not been asked by then is not asked any more.

    Raises:
        InputError: there is no key.
        UnavailableError: the endpoint refuses such questions altogether.
    """
    call = Call(endpoint.key(), time.monotonic() + deadline, Event(), door(endpoint.url))
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="judge")
    try:
        futures = {pool.submit(ask, endpoint, question, call): question for question in questions}
        waiting = dict.fromkeys(questions)
        try:
            for future in as_completed(futures, timeout=deadline):
                del waiting[futures[future]]
                yield futures[future], future.result()
        except TimeoutError:
            for question in waiting:
                yield (
                    question,
                    Reply(None, 0, "deadline", f"the {deadline:g} s of the call were over"),
                )
    finally:
        call.stop.set()
        # A request under way ends by its own timeout; waiting for it here would break the deadline.
        pool.shutdown(wait=False, cancel_futures=True)
