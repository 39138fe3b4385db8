"""What a server asks of the person during a call. Nobody can be asked yet: it is declined, and the agent is told.

The bot's approvals will take this place: `answer` is where a question arrives.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from mcp.client import ClientRequestContext
from mcp.types import ElicitRequestParams, ElicitResult

_SHOWN = 300
_MOST = 5

_call: ContextVar[list[str] | None] = ContextVar("mcp_call", default=None)


class Questions:
    """The questions of one server, each noted with the call that it belongs to."""

    def __init__(self) -> None:
        self._calls: list[list[str]] = []

    @contextmanager
    def during(self) -> Generator[list[str]]:
        """A call; gives what was asked during it."""
        asked: list[str] = []
        self._calls.append(asked)
        token = _call.set(asked)
        try:
            yield asked
        finally:
            _call.reset(token)
            self._calls = [one for one in self._calls if one is not asked]

    async def answer(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        """Decline it. Over stdio a question does not say of which call it is: it is noted with all that run."""
        own = _call.get()
        for asked in [own] if own is not None else self._calls:
            if len(asked) < _MOST:
                asked.append(" ".join(params.message.split())[:_SHOWN])
        return ElicitResult(action="decline")
