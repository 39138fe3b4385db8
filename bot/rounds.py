"""One round of tool calls: a row before each call, exactly one output after it, whatever the tool does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bot.approvals import Approvals
from bot.callers import Callers
from bot.errors import Interrupted
from bot.events import Emit, ToolEnded, ToolStarted
from bot.lease import Turn
from bot.ports import Clock, Toolbox, ToolCallStore
from bot.texts import Texts
from bot.types import CallNote, ToolCall, ToolOutput, ToolRow, ToolSpec, storable

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
    approvals: Approvals
    callers: Callers
    note: Callable[[ToolCall], CallNote] = lambda call: CallNote()
    """What the audit keeps of a call's arguments."""

    async def known(self, turn: Turn) -> Mapping[str, ToolRow]:
        """The turn's calls so far, by their ids."""
        return {row.call_id: row for row in await self.store.rows(turn.id)}

    async def has_effect(self, turn: Turn) -> bool:
        """Whether a tool that must run once only may have run."""
        return any(row.once and row.state != "asked" for row in await self.store.rows(turn.id))

    async def asked_in(self, turn: Turn, attempt: int) -> bool:
        """Whether a person was asked about a call of this attempt, or is to be."""
        calls = {call.id for call in await self.approvals.calls(turn)}
        rows = [row for row in await self.store.rows(turn.id) if row.attempt == str(attempt)]
        return any(row.call_id in calls or row.state == "asked" for row in rows)

    async def without_run(self, turn: Turn, attempt: int) -> None:
        """Answer the calls that were asked about, of a run that ended meanwhile: with the arguments that were saved.

        Raises:
            AwaitsApproval: the word has not come.
        """
        known = await self.known(turn)
        calls = [call for call in await self.approvals.calls(turn) if call.id in known]
        # what has begun beside them, and may have had its effect, is said to be unknown: it is never made from here
        lost = [row for row in known.values() if row.state == "started" and row.once]
        calls += [ToolCall(row.call_id, row.name, "") for row in lost if row.call_id not in {call.id for call in calls}]
        await self.outputs(turn, calls, known, attempt=attempt, number=0)

    async def gave(self, turn: Turn) -> str:
        """What the calls of the turn gave, for a run that knows nothing of them."""
        rows = [row for row in await self.store.rows(turn.id) if row.output is not None]
        return self.texts.called_before([(row.name, row.output or "") for row in rows]) if rows else ""

    async def outputs(
        self, turn: Turn, calls: Sequence[ToolCall], known: Mapping[str, ToolRow], *, attempt: int, number: int
    ) -> list[ToolOutput]:
        """The outputs in the order of the calls, made at the same time.

        Raises:
            Interrupted: calls with an effect have been waited for, the others cancelled.
        """
        rows = {row.call_id: row for row in self._rows(turn, calls, known, attempt, number)}
        if rows:
            await self.store.started(turn.id, turn.owner, list(rows.values()))
        rows = {**known, **rows}
        free = [call for call in calls if rows[call.id].state != "asked"]
        outputs = await self._made(turn, free, rows, known)
        for call in calls:
            if rows[call.id].state == "asked":  # one after the other: a person is asked one thing at a time
                outputs |= await self._asked(turn, call, rows[call.id])
        return [outputs[call.id] for call in calls]

    async def _made(
        self, turn: Turn, calls: Sequence[ToolCall], rows: Mapping[str, ToolRow], known: Collection[str]
    ) -> dict[str, ToolOutput]:
        """The outputs of calls that need nobody's agreement (any more); an earlier life began those `known`."""
        if not calls:
            return {}
        await self._not_too_late(turn, [call for call in calls if call.id not in known])
        tasks = {
            call.id: asyncio.ensure_future(self._output(turn, call, rows[call.id], repeated=call.id in known))
            for call in calls
        }
        try:
            await turn.race(asyncio.wait(tasks.values()))
        finally:
            await _settle(tasks, {call for call, row in rows.items() if row.once})
        return {call: task.result() for call, task in tasks.items()}

    async def _not_too_late(self, turn: Turn, fresh: Sequence[ToolCall]) -> None:
        """Raise what ends the turn: what has an effect is not cut off once it is begun, so it is not begun.

        That calls which nobody began were not made is said by their rows, which are there already.
        """
        try:
            turn.check()
        except Interrupted:
            unmade = [ToolOutput(call.id, self.texts.tool_not_begun(call.name), "stopped") for call in fresh]
            if unmade:
                await self.store.ended(turn.id, turn.owner, unmade)
            raise

    async def _asked(self, turn: Turn, call: ToolCall, row: ToolRow) -> dict[str, ToolOutput]:
        """The output of a call that a person is asked about first."""
        approval = await self.approvals.decided(turn, call)
        same = (approval.tool, approval.arguments) == (call.name, storable(call.arguments))
        if same and approval.state == "approved":
            await self.store.agreed(turn.id, turn.owner, call.id)
            return await self._made(turn, [call], {call.id: row}, ())
        told = {"declined": self.texts.tool_declined, "expired": self.texts.tool_not_approved}
        words = told.get(approval.state, self.texts.tool_changed)(call.name)
        output = ToolOutput(call.id, words, approval.state if approval.state in told else "changed")
        await self.store.ended(turn.id, turn.owner, [output])
        return {call.id: output}

    def _rows(
        self, turn: Turn, calls: Sequence[ToolCall], known: Mapping[str, ToolRow], attempt: int, number: int
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
                state="asked" if self._to_be_asked(turn, call, specs.get(call.name)) else "started",
                note=_with_whom(self.note(call), turn),
            )
            for position, call in enumerate(calls)
            if call.id not in known
        ]

    def _to_be_asked(self, turn: Turn, call: ToolCall, spec: ToolSpec | None) -> bool:
        """Whether a person is to agree first: not about what they may not use, which is refused anyway."""
        return spec is not None and self.callers.may(turn, spec) and self.toolbox.approval(call) is not None

    async def _output(self, turn: Turn, call: ToolCall, row: ToolRow, *, repeated: bool) -> ToolOutput:
        """The call's one output: the saved one, or that of calling it (again, where that is harmless)."""
        if row.output is not None:
            return ToolOutput(call.id, row.output, row.error)
        began = self.clock.monotonic()
        if repeated and row.once:
            output = ToolOutput(call.id, self.texts.tool_effect_unknown(call.name, turn.reference), UNKNOWN)
        else:
            self.emit(ToolStarted(turn.reference, turn.lane, call.name, call.id, repeated))
            caller = self.callers.of(turn, row, repeated=repeated)
            told = await self.toolbox.call(call, replace(caller, ask=partial(self.approvals.agrees, turn, call)))
            output = ToolOutput(call.id, storable(told.output), told.error, told.files)
        await self.store.ended(turn.id, turn.owner, [output])
        seconds = self.clock.monotonic() - began
        size = len(output.output)
        self.emit(ToolEnded(turn.reference, turn.lane, call.name, call.id, seconds, size, output.error))
        return output


def _with_whom(note: CallNote, turn: Turn) -> CallNote:
    place = turn.message.conversation
    whose = {"channel": place.channel, "tenant": place.tenant, "person": turn.message.person.id, "lane": turn.lane}
    return replace(note, **whose)


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
