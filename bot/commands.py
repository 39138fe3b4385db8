"""What the bot does itself when a message is nothing but a command. Anything else goes to the agent."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bot.forgetting import Forgetting
from bot.lease import Turn
from bot.ports import Store, Toolbox
from bot.roles import Roles
from bot.texts import Texts
from bot.types import Command, Control, Ended, Thread

WORDS: dict[str, Command | Control] = {
    "start over": Control.START_OVER,
    "startover": Control.START_OVER,
    "new topic": Control.START_OVER,
    "new conversation": Control.START_OVER,
    "/new": Control.START_OVER,
    "/reset": Control.START_OVER,
    "undo": Control.UNDO,
    "/undo": Control.UNDO,
    "stop": Control.STOP,
    "/stop": Control.STOP,
    "help": Command.HELP,
    "/help": Command.HELP,
    "hi": Command.HELP,
    "hello": Command.HELP,
    "status": Command.STATUS,
    "/status": Command.STATUS,
    "tools": Command.TOOLS,
    "/tools": Command.TOOLS,
    "retry": Command.RETRY,
    "/retry": Command.RETRY,
    "forget me": Command.FORGET,
    "forget me now": Control.FORGET,
    "approve": Control.APPROVE,
    "decline": Control.DECLINE,
}

_QUOTED = re.compile(r"^\s*>.*$", re.MULTILINE)
_EDGES = " \t\r\n\u00a0.!?,;:…\"'“”‘’«»*_`"


def bare(text: str) -> str:
    """The message less quoted lines, marks of emphasis, closing punctuation, and space but between words."""
    return " ".join(_QUOTED.sub("", text).strip(_EDGES).split())


def parse(text: str) -> Command | Control | None:
    """The command that the whole message is."""
    return WORDS.get(bare(text).casefold())


@dataclass(frozen=True, slots=True)
class Commands:
    """Answers commands, and says what a control has done."""

    store: Store
    toolbox: Toolbox
    texts: Texts
    backend: str
    here: Callable[[Thread], bool]
    forgetting: Forgetting
    problems: Sequence[str] = ()
    roles: Roles = field(default_factory=Roles)

    async def answer(self, command: Command, turn: Turn) -> str:
        """The words for a command. "retry" is none: it asks the agent again."""
        if command is Command.STATUS:
            return await self._status(turn)
        if command is Command.TOOLS:
            theirs = self.roles.of(turn.message.person)
            listed = [spec for spec in self.toolbox.specs() if not spec.hidden and spec.is_for(theirs)]
            return self.texts.tools({spec.name: _first_sentence(spec.description) for spec in listed}, self.problems)
        if command is Command.FORGET:
            return self.texts.forget_me()
        return self.texts.help()

    async def _status(self, turn: Turn) -> str:
        _, waiting = await self.store.records.busy(turn.lane)
        thread = turn.thread
        return self.texts.status(
            thread=thread.remote_id if thread else None,
            opened_at=thread.opened_at if thread else None,
            messages=thread.messages if thread else 0,
            waiting=waiting,
            backend=self.backend,
            moves=thread is not None and not self.here(thread),
        )

    async def confirm(self, turn: Turn) -> str:
        """What a control did: it acted when it was accepted, and is confirmed here, after the older turn has ended."""
        dropped: int = turn.effect.get("dropped", 0)
        interrupted: list[int] = turn.effect.get("interrupted", [])
        ended = await self.store.records.ended(interrupted)
        stopped = [number for number in interrupted if ended.get(number) is Ended.STOPPED]
        if turn.control is Control.STOP:
            return await self._stopped(stopped, dropped)
        if turn.control is Control.DELETE:  # an answer that was given before it could be stopped stands for itself
            return await self._stopped(stopped, 0) if stopped else ""
        if turn.control is Control.UNDO and turn.effect.get("nothing"):
            return self.texts.nothing_to_undo()
        if turn.control is Control.FORGET:
            return self.texts.forgotten(await self.forgetting.person(turn))
        if turn.effect.get("by_admin") and turn.notice:  # said with the notice
            return self.texts.interrupted(bool(stopped), dropped)
        done = self.texts.undone() if turn.control is Control.UNDO else self.texts.started_over()
        return "\n\n".join(filter(None, [self.texts.interrupted(bool(stopped), dropped), done]))

    async def _stopped(self, turns: Sequence[int], dropped: int) -> str:
        """What was stopped, and which tools had acted by then, or may have: one that was cut off."""
        calls = [row for turn in turns for row in await self.store.tool_calls.rows(turn) if row.may_have_acted]
        done = [row.name for row in calls if row.state == "done"]
        unknown = [row.name for row in calls if row.state != "done"]
        return self.texts.stopped(bool(turns), dropped, done, unknown)


def _first_sentence(description: str) -> str:
    line = description.strip().split("\n", 1)[0]
    return line.split(". ", 1)[0].rstrip(".")
