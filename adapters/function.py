"""Python functions as tools: the signature and the docstring are the specification."""

from __future__ import annotations

import functools
import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from adapters.context import ToolContext, context_of, in_thread
from adapters.contract import NotATool, NotAwaited, NotSetUp, ToolClash, arguments_of
from adapters.docstring import describe
from adapters.marks import Mark, mark_of
from adapters.session import Session
from adapters.signature import Signature
from adapters.variables import variables
from adapters.workers import Workers
from bot.types import Caller, ToolCall, ToolSpec

log = logging.getLogger("threadkeeper.tools")

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
        self._approve = mark.approve
        self._waits = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async
        )
        self._wraps = inspect.iscoroutinefunction(inspect.unwrap(function))
        self._unknown = [one for one in described.arguments if one not in self._signature.names]
        self.spec = ToolSpec(
            name=name,
            description=described.description,
            parameters=self._signature.schema,
            timeout=mark.timeout,
            once=mark.once,
            source=source or getattr(function, "__module__", ""),
            approve=mark.approve is not False,
            roles=mark.roles,
            hidden=mark.hidden,
            secrets=mark.secrets,
            at_once=mark.at_once,
        )

    def missing(self, environ: Mapping[str, str]) -> list[str]:
        """The variables that it needs and that are not set."""
        return [name for name in self.spec.secrets if not environ.get(name)]

    def hints(self) -> list[str]:
        """What its docstring says that is not so."""
        if not self._unknown:
            return []
        return [f"{self.spec.name}: its docstring describes {', '.join(self._unknown)}, which is no parameter"]

    def asks(self, call: ToolCall) -> bool:
        """Whether a person is to agree to this call.

        Raises:
            BadArguments: the arguments do not fit.
        """
        given = self._signature.complete(arguments_of(call))
        if isinstance(self._approve, bool):
            return self._approve
        try:
            decided = self._approve(given)
        except Exception as error:  # it is the author's, and may fail in any way: a person decides then
            log.warning("what decides about asking for %s failed: %s", self.spec.name, type(error).__name__)
            return True
        return decided is not False

    async def call(self, call: ToolCall, context: ToolContext, workers: Workers) -> object:
        """Call the function: awaited where it is asynchronous, else in a thread.

        Raises:
            BadArguments: the arguments do not fit.
            ToolBusy: its earlier calls hang.
            NotAwaited: it is a plain `def`, and has something to await.
            Exception: whatever the function raised.
        """
        given = context if self._waits else in_thread(context, self.spec.name)
        bound = functools.partial(self._function, **self._signature.bind(arguments_of(call), given))
        result = bound() if self._waits else await workers.run(self.spec.name, bound)
        if not inspect.isawaitable(result):
            return result
        if self._waits or self._wraps:
            return await result
        if inspect.iscoroutine(result):
            result.close()  # or Python says that it was never awaited
        raise NotAwaited(f"{self.spec.name} returned a coroutine: write it as async def and await it")


class FunctionAdapter:
    """Functions, answered for in this process."""

    def __init__(
        self, tools: Sequence[FunctionTool], workers: Workers | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        """Take the tools; `environ` is where their secrets are found: the environment and `.env` where none is given.

        Raises:
            ToolClash: two have one name.
        """
        self._tools: dict[str, FunctionTool] = {}
        self._workers = workers or Workers()
        self._environ = variables() if environ is None else environ
        self._http = Session()
        for tool in tools:
            first = self._tools.setdefault(tool.spec.name, tool)
            if first is not tool:
                raise ToolClash(tool.spec.name, first.spec.source, tool.spec.source)

    def specs(self) -> Sequence[ToolSpec]:
        """The tools, as the agent is told of them."""
        return [tool.spec for tool in self._tools.values()]

    def hints(self) -> Sequence[str]:
        """See `adapters.contract.Hints`."""
        return [hint for tool in self._tools.values() for hint in tool.hints()]

    def asks(self, call: ToolCall) -> bool:
        """See `adapters.contract.Asks`."""
        return self._ready(call).asks(call)

    async def call(self, call: ToolCall, caller: Caller) -> object:
        """Call one of the functions.

        Raises:
            NotCalled: the arguments do not fit, a secret is missing, or earlier calls hang.
            Exception: whatever the function raised.
        """
        tool = self._ready(call)
        secrets = {name: self._environ[name] for name in tool.spec.secrets}
        return await tool.call(call, context_of(caller, secrets, self._http), self._workers)

    def _ready(self, call: ToolCall) -> FunctionTool:
        tool = self._tools[call.name]
        if tool.missing(self._environ):
            raise NotSetUp("it is not set up here. Say so: those who run this bot can mend it.")
        return tool

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()


def _docstring(function: Callable[..., object]) -> str:
    # Not inspect.getdoc: an object without a docstring would inherit its class's, a partial that of `partial`.
    return getattr(inspect.unwrap(function), "__doc__", None) or ""
