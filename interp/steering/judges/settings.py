"""Checked settings of an endpoint: address, model, key and patience."""

import ipaddress
import math
import os
import re
import urllib.parse
from dataclasses import dataclass

from interp.core import InputError


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The settings of an endpoint; see `EndpointJudge` for the arguments."""

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
                f"timeout is {self.timeout} s and backoff {self.backoff} s; give a time above 0 "
                "and a wait of 0 or more"
            )

    @property
    def address(self) -> str:
        """The address to which questions are sent."""
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


def _require_address(url: str, key_from: str | None) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        raise InputError(
            "the url cannot be read; give the base address, such as https://host/v1"
        ) from None
    # The message must not repeat the url, which may contain a password.
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
