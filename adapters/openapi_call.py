"""One call of a described service: sent, sent again where that is safe, and told to the agent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime

from adapters.contract import NotCalled
from adapters.http_guard import Answer, Guarded, NoAnswer, NotSent, Request
from adapters.marks import ToolFailed
from adapters.openapi_answer import Reading, problem, status, told
from adapters.openapi_auth import NotSigned, Signer

log = logging.getLogger("threadkeeper.tools.openapi")

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods that may be repeated: https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2"""
PAUSES = (0.5, 1.5)
"""Seconds before each further try."""
LONGEST_WAIT = 5.0
"""Seconds that a service may ask us to wait; when it asks for more, the agent is told."""
_TRY_AGAIN = frozenset({500, 502, 503, 504})
_UNKNOWN = "result unknown. Say so; don't guess."

Pause = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be done. `again`: the request may be sent again; `asked_by`: the reference of the turn."""

    tool: str
    request: Request
    again: bool
    asked_by: str
    reading: Reading


class Service:
    """A service as its document's operations are called: one guarded session, one way to sign in."""

    def __init__(self, http: Guarded, signer: Signer, pause: Pause = asyncio.sleep) -> None:
        self.http = http
        self.signer = signer
        self._pause = pause

    async def run(self, errand: Errand) -> str:
        """Make the call; the text for the agent.

        Raises:
            NotCalled: nothing was done.
            ToolFailed: the service said no, or broke off.
        """
        try:
            answer = await self._answered(errand)
        except (NotSent, NotSigned) as error:
            log.error("tool %s was not called (%s): %s", errand.tool, errand.asked_by, error)
            raise NotCalled(_not_reached(error, errand)) from None
        except NoAnswer:
            log.warning("tool %s: the service broke off (%s)", errand.tool, errand.asked_by)
            raise ToolFailed(f"The service broke off ({errand.asked_by}); {_UNKNOWN}") from None
        reading = replace(errand.reading, secrets=self.signer.secrets)
        if 200 <= answer.status < 300:
            return told(answer, reading)
        raise ToolFailed(self._failed(errand, answer))

    async def _answered(self, errand: Errand) -> Answer:
        waited = False
        for pause in (*PAUSES, None):
            try:
                answer = await self.http.send(await self.signer.sign(errand.request))
            except (NotSent, NoAnswer):
                if pause is None or not errand.again:
                    raise
            else:
                if answer.status == 401:
                    self.signer.forget()
                wait = _wait(answer, pause or 0.0)
                if pause is None or not errand.again or wait is None or (waited and answer.status == 429):
                    return answer
                waited, pause = True, wait
            await self._pause(pause)
        raise AssertionError("the last try returns or raises")

    def _failed(self, errand: Errand, answer: Answer) -> str:
        """What the agent is told of an answer that is no success."""
        code = answer.status
        says = f" It says: {said}" if (said := problem(answer, self.signer.secrets)) else ""
        if code in (401, 403):
            log.error("tool %s: the service answered %d; see its [auth] (%s)", errand.tool, code, errand.asked_by)
            refused = (
                f"The service answered {status(code)}: this is not allowed. Tell the person so, with the reference"
            )
            return f"{refused} {errand.asked_by}; trying again does not help.{says if code == 403 else ''}"
        if code == 429:
            seconds = _retry_after(answer)
            when = f"in {seconds:.0f} s" if seconds is not None else "later"
            return f"The service has had too many calls ({status(code)}). Say so; try again {when}.{says}"
        if code >= 500:  # its body may be a trace of its insides
            log.warning("tool %s: the service answered %d (%s)", errand.tool, code, errand.asked_by)
            return f"The service failed: {status(code)} ({errand.asked_by}); {_UNKNOWN}"
        if 300 <= code < 400:
            return f"The service answered {status(code)} and points elsewhere, which is not followed; {_UNKNOWN}"
        return f"The service refused this: {status(code)}.{says}"


def _not_reached(error: Exception, errand: Errand) -> str:
    if isinstance(error, NotSigned):
        return f"signing in to the service failed. Tell the person, with the reference {errand.asked_by}."
    return f"the service could not be reached ({errand.asked_by}). Say so; try again later."


def _wait(answer: Answer, pause: float) -> float | None:
    """Seconds after which the request may succeed, None where that is not to be expected."""
    asked = _retry_after(answer)
    if answer.status == 429:
        return asked if asked is not None and asked <= LONGEST_WAIT else None
    if answer.status in _TRY_AGAIN:
        return None if asked is not None and asked > LONGEST_WAIT else max(asked or 0.0, pause)
    return None


def _retry_after(answer: Answer) -> float | None:
    """Seconds (RFC 9110, 10.2.3: a number, or a date)."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        return max(0.0, (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
