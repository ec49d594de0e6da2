"""What the tests of the live report ask its server, over a real socket."""

import http.client
import json
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

ASKED = {"feature": "snmf-0", "prompt": "the ship of", "kl": 1.0, "max_new_tokens": 12}
Answer = tuple[int, dict[str, str], bytes]


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def call(url: str, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(url), timeout=20)
    try:
        connection.request(
            method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = connection.getresponse()
        return (
            answer.status,
            {name.lower(): value for name, value in answer.getheaders()},
            answer.read(),
        )
    finally:
        connection.close()


def post(url: str, value: Any, **headers: str) -> Answer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return call(url, "POST", "/steer", body, **{"Content_Type": "application/json", **headers})


def steer(url: str, **changes: Any) -> dict[str, Any]:
    asked = {**ASKED, **changes}
    status, _, body = post(url, {key: value for key, value in asked.items() if value is not None})
    assert status == 200, body
    return json.loads(body)


def refused(answer: Answer, status: int) -> str:
    """The one line of a refusal, which gives away nothing and can be read as nothing but text."""
    found, headers, body = answer
    assert found == status
    assert headers["content-type"] == "text/plain; charset=utf-8"
    lines = body.decode().splitlines()
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    return lines[0]


def threads() -> set[str]:
    return {
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    }


def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def leave_early(url: str, queued: Any, **changes: Any) -> None:
    """Ask, and hang up once `queued` is true."""
    body = json.dumps({**ASKED, **changes}).encode()
    lines = (
        "POST /steer HTTP/1.1",
        f"Host: 127.0.0.1:{port_of(url)}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    with socket.create_connection(("127.0.0.1", port_of(url)), timeout=10) as raw:
        raw.sendall("\r\n".join((*lines, "", "")).encode() + body)
        until(queued)
