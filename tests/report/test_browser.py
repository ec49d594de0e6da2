"""The page in a real browser, from disk: it works, it loads nothing, and no text of the corpus
ran.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import synthetic
from browsing import NEEDS_BROWSER, ids, open_afresh, press, put, requested, text, visit, wait

from interp.report.pages.comparison import write_comparison

pytestmark = NEEDS_BROWSER
Open = Callable[..., Any]


@pytest.fixture
def opened(driver: Any, page: Path) -> Open:
    return partial(open_afresh, driver, page)


def test_it_loads_from_disk_draws_its_figures_and_asks_nobody(opened: Open, page: Path) -> None:
    driver = opened("")
    wait(driver, "document.querySelectorAll('.plot .main-svg').length >= 3")
    assert driver.get_log("browser") == []
    asked = requested(driver)
    assert page.as_uri() in asked
    assert all(url == page.as_uri() or url.startswith(("data:", "blob:")) for url in asked)


def test_no_text_of_the_corpus_ran_and_the_policy_would_stop_it(opened: Open) -> None:
    driver = opened("#snmf-6")
    wait(driver, "window.Plotly !== undefined")
    assert "<script>" in text(driver, "#entry h3")
    assert driver.execute_script("return window.__pwned === undefined")
    inject = (
        "const s = document.createElement('script'); s.textContent = 'window.__pwned = 9'; "
        "document.body.append(s); return window.__pwned"
    )
    assert driver.execute_script(inject) is None
    assert any("Content Security Policy" in entry["message"] for entry in driver.get_log("browser"))


def test_search_and_filters_narrow_the_list(opened: Open, pristine: dict[str, Any]) -> None:
    features = pristine["features"]
    driver = opened("")
    assert len(ids(driver)) == 40
    put(driver, "search", "sae-13")
    assert ids(driver) == ["sae-13"]
    assert text(driver, "#count") == "1 of 40 features"
    put(driver, "search", "no such words anywhere")
    assert ids(driver) == []
    assert "No feature matches" in text(driver, "#list")
    put(driver, "search", "")
    put(driver, "method", "snmf")
    put(driver, "steered", True)
    assert set(ids(driver)) == {
        f["id"] for f in features if f["method"] == "snmf" and f["steering"]
    }
    put(driver, "beats", True)
    beating = {
        f["id"]
        for f in features
        if f["steering"] and any(route["beats_control"] for route in f["steering"]["routes"])
    }
    assert set(ids(driver)) == {name for name in beating if name.startswith("snmf")}
    put(driver, "concept", "the sea")
    at_sea = {
        f["id"]
        for f in features
        if f["id"] in beating and f["method"] == "snmf" and f["concept"] == "the sea"
    }
    assert set(ids(driver)) == at_sea
    assert 0 < len(at_sea) < len(beating)


def test_sorting_reorders_and_puts_the_unmeasured_last(
    opened: Open, pristine: dict[str, Any]
) -> None:
    features = {f["id"]: f for f in pristine["features"]}
    driver = opened("")
    by_margin = ids(driver)
    put(driver, "sort", "firing")
    rates = [features[name]["firing_rate"] for name in ids(driver)]
    assert rates == sorted(rates, reverse=True)
    assert ids(driver) != by_margin
    put(driver, "sort", "auroc")
    found = [features[name]["detection"] for name in ids(driver)]
    measured = [item["auroc"]["value"] for item in found if item]
    assert measured == sorted(measured, reverse=True)
    assert found[len(measured) :] == [None] * (40 - len(measured))
    assert 0 < len(measured) < 40


def test_a_deep_link_opens_its_feature_and_next_and_previous_walk(opened: Open) -> None:
    driver = opened("#snmf-12")
    assert "feature 12" in text(driver, "#entry .meta")
    assert (
        driver.execute_script("return document.querySelector('#list a[aria-current]').dataset.id")
        == "snmf-12"
    )
    assert (
        0
        <= driver.execute_script(
            "return document.getElementById('entry').getBoundingClientRect().top"
        )
        < 450
    )
    order = ids(driver)
    driver.find_element("id", "next").click()
    wait(driver, f"location.hash === '#{order[order.index('snmf-12') + 1]}'")
    driver.find_element("id", "previous").click()
    wait(driver, "location.hash === '#snmf-12'")
    driver.find_element("id", "entry").send_keys("k")
    wait(driver, f"location.hash === '#{order[order.index('snmf-12') - 1]}'")


def test_keys_and_arrows_walk_search_and_leave(opened: Open) -> None:
    driver = opened("#snmf-12")
    order = ids(driver)
    here = order.index("snmf-12")
    press(driver, "j")
    wait(driver, f"location.hash === '#{order[here + 1]}'")
    driver.execute_script("document.querySelector('#list a[aria-current]').focus()")
    press(driver, "\ue013")
    wait(driver, "location.hash === '#snmf-12'")
    assert driver.execute_script("return document.activeElement.dataset.id") == "snmf-12"
    press(driver, "\ue015")
    wait(driver, f"document.getElementById('entry').dataset.id === '{order[here + 1]}'")
    press(driver, "/", "sae-13")
    assert ids(driver) == ["sae-13"]
    press(driver, "\ue00c")
    assert driver.execute_script("return document.activeElement.closest('#list') !== null")
    press(driver, "?")
    assert driver.execute_script("return document.getElementById('keys').open")
    assert "pin this feature" in text(driver, "#keys")
    press(driver, "\ue00c")
    assert not driver.execute_script("return document.getElementById('keys').open")


def test_every_link_of_the_list_is_one_tab_stop(opened: Open) -> None:
    driver = opened("#snmf-12")
    assert driver.execute_script(
        "return [...document.querySelectorAll('#list a')].filter((a) => a.tabIndex === "
        "0).map((a) "
        "=> a.dataset.id)"
    ) == ["snmf-12"]


def test_the_verdict_stands_first_and_trust_is_said_in_words(opened: Open) -> None:
    driver = opened("")
    order = (
        "return [...document.querySelectorAll('h1, .verdict, .facts, #trust, .findings')].map((e) "
        "=> e.id || e.className || e.tagName)"
    )
    assert driver.execute_script(order) == ["H1", "verdict", "facts", "trust", "findings"]
    states = driver.execute_script(
        "return [...document.querySelectorAll('.trust .state')].map((e) => e.innerText.trim())"
    )
    assert len(states) >= 4
    assert all(state.split()[-1] in {"Good", "Caution", "Problem", "Open"} for state in states)


def test_neighbours_and_family_are_links_with_their_controls(
    opened: Open, page: Path, pristine: dict[str, Any]
) -> None:
    feature = next(f for f in pristine["features"] if f["id"] == "snmf-12")
    driver = opened("#snmf-12")
    rows = driver.execute_script(
        "return [...document.querySelectorAll('.neighbours tbody tr')].map((r) => "
        "r.innerText.replaceAll('−', '-'))"
    )
    assert len(rows) == len(feature["neighbours"]) == 5
    for row, neighbour in zip(rows, feature["neighbours"], strict=True):
        control = pristine["features"][0]["neighbour_control"]
        assert neighbour["id"] in row
        assert f"{neighbour['cosine']:.2f}\t{control:.2f}" in row
    family = text(driver, ".family")
    assert "level 1, number 6" in family
    assert "level 2, number 3" in family
    assert (
        driver.execute_script("return document.querySelector('.members a').getAttribute('href')")
        == "#snmf-13"
    )
    visit(driver, page, "#snmf-7")
    assert "No neighbours were computed" in text(driver, "#entry")
    visit(driver, page, "#sae-3")
    assert driver.execute_script("return document.querySelector('.family') === null")


def test_a_family_narrows_the_list_to_its_members(opened: Open) -> None:
    driver = opened("")
    put(driver, "family", "2:3")
    assert set(ids(driver)) == {"snmf-12", "snmf-13", "snmf-14", "snmf-15"}
    put(driver, "family", "1:0")
    assert set(ids(driver)) == {"snmf-0", "snmf-1"}


def test_an_unknown_address_says_so_and_a_known_one_takes_it_back(opened: Open, page: Path) -> None:
    driver = opened("#snmf-999")
    assert "nothing called “snmf-999”" in text(driver, "#unknown")
    driver.execute_script("location.hash = 'snmf-12'")
    wait(driver, "document.getElementById('unknown').hidden")
    visit(driver, page, "#%E0%A4%A")
    assert driver.find_element("id", "unknown").is_displayed()
    visit(driver, page, "#methods")
    assert not driver.find_element("id", "unknown").is_displayed()


def test_whoever_listens_hears_which_feature_is_shown(opened: Open) -> None:
    driver = opened("#snmf-12")
    driver.execute_script(
        "window.heard = []; document.addEventListener('interp:feature', (e) => "
        "window.heard.push(e.detail.id))"
    )
    driver.execute_script("location.hash = 'sae-3'")
    wait(driver, "window.heard.length === 1")
    assert driver.execute_script("return window.heard") == ["sae-3"]


def test_an_entry_shows_its_tokens_scores_and_continuations(
    opened: Open, pristine: dict[str, Any]
) -> None:
    feature = next(f for f in pristine["features"] if f["id"] == "snmf-12")
    driver = opened("#snmf-12")
    context = feature["contexts"][0]
    peak = driver.find_element("css selector", ".contexts li .peak")
    assert peak.text == context["tokens"][context["peak"]].strip()
    assert peak.get_attribute("title") == "4.500"
    assert text(driver, ".contexts li").startswith("⏎⏎ ")
    assert text(driver, ".tokens.up li").startswith("␣bread")
    assert len(driver.find_elements("css selector", ".chart svg[role=img]")) == 2
    companion = feature["steering"]["routes"][1]
    chosen = next(d for d in companion["dose"] if d["kl"] == 0.5 and d["sign"] == 1)
    shown = text(driver, ".doses dd.chosen")
    assert shown.split() == chosen["continuations"][0]["text"].split()
    assert not text(driver, ".doses dd.plain").startswith(chosen["continuations"][0]["prompt"])
    assert len(driver.find_elements("css selector", ".prompt")) == 2
    driver.find_element("css selector", ".prompt ~ button").send_keys("\ue007")
    assert len(driver.find_elements("css selector", ".prompt")) == len(
        pristine["steering"]["prompts_report"]
    )


def test_an_entry_says_whether_its_feature_is_found_again(opened: Open) -> None:
    driver = opened("#snmf-12")
    shown = text(driver, "#entry")
    assert "By other seeds\n0.87\nOn either half of the texts\n0.74" in shown
    assert "Control, marked in grey: 0.31, from matching with each neuron" in shown
    driver.get(driver.current_url.split("#")[0] + "#snmf-3")
    wait(driver, "document.querySelector('#entry .meta').innerText.includes('feature 3')")
    assert "By other seeds\n0.87" in text(driver, "#entry")
    assert "On either half" not in text(driver, "#entry")
    driver.get(driver.current_url.split("#")[0] + "#sae-3")
    wait(driver, "document.querySelector('#entry .meta').innerText.includes('SAE, feature 3')")
    assert "Not measured in this report." in text(driver, "#entry")


def test_what_was_not_measured_is_said(opened: Open, pristine: dict[str, Any]) -> None:
    bare = next(
        f["id"] for f in pristine["features"] if f["detection"] is None and f["steering"] is None
    )
    driver = opened(f"#{bare}")
    assert "was not steered" in text(driver, "#entry")
    assert "Detection was not measured" in text(driver, "#entry")
    driver.get(driver.current_url.split("#")[0] + "#snmf-5")
    wait(driver, "document.querySelector('#entry .meta').innerText.includes('feature 5')")
    assert "fired nowhere" in text(driver, "#entry")
    driver.get(driver.current_url.split("#")[0] + "#snmf-12")
    wait(driver, "document.querySelector('#entry .meta').innerText.includes('feature 12')")
    assert "was not steered" not in text(driver, "#entry")


def test_on_a_phone_nothing_overflows_and_a_feature_takes_the_screen(opened: Open) -> None:
    driver = opened("")
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        driver = opened("#snmf-12")
        wait(driver, "document.querySelectorAll('.plot .main-svg').length >= 3")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
        assert not driver.find_element("id", "list").is_displayed()
        driver.find_element("class name", "back").click()
        wait(driver, "!document.body.classList.contains('reading')")
        assert driver.find_element("id", "list").is_displayed()
        assert not driver.find_element("id", "entry").is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_theme_follows_the_button(opened: Open) -> None:
    driver = opened("")
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = driver.execute_script(ground)
    assert text(driver, "#theme") == "Dark"
    driver.execute_script("document.getElementById('theme').click()")
    assert driver.execute_script(ground) != light
    assert text(driver, "#theme") == "Light"


def test_a_comparison_draws_its_figures_and_no_text_of_it_runs(driver: Any, tmp_path: Path) -> None:
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(write_comparison(synthetic.comparison(), tmp_path).as_uri())
    wait(driver, "document.querySelectorAll('.plot .main-svg').length >= 2")
    assert synthetic.HOSTILE[0] in text(driver, "h1")
    assert "steers best" in text(driver, ".findings")
    assert driver.execute_script("return window.__pwned === undefined")
    assert driver.get_log("browser") == []
