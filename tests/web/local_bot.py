"""A scripted bot behind the local channel: it accepts, remembers, and plays what a test tells it to."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

from aiohttp import web

from bot.channels.local import LocalChannel
from bot.clock import SystemClock
from bot.events import (
    Event,
    RunEnded,
    RunLooked,
    RunStarted,
    ThreadOpened,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnStarted,
)
from bot.types import Accepted, Control, Decision, File, JsonObject, Message, Part, reference_of
from bot.web.app import create_app


def lane_of(message: Message) -> str:
    """One thread for each person in each conversation."""
    return f"{message.conversation.id}/{message.person.id}"


def view(
    *said: tuple[str, str],
    thread: str | None = None,
    opened_at: float = 1.0,
    running: str | None = None,
    waiting: int = 0,
) -> JsonObject:
    """A lane as the page is told of it; `said` are questions with their answers."""
    history = [entry for q, a in said for entry in ({"role": "user", "text": q}, {"role": "assistant", "text": a})]
    known = {"id": thread, "number": 3, "opened_at": opened_at, "messages": 2 * len(said), "reason": "first"}
    shown: JsonObject = {"thread": known if thread else None, "history": history, "backend": "rehearsal"}
    return {**shown, "running": running, "waiting": waiting}


@dataclass
class LocalBot:
    """Records what was accepted; the lanes it shows are plain values that a test may set."""

    accepted: list[Message] = field(default_factory=list)
    views: dict[str, JsonObject] = field(default_factory=dict)
    refusals: list[Exception] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    """What presses come to, by the person who presses."""
    calls: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.arrived = asyncio.Event()
        self.channel = LocalChannel(self.accept, self.view, lane_of, SystemClock())

    def app(self) -> web.Application:
        """The application in local mode."""

        async def ready() -> list[str]:
            return []

        return create_app(routes=self.channel.routes(), ready=ready, page=True, closing=[self.channel.close])

    async def accept(self, message: Message) -> Accepted:
        """Like the inbox: the same id is the same turn."""
        if self.refusals:
            raise self.refusals.pop()
        fresh = message.id not in self.turns
        turn = self.turns.setdefault(message.id, len(self.turns) + 1)
        if fresh:
            self.accepted.append(message)
            self.arrived.set()
        return Accepted(turn, fresh, decision=self.decisions.get(message.person.id) if message.decides else None)

    async def said(self, count: int) -> Message:
        """The newest of `count` accepted messages, once it is there."""
        async with asyncio.timeout(10):
            while len(self.accepted) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.accepted[count - 1]

    async def view(self, lane: str) -> JsonObject:
        """What a test set for this lane, else one without a thread."""
        return self.views.get(lane) or view()

    # -- what a turn tells ---------------------------------------------------------------------------------

    def reference(self, message: Message) -> str:
        return reference_of(self.turns[message.id])

    def tell(self, *events: Event) -> None:
        for event in events:
            self.channel.on_event(event)

    def start(self, message: Message, *, thread: str = "") -> None:
        """A turn begins its run, in a new thread if one is named."""
        to = (self.reference(message), lane_of(message))
        if thread:
            self.tell(ThreadOpened(*to, "rehearsal", thread, "first", "nothing"))
        self.tell(
            TurnStarted(*to, 1, 1, 0.0),
            RunStarted(*to, "rehearsal", thread, "run", "a0", adopted=False),
            RunLooked(*to, "run", "in_progress"),
        )

    def call_starts(self, message: Message, tool: str) -> str:
        call = f"call-{next(self.calls)}"
        self.tell(ToolStarted(self.reference(message), lane_of(message), tool, call, repeated=False))
        return call

    def call_ends(self, message: Message, tool: str, call: str, error: str | None = None) -> None:
        self.tell(ToolEnded(self.reference(message), lane_of(message), tool, call, 0.21, 40, error))

    async def say(
        self,
        message: Message,
        text: str,
        *,
        by_agent: bool = True,
        buttons: tuple[str, ...] = (),
        controls: tuple[Control, ...] = (),
    ) -> str:
        part = Part(text, by_agent=by_agent, buttons=buttons, controls=controls)
        return await self.channel.send(message.address, part)

    async def give(self, message: Message, file: File) -> str:
        """A file that the agent made."""
        return await self.channel.send(message.address, Part("", by_agent=True, file=file))

    def end(self, message: Message, outcome: str = "answered") -> None:
        to = (self.reference(message), lane_of(message))
        self.tell(RunEnded(*to, "run", "completed", 1, 0.5), TurnEnded(*to, outcome, 1.2))

    async def answer(self, message: Message, text: str) -> None:
        """A whole turn."""
        async with self.channel.working(message.address):
            self.start(message)
            await self.say(message, text)
        self.end(message)
