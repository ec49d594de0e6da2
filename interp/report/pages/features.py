"""A report as one self-contained page, which loads nothing and in which no text can act."""

import base64
import functools
import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from interp.core.files import write_json, write_text
from interp.report.data.records import Report, Route
from interp.report.data.stored import FILE, report_values
from interp.report.figures import features as figures
from interp.report.figures.captions import json_for_page
from interp.report.tables import features as tables
from interp.report.words.features import findings, verdict
from interp.report.words.methods import methods_text
from interp.report.words.trust import trust

ASSETS = resources.files("interp.report") / "assets"
SCRIPTS = ("charts.js", "figures.js", "feature.js", "compare.js", "export.js", "page.js")
LIVE_SCRIPTS = (*SCRIPTS[:-1], "live.js", SCRIPTS[-1])


def write_report(data: Report, folder: Path) -> Path:
    """Write `features.json` (the data) and `index.html` (the page), and return the page's path.

    The page works offline: styles, scripts, data and plotly are inside it, and its content security
    policy forbids loading anything or running any other script.

    Args:
        data: from `interp.report.report_data` or `read_report`.
        folder: where to write; made if missing.

    Raises:
        InputError: the data cannot be written (`interp.report.data.stored`).
        UnavailableError: the folder cannot be written.

    Cost: about half a second and 2 MB, most of it plotly, beside twice the size of the data.

    Example:
        >>> write_report(data, Path("report"))
        PosixPath('report/index.html')
    """
    values = report_values(data)
    text = _filled(data, values)
    write_json(folder / FILE, values)
    write_text(folder / "index.html", text)
    return folder / "index.html"


def page(data: Report, *, live: bool = False) -> str:
    """The page's html; with `live`, also the panel that steers through `interp.report.serve`."""
    return _filled(data, report_values(data), live=live)


def _filled(data: Report, plain: Mapping[str, Any], *, live: bool = False) -> str:
    drawn = {
        "dose": figures.dose_response(data),
        "detection": figures.detection(data),
        "reconstruction": figures.reconstruction(data),
    }
    values = {
        "data": data,
        "live": live,
        "captions": {name: figure.layout.meta["caption"] for name, figure in drawn.items()},
        "verdict": verdict(data),
        "trust": trust(data),
        "methods_text": methods_text(data),
        "findings": findings(data),
        "tables": tables,
        "controls": tables.control_methods(data),
        "provenance": json.dumps(plain["provenance"], indent=1, ensure_ascii=False),
        "embedded_data": embed_json(plain),
        "embedded_view": embed_json(_view(data, json_for_page(drawn))),
    }
    styles = ("page.css", "live.css") if live else ("page.css",)
    return self_contained(
        "page.html.j2", LIVE_SCRIPTS if live else SCRIPTS, values, styles=styles, connect=live
    )


def self_contained(
    template: str,
    scripts: Sequence[str],
    values: Mapping[str, Any],
    *,
    styles: Sequence[str] = ("page.css",),
    connect: bool = False,
) -> str:
    """A template filled in, with styles, scripts and plotly inside it and a policy that lets only
    these run; with `connect` the page may also call its own server.
    """
    script = "".join(_asset(name) for name in scripts)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=lambda value: f"{value:,}", score=tables.score_cell, beside=tables.beside
    )
    own = {
        "policy": policy(script, figures.plotly_source(), connect=connect),
        "style": "".join(_asset(name) for name in styles),
        "script": script,
        "plotly": _packed_plotly(),
    }
    return environment.get_template(template).render({**values, **own})


def live_policy() -> str:
    """The content security policy of the live page, which the server also sends as a header."""
    return policy(
        "".join(_asset(name) for name in LIVE_SCRIPTS), figures.plotly_source(), connect=True
    )


def embed_json(value: Any) -> str:
    r"""Json for a script element: no text in it can end the element, open a comment or break a
    line.

    Example:
        >>> embed_json("</script>")
        '"\\u003c/script\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _view(data: Report, drawn: Mapping[str, Any]) -> dict[str, Any]:
    """Titles, colours and figures for the page's script, so that page and notebook agree."""
    return {
        "titles": tables.method_titles(data),
        "colors": figures.method_colors(data),
        "score_top": _score_top(data.routes),
        "figures": drawn,
    }


def _score_top(routes: Sequence[Route]) -> float:
    """A common upper end for features' steering charts, in steps of 0.5 from 0.5 to 2."""
    scores = [dose.score for route in routes for dose in route.dose]
    ends = [
        score.value if math.isnan(score.high) else score.high
        for score in scores
        if not math.isnan(score.value)
    ]
    return min(2.0, max(0.5, math.ceil(2 * max(ends, default=0.0)) / 2))


@functools.cache
def _packed_plotly() -> str:
    """Plotly compressed to a third; the page unpacks it after showing its text."""
    return base64.b64encode(gzip.compress(figures.plotly_source().encode(), mtime=0)).decode()


def policy(*scripts: str, connect: bool = False) -> str:
    """A policy that lets only these scripts run, and plotly write styles and download by blobs."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    connected = " connect-src 'self';" if connect else ""
    rest = "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {hashes};{connected} {rest}"


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")
