"""What `tests/conftest.py` promises: tests are shared out with the slow ones first, and what a test
leaves behind is seen and taken back.
"""

import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch


@pytest.fixture
def conftest(pytestconfig: pytest.Config) -> Any:
    """The module as pytest has it."""
    own = str(Path(__file__).parent / "conftest.py")
    plugins = pytestconfig.pluginmanager.get_plugins()
    return next(plugin for plugin in plugins if getattr(plugin, "__file__", None) == own)


@pytest.mark.parametrize(
    ("arguments", "alone"),
    [
        (["tests/core/test_rows.py"], True),
        (["tests/core/test_rows.py::test_one", "tests/core/test_rows.py::test_two"], True),
        (["tests/core/test_rows.py", "tests/core/test_files.py"], False),
        (["tests/core"], False),
        (["tests"], False),
    ],
)
def test_one_file_runs_in_the_process_itself(
    conftest: Any, arguments: list[str], alone: bool
) -> None:
    workers = conftest.pytest_xdist_auto_num_workers(SimpleNamespace(args=arguments))
    assert (workers == 0) is alone
    assert workers <= conftest.WORKERS


def item(name: str, *markers: str) -> Any:
    return SimpleNamespace(
        path=Path(name[0]), name=name, get_closest_marker=lambda marker: marker in markers or None
    )


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, ["c1", "c2", "d1", "d2", "a1", "a2", "b1", "b2"]),
        (2, ["c1", "c2", "a1", "a2", "d1", "d2", "b1", "b2"]),
    ],
)
def test_every_worker_begins_with_files_that_hold_slow_tests(
    conftest: Any, workers: int, expected: list[str]
) -> None:
    items = [item(name) for name in ("a1", "a2", "b1", "b2", "c1")]
    items += [item("c2", "slow"), item("d1", "costly"), item("d2")]
    config = SimpleNamespace(workerinput={"workercount": workers})
    conftest.pytest_collection_modifyitems(config, items)
    assert [one.name for one in items] == expected


def test_what_is_left_behind_is_seen_and_taken_back(conftest: Any, tmp_path: Path) -> None:
    before = conftest._state()
    assert conftest._state() == before, "control"
    torch.set_num_threads(before["threads of torch"] + 1)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    os.environ["LEFT_BEHIND"] = "1"
    os.chdir(tmp_path)
    after = conftest._state()
    changed = {name for name in before if after[name] != before[name]}
    conftest._restore(before)
    assert conftest._state() == before
    assert changed == {
        *("threads of torch", "default dtype", "gradients", "environment", "working folder")
    }
    assert conftest._change(before["environment"], after["environment"]) == "LEFT_BEHIND"


def test_global_generators_are_brought_to_one_seed(conftest: Any) -> None:
    conftest._seed()
    seeded = _drawn()
    assert _drawn() != seeded, "control"
    conftest._seed()
    assert _drawn() == seeded


def _drawn() -> tuple[float, float, float]:
    return random.random(), float(torch.rand(())), np.random.rand()  # noqa: NPY002
