"""What a tool is written with: the mark that makes a function one, who asks for it, and how it says no."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, overload

from bot.errors import ThreadkeeperError
from bot.types import Person

P = ParamSpec("P")
R = TypeVar("R")

_MARK = "__threadkeeper_tool__"


@dataclass(frozen=True, slots=True)
class ToolContext:
    """On whose behalf a tool runs. A parameter of this type is filled by us and hidden from the agent.

    `key` is the same when the same call is made again (`repeated`): give it to services that know idempotency keys.
    """

    person: Person
    tenant: str
    channel: str
    reference: str
    key: str
    repeated: bool = False


class ToolFailed(ThreadkeeperError):
    """Raised by a tool to say something to the agent: the words are handed over as they are."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What `@tool` was told."""

    timeout: float = 30.0
    once: bool = False
    name: str | None = None


@overload
def tool(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def tool(
    *, timeout: float = 30.0, once: bool = False, name: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    timeout: float = 30.0,
    once: bool = False,
    name: str | None = None,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function as a tool. It stays the function it is; nothing else happens.

    Args:
        function: The function, where the decorator stands without brackets.
        timeout: Seconds after which the agent is told that no answer came.
        once: It changes something: never call it again if it may have run.
        name: The name the agent uses, where it is not the function's.

    Raises:
        ValueError: the timeout is not above zero.
    """
    if not timeout > 0:
        raise ValueError(f"timeout={timeout} must be above 0 seconds")
    mark = Mark(timeout=timeout, once=once, name=name)

    def put(marked: Callable[P, R]) -> Callable[P, R]:
        setattr(marked, _MARK, mark)
        return marked

    return put if function is None else put(function)


def mark_of(value: object) -> Mark | None:
    """The mark of a function, None where it has none."""
    mark = inspect.getattr_static(value, _MARK, None)  # a lazy proxy runs code when an attribute is asked for
    return mark if isinstance(mark, Mark) else None
