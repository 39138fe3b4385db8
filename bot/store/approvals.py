"""Tool calls that wait for a person's word, and what that word does."""

from __future__ import annotations

import hashlib
import secrets

import sqlalchemy as sa

from bot.store.database import Database, Row, must_hold
from bot.store.tables import approvals, inbox
from bot.types import Approval, Control, Conversation, Decision, Entry, JsonObject, ToolCall, storable


class SqlApprovals:
    """The `ApprovalStore` over a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shown = sa.select(approvals, (approvals.c.expires_at - database.now()).label("left"))

    async def ask(self, turn: int, owner: str, call: ToolCall, person: str, seconds: float) -> Approval:
        """See `ApprovalStore.ask`."""
        now = self._database.now()
        arguments = storable(call.arguments)
        row = {
            "id": secrets.token_urlsafe(16),
            "turn": turn,
            "call_id": call.id,
            "lane": sa.select(inbox.c.lane).where(inbox.c.id == turn).scalar_subquery(),
            "person": person,
            "tool": call.name,
            "arguments": arguments,
            "digest": digest_of(call.name, arguments),
            "state": "asked",
            "asked_at": now,
            "expires_at": now + seconds,
        }

        def operation(connection: sa.Connection) -> Approval:
            must_hold(connection, turn, owner)
            connection.execute(self._database.insert(approvals).values(**row))
            mine = self._shown.where(approvals.c.turn == turn, approvals.c.call_id == call.id)
            return _approval(connection.execute(mine).one())

        return await self._database.write(operation)

    async def of(self, turn: int) -> list[Approval]:
        """See `ApprovalStore.of`."""
        query = self._shown.where(approvals.c.turn == turn).order_by(approvals.c.asked_at, approvals.c.id)
        async with self._database.read() as connection:
            return [_approval(row) for row in await connection.execute(query)]

    async def told(self, turn: int, owner: str, approval: str, delivered: str) -> None:
        """See `ApprovalStore.told`."""
        mine = sa.update(approvals).where(approvals.c.id == approval, approvals.c.turn == turn)

        def operation(connection: sa.Connection) -> None:
            must_hold(connection, turn, owner)
            connection.execute(mine.values(delivered=delivered, nudged=False))

        await self._database.write(operation)

    async def expire(self, turn: int, owner: str, approval: str) -> Approval:
        """See `ApprovalStore.expire`."""
        mine = sa.update(approvals).where(approvals.c.id == approval, approvals.c.turn == turn)

        def operation(connection: sa.Connection) -> Approval:
            must_hold(connection, turn, owner)
            late = mine.where(sa.text("state = 'asked'"), approvals.c.expires_at <= self._database.now())
            connection.execute(late.values(state="expired", decided_at=self._database.now()))
            return _approval(connection.execute(self._shown.where(approvals.c.id == approval)).one())

        return await self._database.write(operation)


def digest_of(tool: str, arguments: str) -> str:
    """What tells a call from one of another tool, or with other arguments."""
    return hashlib.sha256(f"{tool}\n{arguments}".encode()).hexdigest()


def waits_in(lane: sa.ColumnElement[str]) -> sa.ScalarSelect[str]:
    """The approval that keeps a lane closed, if there is one: the last, where a run that is gone asked another."""
    waiting = sa.select(approvals.c.id).where(approvals.c.lane == lane, sa.text("state = 'asked'"))
    return waiting.order_by(approvals.c.asked_at.desc()).limit(1).scalar_subquery()


def decide(database: Database, connection: sa.Connection, entry: Entry, approval: str) -> Decision:
    """Take the person's word about an approval, if it is theirs to give and still open; wake the turn that waits."""
    row = _locked(connection, approval)
    message = entry.message
    if row is None or not _same_place(row, message.conversation):
        return Decision.NOTHING
    if not entry.admin and message.person.id != row.person:
        return Decision.NOT_YOURS
    if not _is_open(database, connection, row):
        return Decision.OVER
    approved = entry.control is Control.APPROVE
    decided = sa.update(approvals).where(approvals.c.id == approval)
    connection.execute(
        decided.values(
            state="approved" if approved else "declined",
            decider=message.person.id,
            decider_name=storable(message.person.name),
            decided_at=database.now(),
        )
    )
    _wake(connection, row.turn)
    return Decision.APPROVED if approved else Decision.DECLINED


def nudge(connection: sa.Connection, approval: str) -> None:
    """Somebody wrote while it waits: the turn tells them so."""
    row = _locked(connection, approval)
    if row is not None:
        connection.execute(sa.update(approvals).where(approvals.c.id == approval).values(nudged=True))
        _wake(connection, row.turn)


def until(connection: sa.Connection, approval: str) -> float | None:
    """When a turn that waits for it is to be taken up again, by the database's clock; None: now.

    The row is locked, so that a word that comes at the same moment finds the turn waiting, or is seen here.
    """
    row = _locked(connection, approval)
    return row.expires_at if row is not None and row.state == "asked" and not row.nudged else None


def _locked(connection: sa.Connection, approval: str) -> Row | None:
    """The approval and its turn. Two statements, since the second must see what came before the lock was given."""
    mine = approvals.c.id == approval
    if connection.execute(sa.select(approvals.c.id).where(mine).with_for_update()).first() is None:
        return None
    of_turn = (inbox.c.payload, inbox.c.state.label("turn_state"), inbox.c.interrupt)
    return connection.execute(
        sa.select(approvals, *of_turn).join(inbox, inbox.c.id == approvals.c.turn).where(mine)
    ).first()


def _same_place(row: Row, place: Conversation) -> bool:
    """Whether it was asked there. Of a turn that has ended, the place is forgotten with the words."""
    asked: JsonObject | None = row.payload and row.payload["conversation"]
    return not asked or (asked["channel"], asked["tenant"], asked["id"]) == (place.channel, place.tenant, place.id)


def _is_open(database: Database, connection: sa.Connection, row: Row) -> bool:
    left = connection.scalar(sa.select(row.expires_at - database.now()))
    return (
        row.state == "asked" and (left or 0) > 0 and row.turn_state in ("queued", "running") and row.interrupt is None
    )


def _wake(connection: sa.Connection, turn: int) -> None:
    waiting = sa.update(inbox).where(inbox.c.id == turn, sa.text("state = 'queued'"))
    connection.execute(waiting.values(not_before=None))


def _approval(row: Row) -> Approval:
    return Approval(
        id=row.id,
        turn=row.turn,
        call_id=row.call_id,
        person=row.person,
        tool=row.tool,
        arguments=row.arguments or "",
        digest=row.digest,
        state=row.state,
        left=row.left,
        delivered=row.delivered,
        nudged=row.nudged,
        decider=row.decider_name or row.decider or "",
    )
