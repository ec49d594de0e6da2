"""One thread, nothing left behind by any test, work shared among the cores; with
INTERP_CHECK_SHAPES=1 the package's shape annotations are checked at run time.
"""

import os

# Read once, when torch is imported. One thread a process: the networks of the tests are too small
# for more, and a sum over two threads is rounded otherwise than over one. Threads that wait must
# not spin: on a busy machine spinning starves the thread that works.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if os.environ.get("INTERP_CHECK_SHAPES") == "1":
    from jaxtyping import install_import_hook

    install_import_hook("interp", "beartype.beartype")

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the tests in the background has them ignore Ctrl-C, which some tests send.
    signal.signal(signal.SIGINT, signal.default_int_handler)

WORKERS = 8
"""At most: each holds a real model of half a gigabyte once a test has asked for it."""
SET_BY_LIBRARIES = (
    *("PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"),
    *("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"),
)
"""Variables of the environment that pytest, torch and scikit-learn set themselves, the latter two
when first needed.
"""
SEEDED = (
    random.Random(0).getstate(),
    np.random.RandomState(0).get_state(),
    torch.Generator().manual_seed(0).get_state(),
)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker a core; none where one file is named, which then starts at once."""
    files = {argument.partition("::")[0] for argument in config.args}
    if len(files) == 1 and files.pop().endswith(".py"):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, WORKERS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Every worker begins with its share of the files that hold slow tests, so that what is left to
    be shared out at the end is quick.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    slow = {
        item.path
        for item in items
        if item.get_closest_marker("slow") or item.get_closest_marker("costly")
    }
    first = [item for item in items if item.path in slow]
    then = [item for item in items if item.path not in slow]
    items[:] = [
        item
        for worker in range(workers)
        for part in (first, then)
        for item in part[worker * len(part) // workers : (worker + 1) * len(part) // workers]
    ]


@pytest.fixture(scope="session")
def default_model() -> Any:
    """The real default model, read once a process; tests leave it as they find it."""
    from interp.models import load_model

    return load_model("smollm2-135m-instruct")


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """A test finds the process as any other does, whatever ran before it: global generators at one
    seed, and everything else as the test before it found it.
    """
    _seed()
    before = _state()
    yield
    after = _state()
    _seed()
    if after == before:
        return
    _restore(before)
    left = [name for name, value in before.items() if after[name] != value]
    changes = [f"{name}: {_change(before[name], after[name])}" for name in left]
    pytest.fail("the test leaves behind " + "; ".join(changes), pytrace=False)


def _seed() -> None:
    random.setstate(SEEDED[0])
    np.random.set_state(SEEDED[1])  # noqa: NPY002 - the global generator is what is meant
    torch.set_rng_state(SEEDED[2])


def _state() -> dict[str, Any]:
    return {
        "threads of torch": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "precision of products": torch.get_float32_matmul_precision(),
        "environment": {
            name: value for name, value in os.environ.items() if name not in SET_BY_LIBRARIES
        },
        "working folder": Path.cwd(),
        "Ctrl-C": signal.getsignal(signal.SIGINT),
    }


def _restore(state: dict[str, Any]) -> None:
    torch.set_num_threads(state["threads of torch"])
    torch.set_default_dtype(state["default dtype"])
    torch.set_grad_enabled(state["gradients"])
    torch.use_deterministic_algorithms(state["deterministic algorithms"])
    torch.set_float32_matmul_precision(state["precision of products"])
    kept = {name: os.environ[name] for name in SET_BY_LIBRARIES if name in os.environ}
    os.environ.clear()
    os.environ.update({**state["environment"], **kept})
    os.chdir(state["working folder"])
    signal.signal(signal.SIGINT, state["Ctrl-C"])


def _change(before: Any, after: Any) -> str:
    if not isinstance(before, dict):
        return f"{after} for {before}"
    names = sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )
    return ", ".join(names)
