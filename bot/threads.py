"""Whose thread, which one is current, and when the next one is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from bot.errors import ServiceUnavailable, ThreadGone
from bot.events import Emit, ThreadOpened
from bot.lease import Turn
from bot.ports import Agent, Clock, ThreadStore
from bot.types import (
    Carried,
    Conversation,
    ConversationKind,
    Person,
    RunMark,
    Thread,
    ThreadReason,
)

NEAR = 0.9
"""From this share of a limit on, the summary for the next thread is prepared after an answer."""

CARRIED_MESSAGES = 20
CARRIED_CHARACTERS = 24_000
"""What is carried where there is no summary: at most so many of the last messages, so long together."""


def thread_key(conversation: Conversation, person: Person, groups: Literal["person", "shared"]) -> str:
    """The key of a thread, and of the lane in which its turns wait.

    A personal chat belongs to the person, wherever the channel moves it. In a group each person has a thread of their
    own there, or all share one, as the setting says; a personal thread is never used in a group.
    """
    place = [conversation.channel, conversation.tenant]
    if conversation.kind is ConversationKind.PERSONAL:
        parts = [*place, "person", person.id]
    elif groups == "shared":
        parts = [*place, "group", conversation.id]
    else:
        parts = [*place, "group", conversation.id, person.id]
    return "/".join(quote(part, safe=":@.-") for part in parts)


@dataclass(frozen=True, slots=True)
class ThreadLimits:
    """When a thread is too long, or too old: messages of both sides, tokens of a prompt, days without a message."""

    messages: int = 200
    tokens: int = 60_000
    idle_days: float = 30.0


def reason_to_open(
    thread: Thread | None, limits: ThreadLimits, *, now: float, backend: str, project: str, generation: int
) -> ThreadReason | None:
    """The rollover rule: why the next message needs another thread, None if it does not."""
    if thread is None:
        return ThreadReason.START_OVER if generation else ThreadReason.FIRST
    if (thread.backend, thread.project) != (backend, project):
        return ThreadReason.MOVED
    if thread.unusable is not None:
        return thread.unusable
    if thread.messages >= limits.messages:
        return ThreadReason.MESSAGES
    if thread.prompt_tokens >= limits.tokens:
        return ThreadReason.TOKENS
    if now - thread.used_at > limits.idle_days * 86_400:
        return ThreadReason.IDLE
    return None


def near_limit(thread: Thread, limits: ThreadLimits, *, messages: int, tokens: int) -> bool:
    """Whether the thread, with what a turn adds, is close enough to its end to prepare the summary."""
    return (
        thread.messages + messages >= NEAR * limits.messages
        or max(thread.prompt_tokens, tokens) >= NEAR * limits.tokens
    )


class Threads:
    """Opens threads, and moves on to the next."""

    def __init__(self, store: ThreadStore, agent: Agent, clock: Clock, emit: Emit, limits: ThreadLimits) -> None:
        self._store = store
        self._agent = agent
        self._clock = clock
        self._emit = emit
        self.limits = limits

    async def current(self, turn: Turn) -> Thread:
        """The turn's thread; opens one, or rolls over, where the rule says so.

        A rollover saves the new thread before anything lets go of the old one. A thread that was made at the service
        and not saved holds nothing that is not elsewhere too.
        """
        reason = reason_to_open(
            turn.thread,
            self.limits,
            now=self._clock.now(),
            backend=self._agent.backend,
            project=self._agent.project,
            generation=turn.generation,
        )
        if turn.thread is not None and (reason is None or self._under_way(turn)):
            return turn.thread
        assert reason is not None
        carried = await self._carried(turn.thread, reason)
        turn.check()
        remote_id = await self._agent.open_thread(carried, RunMark(str(turn.id), "open", turn.reference))
        now = self._clock.now()
        turn.thread = await self._store.open(
            turn.id,
            turn.owner,
            Thread(
                id=0,
                lane=turn.lane,
                generation=turn.generation,
                backend=self._agent.backend,
                project=self._agent.project,
                remote_id=remote_id,
                reason=reason,
                opened_at=now,
                used_at=now,
                previous_id=turn.thread.id if turn.thread else None,
            ),
            carried=carried.form,
        )
        await turn.save(opened={"reason": reason, "carried": carried.form})
        self._emit(ThreadOpened(turn.reference, turn.lane, self._agent.backend, remote_id, reason, carried.form))
        return turn.thread

    async def unusable(self, turn: Turn, reason: ThreadReason) -> None:
        """The turn's thread can be used no more: the next call of `current` opens another."""
        if turn.thread is not None:
            await self._store.mark(turn.id, turn.owner, turn.thread.id, reason)
            turn.note("run", None)
            lane = await self._store.lane(turn.lane)
            turn.thread = lane.thread if lane else None

    def _under_way(self, turn: Turn) -> bool:
        """Never under a run: a turn that was taken up again goes on in the thread it began in."""
        run = turn.saved("run")
        return bool(run) and turn.thread is not None and run["thread"] == turn.thread.remote_id

    async def _carried(self, thread: Thread | None, reason: ThreadReason) -> Carried:
        if thread is None or reason is ThreadReason.LOST:
            return Carried()
        if thread.summary:
            return Carried(summary=thread.summary)
        if (thread.backend, thread.project) != (self._agent.backend, self._agent.project):
            return Carried()  # the old service is not ours to ask any more
        try:
            said = await self._agent.history(thread.remote_id, CARRIED_MESSAGES)
        except ThreadGone:
            return Carried()
        except ServiceUnavailable:
            if reason is ThreadReason.STUCK:
                return Carried()
            raise
        kept: list[int] = []
        room = CARRIED_CHARACTERS
        for index in range(len(said) - 1, -1, -1):
            room -= len(said[index].text)
            if room < 0:
                break
            kept.append(index)
        return Carried(messages=tuple(said[index] for index in reversed(kept)))
