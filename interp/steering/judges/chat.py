"""One question to a language model behind an OpenAI-compatible endpoint: what is sent, what is
tried again, and what stops everything.
"""

import email.utils
import http.client
import ipaddress
import json
import math
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Literal

import numpy as np

from interp.core import InputError, UnavailableError

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

AGAIN: dict[int, Reason] = {408: "timeout", 425: "server error", 429: "rate limit"}
LARGEST = 2**20
LONGEST_WAIT = 60.0
KEY_WANTED = "it wants a key; set the environment variable and give its name as key_from"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a model answers, and how patient to be with it; see `EndpointJudge` for the
    arguments.
    """

    url: str
    model: str
    key_from: str | None
    timeout: float
    retries: int
    backoff: float
    max_tokens: int
    seed: int

    def __post_init__(self) -> None:
        _require_address(self.url, self.key_from)
        if not self.model.strip():
            raise InputError(
                "the model's name is empty; give the name that the endpoint knows it by"
            )
        for name, value, least in (
            ("retries", self.retries, 0),
            ("max_tokens", self.max_tokens, 1),
            ("seed", self.seed, 0),
        ):
            if value < least:
                raise InputError(f"{name} is {value}; give {least} or more")
        if not (math.isfinite(self.timeout) and self.timeout > 0) or not (
            math.isfinite(self.backoff) and self.backoff >= 0
        ):
            raise InputError(
                f"timeout is {self.timeout} s and backoff {self.backoff} s; give a time above "
                "0 "
                "and a wait of 0 or more"
            )

    @property
    def address(self) -> str:
        """Where questions are sent."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"

    def key(self) -> str | None:
        """The key, read from the environment now.

        Raises:
            InputError: the variable is not set, or what it holds cannot be a key.
        """
        if self.key_from is None:
            return None
        key = os.environ.get(self.key_from, "").strip()
        if not key:
            raise InputError(
                f"the environment variable {self.key_from} holds no key; set it, or give "
                "key_from=None if none is needed"
            )
        if not (key.isascii() and key.isprintable()):
            raise InputError(
                f"the environment variable {self.key_from} holds characters that no key has; set "
                "it to the key alone"
            )
        return key


@dataclass(frozen=True)
class Call:
    """What the questions of one call of the judge share: the key, when the call must be over,
    whether it was given up, and the door.
    """

    key: str | None = field(repr=False)
    until: float
    stop: Event
    opener: urllib.request.OpenerDirector


@dataclass(frozen=True)
class Reply:
    """An answer, or why there is none; and how many requests it took."""

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


def door(url: str) -> urllib.request.OpenerDirector:
    """What opens connections: through the proxies of the environment, with certificates checked,
    and without following redirects.

    Made once for many requests, because reading the trusted certificates takes longer than a
    request.
    """
    if not url.startswith("https:"):
        return urllib.request.build_opener(_NoRedirect)
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))


def ask(endpoint: Endpoint, question: str, call: Call) -> Reply:
    """Ask one question at temperature 0, again after faults that may pass: 408, 425, 429, 5xx,
    timeouts, broken connections and answers.

    The wait before attempt k is `backoff · 2^k` times a random number in [.5, 1), at most a minute;
    or what Retry-After says, if longer.

    Raises:
        UnavailableError: the endpoint refuses such questions altogether (400, 401, 403, 404, …, a
            redirect, a bad certificate).
    """
    body = _body(endpoint, question)
    jitter = np.random.default_rng([endpoint.seed, zlib.crc32(body)])
    fault = _Fault("deadline", "the time for the whole call was over")
    for attempt in range(endpoint.retries + 1):
        left = call.until - time.monotonic()
        if left <= 0 or call.stop.is_set():
            return Reply(None, attempt, fault.reason, fault.detail)
        outcome = _attempt(endpoint, body, call, min(endpoint.timeout, left))
        if isinstance(outcome, str):
            return Reply(outcome, attempt + 1)
        fault = outcome
        wait = max(
            min(endpoint.backoff * 2**attempt, LONGEST_WAIT) * jitter.uniform(0.5, 1.0), fault.wait
        )
        # Waiting is vain when nothing is left to try or the time ends before it.
        if (
            not fault.again
            or attempt == endpoint.retries
            or time.monotonic() + wait >= call.until
            or call.stop.wait(wait)
        ):
            return Reply(None, attempt + 1, fault.reason, fault.detail)
    raise AssertionError("the last attempt returns")


