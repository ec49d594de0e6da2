"""Live requests: json with known keys, each in its range."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NoReturn

from interp.core import InputError
from interp.core.names import require_known
from interp.report.live.directions import Route

LADDER = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""The strengths of the slider, in nats; 0 is no steering."""

MAX_TOKENS, MAX_PROMPT, MAX_ALPHA, MAX_SEED = 200, 4000, 1e6, 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class SteerRequest:
    """A feature to add, its strength, and the text to continue.

    The strength is either `kl`, a value of the ladder, or `alpha`, a multiple of the unit
    direction. Temperature 0 is greedy decoding. With a `ticket`, any name, a client finds its place
    in the queue.
    """

    feature: str
    prompt: str
    kl: float | None = None
    alpha: float | None = None
    route: Route = "native"
    sign: int = 1
    max_new_tokens: int = 40
    temperature: float = 1.0
    top_p: float = 0.3
    seed: int = 0
    ticket: str = ""

    @classmethod
    def parse(cls, body: bytes) -> "SteerRequest":
        """Read a request.

        Raises:
            InputError: not json, a missing or unknown key, a value of the wrong type or range, or
                not exactly one strength.

        Example:
            >>> SteerRequest.parse(
            ...     b'{"feature": "snmf-3", "prompt": "I think that", "kl": 0.5}'
            ... ).route
            'native'
        """
        given = _object(body)
        known = [item.name for item in fields(cls)]
        for key in given:
            require_known("key of a request", key, known)
        for key in ("feature", "prompt"):
            if key not in given:
                raise InputError(f"the request lacks {key!r}; it takes {', '.join(known)}")
        if (given.get("kl") is None) == (given.get("alpha") is None):
            raise InputError(
                f"give either kl or alpha, got kl={given.get('kl')!r:.40} and "
                f"alpha={given.get('alpha')!r:.40}"
            )
        # Either strength may be null.
        values = {
            key: value
            for key, value in given.items()
            if value is not None or key not in ("kl", "alpha")
        }
        for key, value in values.items():
            expected, fits = RULES[key]
            if not fits(value):
                raise InputError(f"{key} is {value!r:.60}, expected {expected}; change it")
        typed: dict[str, Any] = {
            key: float(value) if key in NUMBERS else value for key, value in values.items()
        }
        return cls(**typed)


def _is_text(value: Any, longest: int) -> bool:
    # A lone surrogate is valid json and no valid text.
    return (
        isinstance(value, str)
        and len(value) <= longest
        and not any("\ud800" <= character <= "\udfff" for character in value)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


NUMBERS = ("kl", "alpha", "temperature", "top_p")
"""Keys whose values json may write as integers."""

RULES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "feature": ("the id of a feature", lambda value: _is_text(value, 200)),
    "prompt": (
        f"1 to {MAX_PROMPT:,} characters",
        lambda value: _is_text(value, MAX_PROMPT) and bool(value.strip()),
    ),
    "route": (
        "'native' or 'companion'",
        lambda value: isinstance(value, str) and value in ("native", "companion"),
    ),
    "kl": (
        f"one of {', '.join(f'{kl:g}' for kl in LADDER)}",
        lambda value: _is_number(value) and value in LADDER,
    ),
    "alpha": (
        f"a number from 0 to {MAX_ALPHA:,.0f}",
        lambda value: _is_number(value) and 0 <= value <= MAX_ALPHA,
    ),
    "sign": ("1 or -1", lambda value: _is_whole(value) and value in (1, -1)),
    "max_new_tokens": (
        f"a whole number from 1 to {MAX_TOKENS}",
        lambda value: _is_whole(value) and 1 <= value <= MAX_TOKENS,
    ),
    "temperature": (
        "a number from 0 to 2",
        lambda value: _is_number(value) and (value == 0 or 0.01 <= value <= 2),
    ),
    "top_p": ("a number above 0 and at most 1", lambda value: _is_number(value) and 0 < value <= 1),
    "seed": (
        f"a whole number from 0 to {MAX_SEED}",
        lambda value: _is_whole(value) and 0 <= value <= MAX_SEED,
    ),
    "ticket": ("at most 64 characters", lambda value: _is_text(value, 64)),
}


def _object(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"the request is not json ({error!s:.80}); send an object such as {EXAMPLE}"
        ) from error
    if not isinstance(given, dict):
        raise InputError(
            f"the request is {type(given).__name__} in json; send an object such as {EXAMPLE}"
        )
    return given


EXAMPLE = '{"feature": "snmf-3", "kl": 0.5, "prompt": "I think that"}'


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"json knows no {name}")
