"""Who the live report refuses, and with what words."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import live_folder
import pytest
from live_client import ASKED, call, port_of, post, refused, steer, until

from interp.models import TransformerModel
from interp.report.live.serve import serving


@pytest.fixture(scope="module")
def model() -> TransformerModel:
    return live_folder.speaker()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: TransformerModel) -> Path:
    return live_folder.write(tmp_path_factory.mktemp("live") / "report", model)


@pytest.fixture(scope="module")
def url(folder: Path, model: TransformerModel) -> Iterator[str]:
    with serving(folder, model) as address:
        yield address


def test_the_page_comes_with_the_panel_and_may_ask_nobody_else(url: str, folder: Path) -> None:
    status, headers, body = call(url, "GET", "/")
    assert status == 200
    assert b'id="live-prompt"' in body
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    data = json.loads(call(url, "GET", "/features.json")[2])
    assert data == json.loads((folder / "features.json").read_text())


@pytest.mark.parametrize(
    "path",
    [
        "/companions.safetensors",
        "/../features.json",
        "/index.html",
        "/?path=/etc/passwd",
        "/%2e%2e/etc/passwd",
        "/dictionaries/",
    ],
)
def test_no_path_reaches_the_disk(url: str, path: str) -> None:
    assert "report is at /" in refused(call(url, "GET", path), 404)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost.evil.example:{port}",
        "",
    ],
)
def test_a_foreign_host_is_refused(url: str, host: str) -> None:
    for answer in (
        call(url, "GET", "/", Host=host.format(port=port_of(url))),
        post(url, ASKED, Host=host.format(port=port_of(url))),
    ):
        assert "is not served here" in refused(answer, 403)


def test_both_own_names_are_served_and_a_second_host_is_not(url: str) -> None:
    port = port_of(url)
    for name in ("127.0.0.1", "localhost", "LOCALHOST"):
        assert call(url, "GET", "/state", Host=f"{name}:{port}")[0] == 200
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(
            f"GET /state HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: evil.example\r\n\r\n".encode()
        )
        assert b" 403 " in raw.makefile("rb").readline()


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "https://127.0.0.1:{port}",
        "http://localhost:1",
        "http://127.0.0.1:{port}.evil.example",
    ],
)
def test_a_foreign_origin_is_refused_and_the_own_is_not(url: str, origin: str) -> None:
    port = port_of(url)
    assert "may not ask here" in refused(post(url, ASKED, Origin=origin.format(port=port)), 403)
    assert (
        post(
            url, {**ASKED, "kl": 0}, Origin=f"http://127.0.0.1:{port}", Sec_Fetch_Site="same-origin"
        )[0]
        == 200
    )


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_another_page_made_is_refused(url: str, site: str) -> None:
    assert "another page asked" in refused(post(url, ASKED, Sec_Fetch_Site=site), 403)
    assert "another page asked" in refused(call(url, "GET", "/", Sec_Fetch_Site=site), 403)
    assert call(url, "GET", "/state", Sec_Fetch_Site="none")[0] == 200


def test_a_link_to_the_page_may_be_followed_but_not_framed_fetched_or_posted_to(url: str) -> None:
    link = {
        "Sec_Fetch_Site": "cross-site",
        "Sec_Fetch_Mode": "navigate",
        "Sec_Fetch_Dest": "document",
    }
    assert call(url, "GET", "/", **link)[0] == 200
    for path in ("/state", "/features.json"):
        assert "another page asked" in refused(call(url, "GET", path, **link), 403)
    assert "another page asked" in refused(
        call(url, "GET", "/", **{**link, "Sec_Fetch_Dest": "iframe"}), 403
    )
    assert "another page asked" in refused(
        call(url, "GET", "/", **{**link, "Sec_Fetch_Mode": "no-cors"}), 403
    )
    assert "another page asked" in refused(post(url, ASKED, **link), 403)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/steer"),
        ("GET", "/steer"),
        ("POST", "/"),
        ("OPTIONS", "/steer"),
        ("DELETE", "/"),
        ("BREW", "/"),
    ],
)
def test_other_methods_are_refused(url: str, method: str, path: str) -> None:
    answer = call(url, method, path, b"{}" if method in ("PUT", "POST") else None)
    refused(answer, 405)
    assert answer[1]["allow"] in ("GET", "POST", "GET, POST")


def test_only_short_json_is_read(url: str) -> None:
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ):
        assert "expected application/json" in refused(post(url, ASKED, Content_Type=kind), 415)
    assert post(url, {**ASKED, "kl": 0}, Content_Type="application/json; charset=utf-8")[0] == 200
    assert "at most 65536" in refused(post(url, b" " * 70_000), 413)
    assert "Content-Length" in refused(post(url, b"{}", Content_Length="-1"), 411)
    assert "Content-Length" in refused(post(url, b"{}", Transfer_Encoding="chunked"), 411)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kl": 0.3}, "kl is 0.3, expected one of 0, 0.05"),
        ({"kl": "1"}, "kl is '1', expected one of"),
        ({"alpha": 2.0}, "give either kl or alpha"),
        ({"kl": None}, "give either kl or alpha"),
        ({"kl": None, "alpha": -1}, "alpha is -1, expected a number from 0"),
        ({"kl": None, "alpha": 10**400}, "alpha is 1000"),
        ({"sign": 0}, "sign is 0, expected 1 or -1"),
        ({"sign": True}, "sign is True"),
        ({"route": "scenic"}, "route is 'scenic', expected 'native' or 'companion'"),
        ({"max_new_tokens": 201}, "max_new_tokens is 201, expected a whole number from 1 to 200"),
        ({"max_new_tokens": 1.5}, "max_new_tokens is 1.5"),
        ({"temperature": 2.5}, "temperature is 2.5, expected a number from 0 to 2"),
        ({"top_p": 0}, "top_p is 0, expected"),
        ({"seed": -1}, "seed is -1, expected"),
        ({"prompt": " "}, "prompt is ' ', expected 1 to 4,000 characters"),
        ({"prompt": "x" * 4001}, "expected 1 to 4,000 characters"),
        ({"prompt": "\ud800"}, "expected 1 to 4,000 characters"),
        ({"feature": 3}, "feature is 3"),
        ({"stop": 1}, "unknown key of a request 'stop'"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(
    url: str, changes: dict[str, Any], expected: str
) -> None:
    assert expected in refused(post(url, {**ASKED, **changes}), 400)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b"null",
        b"\xff",
        b'{"kl": NaN}',
        b"[" * 60_000,
        b'{"kl": 1.0, "prompt": "a"}',
    ],
)
def test_what_is_no_request_is_refused(url: str, body: bytes) -> None:
    refused(post(url, body), 400)


def test_what_the_package_refuses_is_one_line(url: str) -> None:
    assert "unknown feature 'snmf-99'" in refused(post(url, {**ASKED, "feature": "snmf-99"}), 422)
    assert "no companion of sae-0" in refused(
        post(url, {**ASKED, "feature": "sae-0", "route": "companion"}), 422
    )
    assert "never fired" in refused(post(url, {**ASKED, "feature": "snmf-5"}), 422)
    assert "network takes 128" in refused(post(url, {**ASKED, "prompt": "ship " * 120}), 422)


def test_what_is_not_expected_is_logged_and_not_told(
    url: str, model: TransformerModel, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ArithmeticError("a secret")

    with monkeypatch.context() as patch:
        patch.setattr("interp.report.live.steering.continuations", broken)
        line = refused(post(url, ASKED), 500)
    assert "secret" not in line
    until(lambda: "a secret" in caplog.text)
    assert steer(url)["text"]


@pytest.mark.parametrize(
    "sent", [b"220 mail.example ready\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" * 300]
)
def test_what_is_no_http_is_refused_in_one_line_and_nothing_is_printed(
    url: str, sent: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=10) as raw:
        raw.sendall(sent)
        head, _, body = raw.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.split()[1] in (b"400", b"403")
    assert b"nosniff" in head
    assert body.count(b"\n") == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("unfinished", [b"", b"POST /st"])
def test_who_sends_no_request_is_cut_off(
    folder: Path, model: TransformerModel, monkeypatch: pytest.MonkeyPatch, unfinished: bytes
) -> None:
    monkeypatch.setattr("interp.report.live.server.SLOW_CLIENT_SECONDS", 0.3)
    with (
        serving(folder, model) as url,
        socket.create_connection(("127.0.0.1", port_of(url)), timeout=10) as raw,
    ):
        raw.sendall(unfinished)
        assert raw.recv(1) == b""


def test_who_sends_half_a_request_is_told_so(
    folder: Path, model: TransformerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interp.report.live.server.SLOW_CLIENT_SECONDS", 0.3)
    with serving(folder, model) as url:
        assert "took longer than 0.3 s" in refused(post(url, b"{", Content_Length="9"), 408)


def test_only_loopback_is_bound(url: str) -> None:
    port = port_of(url)
    others = {
        "127.0.0.2",
        *(item[4][0] for item in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)),
    } - {"127.0.0.1"}
    for address in others:
        with pytest.raises(OSError), socket.create_connection((str(address), port), timeout=2):  # noqa: PT011 (which one depends on the system)
            pass