def _body(endpoint: Endpoint, question: str) -> bytes:
    messages = [{"role": "user", "content": question}]
    return json.dumps(
        {
            "model": endpoint.model,
            "messages": messages,
            "temperature": 0,
            "max_tokens": endpoint.max_tokens,
        }
    ).encode()


def _attempt(endpoint: Endpoint, body: bytes, call: Call, seconds: float) -> str | _Fault:
    key = call.key
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": "interp",
    }
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(endpoint.address, data=body, headers=headers, method="POST")
    try:
        with call.opener.open(request, timeout=seconds) as response:
            return _content(_read(response, time.monotonic() + seconds), key)
    except urllib.error.HTTPError as error:
        with error:
            return _refused(endpoint, error, key)
    except (OSError, http.client.HTTPException) as error:
        return _broken(endpoint, error, key)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _read(response: Any, until: float) -> bytes | None:
    """The body; None if it is larger than any answer. Parts that come one by one must not add up to
    more time than one request has.
    """
    size, parts, expected = 0, [], response.length
    while size != expected and (part := response.read1(2**16)):
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            return None
        if time.monotonic() > until:
            raise TimeoutError("the answer came too slowly")
    if expected is not None and size < expected:
        raise ConnectionError(f"the connection ended after {size} of {expected} bytes")
    return b"".join(parts)


def _content(raw: bytes | None, key: str | None) -> str | _Fault:
    if raw is None:
        return _Fault("too large", f"an answer of more than {LARGEST:,} bytes", again=False)
    try:
        answer = json.loads(raw)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return _Fault("invalid response", f"not a chat completion: {_line(raw, key)}")
    if not isinstance(answer, str) or not answer.strip():
        return _Fault("invalid response", "a chat completion without text")
    # json can spell half a character, which no file can hold.
    return answer.encode("utf-8", "replace").decode()


def _refused(endpoint: Endpoint, error: urllib.error.HTTPError, key: str | None) -> _Fault:
    status = error.code
    if status in AGAIN or status >= 500:
        return _Fault(
            AGAIN.get(status, "server error"),
            f"HTTP {status}",
            _retry_after(error.headers.get("Retry-After", "")),
        )
    if status in (401, 403):
        # What the server says here may repeat the key.
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
        why = f"{_complaint(error, key)}; check the url, the model's name and what it accepts"
    raise UnavailableError(
        f"{endpoint.url} answers {endpoint.model!r} with HTTP {status}: {why}"
    ) from None


def _complaint(error: urllib.error.HTTPError, key: str | None) -> str:
    try:
        raw = error.read(2**12)
    except (OSError, http.client.HTTPException):
        return "no reason given"
    return _line(raw, key) or "no reason given"


def _broken(endpoint: Endpoint, error: Exception, key: str | None) -> _Fault:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise UnavailableError(
            f"{endpoint.url} has a certificate that cannot be trusted: {cause.verify_message}; "
            "check the url"
        ) from None
    if isinstance(cause, TimeoutError):
        return _Fault("timeout", f"no answer within {endpoint.timeout:g} s")
    return _Fault(
        "connection", _line(f"{type(cause).__name__}: {cause}".encode(errors="replace"), key)
    )


def _retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks to wait: it holds a number or a date."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value.strip()):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _line(raw: bytes, key: str | None) -> str:
    """What a server said, as one short line without the key, which it may repeat."""
    text = raw.decode("utf-8", "replace")
    shown = (text.replace(key, "…") if key else text)[:1000]
    return " ".join("".join(sign if sign.isprintable() else " " for sign in shown).split())[:160]


def _require_address(url: str, key_from: str | None) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        raise InputError(
            "the url cannot be read; give the base address, such as https://host/v1"
        ) from None
    # The message must not repeat what may be a password.
    if (
        parts.scheme not in ("http", "https")
        or not host
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
        or not re.fullmatch("[!-~]+", url)
    ):
        raise InputError(
            "the url must be a base address with a host and without user, query or spaces, in "
            "ASCII, such as https://host/v1"
        )
    if parts.scheme == "http" and key_from is not None and not _is_here(host):
        raise InputError(
            f"http://{host} would send the key in {key_from} unencrypted; use https, or "
            "key_from=None if none is needed"
        )


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
