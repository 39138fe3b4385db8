"""What is kept of tool calls, and by tools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bot.types import Approval, AuditedCall, Records, RemoteFile, ToolCall, ToolFailures, ToolOutput, ToolRow


class ToolCallStore(Protocol):
    """The tool calls of turns. A write raises `LostLease` where `owner` does not hold the turn."""

    async def started(self, turn: int, owner: str, rows: Sequence[ToolRow]) -> None:
        """Commit rows of one round, before the calls."""
        ...

    async def agreed(self, turn: int, owner: str, call_id: str) -> None:
        """A person agreed to an `asked` call: commit that it is `started`, before it is made."""
        ...

    async def ended(self, turn: int, owner: str, outputs: Sequence[ToolOutput]) -> None:
        """Commit outputs, before their submission."""
        ...

    async def rows(self, turn: int) -> list[ToolRow]:
        """The calls of a turn, in order."""
        ...

    async def withdrawn(self, lane: str) -> list[str]:
        """The tools that may have had their effect for questions that were stopped since the lane's last answer."""
        ...


class ApprovalStore(Protocol):
    """Tool calls that wait for a person's word. A write raises `LostLease` where `owner` does not hold the turn.

    The word itself is a control, which `InboxStore.put` applies.
    """

    async def ask(self, turn: int, owner: str, call: ToolCall, person: str, seconds: float) -> Approval:
        """Keep the question, once a call, for so many seconds; as it stands."""
        ...

    async def of(self, turn: int) -> list[Approval]:
        """The turn's approvals, in the order in which they were asked for."""
        ...

    async def told(self, turn: int, owner: str, approval: str, delivered: str) -> None:
        """The question stands in the channel under this id, and whoever wrote meanwhile has been told that it waits."""
        ...

    async def expire(self, turn: int, owner: str, approval: str) -> Approval:
        """It was not decided in time, unless it was after all; as it stands."""
        ...


class ToolAudit(Protocol):
    """Every tool call that was begun, and what came of it. Those of turns are written with the calls themselves."""

    async def record(self, call: AuditedCall) -> None:
        """Keep a call that no turn made. Its `at` is the database's own time less the `seconds` that it took."""
        ...

    async def calls(self, seconds: float, tool: str | None, limit: int) -> list[AuditedCall]:
        """The last calls (of one tool) in so many seconds, newest first."""
        ...

    async def failures(self, seconds: float, tool: str | None) -> list[ToolFailures]:
        """What failed in so many seconds (of one tool), each way of each tool once, the most frequent first."""
        ...


class RecordStore(Protocol):
    """What tools keep, for each owner apart."""

    def of_organisation(self, tenant: str) -> Records:
        """What is kept for a whole organisation. It stays when people are forgotten."""
        ...

    def of_person(self, channel: str, tenant: str, person: str) -> Records:
        """What is kept for one person. It is forgotten with them."""
        ...


class ToolFiles(Protocol):
    """Files that tools made, kept with the outputs of their calls until they are delivered, or for two days."""

    async def of(self, turn: int) -> list[RemoteFile]:
        """Those of a turn's last attempt, in the order of the calls."""
        ...

    async def content(self, file: RemoteFile) -> bytes:
        """The content.

        Raises:
            RequestRefused: it is gone.
        """
        ...
