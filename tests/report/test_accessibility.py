"""What axe-core finds in the page: nothing serious, in any theme, width or view."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browsing import NEEDS_BROWSER, click, press, put, visit, wait

pytestmark = NEEDS_BROWSER
Open = Callable[..., Any]
RUN = """
const [place, rules, done] = arguments;
const options = { resultTypes: ["violations"], ...(rules && { runOnly: rules }) };
axe.run(place, options).then((found) => done(found.violations), (error) => done(String(error)));
"""


@pytest.fixture
def opened(driver: Any, page: Path) -> Iterator[Open]:
    yield partial(visit, driver, page)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def serious(driver: Any, place: str = "html", rules: list[str] | None = None) -> list[str]:
    """Violations that axe calls serious or critical, with the elements they are about."""
    if not driver.execute_script("return 'axe' in window"):
        driver.execute_script(
            resources.files("axe_playwright_python")
            .joinpath("axe.min.js")
            .read_text(encoding="utf-8")
        )
    found = driver.execute_async_script(RUN, place, rules)
    assert isinstance(found, list), found
    bad = [item for item in found if item["impact"] in ("serious", "critical")]
    return [f"{item['id']}: {[node['target'] for node in item['nodes']][:4]}" for item in bad]


def test_the_whole_page_with_all_its_details_open(opened: Open) -> None:
    driver = opened("#snmf-12")
    wait(driver, "document.querySelectorAll('.plot .main-svg').length >= 3")
    driver.execute_script(
        "for (const part of document.querySelectorAll('details')) part.open = true"
    )
    assert serious(driver) == []


def test_a_comparison_and_its_pin(opened: Open) -> None:
    assert serious(opened("#snmf-12~sae-6"), "#features") == []


def test_contrast_in_the_dark(opened: Open, driver: Any) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    for anchor in ("#snmf-12", "#snmf-12~sae-6"):
        opened(anchor)
        assert serious(driver, "main", ["color-contrast", "link-in-text-block"]) == []


def test_on_a_narrow_screen(opened: Open, driver: Any) -> None:
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    for anchor in ("#snmf-12", "#snmf-12~sae-6", "#features"):
        opened(anchor)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 380
        assert serious(driver, "#features") == []


def test_with_a_pin_an_empty_list_an_unknown_address_and_the_keys(opened: Open) -> None:
    driver = opened("#snmf-999")
    press(driver, "c")
    put(driver, "search", "no such words anywhere")
    assert serious(driver, "#features") == []
    put(driver, "search", "")
    click(driver, "#show-keys")
    assert serious(driver, "#keys") == []
    press(driver, "\ue00c")


def test_headings_never_skip_a_level_and_every_control_shows_its_focus(opened: Open) -> None:
    driver = opened("#snmf-12")
    levels = driver.execute_script(
        "return [...document.querySelectorAll('h1, h2, h3, h4, h5')].map((h) => "
        "Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    driver.execute_script("document.getElementById('search').focus()")
    ring = (
        "const s = getComputedStyle(document.activeElement); return s.outlineStyle === 'none' "
        "? 0 : parseFloat(s.outlineWidth)"
    )
    for _ in range(12):
        press(driver, "\ue004")
        assert driver.execute_script(ring) >= 1, driver.execute_script(
            "return document.activeElement.outerHTML"
        )[:90]


def test_axe_finds_a_fault_that_is_planted(opened: Open) -> None:
    driver = opened("#snmf-12")
    driver.execute_script(
        "document.querySelector('#filters .wide span').remove(); "
        "document.getElementById('search').placeholder = ''"
    )
    driver.execute_script("document.querySelector('#entry .meta').style.color = '#ddd'")
    assert [found.split(":")[0] for found in serious(driver, "#features")] == [
        "color-contrast",
        "label",
    ]
    driver.refresh()
