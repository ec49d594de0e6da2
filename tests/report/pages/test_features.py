"""The page is one file that holds its data exactly, loads nothing, and in which no text can act."""

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from interp.core.errors import InputError, UnavailableError
from interp.report.data.stored import report_from
from interp.report.figures.features import plotly_source
from interp.report.pages.features import embed_json, write_report


class Reader(HTMLParser):
    """What a browser would find: elements with their attributes, and every script's text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data


def parsed(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


@pytest.fixture(scope="module")
def page(pristine: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(report_from(pristine), tmp_path_factory.mktemp("report"))


def test_the_data_beside_and_inside_the_page_are_the_data(data: dict[str, Any], page: Path) -> None:
    assert page.name == "index.html"
    assert json.loads((page.parent / "features.json").read_text(encoding="utf-8")) == data
    assert json.loads(parsed(page).scripts[0]) == data
    assert sorted(path.name for path in page.parent.iterdir()) == ["features.json", "index.html"]


@pytest.mark.parametrize(
    "text", ["</script>", "<!--<script>", "\u2028\u2029", "]]>", "&lt;", "\x00\x1f", "𝄞 ⏎"]
)
def test_embedded_json_cannot_end_its_script_and_reads_back(text: str) -> None:
    embedded = embed_json({text: [text]})
    assert not re.search("[<>&\u2028\u2029]", embedded)
    assert json.loads(embedded) == {text: [text]}
    assert "<" in json.dumps("</script>")


def test_hostile_texts_make_no_element(page: Path) -> None:
    reader = parsed(page)
    assert [attributes.get("type") for tag, attributes in reader.elements if tag == "script"] == [
        "application/json",
        "application/json",
        "application/octet-stream",
        None,
    ]
    assert not [tag for tag, _ in reader.elements if tag == "img"]
    assert not [
        name for _, attributes in reader.elements for name in attributes if name.startswith("on")
    ]
    assert "__pwned" in page.read_text(encoding="utf-8")


def test_nothing_is_loaded_from_anywhere(page: Path) -> None:
    for tag, attributes in parsed(page).elements:
        assert "src" not in attributes
        target = attributes.get("href") or "#"
        assert target.startswith("#") or (tag, target) == ("link", "data:,")
    assert not re.search(r"url\(|@import", page.read_text(encoding="utf-8").split("</style>")[0])


def test_only_the_pages_own_scripts_may_run(page: Path) -> None:
    reader = parsed(page)
    policy = next(
        a["content"]
        for tag, a in reader.elements
        if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    plotly = gzip.decompress(base64.b64decode(reader.scripts[2])).decode()
    assert plotly == plotly_source()
    allowed = set(re.findall(r"'sha256-([^']+)'", str(policy)))
    assert allowed == {
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (reader.scripts[3], plotly)
    }
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in str(policy).split("script-src")[1].split(";")[0]


def test_same_data_same_bytes(data: dict[str, Any], page: Path, tmp_path: Path) -> None:
    again = write_report(report_from(data), tmp_path / "again")
    assert again.read_bytes() == page.read_bytes()
    data["title"] += "!"
    assert write_report(report_from(data), tmp_path / "again").read_bytes() != page.read_bytes()


def test_the_lede_names_methods_and_no_control(page: Path) -> None:
    lede = page.read_text(encoding="utf-8").split('<p class="lede">')[1].split("</p>")[0]
    assert "semi-NMF (20) and top-k SAE (20)." in lede
    assert "random" not in lede


def test_refused_data_leave_the_old_report(data: dict[str, Any], page: Path) -> None:
    before = {path.name: path.read_bytes() for path in page.parent.iterdir()}
    del data["judge"]["failed"]
    with pytest.raises(InputError, match=r"judge\.failed"):
        write_report(report_from(data), page.parent)
    assert {path.name: path.read_bytes() for path in page.parent.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_one_line(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="cannot write"):
        write_report(report_from(data), tmp_path / "file" / "report")


def test_what_was_not_measured_is_said(data: dict[str, Any], tmp_path: Path) -> None:
    whole = write_report(report_from(data), tmp_path / "whole").read_text(encoding="utf-8")
    data["steering"]["families"] = []
    data["detection"] = {"concepts": [], "summary": []}
    data["methods"] = []
    data["judge"]["refused"] = []
    empty = write_report(report_from(data), tmp_path / "empty").read_text(encoding="utf-8")
    for sentence in (
        "Nothing was steered in this report.",
        "Detection of concepts was not measured.",
        "No concept was refused.",
    ):
        assert sentence in empty
        assert sentence not in whole
