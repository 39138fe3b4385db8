"""What an adapter is, and how it says that a call was not made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, cast, runtime_checkable

from bot.errors import ThreadkeeperError
from bot.types import Caller, JsonObject, ToolCall, ToolSpec


@runtime_checkable
class Adapter(Protocol):
    """One way of answering tool calls. The toolbox enters it once, before the first call, and leaves it once."""

    def specs(self) -> Sequence[ToolSpec]:
        """The tools it answers for, each with its `source`. Asked when it is joined, and again when entered."""
        ...

    async def call(self, call: ToolCall, caller: Caller) -> object:
        """Make the call; `call.arguments` is the text of a JSON object by then.

        The toolbox bounds the time, keeps whatever is raised from the agent, and turns the result into text.

        Raises:
            ToolFailed: with words for the agent.
            NotCalled: nothing was done, with words for the agent.
        """
        ...

    async def __aenter__(self) -> object:
        """Open what it needs."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Close it."""
        ...


@runtime_checkable
class Hints(Protocol):
    """An adapter that knows what the authors of its tools could do better."""

    def hints(self) -> Sequence[str]:
        """A line each, none of which keeps a tool from working."""
        ...


@runtime_checkable
class Asks(Protocol):
    """An adapter that tells for each call whether a person is to agree. Of others, a tool's `approve` decides alone."""

    def asks(self, call: ToolCall) -> bool:
        """Whether a person is to agree to this call. Asked only of tools whose specification has `approve`.

        Raises:
            NotCalled: the call cannot be made, so that nobody need be asked.
        """
        ...


class NotCalled(ThreadkeeperError):
    """The tool did not run, so that calling it again is safe. The words are for the agent."""

    kind = "failed"


class BadArguments(NotCalled):
    """The arguments are not what the tool takes."""

    kind = "bad_arguments"


class ToolBusy(NotCalled):
    """Earlier calls of this tool have not come back."""

    kind = "busy"


class NotAllowed(NotCalled):
    """The person may not use this tool."""

    kind = "not_allowed"


class NotSetUp(NotCalled):
    """A secret that the tool needs is missing."""

    kind = "not_set_up"


class NotAwaited(ThreadkeeperError):
    """A plain `def` has something that only an `async def` can wait for. The words are for its author."""


class NotATool(ThreadkeeperError):
    """A function that cannot be offered to an agent, with what its author must change."""


class ToolClash(ThreadkeeperError):
    """Two tools have one name; both sources are named."""

    def __init__(self, name: str, first: str, second: str) -> None:
        super().__init__(f"two tools are named {name}: one in {first}, one in {second}; rename one")


def arguments_of(call: ToolCall) -> JsonObject:
    """The arguments that the agent sent. Nothing, or null, means none: services send both.

    Raises:
        BadArguments: the text is no JSON, or JSON but no object.
    """
    if not call.arguments.strip():
        return {}
    try:
        # ValueError and not only JSONDecodeError: an integer of over 4,300 digits raises the former.
        value = json.loads(call.arguments, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadArguments("the arguments are not valid JSON; send one JSON object") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadArguments("the arguments are not a JSON object; send one, such as {}")
    return cast("JsonObject", value)


def _refuse_constant(name: str) -> float:
    raise ValueError(name)
