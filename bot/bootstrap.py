"""The one door: settings in, a bot with everything joined out. Takes stand-ins for tests."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bot import admin
from bot.acquaintance import Acquaintance
from bot.approvals import Approvals
from bot.backends import Backends, open_agent
from bot.callers import Callers
from bot.clock import SystemClock
from bot.commands import Commands, parse
from bot.errors import ServiceUnavailable, ThreadGone
from bot.events import Emit, fan_out
from bot.feedback import Opinions
from bot.forgetting import Forgetting
from bot.inbox import Inbox, InboxLimits
from bot.past import Past
from bot.ports import Agent, Channel, Clock, Store, Toolbox
from bot.roles import Roles
from bot.rounds import Rounds
from bot.runs import RunLimits, Runs
from bot.say import Says
from bot.settings import Settings
from bot.telemetry import log_event
from bot.texts import Texts
from bot.threads import ThreadLimits, Threads, thread_key
from bot.turn import Turns
from bot.types import (
    Accepted,
    Change,
    Control,
    ConversationKind,
    Entry,
    JsonObject,
    Message,
    MessageKind,
    Said,
    reference_of,
)

log = logging.getLogger("threadkeeper.bootstrap")

ROLLOVER_SHARE = 3 / 4
"""Of the window of a model that is ours to fill: a thread moves on before its beginning would have to be left out."""

SHOWN_HISTORY = 100
GRACE = 20.0
"""Seconds that running turns are given to end when the bot stops."""


@dataclass(slots=True)
class StandIns:
    """What a test puts in the place of the real thing."""

    clock: Clock | None = None
    store: Store | None = None
    agent: Agent | None = None
    toolbox: Toolbox | None = None
    channels: Mapping[str, Channel] | None = None
    inbox: InboxLimits | None = None
    runs: RunLimits | None = None
    threads: ThreadLimits | None = None
    listeners: list[Emit] = field(default_factory=list[Emit])
    channel_options: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class Bot:
    """A bot in one process, from its HTTP application to its database."""

    settings: Settings
    store: Store
    agent: Agent
    toolbox: Toolbox
    inbox: Inbox
    app: Any
    problems: Sequence[str]
    turns: Turns
    forgetting: Forgetting
    acquaintance: Acquaintance
    stopping: bool = False

    async def accept(self, message: Message) -> Accepted:
        """Put a verified message on disk, in its lane."""
        return await self.inbox.accept(entry_of(message, self.settings))

    async def start(self) -> None:
        """Begin to run turns: first what was left from before."""
        await self.inbox.start(self.turns)
        self.forgetting.start()
        self.acquaintance.start()

    async def stop(self, grace: float = GRACE) -> None:
        """Begin no more turns, let those that run end or hand them over. Messages are still accepted."""
        self.stopping = True
        await self.acquaintance.stop()
        await self.forgetting.stop()
        await self.inbox.stop(grace)

    async def ready(self) -> list[str]:
        """Why the bot does not work now, each with its cure; empty when it does."""
        found: list[str] = []
        if self.stopping:
            found.append("The bot is stopping.")
        if self.inbox.problem is not None:
            found.append(str(self.inbox.problem))
        try:
            await self.store.ping()
        except ServiceUnavailable as error:
            found.append(f"{error} Check DATABASE_URL and that the database runs.")
        return found


def entry_of(message: Message, settings: Settings) -> Entry:
    """How a message goes into the inbox: its lane, and whether it is a control, a command or words for the agent."""
    lane = thread_key(message.conversation, message.person, settings.group_threads)
    command = parse(message.text) if message.kind is MessageKind.TEXT else None
    asked = command or (admin.parse(message.text) if message.kind is MessageKind.TEXT else None)
    if message.revises is not None and message.revises.change is Change.DELETED:
        command = asked = Control.DELETE
    elif message.revises is not None and command in (Control.APPROVE, Control.DECLINE):
        command = asked = None  # one agrees by saying so, not by changing what was said before
    return Entry(
        message,
        lane,
        control=command if isinstance(command, Control) else None,
        joins=message.kind is MessageKind.TEXT and asked is None,
        redo=settings.edited_messages == "redo",
        admin=message.person.id in settings.admins,
        shared=settings.group_threads == "shared" and message.conversation.kind is not ConversationKind.PERSONAL,
    )


def texts_for(settings: Settings) -> Texts:
    """The bot's sentences with the organisation's names in them."""
    return Texts(settings.bot_name, settings.support_contact, settings.run_deadline_seconds, settings.retention_days)


@asynccontextmanager
async def open_bot(settings: Settings, stand_ins: StandIns | None = None) -> AsyncGenerator[Bot]:
    """Join everything; on leaving, close it in the opposite order. `start` begins the work.

    Raises:
        OperatorError: the database, or a tool or adapter that must be there, cannot be used.
    """
    given = stand_ins or StandIns()
    clock = given.clock or SystemClock()
    texts = texts_for(settings)
    listeners: list[Emit] = [log_event, *given.listeners]
    emit = fan_out(listeners)

    async with AsyncExitStack() as stack:
        store = given.store or await _open_store(settings, clock, stack)
        agent = given.agent or await open_agent(settings, store, clock, texts, stack)
        toolbox, problems = await _open_tools(settings, given, clock, stack)
        channels: dict[str, Channel] = dict(given.channels or {})
        limits_of_inbox = given.inbox or InboxLimits()
        inbox = Inbox(store, clock, emit, _owner(), limits_of_inbox)
        archives = Backends(settings, agent, store, clock, texts, stack)
        forgetting = Forgetting(store, agent, archives, emit, settings.retention_days)
        threads = Threads(store.threads, agent, archives, clock, emit, given.threads or _thread_limits(settings))
        limits = given.runs or RunLimits(deadline=settings.run_deadline_seconds)
        approvals = Approvals(store.approvals, toolbox, channels, texts, emit, settings.approval_minutes * 60)
        note = importlib.import_module("adapters.notes").Notes(toolbox, values=settings.audit_arguments).of
        roles = Roles(settings.admins, dict(settings.tool_roles))
        callers = Callers(store.tool_records, Past(store.threads, agent, archives, texts), channels, clock, roles)
        rounds = Rounds(toolbox, store.tool_calls, clock, emit, texts, approvals, callers, note)
        runs = Runs(agent, rounds, clock, emit, limits)
        turns = Turns(
            store=store,
            channels=channels,
            threads=threads,
            runs=runs,
            toolbox=toolbox,
            commands=Commands(store, toolbox, texts, agent.backend, threads.here, forgetting, problems, roles),
            admin=admin.Admin(store, texts, settings.admins, agent.backend, limits_of_inbox.undo),
            texts=texts,
            clock=clock,
            emit=emit,
            shared_groups=settings.group_threads == "shared",
            max_age=settings.message_max_age_minutes * 60,
        )
        bot = Bot(
            settings, store, agent, toolbox, inbox, None, problems, turns, forgetting, Acquaintance(store, channels)
        )
        bot.app = await _open_channels(bot, channels, listeners, clock, given, stack)
        inbox.must_outlast(max(channel.send_timeout for channel in (given.channels or channels).values()))
        yield bot


async def _open_store(settings: Settings, clock: Clock, stack: AsyncExitStack) -> Store:
    store = await _store_of(settings, clock, runner=True)
    stack.push_async_callback(store.close)
    return store


async def _store_of(settings: Settings, clock: Clock, *, runner: bool) -> Store:
    password: Any = None
    if settings.database_auth == "entra":
        password = importlib.import_module("bot.store.entra").EntraPassword(settings.microsoft_cloud)
    module = importlib.import_module("bot.store")
    store: Store = await module.open_store(settings.database_url, clock, runner=runner, password=password)
    return store


async def open_beside(settings: Settings) -> Store:
    """The store for a command that works beside a running bot.

    Raises:
        OperatorError: the database cannot be used.
    """
    return await _store_of(settings, SystemClock(), runner=False)


def find_tools(settings: Settings) -> tuple[Any, list[str]]:
    """The toolbox, not yet entered, and what was not loaded."""
    loaded = importlib.import_module("adapters.discovery").load(settings.tools_dir, settings=settings.for_tools)
    return loaded.toolbox, loaded.problems


async def _open_tools(
    settings: Settings, given: StandIns, clock: Clock, stack: AsyncExitStack
) -> tuple[Toolbox, list[str]]:
    limited = importlib.import_module("adapters.limits").Limited
    within = partial(limited, per_minute=settings.tool_calls_per_minute, monotonic=clock.monotonic, sleep=clock.sleep)
    if given.toolbox is not None:
        return within(given.toolbox), []
    toolbox, problems = find_tools(settings)
    for problem in problems:
        log.warning("a tool was not loaded: %s", problem)
    return within(await stack.enter_async_context(toolbox)), problems


async def _open_channels(
    bot: Bot,
    channels: dict[str, Channel],
    listeners: list[Emit],
    clock: Clock,
    given: StandIns,
    stack: AsyncExitStack,
) -> Any:
    """The HTTP application with every channel's routes. In local mode with the page, and its two people."""
    settings = bot.settings

    emit = fan_out(listeners)
    options = {"judge": Opinions(bot.store, emit).take, **given.channel_options}
    options = {"file_offers": bot.store.offers, "download": bot.turns.content} | options
    framework = importlib.import_module("bot.channels.botframework").create(
        settings, accept=bot.accept, emit=emit, clock=clock, texts=bot.turns.texts, **options
    )
    stack.push_async_callback(framework.close)
    routes = [*framework.routes()]
    for name, channel in framework.channels().items():
        channels.setdefault(name, channel)
    says = Says(bot.store, emit, settings.group_threads, bot.inbox.nudge)
    say = partial(says.say, actor="api")
    routes += importlib.import_module("bot.web.say").say_routes(say, settings.say_api_key.get_secret_value(), emit)
    closing: list[Any] = []
    if settings.local:
        local = importlib.import_module("bot.channels.local").LocalChannel(
            bot.accept, partial(_view, bot), partial(_lane_of, settings), clock, bot.turns.texts
        )
        listeners.append(local.on_event)
        routes += local.routes()
        channels.setdefault(local.name, local)
        closing.append(local.close)
    metrics = importlib.import_module("bot.metrics").Metrics(
        bot.agent.backend, channels, bot.toolbox, bot.store.records.oldest_waiting
    )
    listeners.append(metrics.on_event)
    web = importlib.import_module("bot.web.app")
    return web.create_app(routes=routes, ready=bot.ready, page=settings.local, metrics=metrics.page, closing=closing)


