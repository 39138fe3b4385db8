"""What was said in a conversation before its current thread, since the last "start over"."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from bot.errors import OperatorError, ServiceUnavailable, ThreadGone
from bot.lease import Turn
from bot.ports import Agent, Archives, ThreadStore
from bot.texts import Texts
from bot.types import Earlier, Said, Thread

log = logging.getLogger("threadkeeper.past")

MOST_THREADS = 20
MOST_ENTRIES = 500
"""Of so many threads, the newest, so many entries are read at most: each thread is a request."""


class Past:
    """Reads the threads that a conversation has moved on from. Those that cannot be read now are left out."""

    def __init__(self, threads: ThreadStore, agent: Agent, archives: Archives, texts: Texts) -> None:
        self._threads = threads
        self._agent = agent
        self._archives = archives
        self._texts = texts

    async def of(self, turn: Turn, most: int) -> Sequence[Earlier]:
        """At most `most` entries of the turn's own lane, newest first, each text once: what is carried is said again.

        A thread leads to the one before it, but the first since "start over", or "forget me", leads nowhere.
        """
        said: dict[Said, Earlier] = {}
        chain = {thread.id: thread for thread in await self._threads.chain(turn.lane)}
        most = min(most, MOST_ENTRIES)
        for thread in _before(turn.thread, chain):
            for entry in reversed(_said(await self._history(thread, most), self._texts)):
                said.pop(entry, None)  # of what was carried the older is the true one
                said[entry] = Earlier(entry.role, entry.text, thread.used_at)
            if len(said) >= most:
                break
        return list(said.values())[:most]

    async def _history(self, thread: Thread, most: int) -> list[Said]:
        try:
            ours = (thread.backend, thread.project) == (self._agent.backend, self._agent.project)
            agent = self._agent if ours else await self._archives.of(thread)
            return await agent.history(thread.remote_id, most) if agent is not None else []
        except ThreadGone:
            return []
        except (ServiceUnavailable, OperatorError) as error:
            log.warning("thread %s cannot be searched now (%s)", thread.remote_id, type(error).__name__)
            return []


def _before(thread: Thread | None, chain: dict[int, Thread]) -> Iterator[Thread]:
    for _ in range(MOST_THREADS):
        thread = chain.get(thread.previous_id) if thread is not None and thread.previous_id is not None else None
        if thread is None:
            return
        yield thread


def _said(entries: Sequence[Said], texts: Texts) -> list[Said]:
    """What the two said to each other: less what we said in the person's place, and the summary that we asked for."""
    openings = (texts.carried_summary(""), texts.carried_messages())
    kept: list[Said] = []
    asked = False
    for entry in entries:
        ours, answers = entry.role == "user" and entry.text == texts.summary_request(), entry.role == "assistant"
        if not ours and not (asked and answers) and not (entry.role == "user" and entry.text.startswith(openings)):
            kept.append(entry)
        asked = ours or (asked and answers)
    return kept
