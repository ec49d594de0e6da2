"""Two features and two dictionaries side by side, what can be taken away, and the page on paper, in
a real browser.
"""

import base64
import json
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import synthetic
from browsing import NEEDS_BROWSER, click, ids, open_afresh, press, text, visit, wait

from interp.report.data.stored import report_from
from interp.report.pages.features import write_report

pytestmark = NEEDS_BROWSER
Open = Callable[..., Any]


@pytest.fixture
def opened(driver: Any, page: Path) -> Open:
    return partial(visit, driver, page)


def test_a_pinned_feature_stays_beside_the_next_ones(opened: Open) -> None:
    driver = opened("#snmf-12")
    press(driver, "c")
    assert "Pinned snmf-12" in text(driver, "#pinned")
    others = [name for name in ids(driver) if name != "snmf-12"]
    click(driver, f"#list a[data-id='{others[4]}']")
    wait(driver, f"location.hash === '#snmf-12~{others[4]}'")
    assert text(driver, "#entry h3") == "Side by side"
    press(driver, "j")
    wait(driver, f"location.hash === '#snmf-12~{others[5]}'")
    driver.back()
    wait(driver, f"document.getElementById('entry').dataset.id === '{others[4]}'")
    assert driver.execute_script("return document.body.classList.contains('comparing')")
    press(driver, "\ue00c")
    wait(driver, f"location.hash === '#{others[4]}'")
    assert driver.find_element("id", "pinned").is_displayed() is False
    assert text(driver, "#entry h3") != "Side by side"


def test_a_comparison_survives_reload_and_aligns_its_scores(
    opened: Open, pristine: dict[str, Any]
) -> None:
    features = {f["id"]: f for f in pristine["features"]}
    first, second = features["snmf-12"], features["sae-18"]
    driver = opened("#snmf-12~sae-18")
    driver.refresh()
    wait(driver, "document.querySelectorAll('.aligned tbody tr').length > 4")
    assert driver.execute_script(
        "return [...document.querySelectorAll('.aligned thead .sub')].map((e) => e.innerText)"
    ) == [
        "snmf-12",
        "sae-18",
    ]
    cells = (
        "Object.fromEntries([...document.querySelectorAll('.aligned tbody tr')].map((r) => "
        "[...r.children].map((c) => c.innerText))"
    )
    cells = f"return {cells}.map(([name, ...both]) => [name, both]))"
    rows = driver.execute_script(cells)
    assert [float(cell.split()[0]) for cell in rows["AUROC, neutral texts"]] == [
        round(feature["detection"]["auroc"]["value"], 3) for feature in (first, second)
    ]
    assert rows["Found by other seeds"][0].startswith("0.87")
    assert rows["Found by other seeds"][1] == "not measured"
    assert len(driver.find_elements("css selector", ".routes .chart svg[role=img]")) == 4
    shared = {t["token"] for t in first["promoted"]} & {t["token"] for t in second["promoted"]}
    assert len(driver.find_elements("css selector", ".tokens.up .shared")) == 2 * len(shared) > 0


def test_a_comparison_gives_the_cosine_where_it_is_known(
    opened: Open, pristine: dict[str, Any]
) -> None:
    feature = next(f for f in pristine["features"] if f["id"] == "snmf-12")
    near = feature["neighbours"][0]
    driver = opened(f"#snmf-12~{near['id']}")
    assert f"cosine of their directions is {near['cosine']:.2f}" in text(driver, "#entry .prose")
    pair = pristine["matches"][0]["pairs"][0]
    opened(f"#{pair['second']}~{pair['first']}")
    assert "They are partners" in text(driver, "#entry .prose")
    known = {n["id"] for n in feature["neighbours"]} | {
        f["id"] for f in pristine["features"] if any(n["id"] == "snmf-12" for n in f["neighbours"])
    }
    known |= {p["second"] for p in pristine["matches"][0]["pairs"] if p["first"] == "snmf-12"}
    stranger = next(
        f["id"] for f in pristine["features"] if f["id"] not in known and f["id"] != "snmf-12"
    )
    opened(f"#snmf-12~{stranger}")
    assert "was not kept" in text(driver, "#entry .prose")