def _lane_of(settings: Settings, message: Message) -> str:
    return entry_of(message, settings).lane


async def _view(bot: Bot, lane_key: str) -> JsonObject:
    """What the local page shows of a lane.

    Raises:
        ServiceUnavailable, OperatorError: the thread cannot be read now.
    """
    lane = await bot.store.threads.lane(lane_key)
    running, waiting = await bot.store.records.busy(lane_key)
    thread = lane.thread if lane else None
    said: list[Said] = []
    if thread is not None and thread.backend == bot.agent.backend:
        with contextlib.suppress(ThreadGone):
            said = await bot.agent.history(thread.remote_id, SHOWN_HISTORY)
    return {
        "thread": {
            "id": thread.remote_id,
            "number": thread.id,
            "opened_at": thread.opened_at,
            "messages": thread.messages,
            "reason": thread.reason,
        }
        if thread
        else None,
        "history": [{"role": entry.role, "text": entry.text} for entry in said],
        "running": reference_of(running) if running else None,
        "waiting": waiting,
        "backend": bot.agent.backend,
    }


def _thread_limits(settings: Settings) -> ThreadLimits:
    tokens = settings.thread_max_tokens
    if settings.agent_backend == "chat-completions":
        tokens = min(tokens, int(settings.model_context_tokens * ROLLOVER_SHARE))
    return ThreadLimits(settings.thread_max_messages, tokens, settings.thread_idle_days)


def _owner() -> str:
    """The name under which this process holds its turns; another life of it has another."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
