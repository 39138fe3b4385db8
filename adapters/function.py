"""Python functions as tools: the schema from the signature, the arguments checked against it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import re
import typing
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from adapters.failures import ArgumentsRefused, ToolBusy
from adapters.marking import Marked, ToolContext, mark_of
from bot.types import Caller, JsonObject, ToolSpec

THREADS = 16
"""Sync functions run in threads, so that they do not block the event loop."""

HELD_BY_ONE = 4
"""A thread cannot be ended from outside. A tool whose calls hold so many past their time takes no more."""

_NAME = re.compile(r"^[A-Za-z0-9_-]{1,64}$")
_ARGS = re.compile(r"^\s*(?:Args|Arguments|Parameters):\s*$", re.MULTILINE)
_SECTION = re.compile(r"^\s*(?:Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?):\s*$", re.MULTILINE)
_ARGUMENT = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.+)$")


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """One function, its specification, and the model that its arguments must fit."""

    function: Callable[..., Any]
    spec: ToolSpec
    arguments: type[BaseModel]
    context_name: str | None

    def bound(self, arguments: JsonObject, caller: Caller) -> dict[str, Any]:
        """The keyword arguments of a call.

        Raises:
            ArgumentsRefused: naming each argument and what was expected of it.
        """
        try:
            checked = self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise ArgumentsRefused(_told(error)) from None
        values = {name: getattr(checked, name) for name in self.arguments.model_fields}
        if self.context_name is not None:
            values[self.context_name] = ToolContext(
                caller.person, caller.tenant, caller.channel, caller.reference, caller.key, caller.repeated
            )
        return values


def function_tool(function: Callable[..., Any], source: str, mark: Marked | None = None) -> FunctionTool:
    """The tool that a function is.

    Raises:
        ValueError: its name or its signature cannot be told to an agent.
    """
    marked = mark or mark_of(function) or Marked(function.__name__)
    if not _NAME.match(marked.name):
        raise ValueError(f"the name {marked.name!r} is not made of 1 to 64 letters, digits, _ and -")
    described, notes = _docstring(inspect.getdoc(function) or "")
    hints = typing.get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    context_name = None
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise ValueError(f"{marked.name}: the argument {name} cannot be given by name")
        hint = hints.get(name, str)
        if hint is ToolContext:
            context_name = name
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hint, Field(default, description=notes.get(name)))
    model = create_model(marked.name, __config__=ConfigDict(extra="forbid"), **fields)
    spec = ToolSpec(
        name=marked.name,
        description=described,
        parameters=_plain(model.model_json_schema()),
        timeout=marked.timeout,
        once=marked.once,
        source=source,
    )
    return FunctionTool(function, spec, model, context_name)


class FunctionAdapter:
    """Answers calls with Python functions."""

    def __init__(self, tools: Sequence[FunctionTool]) -> None:
        self._specs = [tool.spec for tool in tools]
        self._tools = {tool.spec.name: tool for tool in tools}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="tool")
        self._held: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def specs(self) -> Sequence[ToolSpec]:
        """The tools, as the agent is told of them; also those that share a name, for the toolbox to refuse."""
        return self._specs

    async def call(self, name: str, arguments: JsonObject, caller: Caller) -> object:
        """What the function returns. Raises what it raises, `ArgumentsRefused` and `ToolBusy`."""
        tool = self._tools[name]
        values = tool.bound(arguments, caller)
        if inspect.iscoroutinefunction(tool.function):
            return await tool.function(**values)
        return await self._in_thread(name, partial(tool.function, **values))

    async def _in_thread(self, name: str, work: Callable[[], object]) -> object:
        if self._held.get(name, 0) >= HELD_BY_ONE:
            raise ToolBusy(name)
        future = self._pool.submit(contextvars.copy_context().run, work)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel() and not future.done():
                self._held[name] = self._held.get(name, 0) + 1
                future.add_done_callback(lambda _: self._let_go(name))
            raise

    def _let_go(self, name: str) -> None:
        self._held[name] = self._held[name] - 1


def _docstring(text: str) -> tuple[str, dict[str, str]]:
    """What comes before the sections, and the notes on the arguments (Google's style)."""
    first = _SECTION.search(text)
    described = text[: first.start()].strip() if first else text.strip()
    notes: dict[str, str] = {}
    begin = _ARGS.search(text)
    if begin:
        end = _SECTION.search(text, begin.end())
        for line in text[begin.end() : end.start() if end else None].splitlines():
            found = _ARGUMENT.match(line)
            if found:
                notes[found[1]] = found[2].strip()
    return described, notes


def _plain(schema: JsonObject) -> JsonObject:
    """The schema without titles, which only cost tokens."""

    def cleaned(value: Any, inside_properties: bool = False) -> Any:
        if isinstance(value, dict):
            items = typing.cast("JsonObject", value).items()
            return {
                key: cleaned(inner, key in ("properties", "$defs"))
                for key, inner in items
                if key != "title" or inside_properties
            }
        if isinstance(value, list):
            return [cleaned(inner) for inner in typing.cast("list[Any]", value)]
        return value

    plain: JsonObject = cleaned(schema)
    plain.setdefault("properties", {})
    return plain


def _told(error: ValidationError) -> str:
    """The problems, each with its argument; without the values, which may be long."""
    told = [
        f"{'.'.join(str(part) for part in problem['loc']) or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    return "; ".join(told[:10])
