"""Who may ask: this machine's own reader, and no page of another origin that the reader's browser
has open.
"""

from email.message import Message

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
    """An answer other than the one asked for: a status, one line, and headers that go with it."""

    def __init__(self, status: int, line: str, **headers: str) -> None:
        super().__init__(line)
        self.status, self.line = status, line
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def require_own(headers: Message, port: int, *, page: bool = False) -> None:
    """Check that a request was addressed to this server by its own name and does not come from a
    page of another origin.

    A name that somebody else's DNS resolves to this machine (DNS rebinding) shows in `Host`, a form
    or script of another page in `Origin` or, in browsers of our time, in `Sec-Fetch-Site`. A link
    to the `page` itself, followed in a tab of its own (from a notebook, say), is no such request:
    the page that holds the link sees nothing of what is opened.

    Raises:
        RefusedError: it was not, or does; 403.
    """
    own = (f"{HOST}:{port}", f"localhost:{port}")
    hosts, origins = headers.get_all("Host", []), headers.get_all("Origin", [])
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
    for site in [] if followed else headers.get_all("Sec-Fetch-Site", []):
        if site.strip().lower() not in ("same-origin", "none"):
            raise RefusedError(
                403,
                (
                    f"another page asked ({site!a:.40}); paste http://{own[0]}/ into the browser's "
                    "address bar"
                ),
            )


def body_length(headers: Message) -> int:
    """The length of a json body.

    Raises:
        RefusedError: 415 if it is not json, 411 if no length is given, 413 if it is longer than 64
            kB.
    """
    if headers.get_content_type() != "application/json" or "Content-Type" not in headers:
        raise RefusedError(
            415,
            (
                f"Content-Type is {headers.get('Content-Type')!a:.80}, expected application/json; "
                "send "
                "json"
            ),
        )
    length = headers.get("Content-Length", "")
    if "Transfer-Encoding" in headers or not (length.isascii() and length.isdigit()):
        raise RefusedError(
            411,
            (
                f"Content-Length is {length!a:.40}, expected a number of bytes; send the body in "
                "one piece"
            ),
        )
    if len(length) > 12 or int(length) > MAX_BODY:
        raise RefusedError(
            413, f"the request has {length:.20} bytes, at most {MAX_BODY} are read; shorten it"
        )
    return int(length)
