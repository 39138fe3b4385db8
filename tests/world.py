"""A bot in a test: real store, real inbox, real agent client; a channel and a clock that record. Tests assert."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot import settings as environment
from bot.bootstrap import Bot, StandIns, open_bot
from bot.errors import DeliveryRefused, TooLarge
from bot.events import Event, TurnReleased
from bot.inbox import InboxLimits
from bot.ports import Beside, Show
from bot.runs import RunLimits
from bot.types import (
    Accepted,
    Attachment,
    Caller,
    Conversation,
    ConversationKind,
    JsonObject,
    Message,
    MessageKind,
    Part,
    Person,
    ToolCall,
    ToolOutput,
    ToolSpec,
)
from tests.scripted import ScriptedAgent

CHAT = Conversation("test", "tenant", "chat-1")
ADA = Person("ada", "Ada")
GRACE = Person("grace", "Grace")
_ids = itertools.count(1)


def message(
    text: str,
    *,
    person: Person = ADA,
    conversation: Conversation | None = None,
    id: str | None = None,
    kind: MessageKind = MessageKind.TEXT,
    sent_at: int | None = None,
    decides: str = "",
) -> Message:
    """What a person says; each in a personal chat of their own unless a conversation is named."""
    place = conversation or Conversation("test", "tenant", f"chat-{person.id}")
    return Message(id or f"m{next(_ids)}", place, person, text, {"to": place.id}, kind, sent_at, decides=decides)


def group(id: str = "group-1") -> Conversation:
    return Conversation("test", "tenant", id, ConversationKind.GROUP)


class FastClock:
    """A clock whose sleeps take no time but are counted; real time goes on beneath it."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self.slept: list[float] = []

    def now(self) -> float:
        return time.time() + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.ahead += seconds
        await asyncio.sleep(0)


class RecordingChannel:
    """A `Channel` that keeps what it was given. `failures` are raised by the next sends, one each."""

    name = "test"
    limit = 80 * 1024
    send_timeout = 2.0

    def __init__(self) -> None:
        self.sent: list[tuple[JsonObject, Part]] = []
        self.updates: list[tuple[str, Part]] = []
        self.failures: list[Exception] = []
        self.after_send: Callable[[], Any] | None = None
        self.working_now = 0
        self.streams = False
        self.shows: frozenset[Beside] = frozenset()
        self.shown: list[str] = []
        self.files: dict[str, bytes | Exception] = {}
        self.fetched: list[tuple[str, int]] = []
        self.news = asyncio.Event()

    def dialect(self, text: str) -> str:
        return text

    @asynccontextmanager
    async def working(self, address: JsonObject) -> AsyncGenerator[Show | None]:
        self.working_now += 1
        try:
            yield self.shown.append if self.streams else None
        finally:
            self.working_now -= 1

    async def send(self, address: JsonObject, part: Part) -> str:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append((address, part))
        self.news.set()
        if self.after_send is not None:
            self.after_send()
        return f"d{len(self.sent)}"

    async def update(self, address: JsonObject, delivered: str, part: Part) -> None:
        self.updates.append((delivered, part))

    async def fetch(self, address: JsonObject, attachment: Attachment, most: int) -> bytes:
        self.fetched.append((attachment.name, most))
        found = self.files.get(attachment.name)
        if found is None:
            raise DeliveryRefused("no such file")
        if isinstance(found, Exception):
            raise found
        if len(found) > most:
            raise TooLarge("too large")
        return found

    @property
    def texts(self) -> list[str]:
        return [part.text for _, part in self.sent]


