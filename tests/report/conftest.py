"""The synthetic report that every test of this folder reads."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@pytest.fixture(scope="session")
def pristine() -> dict[str, Any]:
    return synthetic.report_data()


@pytest.fixture
def data(pristine: dict[str, Any]) -> dict[str, Any]:
    """A copy that a test may change."""
    return copy.deepcopy(pristine)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, pristine: dict[str, Any]) -> Path:
    """The synthetic report as a page on disk."""
    from interp.report.data.stored import report_from
    from interp.report.pages.features import write_report

    return write_report(report_from(pristine), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real browser that loads pages from disk and logs what they ask for."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
    )
    yield opened
    opened.quit()
