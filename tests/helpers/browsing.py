"""Steps in a real browser that the tests of the report's page share."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

NEEDS_BROWSER = [
    pytest.mark.browser,
    # Where a browser is required (CI), its absence is a failure, not a skip.
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER) and not os.environ.get("INTERP_REQUIRE_BROWSER"),
        reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)",
    ),
]


def needs_browser(test: Any) -> Any:
    """`NEEDS_BROWSER` on a single test."""
    for mark in NEEDS_BROWSER:
        test = mark(test)
    return test


def requested(driver: Any) -> set[str]:
    """The addresses that the browser has asked for since its log was last read, without their
    anchors.
    """
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return {
        m["params"]["request"]["url"].split("#")[0]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    }


def open_afresh(driver: Any, page: Path, anchor: str = "") -> Any:
    """Open the page as if a link had been followed."""
    driver.get("about:blank")
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    driver.get(page.as_uri() + anchor)
    return driver


def visit(driver: Any, page: Path, anchor: str = "") -> Any:
    """Go to a place of the page, without loading it again where it is open already, and wait until
    it has followed.
    """
    driver.get(page.as_uri() + anchor)
    driver.execute_async_script("setTimeout(arguments[0], 40)")
    return driver


def wait(driver: Any, expression: str) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 15, poll_frequency=0.05).until(
        lambda d: d.execute_script(f"return {expression}")
    )


def ids(driver: Any) -> list[str]:
    return driver.execute_script(
        "return [...document.querySelectorAll('#list a')].map((a) => a.dataset.id)"
    )


def put(driver: Any, field: str, value: str | bool) -> None:
    name = "checked" if isinstance(value, bool) else "value"
    script = (
        f"const f = document.getElementById(arguments[0]); f.{name} = arguments[1]; "
        f"f.dispatchEvent(new Event('input', {{bubbles: true}}))"
    )
    driver.execute_script(script, field, value)


def text(driver: Any, selector: str) -> str:
    return driver.execute_script("return document.querySelector(arguments[0]).innerText", selector)


def click(driver: Any, selector: str) -> None:
    driver.execute_script("document.querySelector(arguments[0]).click()", selector)


def press(driver: Any, *keys: str) -> None:
    """Keys to whatever has the focus, as a person's hands send them."""
    from selenium.webdriver import ActionChains

    ActionChains(driver, duration=0).send_keys(*keys).perform()
