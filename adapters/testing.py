"""Checks for those who write tools and adapters, run by pytest beside their own code. No plugin is needed.

from adapters.testing import AdapterContract, ToolContract, called

def test_a_ticket_is_opened():
    outcome = called(open_ticket, {"title": "No light"}, secrets={"CRM_TOKEN": "x"})
    assert outcome.text == "Opened T-1."

class TestOpenTicket(ToolContract):
    function = staticmethod(open_ticket)
    works = ("open_ticket", {"title": "No light"})
    refused = ("open_ticket", {})
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from adapters.contract import Adapter
from adapters.function import FunctionAdapter, FunctionTool
from adapters.memory import MemoryRecords
from adapters.result import OUTPUT_LIMIT
from adapters.toolbox import Toolbox
from bot.types import Caller, Earlier, File, Json, Person, Records, ToolCall, ToolOutput

__all__ = ["AdapterContract", "MemoryRecords", "Outcome", "ToolContract", "called"]

SOMEONE = Person("ada", "Ada Lovelace", "en-GB", "Europe/London")
REFERENCE = "7F3K-2Q"
TOGETHER = 10
"""Calls that are made at the same time."""
PATIENCE = 30.0
"""Seconds after which a check fails that waits for something."""
Named = tuple[str, Mapping[str, Json]]
"""A tool's name, and arguments for it."""
_NO_OBJECTS = ("{", "[1]", '"text"', "17", "[" * 50_000, "\ud800")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call. `error` is None where it worked; `asks`: what a person is asked first, None for nothing."""

    text: str
    error: str | None
    files: tuple[File, ...]
    progress: list[str]
    asks: Mapping[str, str] | None


def called(
    function: Callable[..., object],
    arguments: Mapping[str, Json] | None = None,
    *,
    person: Person = SOMEONE,
    roles: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
    records: Records | None = None,
    own: Records | None = None,
    earlier: Sequence[Earlier] = (),
    repeated: bool = False,
) -> Outcome:
    """Call a tool, marked or not, as the bot does, with the arguments as an agent sends them.

    Args:
        function: The tool.
        arguments: By name, as JSON.
        person: Who asks.
        roles: What they may use tools as.
        secrets: The environment: what is not here is not set.
        records, own: The organisation's and the person's; new and empty ones if none are given.
        earlier: What was said in earlier threads, newest first.
        repeated: It is the same call again, after a crash.

    Raises:
        NotATool: the function is none, with what to change.
    """
    words: list[str] = []
    caller = replace(
        _caller(person, repeated),
        roles=frozenset(roles),
        progress=words.append,
        earlier=_Said(earlier),
        **{name: kept for name, kept in (("records", records), ("own", own)) if kept is not None},
    )
    tool = FunctionTool(function)
    call = ToolCall("call", tool.spec.name, json.dumps(dict(arguments or {})))
    asks, output = asyncio.run(_answered(FunctionAdapter([tool], environ=secrets or {}), call, caller))
    return Outcome(output.output, output.error, output.files, words, asks)


@dataclass(frozen=True, slots=True)
class _Said:
    entries: Sequence[Earlier]

    async def __call__(self, most: int) -> Sequence[Earlier]:
        return self.entries[:most]


async def _answered(adapter: Adapter, call: ToolCall, caller: Caller) -> tuple[Mapping[str, str] | None, ToolOutput]:
    async with Toolbox([adapter]) as toolbox:
        return toolbox.approval(call), await toolbox.call(call, caller)


class AdapterContract:
    """What every adapter keeps. Subclass it as `TestMine`, give `adapter`, and name calls: a tool and its arguments.

    A call that the adapter has none of may stay None: its check is left out.
    """

    works: Named
    """It works, and gives the same each time, however many are made at once."""
    refused: Named | None = None
    """Its arguments do not fit."""
    breaks: Named | None = None
    """It fails."""
    untold: str = "no such words"
    """What nobody may be told of that failure: words of the exception, or of the service."""
    hangs: Named | None = None
    """No answer comes within its timeout, which is a second or less."""

    def adapter(self) -> AbstractAsyncContextManager[Adapter]:
        """Gives a new adapter, not yet entered, and takes away what was set up for it."""
        raise NotImplementedError

    def test_it_has_the_two_verbs(self) -> None:
        async def check(toolbox: Toolbox, adapter: Adapter) -> None:
            assert isinstance(adapter, Adapter)
            assert toolbox.specs(), "it offers no tool"

        self._with(check)

    def test_agents_take_its_specifications(self) -> None:
        async def check(toolbox: Toolbox, adapter: Adapter) -> None:
            specs = list(adapter.specs())
            names = [spec.name for spec in specs]
            assert len(set(names)) == len(names), "two of its tools have one name"
            assert names == [spec.name for spec in adapter.specs()], "their order changes"
            for spec in specs:
                assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", spec.name), spec.name
                assert spec.description.strip(), f"{spec.name} has no description"
                assert spec.timeout > 0, spec.name
                assert spec.parameters["type"] == "object", spec.name
                assert isinstance(spec.parameters["properties"], dict), spec.name
                assert json.loads(json.dumps(spec.parameters)) == spec.parameters, spec.name

        self._with(check)

    def test_a_call_has_one_output_under_its_own_id(self) -> None:
        async def check(toolbox: Toolbox, adapter: Adapter) -> None:
            output = await _made(toolbox, self.works)
            assert output.error is None, output.output
            assert 0 < len(output.output.encode()) <= OUTPUT_LIMIT
            calls = [_call(self.works, f"call {number}") for number in range(TOGETHER)]
            outputs = await asyncio.gather(*(toolbox.call(call, _caller()) for call in calls))
            assert [one.call_id for one in outputs] == [call.id for call in calls]
            assert {one.output for one in outputs} == {output.output}

        self._with(check)

    def test_what_is_no_json_object_is_refused_and_nothing_is_raised(self) -> None:
        async def check(toolbox: Toolbox, adapter: Adapter) -> None:
            for text in _NO_OBJECTS:
                output = await toolbox.call(ToolCall("call", self.works[0], text), _caller())
                assert (output.call_id, output.error) == ("call", "bad_arguments"), text[:20]

        self._with(check)

    def test_arguments_that_do_not_fit_are_refused(self) -> None:
        refused = self.refused
        if refused is None:
            return

        async def check(toolbox: Toolbox, adapter: Adapter) -> None:
            output = await _made(toolbox, refused)
            assert output.error == "bad_arguments", output
            assert toolbox.approval(_call(refused)) is None, "a person would be asked about what cannot be done"

        self._with(check)

    def test_a_failure_is_an_output_that_gives_nothing_away(self) -> None:
        breaks = self.breaks
        if breaks is None:
            return

        async def check(toolbox: Toolbox, adapter: Adapter) -> None:
            output = await _made(toolbox, breaks)
            assert output.error == "failed", output
            assert self.untold not in output.output

        self._with(check)

    def test_a_call_that_hangs_is_given_up_and_others_go_on(self) -> None:
        hangs = self.hangs
        if hangs is None:
            return

        async def check(toolbox: Toolbox, adapter: Adapter) -> None:
            assert (await _made(toolbox, hangs)).error == "timeout"
            task = asyncio.create_task(_made(toolbox, hangs))
            await asyncio.sleep(0)
            task.cancel()  # the one who asks goes away
            await asyncio.wait({task})
            assert (await _made(toolbox, self.works)).error is None

        self._with(check)

    def _with(self, check: Callable[[Toolbox, Adapter], Coroutine[Any, Any, None]]) -> None:
        async def checked() -> None:
            async with asyncio.timeout(PATIENCE), self.adapter() as adapter, Toolbox([adapter]) as toolbox:
                await check(toolbox, adapter)

        asyncio.run(checked())


class ToolContract(AdapterContract):
    """What every function that is a tool keeps. Subclass it as `TestMine`, give the function, and name calls of it."""

    function: Callable[..., object]
    """In a `staticmethod(...)`."""
    secrets: Mapping[str, str] = MappingProxyType({})
    """The environment of the calls."""

    @asynccontextmanager
    async def adapter(self) -> AsyncGenerator[Adapter]:
        """See `AdapterContract.adapter`."""
        yield FunctionAdapter([FunctionTool(self.function)], environ=self.secrets)


def _call(named: Named, call: str = "call") -> ToolCall:
    name, arguments = named
    return ToolCall(call, name, json.dumps(dict(arguments)))


def _caller(person: Person = SOMEONE, repeated: bool = False) -> Caller:
    records, own = MemoryRecords(), MemoryRecords()
    return Caller(person, "tenant", "test", REFERENCE, "test/1/0", repeated, records=records, own=own)


async def _made(toolbox: Toolbox, named: Named) -> ToolOutput:
    output = await toolbox.call(_call(named), _caller())
    assert output.call_id == "call"
    return output
