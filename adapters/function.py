"""Python functions as tools: the signature and the docstring are the specification."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from adapters.contract import NotATool, ToolClash, arguments_of
from adapters.docstring import describe
from adapters.marks import Mark, ToolContext, mark_of
from adapters.signature import Signature
from adapters.workers import Workers
from bot.types import Caller, ToolCall, ToolSpec

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What the agent services take as a function's name."""


class FunctionTool:
    """One function, ready to be called with what an agent sends."""

    def __init__(self, function: Callable[..., object], source: str = "", name: str | None = None) -> None:
        """Read the function. A mark's name goes before `name`, which goes before the function's own.

        Raises:
            NotATool: with what its author must change.
        """
        mark = mark_of(function) or Mark()
        name = mark.name or name or str(getattr(function, "__name__", ""))
        described = describe(_docstring(function))
        if not _NAME.fullmatch(name):
            raise NotATool("its name must be 1 to 64 letters, digits, _ or -")
        if not described.description:
            raise NotATool("it has no docstring, so the agent would not know what it is for")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise NotATool("it yields; a tool returns one result")
        self._signature = Signature(function, described.arguments)
        self._function = function
        self._waits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
        )
        self.spec = ToolSpec(
            name=name,
            description=described.description,
            parameters=self._signature.schema,
            timeout=mark.timeout,
            once=mark.once,
            source=source or getattr(function, "__module__", ""),
        )

    async def call(self, call: ToolCall, caller: Caller, workers: Workers) -> object:
        """Call the function: awaited where it is asynchronous, else in a thread.

        Raises:
            BadArguments: the arguments do not fit.
            ToolBusy: its earlier calls hang.
            Exception: whatever the function raised.
        """
        bound = functools.partial(self._function, **self._signature.bind(arguments_of(call), _context(caller)))
        result = bound() if self._waits else await workers.run(self.spec.name, bound)
        return await result if inspect.isawaitable(result) else result


class FunctionAdapter:
    """Functions, answered for in this process."""

    def __init__(self, tools: Sequence[FunctionTool], workers: Workers | None = None) -> None:
        """Take the tools.

        Raises:
            ToolClash: two have one name.
        """
        self._tools: dict[str, FunctionTool] = {}
        self._workers = workers or Workers()
        for tool in tools:
            first = self._tools.setdefault(tool.spec.name, tool)
            if first is not tool:
                raise ToolClash(tool.spec.name, first.spec.source, tool.spec.source)

    def specs(self) -> Sequence[ToolSpec]:
        """The tools, as the agent is told of them."""
        return [tool.spec for tool in self._tools.values()]

    async def call(self, call: ToolCall, caller: Caller) -> object:
        """Call one of the functions.

        Raises:
            NotCalled: the arguments do not fit, or earlier calls hang.
            Exception: whatever the function raised.
        """
        return await self._tools[call.name].call(call, caller, self._workers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


def _docstring(function: Callable[..., object]) -> str:
    # Not inspect.getdoc: an object without a docstring would inherit its class's, a partial that of `partial`.
    return getattr(inspect.unwrap(function), "__doc__", None) or ""


def _context(caller: Caller) -> ToolContext:
    return ToolContext(
        person=caller.person,
        tenant=caller.tenant,
        channel=caller.channel,
        reference=caller.reference,
        key=caller.key,
        repeated=caller.repeated,
    )