@dataclass
class FakeToolbox:
    """Tools that record their calls. A function takes the caller and the arguments' text."""

    tools: dict[str, tuple[ToolSpec, Callable[[ToolCall, Caller], Any]]] = field(default_factory=dict)
    calls: list[tuple[str, str, bool]] = field(default_factory=list)

    def add(
        self, name: str, answer: Callable[[ToolCall, Caller], Any], *, once: bool = False, approve: bool = False
    ) -> None:
        schema = {"type": "object", "properties": {}}
        self.tools[name] = (
            ToolSpec(name, f"The tool {name}.", schema, once=once, source="test", approve=approve),
            answer,
        )

    def specs(self) -> list[ToolSpec]:
        return [spec for spec, _ in self.tools.values()]

    def approval(self, call: ToolCall) -> dict[str, str] | None:
        known = self.tools.get(call.name)
        return {"arguments": call.arguments} if known is not None and known[0].approve else None

    async def call(self, call: ToolCall, caller: Caller) -> ToolOutput:
        self.calls.append((call.name, caller.key, caller.repeated))
        if call.name not in self.tools:
            return ToolOutput(call.id, f"There is no tool {call.name}.", "unknown_tool")
        result = self.tools[call.name][1](call, caller)
        if asyncio.iscoroutine(result):
            result = await result
        return ToolOutput(call.id, str(result))


@dataclass
class World:
    """A running bot and everything a test asks of it."""

    bot: Bot
    channel: RecordingChannel
    clock: FastClock
    toolbox: FakeToolbox
    events: list[Event]

    async def say(self, text: str, **options: Any) -> Accepted:
        return await self.bot.accept(message(text, **options))

    async def ask(self, text: str, **options: Any) -> str:
        """Say it and wait for what is said back."""
        before = len(self.channel.sent)
        await self.say(text, **options)
        await self.answers(before + 1)
        return self.channel.texts[before]

    async def answers(self, count: int, timeout: float = 30.0, *, ended: bool = True) -> list[str]:
        """Wait until so many deliveries were made, and until every turn has ended."""
        async with asyncio.timeout(timeout):
            while len(self.channel.sent) < count:
                self.channel.news.clear()
                if len(self.channel.sent) < count:
                    await self.channel.news.wait()
        if ended:
            await self.quiet()
        return self.channel.texts

    async def quiet(self, timeout: float = 30.0) -> None:
        """Wait until every message has ended."""
        try:
            async with asyncio.timeout(timeout):
                while self.bot.inbox.running or await self.bot.store.records.unfinished():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError(f"turns were still open; given back before: {self.of(TurnReleased)}") from None

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def settings_for(folder: Path, **overrides: Any) -> environment.Settings:
    url = overrides.pop("database_url", f"sqlite+aiosqlite:///{folder / 'bot.db'}")
    return environment.load(env_file=None, database_url=url, **overrides)


FAST = InboxLimits(backoff=0.01, backoff_cap=0.05, park=0.05, sweep=0.05)
QUICK_RUNS = RunLimits(ending=5.0)


@asynccontextmanager
async def open_world(
    folder: Path,
    *,
    channel: RecordingChannel | None = None,
    clock: FastClock | None = None,
    toolbox: FakeToolbox | None = None,
    agent: Any = None,
    store: Any = None,
    inbox: InboxLimits = FAST,
    runs: RunLimits | None = QUICK_RUNS,
    threads: Any = None,
    start: bool = True,
    grace: float = 5.0,
    **overrides: Any,
) -> AsyncGenerator[World]:
    """A bot on a database in `folder`; opening another world on the same folder is a restart."""
    channel, clock, toolbox = channel or RecordingChannel(), clock or FastClock(), toolbox or FakeToolbox()
    if isinstance(agent, ScriptedAgent):
        agent.clock = clock
    events: list[Event] = []
    stand_ins = StandIns(
        clock=clock,
        store=store,
        agent=agent,
        toolbox=toolbox,
        channels={"test": channel},
        inbox=inbox,
        runs=runs,
        threads=threads,
        listeners=[events.append],
    )
    async with open_bot(settings_for(folder, **overrides), stand_ins) as bot:
        if start:
            await bot.start()
        try:
            yield World(bot, channel, clock, toolbox, events)
        finally:
            await bot.stop(grace)
