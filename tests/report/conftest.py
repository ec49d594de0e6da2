"""The synthetic report that every test of this folder reads."""

import copy
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def load_synthetic() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_synthetic", Path(__file__).with_name("synthetic.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    return load_synthetic()


@pytest.fixture(scope="session")
def pristine(synthetic: ModuleType) -> dict[str, Any]:
    return synthetic.report_data()


@pytest.fixture
def data(pristine: dict[str, Any]) -> dict[str, Any]:
    """A copy that a test may change."""
    return copy.deepcopy(pristine)
