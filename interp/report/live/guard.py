"""Checks of requests: only this machine's reader may call, and no page of another origin."""

from collections.abc import Mapping

from starlette.datastructures import Headers

HOST = "127.0.0.1"
MAX_BODY = 64 * 1024

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'"
"""The content security policy of everything but the page."""


class RefusedError(Exception):
    """A refusal: its status, a line of text and headers."""

    def __init__(self, status: int, line: str, headers: Mapping[str, str] = {}) -> None:
        super().__init__(line)
        self.status, self.line, self.headers = status, line, headers


def require_own(headers: Headers, port: int, *, page: bool = False) -> None:
    """Check that a request names this server as its host and comes from no page of another origin.

    DNS rebinding shows in `Host`; a form or script of another page shows in `Origin` or, in modern
    browsers, `Sec-Fetch-Site`. A link to the `page` itself, followed in a new tab (from a notebook,
    say), is allowed: the page with the link sees nothing of it.

    Raises:
        RefusedError: otherwise; 403.
    """
    own = (f"{HOST}:{port}", f"localhost:{port}")
    hosts, origins = headers.getlist("Host"), headers.getlist("Origin")
    if len(hosts) != 1 or hosts[0].strip().lower() not in own:
        raise RefusedError(
            403, f"the host {', '.join(hosts)!a:.80} is not served here; open http://{own[0]}/"
        )
    if any(origin.strip().lower() not in [f"http://{name}" for name in own] for origin in origins):
        raise RefusedError(
            403, f"pages of {', '.join(origins)!a:.80} may not ask here; open http://{own[0]}/"
        )
    followed = page and (headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest")) == (
        "navigate",
        "document",
    )
    for site in [] if followed else headers.getlist("Sec-Fetch-Site"):
        if site.strip().lower() not in ("same-origin", "none"):
            raise RefusedError(
                403,
                f"another page asked ({site!a:.40}); paste http://{own[0]}/ into the browser's "
                "address bar",
            )


def require_short_json(headers: Headers) -> None:
    """Check by its headers that a body is json and short.

    Raises:
        RefusedError: 415 if it is not json, 411 without a length, 413 beyond 64 kB.
    """
    kind = headers.get("Content-Type")
    if kind is None or kind.partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(
            415, f"Content-Type is {kind!a:.80}, expected application/json; send json"
        )
    length = headers.get("Content-Length", "")
    if "Transfer-Encoding" in headers or not (length.isascii() and length.isdigit()):
        raise RefusedError(
            411,
            f"Content-Length is {length!a:.40}, expected a number of bytes; send the body in one "
            "piece",
        )
    if len(length) > 12 or int(length) > MAX_BODY:
        raise RefusedError(
            413, f"the request has {length:.20} bytes, at most {MAX_BODY} are read; shorten it"
        )
