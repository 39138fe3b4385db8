"""Asks a person before a tool is called, and holds nothing while it waits for the word.

The question and the call are on disk; the turn goes back to its lane, which stays closed, and is taken up again by the
word, by the end of its time, or to tell whoever writes meanwhile that it waits.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from bot.errors import AwaitsApproval, DeliveryRefused, OperatorError, ServiceUnavailable
from bot.events import ApprovalAsked, ApprovalDecided, Emit
from bot.lease import Turn
from bot.ports import ApprovalStore, Channel, Toolbox
from bot.texts import Texts, one_line
from bot.types import Approval, Asked, Part, ToolCall

log = logging.getLogger("threadkeeper.approvals")

HELD = 120.0
"""Seconds that a tool which asks while it runs may wait for the word."""
LOOK_AGAIN = 1.0
LONGEST = 500
"""Characters of what a tool asks."""


@dataclass(frozen=True, slots=True)
class Approvals:
    """The questions of a turn, one at a time. `seconds`: how long each may wait for its word."""

    store: ApprovalStore
    toolbox: Toolbox
    channels: Mapping[str, Channel]
    texts: Texts
    emit: Emit
    seconds: float

    async def decided(self, turn: Turn, call: ToolCall) -> Approval:
        """What was decided about this call.

        Raises:
            AwaitsApproval: nothing yet; the question stands in the chat.
            DeliveryFailed, DeliveryRefused: the question cannot be put.
        """
        approval = await self.store.ask(turn.id, turn.owner, call, turn.message.person.id, self.seconds)
        if approval.state == "asked" and approval.left <= 0:
            approval = await self.store.expire(turn.id, turn.owner, approval.id)
        shown = self.toolbox.approval(call) or {}  # what nobody knows any more may not be shown
        if approval.state == "asked":
            await self._put(turn, approval, shown)
            raise AwaitsApproval(approval.id)
        await self._show(turn, approval, shown)
        return approval

    async def agrees(self, turn: Turn, call: ToolCall, words: str) -> bool:
        """Whether the person agrees to what a tool asks while it runs; the turn is held meanwhile.

        Asked in the same words again, after a crash too, it is the same question.
        """
        words = one_line(words)[:LONGEST]
        asks = ToolCall(f"{call.id}?{sha256(words.encode()).hexdigest()[:16]}", call.name, words)
        seconds, shown = min(self.seconds, HELD), {self.texts.tool_asks(): words}
        approval = await self.store.ask(turn.id, turn.owner, asks, turn.message.person.id, seconds)
        while approval.state == "asked":
            if approval.left <= 0:
                approval = await self.store.expire(turn.id, turn.owner, approval.id)
                break
            await self._put(turn, approval, shown)
            await turn.sleep(LOOK_AGAIN)
            approval = next(one for one in await self.store.of(turn.id) if one.id == approval.id)
        await self._show(turn, approval, shown)
        return approval.state == "approved"

    async def calls(self, turn: Turn) -> list[ToolCall]:
        """The calls that were asked about, as the agent sent them."""
        return [ToolCall(one.call_id, one.tool, one.arguments) for one in await self.store.of(turn.id)]

    async def _put(self, turn: Turn, approval: Approval, arguments: Mapping[str, str]) -> None:
        """Put the question, or say to whoever wrote meanwhile that it waits."""
        if approval.delivered is None:
            delivered = await self._send(turn, self._question(turn, approval, arguments))
            self.emit(ApprovalAsked(turn.reference, turn.lane, approval.tool))
        elif approval.nudged:
            delivered = approval.delivered
            await self._send(turn, Part(self.texts.waits_for_approval(approval.tool, _name(turn))))
        else:
            return
        await self.store.told(turn.id, turn.owner, approval.id, delivered)

    async def _send(self, turn: Turn, part: Part) -> str:
        channel = self.channels[turn.message.conversation.channel]
        await turn.may_speak(channel.send_timeout)
        return await channel.send(turn.message.address, part)

    async def _show(self, turn: Turn, approval: Approval, arguments: Mapping[str, str]) -> None:
        """Put what was decided in the place of the question. Where that cannot be, the answer tells it."""
        shown: list[str] = turn.saved("decided") or []
        if approval.id in shown or approval.delivered is None:
            return
        await turn.save(decided=[*shown, approval.id])
        self.emit(ApprovalDecided(turn.reference, turn.lane, approval.tool, approval.state))
        channel = self.channels[turn.message.conversation.channel]
        outcome = self.texts.approval_outcome(approval.state, approval.decider)
        try:
            await turn.may_speak(channel.send_timeout)
            part = self._question(turn, approval, arguments, outcome)
            await channel.update(turn.message.address, approval.delivered, part)
        except (DeliveryRefused, ServiceUnavailable, OperatorError) as failure:
            log.info("turn %s: a question was not changed (%s)", turn.reference, type(failure).__name__)

    def _question(self, turn: Turn, approval: Approval, arguments: Mapping[str, str], outcome: str = "") -> Part:
        channel = self.channels[turn.message.conversation.channel]
        text = self.texts.may_i(approval.tool, arguments, _name(turn), approval.left, outcome)
        return Part(channel.dialect(text), asks=Asked(approval.id, approval.tool, arguments, _name(turn), outcome))


def _name(turn: Turn) -> str:
    return turn.message.person.name or turn.message.person.id
