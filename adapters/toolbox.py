"""All tools, whatever answers them: every call becomes exactly one output, whatever the tool does."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from adapters.asking import shown
from adapters.contract import (
    Adapter,
    Asks,
    BadArguments,
    Hints,
    NotAllowed,
    NotAwaited,
    NotCalled,
    ToolClash,
    arguments_of,
)
from adapters.marks import ToolFailed
from adapters.patience import Patience
from adapters.result import OUTPUT_LIMIT, NotJson, Rendered, cut, render
from bot.types import Caller, ToolCall, ToolOutput, ToolSpec

log = logging.getLogger("threadkeeper.tools")

_ADVICE = "result unknown. Say so; don't guess."
_NOT_ALLOWED = "it is for people with the role {}, and this person has none. Say so; do not look for a way around it."
_SHOWN_NAME = 64
_CHAIN = 5


class Toolbox:
    """The adapters, joined. The order of the tools is that of their names."""

    def __init__(self, adapters: Sequence[Adapter], output_limit: int = OUTPUT_LIMIT) -> None:
        """Join the adapters.

        Raises:
            ToolClash: two tools have one name.
        """
        self._adapters = tuple(adapters)
        self._limit = output_limit
        self._entered = AsyncExitStack()
        self._open = False
        self._left_running: set[asyncio.Task[Rendered]] = set()
        self._author: Callable[[ToolSpec, BaseException], None] | None = None
        self._tools = _joined(self._adapters)

    def specs(self) -> Sequence[ToolSpec]:
        """Every tool there is now, in a fixed order."""
        return [spec for spec, _ in self._now().values()]

    def hints(self) -> list[str]:
        """What the tools' authors could do better; all of it works."""
        return [hint for one in self._adapters if isinstance(one, Hints) for hint in one.hints()]

    def tell_author(self, author: Callable[[ToolSpec, BaseException], None]) -> None:
        """From now on hand what tools raise to `author`, whole, in the place of the log: it may hold a secret."""
        self._author = author

    def _now(self) -> dict[str, tuple[ToolSpec, Adapter]]:
        """The tools as they are now: those of an adapter may change while it is entered."""
        try:
            self._tools = _joined(self._adapters)
        except ToolClash as clash:  # adapters see to it that there is none; until they have, all stays as it was
            log.error("the changed tools are not used: %s", clash)
        return self._tools

    def approval(self, call: ToolCall) -> Mapping[str, str] | None:
        """See `bot.ports.Toolbox.approval`. A call that cannot be made needs no agreement: it fails by itself."""
        found = self._now().get(call.name)
        if found is None or not found[0].approve:
            return None
        spec, adapter = found
        try:
            given = arguments_of(call)
            asks = not isinstance(adapter, Asks) or adapter.asks(ToolCall(call.id, call.name, call.arguments or "{}"))
        except NotCalled:
            return None
        except Exception as error:  # an adapter's own fault must not let a call through unasked
            log.error("tool %s: what decides about asking failed: %s", spec.name, _trace(error))
            given, asks = {}, True
        return shown(given, spec) if asks else None

    async def call(self, call: ToolCall, caller: Caller) -> ToolOutput:
        """Call it. Never raises: every failure becomes an output that the agent can read.

        `error` is `unknown_tool`, `bad_arguments`, `not_allowed`, `not_set_up`, `busy` (in these nothing was done),
        `timeout`, `failed` or `not_json`. A result that was cut is no error.

        Raises:
            asyncio.CancelledError: we were cancelled; the tool is cancelled too.
        """
        tools = self._now()
        found = tools.get(call.name)
        if found is None:
            known = ", ".join(tools) or "none"
            words = f"There is no tool named {call.name[:_SHOWN_NAME]!r}. The tools are: {known}."
            return self._output(call, words, "unknown_tool")
        try:
            none = not arguments_of(call)
        except BadArguments as error:
            return self._not_called(call, error)
        spec, adapter = found
        if not spec.is_for(caller.roles):
            return self._not_called(call, NotAllowed(_NOT_ALLOWED.format(" or ".join(spec.roles))))
        if none:
            call = ToolCall(call.id, call.name, "{}")
        return await self._made(call, caller, spec, adapter)

    async def _made(self, call: ToolCall, caller: Caller, spec: ToolSpec, adapter: Adapter) -> ToolOutput:
        # A task of its own: one that swallows its cancellation must not keep us past the timeout.
        patience = Patience(spec.timeout, caller.ask)
        asking = replace(caller, ask=patience.ask)
        task = asyncio.create_task(self._guarded(call, asking, adapter), name=f"tool {spec.name}")
        try:
            done = await patience.wait_for(task)
        except asyncio.CancelledError:
            self._leave(task)
            raise
        if not done:
            self._leave(task)
            log.warning("tool %s gave no answer within %g s (%s)", spec.name, spec.timeout, caller.reference)
            words = f"{spec.name} gave no answer within {spec.timeout:g} s ({caller.reference}); {_ADVICE}"
            return self._output(call, words, "timeout")
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None:
            return self._failed(call, caller, spec, error)
        return ToolOutput(call.id, task.result().text, files=task.result().files)

    async def _guarded(self, call: ToolCall, caller: Caller, adapter: Adapter) -> Rendered:
        try:
            return render(await adapter.call(call, caller), self._limit)
        except SystemExit as error:  # a task hands it to the event loop, which would stop
            raise RuntimeError("SystemExit") from error

    def _leave(self, task: asyncio.Task[Rendered]) -> None:
        """Cancel it without waiting: what it still does, and how it ends, concerns nobody."""
        task.cancel()
        self._left_running.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[Rendered]) -> None:
        self._left_running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, or asyncio reports it as never retrieved

    def _failed(self, call: ToolCall, caller: Caller, spec: ToolSpec, error: BaseException) -> ToolOutput:
        if isinstance(error, NotCalled):
            return self._not_called(call, error)
        words = _words(error) if isinstance(error, ToolFailed) else ""
        if words:
            return self._output(call, words, "failed")
        if isinstance(error, NotJson):
            log.error("tool %s gave a result that has no JSON form (%s)", call.name, caller.reference)
            words = f"{call.name} ran, but its result cannot be shown ({caller.reference}); {_ADVICE}"
            return self._output(call, words, "not_json")
        if self._author is not None:
            self._author(spec, error)
        else:
            told = error if isinstance(error, NotAwaited) else _trace(error)  # the words of the former are ours
            log.error("tool %s failed (%s): %s", call.name, caller.reference, told)
        return self._output(call, f"{call.name} failed ({caller.reference}); {_ADVICE}", "failed")

    def _not_called(self, call: ToolCall, error: NotCalled) -> ToolOutput:
        return self._output(call, f"{call.name} was not called: {_words(error)}", error.kind)

    def _output(self, call: ToolCall, words: str, error: str) -> ToolOutput:
        return ToolOutput(call.id, cut(words, self._limit), error)

    async def __aenter__(self) -> Self:
        """Enter every adapter, once.

        Raises:
            RuntimeError: it was entered before.
            ToolClash: a tool that an adapter only knows of now has the name of another.
        """
        if self._open:
            raise RuntimeError("a toolbox is entered once")
        self._open = True
        async with AsyncExitStack() as stack:
            for adapter in self._adapters:
                await stack.enter_async_context(adapter)
            self._tools = _joined(self._adapters)
            self._entered = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._left_running:
            task.cancel()
        await self._entered.aclose()


def _joined(adapters: Sequence[Adapter]) -> dict[str, tuple[ToolSpec, Adapter]]:
    tools: dict[str, tuple[ToolSpec, Adapter]] = {}
    for adapter in adapters:
        for spec in adapter.specs():
            if spec.name in tools:
                raise ToolClash(spec.name, tools[spec.name][0].source, spec.source)
            tools[spec.name] = spec, adapter
    return dict(sorted(tools.items()))


def _words(error: Exception) -> str:
    try:
        return str(error).strip()
    except Exception:  # a tool may raise a class of its own, whose text it cannot make
        return ""


def _trace(error: BaseException) -> str:
    """Where it happened and what kind it was, without the exception's text, which may hold a secret."""
    parts: list[str] = []
    for link in _causes(error):
        frames = "".join(traceback.format_tb(link.__traceback__)).rstrip()
        parts.append(f"{type(link).__module__}.{type(link).__qualname__}\n{frames}".rstrip())
    return "\ncaused by ".join(parts)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_CHAIN):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
