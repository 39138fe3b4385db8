"""Whose thread, which one is current, and when the next one is opened."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from bot.errors import OperatorError, ServiceUnavailable, ThreadGone
from bot.events import Emit, ThreadOpened
from bot.lease import Turn
from bot.ports import Agent, Archives, Clock, ThreadStore
from bot.types import (
    Carried,
    Conversation,
    ConversationKind,
    Person,
    RunMark,
    Said,
    Thread,
    ThreadReason,
)

log = logging.getLogger("threadkeeper.threads")

NEAR = 0.9
"""From this share of a limit on, the summary for the next thread is prepared after an answer."""

CARRIED_MESSAGES = 19
CARRIED_CHARACTERS = 24_000
"""What is carried where there is no summary: at most so many of the last messages, so long together. With
the words before them they are as many as Foundry takes in one request."""
LIVES = 3
"""In so many lives of a turn a service that is left is asked for the past; then the thread begins without it."""


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

    def __init__(
        self,
        store: ThreadStore,
        agent: Agent,
        archives: Archives,
        clock: Clock,
        emit: Emit,
        limits: ThreadLimits,
    ) -> None:
        self._store = store
        self._agent = agent
        self._archives = archives
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
        carried = await self._carried(turn, reason)
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

    async def of_run(self, turn: Turn) -> Thread | None:
        """The thread that the turn's run was begun in: after "start over" it is not the lane's any more."""
        run = turn.saved("run")
        if not run or self._under_way(turn):
            return turn.thread if turn.thread is not None and self.here(turn.thread) else None
        for thread in reversed(await self._store.chain(turn.lane)):
            if self.here(thread) and thread.remote_id == run["thread"]:
                return thread
        return None

    def here(self, thread: Thread) -> bool:
        """Whether it lies with the agent that is asked now, which knows no others."""
        return (thread.backend, thread.project) == (self._agent.backend, self._agent.project)

    def _under_way(self, turn: Turn) -> bool:
        """Never under a run: a turn that was taken up again goes on in the thread it began in."""
        run, thread = turn.saved("run"), turn.thread
        return bool(run) and thread is not None and self.here(thread) and run["thread"] == thread.remote_id

    async def _carried(self, turn: Turn, reason: ThreadReason) -> Carried:
        thread = turn.thread
        if thread is None or reason is ThreadReason.LOST:
            return Carried()
        if thread.summary:
            return Carried(summary=thread.summary)
        try:
            if self.here(thread):
                said = await self._agent.history(thread.remote_id, CARRIED_MESSAGES)
            else:
                said = await self._from_elsewhere(turn, thread)
        except ThreadGone:
            return Carried()
        except ServiceUnavailable:
            if reason is ThreadReason.STUCK:
                return Carried()
            raise
        return Carried(messages=latest(said, CARRIED_CHARACTERS))

    async def _from_elsewhere(self, turn: Turn, thread: Thread) -> list[Said]:
        """What was said in a thread of another service or project, where it still tells."""
        try:
            agent = await self._archives.of(thread)
            return await agent.history(thread.remote_id, CARRIED_MESSAGES) if agent else []
        except (ServiceUnavailable, OperatorError) as error:
            # What is left may be gone for good, or let nobody in any more: that must not keep people waiting.
            if isinstance(error, ServiceUnavailable) and turn.attempts < LIVES:
                raise
            log.warning("thread %s of %s cannot be read, the next begins without it", thread.remote_id, thread.backend)
            return []


def latest(said: Sequence[Said], characters: int) -> tuple[Said, ...]:
    """As many of the last entries as fit."""
    kept: list[Said] = []
    for entry in reversed(said):
        characters -= len(entry.text)
        if characters < 0:
            break
        kept.append(entry)
    return tuple(reversed(kept))
