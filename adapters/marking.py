"""What marks a function as a tool, what it may know of its caller, and how it says that it failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from bot.types import Person

F = TypeVar("F", bound=Callable[..., Any])
MARK = "__threadkeeper_tool__"
DEFAULT_TIMEOUT = 30.0


class ToolFailed(Exception):
    """Raise it to tell the agent, in these words, why the call cannot be answered."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Who asks. A parameter of this type is filled in by us and hidden from the agent.

    `key` is the same when the same call is made again after a crash, which `repeated` tells: hand it on to a service
    that takes an idempotency key. `reference` is the turn's, for your own log.
    """

    person: Person
    tenant: str
    channel: str
    reference: str
    key: str
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Marked:
    """The options of a tool. `timeout` is in seconds; `once` says that a call has an effect and is never repeated."""

    name: str
    timeout: float = DEFAULT_TIMEOUT
    once: bool = False


@overload
def tool(function: F, /) -> F: ...
@overload
def tool(*, name: str | None = None, timeout: float = DEFAULT_TIMEOUT, once: bool = False) -> Callable[[F], F]: ...
def tool(
    function: F | None = None, /, *, name: str | None = None, timeout: float = DEFAULT_TIMEOUT, once: bool = False
) -> F | Callable[[F], F]:
    """Mark a function as a tool, sync or async.

    Raises:
        ValueError: the timeout is not a positive number of seconds.
    """
    if timeout <= 0:
        raise ValueError(f"timeout is {timeout}; it must be a positive number of seconds")

    def mark(marked: F) -> F:
        setattr(marked, MARK, Marked(name or marked.__name__, timeout, once))
        return marked

    return mark if function is None else mark(function)


def mark_of(value: object) -> Marked | None:
    """The mark of a tool; None on anything else."""
    found = getattr(value, MARK, None) if callable(value) else None
    return found if isinstance(found, Marked) else None
