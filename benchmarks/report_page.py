"""How large a report's page is, and how soon a real browser shows its list, its first paint and its
figures.

    python benchmarks/report_page.py report [another/report …]

Needs chromium and chromedriver (Debian: chromium, chromium-driver) and selenium (`.[test]`). Every
page is opened from disk seven times in a fresh tab; the first opening also parses the scripts anew,
so it is told apart from the median of the others.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from interp.report.data.stored import read_report
from interp.report.pages.features import write_report

RESULT = Path(__file__).parent / "results" / "report_page.json"
OPENINGS = 7
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,900")
TIMES = """
const [navigation] = performance.getEntriesByType('navigation');
const [paint] = performance.getEntriesByName('first-contentful-paint');
return {list: navigation.domContentLoadedEventEnd - navigation.startTime,
        paint: paint ? paint.startTime : null,
        rows: document.querySelectorAll('#list a').length};
"""


def opened(driver: Any, page: Path) -> dict[str, float]:
    """Seconds until the list is drawn, the first paint and the figures."""
    driver.get("about:blank")
    start = time.perf_counter()
    driver.get(page.as_uri())
    found = driver.execute_script(TIMES)
    assert found["rows"] > 0, "the list is empty"
    while driver.execute_script("return document.querySelectorAll('.plot .main-svg').length") < 3:
        time.sleep(0.02)
    return {
        "list": found["list"] / 1000,
        "paint": (found["paint"] or 0) / 1000,
        "figures": time.perf_counter() - start,
    }


def measured(driver: Any, folder: Path) -> dict[str, Any]:
    """One report, written anew from its data, opened several times."""
    data = read_report(folder)
    page = write_report(data, folder).resolve()
    runs = [opened(driver, page) for _ in range(OPENINGS)]
    later = {name: statistics.median(run[name] for run in runs[1:]) for name in runs[0]}
    return {
        "features": len(data.features),
        "megabytes": page.stat().st_size / 1e6,
        "first": runs[0],
        "later": later,
    }


def main() -> None:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options)
    try:
        results = {Path(name).name: measured(driver, Path(name)) for name in sys.argv[1:]}
    finally:
        driver.quit()
    for name, found in results.items():
        first, later = (
            {key: round(value, 2) for key, value in found[which].items()}
            for which in ("first", "later")
        )
        print(
            f"{name}: {found['features']} features, {found['megabytes']:.1f} MB; seconds, "
            "first "
            f"{first}, later (median) {later}"
        )
    RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
