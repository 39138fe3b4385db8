"""One reading of what a service answers instead of what was asked, whichever SDK brought it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import cast

from bot.errors import (
    CONTEXT_TOO_LONG,
    OperatorError,
    RequestRefused,
    ServiceBusy,
    ServiceUnavailable,
    ThreadkeeperError,
)
from bot.types import JsonObject

CONTENT_FILTER = "content_filter"

_FILTER_CODES = frozenset({CONTENT_FILTER, "ResponsibleAIPolicyViolation"})
_FULL_CODES = frozenset({"context_length_exceeded", "token_limit_exceeded", "message_limit_exceeded"})
_FULL = re.compile(r"maximum context length|context[ _]length|context window", re.IGNORECASE)
_FILTERED = re.compile(r"content[ _]?(?:management|filter)|ResponsibleAIPolicyViolation", re.IGNORECASE)
_TRY_AGAIN = re.compile(r"(?:try again|retry) (?:in|after) (\d+(?:\.\d+)?) ?(m?s\b|second|minute)", re.IGNORECASE)
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "second": 1.0, "minute": 60.0}
_PASSING = frozenset({408, 409, 425})


class Refused(RequestRefused):
    """A 4xx that is the request's own fault. `words` is the service's text: compared, never shown or logged."""

    def __init__(self, status: int, code: str, words: str, param: str = "") -> None:
        super().__init__(f"The service refused the request ({status} {code}).", code)
        self.status = status
        self.words = words
        self.param = param


def failure_of(status: int, headers: Mapping[str, str], body: object) -> ThreadkeeperError:
    """What an answer of this status means to us: who can act on it.

    Refused: a 4xx other than those below. ServiceBusy: 429. ServiceUnavailable: 408, 409, 425, 5xx, and what cannot
    be read. OperatorError: 401 and 403.
    """
    code, words, param = _words(body)
    wish = retry_after(headers)
    said = f"{status} {code}".strip()
    if status in (401, 403):
        return OperatorError(
            f"Foundry does not let the bot's identity in ({said}).",
            'Give it the role "Foundry User" (once "Azure AI User", 53ca6127-db72-4e31-b599-04dc5da150b4) on the '
            "project in PROJECT_ENDPOINT. If it has the role, see that the project's network admits the bot.",
        )
    if status == 429:
        return ServiceBusy(f"The service is busy ({said}).", wish)
    if 400 <= status < 500 and status not in _PASSING:
        return Refused(status, code, words, param)
    if status < 400:  # a redirect, or a 200 whose body is not JSON
        return ServiceUnavailable(f"An answer that cannot be read ({said}).", wish)
    return ServiceUnavailable(f"The service cannot answer now ({said}).", wish)


def wait_in(words: str) -> float | None:
    """Seconds that a failed run's own text asks to wait; None if it asks for none.

    Rate limits mostly come so, and not as a 429: "Rate limit is exceeded. Try again in 22 seconds."
    """
    wait = _TRY_AGAIN.search(words)
    return float(wait[1]) * _UNIT_SECONDS[wait[2].lower()] if wait else None


def code_of(code: str, words: str) -> str:
    """The code of an error, by our name where it is one of those that mean something to us."""
    if code in _FILTER_CODES or _FILTERED.search(words):
        return CONTENT_FILTER
    return CONTEXT_TOO_LONG if code in _FULL_CODES or _FULL.search(words) else code


def _words(body: object) -> tuple[str, str, str]:
    """The error's code, text and parameter; empty where the body is not the service's own."""
    outer = cast(JsonObject, body) if isinstance(body, dict) else {}
    found = outer.get("error", outer)  # openai's client hands over what stands inside
    error = cast(JsonObject, found) if isinstance(found, dict) else {}
    inner = error.get("innererror")
    codes = [error.get("code"), cast(JsonObject, inner).get("code") if isinstance(inner, dict) else None]
    if any(code in _FILTER_CODES for code in codes):
        return CONTENT_FILTER, "", ""
    message, param = str(error.get("message") or ""), str(error.get("param") or "")
    if any(code in _FULL_CODES for code in codes) or _FULL.search(message):
        return CONTEXT_TOO_LONG, message, param
    code = next((c for c in (*codes, error.get("type")) if isinstance(c, str) and c), "")
    return code[:64], message, param


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, by whichever header says so; None where none does."""
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        if (seconds := _number(headers.get(name))) is not None:
            return seconds / 1000
    value = headers.get("Retry-After")
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
