"""What goes wrong with an MCP server, in words: for the agent in a call, for the operator between calls."""

from __future__ import annotations

from typing import cast

import httpx2
from mcp import MCPError
from mcp.types import CONNECTION_CLOSED, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND, URL_ELICITATION_REQUIRED

from adapters.contract import BadArguments
from adapters.marks import ToolFailed
from adapters.mcp_secrets import looks_secret
from bot.errors import ThreadkeeperError

_EXPIRED = "Session terminated"
"""What the package makes of the 404 by which a server says that it does not know the session (any more)."""
_SHOWN = 500
_REFUSED = (401, 403)


def away(name: str) -> str:
    """For the agent: the call was not made."""
    return f"its server, {name}, is not running now. Say so; it is being started again, so try later, not at once."


def failure_of(error: MCPError, tool: str, name: str, reference: str) -> ThreadkeeperError:
    """What a server's error comes to. Its text is told where it is about the arguments: else it may hold anything."""
    if error.code in (INVALID_PARAMS, METHOD_NOT_FOUND):  # said before anything is done
        return BadArguments(error.message[:_SHOWN] or "its server refused them")
    if error.code == URL_ELICITATION_REQUIRED:
        return ToolFailed("The tool wants the person to open a web page first, which nobody can be asked yet.")
    what = (
        f"{name}, the server of {tool}, ended before it answered"
        if error.code == CONNECTION_CLOSED
        else f"{tool} failed"
    )
    return ToolFailed(f"{what} ({reference}); result unknown. Say so; don't guess.")


def is_expired(error: MCPError) -> bool:
    """Whether the server knew nothing of the session, so that nothing was done."""
    return error.code == INVALID_REQUEST and error.message == _EXPIRED


def _shown(command: str) -> str:
    """The command as its file has it, unless it looks as if a secret stood in it."""
    return "" if not command.isprintable() or looks_secret(command) else f"{command[:_SHOWN]} "


def _first(error: BaseException) -> BaseException:
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return _first(group.exceptions[0])


def reason_of(error: BaseException, status: int, command: str = "") -> str:
    """For the operator: why a session did not begin or went away, without the error's text, which may quote.

    Args:
        error: What was raised.
        status: The last HTTP status, 0 where there was none.
        command: What was to be started.
    """
    error = _first(error)
    if status in _REFUSED:
        return f"it answers with HTTP {status}: check the variables that its auth and headers name"
    if status >= 400:
        return f"it answers with HTTP {status}"
    match error:
        case FileNotFoundError():
            return f"its command {_shown(command)}was not found: install it, or write its whole path"
        case PermissionError():
            return f"its command {_shown(command)}may not be run: check its permissions"
        case httpx2.TransportError():
            return "it cannot be reached"
        case OSError():
            return f"its process cannot be started ({error.strerror or type(error).__name__})"
        case MCPError(code=code) if code == CONNECTION_CLOSED:
            return "it ended as it was begun: run its command by hand to see why"
        case _:
            return f"it does not speak MCP as it should ({type(error).__name__})"
