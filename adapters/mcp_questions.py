"""What a server asks of the person during a call: yes or no is asked in the chat, all else is declined and named.

https://modelcontextprotocol.io/specification/2025-06-18/client/elicitation
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

from mcp.client import ClientRequestContext
from mcp.types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from bot.types import Caller

_SHOWN = 300
_MOST = 5
UNASKED = 'The tool asked the person: "{}". It could not be put to them; the answer was no.'
DECLINED = 'The tool asked the person: "{}". They did not agree.'


@dataclass(eq=False, slots=True)
class Call:
    """A call that runs. `notes` are for the agent: what was asked during it, and not agreed to."""

    caller: Caller
    notes: list[str] = field(default_factory=list[str])

    def note(self, form: str, message: str) -> None:
        if len(self.notes) < _MOST:
            self.notes.append(form.format(" ".join(message.split())[:_SHOWN]))


_call: ContextVar[Call | None] = ContextVar("mcp_call", default=None)


class Questions:
    """The questions of one server, each put to the person whose call it belongs to."""

    def __init__(self) -> None:
        self._calls: list[Call] = []

    @contextmanager
    def during(self, caller: Caller) -> Generator[list[str]]:
        """A call; gives the notes on what was asked during it."""
        call = Call(caller)
        self._calls.append(call)
        token = _call.set(call)
        try:
            yield call.notes
        finally:
            _call.reset(token)
            self._calls.remove(call)

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """Ask the person, if it is clear whose question it is and it can be answered with yes or no; else decline.

        Over stdio a question does not say of which call it is: with several that run it could be anybody's.
        """
        own = _call.get()
        calls = [own] if own is not None else list(self._calls)
        agreed = _agreed(params)
        if len(calls) != 1 or agreed is None:
            for call in calls:
                call.note(UNASKED, params.message)
            return ElicitResult(action="decline")
        if await calls[0].caller.ask(params.message):
            return ElicitResult(action="accept", content={**agreed})
        calls[0].note(DECLINED, params.message)
        return ElicitResult(action="decline")


def _agreed(params: ElicitRequestParams) -> Mapping[str, bool] | None:
    """The form as yes fills it: every switch on. None where more is asked for than that."""
    if not isinstance(params, ElicitRequestFormParams):
        return None
    form = cast("Mapping[str, Any]", params.requested_schema)
    properties: Mapping[str, Mapping[str, Any]] = form.get("properties") or {}
    switches = [name for name, of in properties.items() if of.get("type") == "boolean"]
    if any(name not in switches for name in (*(form.get("required") or ()), *properties)):
        return None
    return dict.fromkeys(switches, True)
