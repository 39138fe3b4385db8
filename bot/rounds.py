"""One round of tool calls: a row before each call, exactly one output after it, whatever the tool does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bot.events import Emit, ToolEnded, ToolStarted
from bot.lease import Turn
from bot.ports import Clock, Toolbox, ToolCallStore
from bot.texts import Texts
from bot.types import Caller, ToolCall, ToolOutput, ToolRow, storable

UNKNOWN = "unknown"
"""The error of a call that may or may not have had its effect."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """Answers the calls of a round. What an earlier life of the turn has saved is used, not called again."""

    toolbox: Toolbox
    store: ToolCallStore
    clock: Clock
    emit: Emit
    texts: Texts

    async def known(self, turn: Turn) -> Mapping[str, ToolRow]:
        """The turn's calls so far, by their ids."""
        return {row.call_id: row for row in await self.store.rows(turn.id)}

    async def has_effect(self, turn: Turn) -> bool:
        """Whether a tool that must run once only may have run."""
        return any(row.once for row in await self.store.rows(turn.id))

    async def outputs(
        self, turn: Turn, calls: Sequence[ToolCall], known: Mapping[str, ToolRow], *, attempt: int, number: int
    ) -> list[ToolOutput]:
        """The outputs in the order of the calls, made at the same time.

        Raises:
            Interrupted: calls with an effect have been waited for, the others cancelled.
        """
        rows = {row.call_id: row for row in self._rows(calls, known, attempt, number)}
        if rows:
            await self.store.started(turn.id, turn.owner, list(rows.values()))
        tasks = {
            call.id: asyncio.ensure_future(
                self._output(turn, call, known.get(call.id) or rows[call.id], repeated=call.id in known)
            )
            for call in calls
        }
        once = {row.call_id for row in (*known.values(), *rows.values()) if row.once}
        try:
            await turn.race(asyncio.wait(tasks.values()))
        finally:
            await _settle(tasks, once)
        return [tasks[call.id].result() for call in calls]

    def _rows(
        self, calls: Sequence[ToolCall], known: Mapping[str, ToolRow], attempt: int, number: int
    ) -> list[ToolRow]:
        specs = {spec.name: spec for spec in self.toolbox.specs()}
        return [
            ToolRow(
                call_id=call.id,
                attempt=str(attempt),
                round=number,
                position=position,
                name=call.name,
                once=call.name in specs and specs[call.name].once,
                state="started",
            )
            for position, call in enumerate(calls)
            if call.id not in known
        ]

    async def _output(self, turn: Turn, call: ToolCall, row: ToolRow, *, repeated: bool) -> ToolOutput:
        """The call's one output: the saved one, or that of calling it (again, where that is harmless)."""
        if row.output is not None:
            return ToolOutput(call.id, row.output, row.error)
        began = self.clock.monotonic()
        if repeated and row.once:
            output = ToolOutput(call.id, self.texts.tool_effect_unknown(call.name, turn.reference), UNKNOWN)
        else:
            self.emit(ToolStarted(turn.reference, turn.lane, call.name, call.id, repeated))
            told = await self.toolbox.call(call, _caller(turn, row, repeated=repeated))
            output = ToolOutput(call.id, storable(told.output), told.error)
        await self.store.ended(turn.id, turn.owner, [output])
        seconds = self.clock.monotonic() - began
        size = len(output.output)
        self.emit(ToolEnded(turn.reference, turn.lane, call.name, call.id, seconds, size, output.error))
        return output


def _caller(turn: Turn, row: ToolRow, *, repeated: bool) -> Caller:
    return Caller(
        person=turn.message.person,
        tenant=turn.message.conversation.tenant,
        channel=turn.message.conversation.channel,
        reference=turn.reference,
        key=f"{turn.id}/{row.round}/{row.position}",
        repeated=repeated,
    )


async def _settle(tasks: Mapping[str, asyncio.Future[ToolOutput]], once: set[str]) -> None:
    """Leave no call running: what has an effect is waited for (its own timeout bounds it), the rest is cancelled."""
    pending = {call: task for call, task in tasks.items() if not task.done()}
    for call, task in pending.items():
        if call not in once:
            task.cancel()
    if pending:
        await asyncio.wait(pending.values())
    for task in tasks.values():
        if not task.cancelled():
            task.exception()  # seen; a failure to save shows again at the next write
