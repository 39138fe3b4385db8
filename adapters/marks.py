"""What a tool is written with: the mark that makes a function one, and how it says no."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, overload

from bot.errors import ThreadkeeperError

P = ParamSpec("P")
R = TypeVar("R")

Approve = bool | Callable[[Mapping[str, Any]], bool]
"""Whether a person is asked before a call, or what decides it: given each argument by its name, after the check."""

_MARK = "__threadkeeper_tool__"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class ToolFailed(ThreadkeeperError):
    """Raised by a tool to say something to the agent: the words are handed over as they are."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What `@tool` was told."""

    timeout: float = 30.0
    once: bool = False
    name: str | None = None
    approve: Approve = False
    roles: tuple[str, ...] = ()
    hidden: bool = False
    secrets: tuple[str, ...] = ()
    at_once: int = 0


@overload
def tool(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def tool(
    *,
    timeout: float = 30.0,
    once: bool = False,
    name: str | None = None,
    approve: Approve = False,
    roles: Sequence[str] = (),
    hidden: bool = False,
    secrets: Sequence[str] = (),
    at_once: int = 0,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    timeout: float = 30.0,
    once: bool = False,
    name: str | None = None,
    approve: Approve = False,
    roles: Sequence[str] = (),
    hidden: bool = False,
    secrets: Sequence[str] = (),
    at_once: int = 0,
) -> Callable[P, R] | Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function as a tool. It stays the function it is; nothing else happens.

    Args:
        function: The function, where the decorator stands without brackets.
        timeout: Seconds after which the agent is told that no answer came.
        once: It changes something: never call it again if it may have run.
        name: The name the agent uses, where it is not the function's.
        approve: Ask the person before a call: always, or when this function says so. It is given the arguments as a
            mapping, checked and with the defaults in it: `approve=lambda given: given["amount"] > 100`. If it raises,
            the person is asked.
        roles: Only people with one of these roles may use it: `admin` (those of ADMINS), or names of TOOL_ROLES.
        hidden: Do not name it to people who say "tools".
        secrets: Variables of the environment (or `.env`) without which it does not work; `context.secret(name)` gives
            their values.
        at_once: Calls of it that run at the same time at most, in each process; 0 for the usual number.

    Raises:
        ValueError: an option is none: the timeout is not above zero, a secret is no variable's name, ...
    """
    if not timeout > 0:
        raise ValueError(f"timeout={timeout} must be above 0 seconds")
    if not isinstance(approve, bool) and not callable(approve):
        raise ValueError("approve must be True, False, or a function of the arguments")
    if at_once < 0:
        raise ValueError(f"at_once={at_once} must be a number of calls, or 0")
    mark = Mark(timeout, once, name, approve, _names("roles", roles), hidden, _names("secrets", secrets), at_once)
    for secret in mark.secrets:
        if not _VARIABLE.fullmatch(secret):
            raise ValueError('secrets must name variables of the environment, such as "CRM_TOKEN", never hold a value')

    def put(marked: Callable[P, R]) -> Callable[P, R]:
        setattr(marked, _MARK, mark)
        return marked

    return put if function is None else put(function)


def _names(option: str, given: Sequence[str]) -> tuple[str, ...]:
    if isinstance(given, str) or not all(given):
        raise ValueError(f'{option} must be a list of names, such as {option}=["one"]')
    return tuple(dict.fromkeys(given))


def mark_of(value: object) -> Mark | None:
    """The mark of a function, None where it has none."""
    mark = inspect.getattr_static(value, _MARK, None)  # a lazy proxy runs code when an attribute is asked for
    return mark if isinstance(mark, Mark) else None
