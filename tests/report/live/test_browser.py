"""The live panel in a real browser: type a prompt, run, read; and what is read is always what was
asked for.
"""

import json
from collections.abc import Iterator
from typing import Any

import live_folder
import pytest
from browsing import NEEDS_BROWSER

from interp.report.live.serve import serving

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    model = live_folder.speaker()
    with serving(
        live_folder.write(tmp_path_factory.mktemp("live") / "report", model), model
    ) as address:
        yield address


def wait(driver: Any, expression: str) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, 15).until(lambda d: d.execute_script(f"return {expression}"))


def put(driver: Any, field: str, value: str) -> None:
    script = (
        "const f = document.getElementById(arguments[0]); f.value = arguments[1]; "
        "f.dispatchEvent(new Event('input', {bubbles: true}))"
    )
    driver.execute_script(script, f"live-{field}", value)


def text(driver: Any, field: str) -> str:
    return driver.execute_script(
        "return document.getElementById(arguments[0]).innerText", f"live-{field}"
    )


def stale(driver: Any) -> bool:
    return driver.execute_script(
        "return document.getElementById('live-texts').classList.contains('stale')"
    )


def requested(driver: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [
        m["params"]["request"]["url"]
        for m in messages
        if m["method"] == "Network.requestWillBeSent"
    ]


def test_a_prompt_is_typed_run_and_read_and_stale_texts_are_marked(driver: Any, url: str) -> None:
    driver.get("about:blank")
    for kind in ("browser", "performance"):
        driver.get_log(kind)
    driver.get(f"{url}#snmf-0")
    wait(driver, "document.querySelectorAll('#live-ladder option').length === 7")
    assert text(driver, "feature") == "snmf-0"
    assert text(driver, "kl") == "0.5 nats"
    prompt = driver.find_element("id", "live-prompt")
    prompt.clear()
    prompt.send_keys("the ship of")
    put(driver, "temperature", "0")
    put(driver, "strength", "6")
    assert not driver.find_element("id", "live-texts").is_displayed(), (
        "nothing runs before it is asked for"
    )
    driver.find_element("id", "live-run").send_keys("\ue007")
    wait(driver, "document.getElementById('live-status').textContent.startsWith('Done')")
    first = text(driver, "steered")
    assert first.startswith("the ship of")
    assert "sea" in first.removeprefix("the ship of").split()
    assert "sea" not in text(driver, "plain").split()
    assert "snmf-0" in text(driver, "with")
    assert "at L1.resid_post, measured 2" in text(driver, "with") or "measured 1.9" in text(
        driver, "with"
    )
    assert not stale(driver)

    put(driver, "seed", "3")
    assert stale(driver)
    assert "earlier settings" in text(driver, "status")
    put(driver, "seed", "0")
    assert not stale(driver)

    put(driver, "strength", "0")
    wait(driver, "document.getElementById('live-with').textContent.includes('+0.00')")
    assert text(driver, "steered") == text(driver, "plain")

    driver.execute_script("location.hash = '#sae-3'")
    wait(driver, "document.getElementById('live-feature').textContent === 'sae-3'")
    assert stale(driver)
    assert not driver.find_element("css selector", "#live-route [value=companion]").is_enabled()

    put(driver, "prompt", "ship " * 120)
    driver.find_element("id", "live-run").send_keys("\ue007")
    wait(driver, "!document.getElementById('live-error').hidden")
    assert "the network takes 128" in text(driver, "error")
    assert all(address.startswith((url, "data:", "blob:")) for address in requested(driver))
    assert [
        entry["message"] for entry in driver.get_log("browser") if "422" not in entry["message"]
    ] == []