def test_two_dictionaries_show_their_pairs_by_cosine(
    opened: Open, pristine: dict[str, Any]
) -> None:
    match = pristine["matches"][0]
    driver = opened("#match:sae~snmf")
    assert (
        abs(
            driver.execute_script(
                "return document.getElementById('dictionaries').getBoundingClientRect().top"
            )
        )
        < 5
    )
    above = sum(pair["cosine"] > match["mean_cosine"]["control"] for pair in match["pairs"])
    assert f"control {match['mean_cosine']['control']:.2f}" in text(driver, "#matched .prose")
    assert f"{above} of {len(match['pairs'])} pairs are closer" in text(driver, "#matched .prose")
    cosines = driver.execute_script(
        "return [...document.querySelectorAll('.pairs .figure')].map((e) => Number(e.innerText))"
    )
    assert cosines == sorted(cosines, reverse=True)
    assert len(cosines) == len(match["pairs"])
    best = max(match["pairs"], key=lambda pair: pair["cosine"])
    click(driver, ".pairs a")
    wait(driver, f"location.hash === '#{best['first']}~{best['second']}'")
    driver.back()
    wait(
        driver,
        "location.hash === '#match:sae~snmf' && !document.body.classList.contains('comparing')",
    )
    opened("#match:snmf~pca")
    assert "nothing called" in text(driver, "#unknown")


def downloaded(folder: Path, name: str) -> bytes:
    for _ in range(100):
        if (folder / name).exists():
            return (folder / name).read_bytes()
        time.sleep(0.05)
    raise AssertionError(
        f"{name} did not come; there is {[path.name for path in folder.iterdir()]}"
    )


def test_a_feature_leaves_as_its_record_and_as_a_picture(
    opened: Open, pristine: dict[str, Any], tmp_path: Path
) -> None:
    driver = opened("#snmf-6")
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    click(driver, "#save-json")
    record = json.loads(downloaded(tmp_path, "snmf-6.json"))
    assert record["feature"] == next(f for f in pristine["features"] if f["id"] == "snmf-6")
    assert {key: record[key] for key in ("model", "corpus", "provenance", "judge")} == {
        key: pristine[key] for key in ("model", "corpus", "provenance", "judge")
    }
    click(driver, "#save-png")
    picture = downloaded(tmp_path, "snmf-6.png")
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(picture[at : at + 4]) for at in (16, 20))
    assert width == 1360
    assert 800 < height < 4000
    assert driver.get_log("browser") == []


def test_links_and_the_methods_can_be_copied(opened: Open) -> None:
    driver = opened("#snmf-12~sae-3")
    keep = (
        "const value = {writeText: async (t) => { window.copied.push(t) }}; "
        "Object.defineProperty(navigator, 'clipboard', {value})"
    )
    driver.execute_script(f"window.copied = []; {keep}")
    for selector in ("#copy", "#copy-methods", "#copy-match"):
        click(driver, selector)
    wait(driver, "window.copied.length === 3")
    link, methods, match = driver.execute_script("return window.copied")
    assert link.endswith("index.html#snmf-12~sae-3")
    assert match.endswith("index.html#match:snmf~sae")
    paragraphs = driver.execute_script(
        "return [...document.querySelectorAll('#methods-text p')].map((p) => p.textContent.trim())"
    )
    assert methods.split("\n\n") == paragraphs
    assert len(paragraphs) >= 2
    wait(driver, "document.getElementById('said').textContent === 'Copied'")


def test_on_paper_it_is_light_whole_and_without_buttons(opened: Open) -> None:
    driver = opened("#snmf-12")
    wait(driver, "window.Plotly !== undefined")
    driver.execute_script("document.documentElement.dataset.theme = 'dark'")
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert driver.execute_script(ground) == "rgb(20, 22, 26)"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert driver.execute_script(ground) == "rgb(255, 255, 255)"
        seen = (
            "return [...document.querySelectorAll('button, nav, #index, #keys')].filter((e) => "
            "e.getClientRects().length).length"
        )
        assert driver.execute_script(seen) == 0
        assert driver.find_element("css selector", "#entry h4").is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) > 2
    assert (
        driver.execute_script("return document.querySelectorAll('details.printed[open]').length")
        == 0
    )


def test_a_page_of_three_hundred_features_is_small_and_opens_at_once(
    driver: Any, tmp_path: Path
) -> None:
    many = write_report(report_from(synthetic.report_data(150)), tmp_path)
    assert many.stat().st_size < 15e6
    open_afresh(driver, many)
    wait(driver, "document.querySelectorAll('#list a').length >= 40")
    timing = (
        "const t = performance.getEntriesByType('navigation')[0]; return "
        "t.domContentLoadedEventEnd - t.startTime"
    )
    # The bar is two seconds on a desk; a busy machine gets four.
    assert driver.execute_script(timing) < 4000
    assert text(driver, "#count") == "300 of 300 features"
    assert len(ids(driver)) < 300
