"""The toolbox: every adapter's tools under one roof, and one output for every call, whatever the tool does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Protocol, Self, cast

from pydantic_core import PydanticSerializationError, to_json

from adapters.failures import ArgumentsRefused, ToolBusy
from adapters.marking import ToolFailed
from bot.types import Caller, JsonObject, ToolCall, ToolOutput, ToolSpec

MOST_OUTPUT = 16 * 1024
"""Bytes of UTF-8. Ten calls of 64 KB would be 160,000 tokens."""

log = logging.getLogger("threadkeeper.tools")


class Adapter(Protocol):
    """A way of answering calls: two verbs, entered once and left once."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def specs(self) -> Sequence[ToolSpec]:
        """The tools it answers."""
        ...

    async def call(self, name: str, arguments: JsonObject, caller: Caller) -> object:
        """Call one of them. May raise whatever it likes; `ToolFailed` in words for the agent."""
        ...


class Toolbox:
    """Joins adapters. Of two tools with one name neither is offered: which one was meant cannot be known."""

    def __init__(self, adapters: Sequence[Adapter], *, most_output: int = MOST_OUTPUT) -> None:
        self._adapters = adapters
        self._most_output = most_output
        self._stack = AsyncExitStack()
        self._tools: dict[str, tuple[ToolSpec, Adapter]] = {}
        self.problems: list[str] = []
        for adapter in adapters:
            for spec in adapter.specs():
                self._add(spec, adapter)
        for name in [clash.split(":", 1)[0] for clash in self.problems]:
            self._tools.pop(name, None)

    def _add(self, spec: ToolSpec, adapter: Adapter) -> None:
        if spec.name in self._tools:
            other = self._tools[spec.name][0].source
            self.problems.append(f"{spec.name}: both {other} and {spec.source} have a tool of this name; rename one.")
            return
        self._tools[spec.name] = (spec, adapter)

    async def __aenter__(self) -> Self:
        for adapter in self._adapters:
            await self._stack.enter_async_context(adapter)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def specs(self) -> Sequence[ToolSpec]:
        """Every tool, ordered by name."""
        return [self._tools[name][0] for name in sorted(self._tools)]

    async def call(self, call: ToolCall, caller: Caller) -> ToolOutput:
        """The one output of a call. Never raises, but for its own cancellation."""
        known = self._tools.get(call.name)
        if known is None:
            return _output(call, "unknown_tool", f"There is no tool {call.name!r}. Use only the tools you were given.")
        spec, adapter = known
        try:
            arguments = _arguments(call.arguments)
            async with asyncio.timeout(spec.timeout):
                result = await adapter.call(call.name, arguments, caller)
            return ToolOutput(call.id, self._cut(_text(result)))
        except TimeoutError:
            return _output(call, "timeout", _unknown(call, caller, f"did not answer within {spec.timeout:g} seconds"))
        except ArgumentsRefused as refused:
            return _output(call, "bad_arguments", self._cut(f"{call.name} was not called: {refused}. Correct them."))
        except ToolFailed as failed:
            return _output(call, "failed", self._cut(str(failed) or f"{call.name} failed."))
        except ToolBusy:
            return _output(
                call, "busy", f"{call.name} was not called: its earlier calls still hang. Say so; don't guess."
            )
        except _NotJson:
            return _output(call, "not_json", _unknown(call, caller, "gave a result that cannot be read"))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return _output(call, "failed", _unknown(call, caller, "failed"))  # the tool cancelled itself
        except (Exception, SystemExit):
            log.exception("tool %s failed in turn %s", call.name, caller.reference)
            return _output(call, "failed", _unknown(call, caller, "failed"))

    def _cut(self, text: str) -> str:
        """The text within the bound, cut at a line or a word, with a note of what is missing."""
        data = text.encode("utf-8", "replace")
        if len(data) <= self._most_output:
            return text
        note = f"\n[cut: {len(data)} bytes in all; ask for less or for a part]"
        kept = data[: max(0, self._most_output - len(note))].decode("utf-8", "ignore")
        border = max(kept.rfind("\n"), kept.rfind(" "))
        return (kept[:border] if border > len(kept) // 2 else kept) + note


class _NotJson(Exception):
    """The result has no form that can be told to the agent."""


def _output(call: ToolCall, error: str, words: str) -> ToolOutput:
    return ToolOutput(call.id, words, error)


def _unknown(call: ToolCall, caller: Caller, what: str) -> str:
    return f"{call.name} {what} ({caller.reference}); result unknown. Say so; don't guess."


def _arguments(text: str) -> JsonObject:
    try:
        arguments: Any = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        raise ArgumentsRefused("the arguments are not JSON") from None
    if not isinstance(arguments, dict):
        raise ArgumentsRefused("the arguments are not a JSON object")
    return cast("JsonObject", arguments)


def _text(result: object) -> str:
    """A string as it is; anything else as JSON."""
    if isinstance(result, str):
        return result
    try:
        return to_json(result, inf_nan_mode="null").decode()
    except (PydanticSerializationError, ValueError, RecursionError):
        raise _NotJson from None
