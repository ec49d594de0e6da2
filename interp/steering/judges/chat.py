"""One question to a language model behind an OpenAI-compatible endpoint: the request, and which
faults are retried and which end the whole call.
"""

import email.utils
import json
import re
import ssl
import time
import zlib
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

import httpx
import numpy as np
from anyio import fail_after, sleep

from interp.core import UnavailableError
from interp.steering.judges.settings import Endpoint

Reason = Literal[
    "connection",
    "deadline",
    "invalid response",
    "no rating",
    "rate limit",
    "server error",
    "timeout",
    "too large",
]
"""Why a question has no rating."""

RETRIED: dict[int, Reason] = {408: "timeout", 425: "server error", 429: "rate limit"}
LARGEST = 2**20
LONGEST_WAIT = 60.0
KEY_WANTED = "it wants a key; set the environment variable and give its name as key_from"
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    # A small compressed answer could unpack to more than fits in memory.
    "Accept-Encoding": "identity",
    "User-Agent": "interp",
}


@dataclass(frozen=True)
class Call:
    """Shared by the questions of one call of the judge: the key, the monotonic time of its end, and
    the connections.
    """

    key: str | None = field(repr=False)
    until: float
    client: httpx.AsyncClient


@dataclass(frozen=True)
class Reply:
    """An answer, or why there is none, and how many requests it took."""

    answer: str | None
    requests: int
    reason: Reason | None = None
    detail: str = ""


@dataclass(frozen=True)
class _Fault:
    reason: Reason
    detail: str
    wait: float = 0.0
    again: bool = True


def connections(key: str | None, most: int) -> httpx.AsyncClient:
    """A client that reuses at most `most` open connections.

    It uses the environment's proxies, checks certificates against those that this machine trusts,
    and follows no redirect, which would carry the key to another address.

    Raises:
        UnavailableError: the environment names a proxy of a kind that cannot be used.
    """
    try:
        return httpx.AsyncClient(
            headers=HEADERS | ({"Authorization": f"Bearer {key}"} if key else {}),
            verify=_trusted(),
            limits=httpx.Limits(max_connections=most, max_keepalive_connections=most),
            # `_attempt` limits the whole request; a limit per read would let a server drip.
            timeout=None,
        )
    except (ImportError, ValueError):
        # The reason may contain the proxy's password.
        raise UnavailableError(
            "the environment names a proxy that cannot be used; set HTTP_PROXY, HTTPS_PROXY and "
            "ALL_PROXY to http:// or https:// addresses, or unset them"
        ) from None


@cache
def _trusted() -> ssl.SSLContext:
    """Cached, because reading certificates takes longer than a request."""
    return ssl.create_default_context()


async def ask(endpoint: Endpoint, question: str, call: Call) -> Reply:
    """Ask one question at temperature 0; retry after 408, 425, 429, 5xx, timeouts, broken
    connections and malformed answers.

    The wait before retry k = 0, 1, … is `backoff · 2^k` times a random number in [0.5, 1), at most
    a minute, or what Retry-After says if longer.

    Raises:
        UnavailableError: the endpoint refuses such questions altogether (400, 401, 403, 404, …, a
            redirect, a bad certificate).
    """
    body = _body(endpoint, question)
    jitter = np.random.default_rng([endpoint.seed, zlib.crc32(body)])
    attempt = 0
    while isinstance(outcome := await _attempt(endpoint, body, call), _Fault):
        backoff = min(endpoint.backoff * 2**attempt, LONGEST_WAIT) * jitter.uniform(0.5, 1.0)
        wait = max(backoff, outcome.wait)
        over = time.monotonic() + wait >= call.until
        if not outcome.again or attempt == endpoint.retries or over:
            return Reply(None, attempt + 1, outcome.reason, outcome.detail)
        await sleep(wait)
        attempt += 1
    return Reply(outcome, attempt + 1)


def _body(endpoint: Endpoint, question: str) -> bytes:
    request = {
        "model": endpoint.model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": endpoint.max_tokens,
    }
    return json.dumps(request).encode()


async def _attempt(endpoint: Endpoint, body: bytes, call: Call) -> str | _Fault:
    try:
        with fail_after(endpoint.timeout):
            async with call.client.stream("POST", endpoint.address, content=body) as response:
                raw = await _read(response)
    except TimeoutError:
        return _Fault("timeout", f"no answer within {endpoint.timeout:g} s")
    except (httpx.HTTPError, ssl.SSLError) as error:
        return _broken(endpoint, error, call.key)
    if response.is_success:
        return _content(raw, call.key)
    return _refused(endpoint, response, _line(raw, call.key))


async def _read(response: httpx.Response) -> bytes:
    """The body, cut off soon after `LARGEST` bytes."""
    raw = b""
    async for part in response.aiter_raw():
        raw += part
        if len(raw) > LARGEST:
            break
    return raw


def _content(raw: bytes, key: str | None) -> str | _Fault:
    if len(raw) > LARGEST:
        return _Fault("too large", f"an answer of more than {LARGEST:,} bytes", again=False)
    try:
        answer = json.loads(raw)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return _Fault("invalid response", f"not a chat completion: {_line(raw, key)}")
    if not isinstance(answer, str) or not answer.strip():
        return _Fault("invalid response", "a chat completion without text")
    # json can spell lone surrogates, which no file can store.
    return answer.encode("utf-8", "replace").decode()


def _refused(endpoint: Endpoint, response: httpx.Response, complaint: str) -> _Fault:
    status = response.status_code
    if status in RETRIED or status >= 500:
        wait = _retry_after(response.headers.get("Retry-After", ""))
        return _Fault(RETRIED.get(status, "server error"), f"HTTP {status}", wait)
    if status in (401, 403):
        # The server's own text may contain the key.
        why = (
            f"it refuses the key in {endpoint.key_from}; check the key and its rights"
            if endpoint.key_from
            else KEY_WANTED
        )
    elif status < 400:
        why = (
            "it redirects to another address; give that address, if you trust it with the texts "
            "and the key"
        )
    else:
        why = (
            f"{complaint or 'no reason given'}; check the url, the model's name and what it accepts"
        )
    raise UnavailableError(f"{endpoint.url} answers {endpoint.model!r} with HTTP {status}: {why}")


def _broken(endpoint: Endpoint, error: Exception, key: str | None) -> _Fault:
    cause = _root(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise UnavailableError(
            f"{endpoint.url} has a certificate that cannot be trusted: {cause.verify_message}; "
            "check the url"
        ) from None
    detail = f"{type(cause).__name__}: {cause}".encode(errors="replace")
    return _Fault("connection", _line(detail, key))


def _root(error: BaseException) -> BaseException:
    """The first cause below httpx, such as a refused connection."""
    if isinstance(error, BaseExceptionGroup):  # one for each address of the host
        return _root(error.exceptions[0])
    below = error.__cause__ or error.__context__
    return _root(below) if below else error


def _retry_after(value: str) -> float:
    """The seconds to wait after a Retry-After header, which is a number or a date."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _line(raw: bytes, key: str | None) -> str:
    """A server's text as one short line without the key, which it may contain."""
    text = raw.decode("utf-8", "replace")
    start = (text.replace(key, "…") if key else text)[:1000]
    return " ".join("".join(sign if sign.isprintable() else " " for sign in start).split())[:160]
