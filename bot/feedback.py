"""What people think of answers: kept with the answer's turn, and counted."""

from __future__ import annotations

from dataclasses import dataclass

from bot.events import Emit, FeedbackGiven
from bot.ports import Store
from bot.threads import thread_key
from bot.types import ConversationKind, Feedback, Told, reference_of


@dataclass(frozen=True, slots=True)
class Opinions:
    """Takes what channels hear about answers."""

    store: Store
    emit: Emit

    async def take(self, given: Feedback) -> Told:
        """Keep it. In a group anyone may judge an answer there; what was said to a person alone, only they.

        Raises:
            ServiceUnavailable: it is not kept.
        """
        group = given.conversation.kind is not ConversationKind.PERSONAL
        lane = thread_key(given.conversation, given.person, "shared")
        told = await self.store.feedback.put(given, lane, below=group)
        reference = reference_of(told.turn) if told.turn is not None else ""
        self.emit(FeedbackGiven(reference, told.lane, given.conversation.channel, given.reaction, told.outcome))
        return told
