"""Events as numbers for Prometheus: counts, seconds and states, by channel and backend; never a person."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bot.errors import ServiceUnavailable
from bot.events import (
    ActivityIgnored,
    ControlApplied,
    Delivered,
    Event,
    FeedbackGiven,
    LeaseLost,
    MessageAccepted,
    RequestRefused,
    RunEnded,
    RunLooked,
    ThreadOpened,
    ToolEnded,
    TurnEnded,
    TurnReleased,
    TurnStarted,
    Unexpected,
    WordsTaken,
)
from bot.ports import Toolbox
from bot.types import NOT_AGREED, NOT_MADE

Waiting = Callable[[], Awaitable[Mapping[str, tuple[int, float]]]]
"""For each channel in which messages wait: how many, and the age of the oldest in seconds."""

OTHER = "other"
"""In place of a value that is not known here: what comes from outside makes no new series."""

RUN_STATES = frozenset(
    {
        "queued",
        "in_progress",
        "requires_action",
        "cancelling",
        "cancelled",
        "completed",
        "incomplete",
        "failed",
        "expired",
        "gone",
        "unreachable",
    }
)
TOOL_ERRORS = NOT_MADE | NOT_AGREED | {"failed", "not_json", "timeout", "unknown"}
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
STORE_TIMEOUT = 5.0
"""Below the 10 s after which Prometheus gives a scrape up."""

log = logging.getLogger("threadkeeper.metrics")
E = TypeVar("E", bound=Event)
disable_created_metrics()  # a second series beside each, which says only when this process began


@dataclass(slots=True)
class _InHand:
    """A turn that runs here, and its run's state when that was last looked at."""

    channel: str
    run: str | None = None


class Metrics:
    """An `Emit` listener with a registry of its own. What it remembers of a turn, it forgets when the turn ends."""

    def __init__(self, backend: str, channels: Collection[str], toolbox: Toolbox, waiting: Waiting) -> None:
        self._backend = backend
        self._channels = channels
        self._toolbox = toolbox
        self._waiting = waiting
        self._in_hand: dict[str, _InHand] = {}
        self._registry = CollectorRegistry()
        self._tell: dict[type[Event], Callable[[Event], None]] = {}
        ProcessCollector(registry=self._registry)
        self._count_acceptance()
        self._count_turns()
        self._count_runs()
        self._count_tools()
        self._count_feedback()

    def on_event(self, event: Event) -> None:
        """Count it."""
        tell = self._tell.get(type(event))
        if tell is not None:
            tell(event)

    async def page(self) -> tuple[bytes, str]:
        """Everything as Prometheus reads it, and its content type. Without the database, only what waits is missing."""
        waiting: Mapping[str, tuple[int, float]] | None = None
        try:
            async with asyncio.timeout(STORE_TIMEOUT):
                waiting = await self._waiting()
        except (ServiceUnavailable, TimeoutError) as error:
            log.warning("the waiting messages cannot be counted: %s", type(error).__name__)
        now = CollectorRegistry()
        now.register(_Now(self._in_hand.values(), self._channels, waiting))
        return generate_latest(self._registry) + generate_latest(now), CONTENT_TYPE_PLAIN_0_0_4

    # -- what is counted ------------------------------------------------------------------------------------

    def _count_acceptance(self) -> None:
        messages = self._counter("messages", "Messages accepted, without redeliveries.", "channel", "kind")
        says = self._counter("says", "Words taken for people who had not asked.", "channel")
        redeliveries = self._counter("redeliveries", "Messages that came again and changed nothing.", "channel")
        ignored = self._counter("activities_ignored", "What a channel sent that is no message.", "channel")
        refused = self._counter("requests_refused", "Requests of channels that were refused.", "path", "status")
        controls = self._counter("controls", "Start over, undo and stop.", "control")
        dropped = self._counter("messages_dropped", "Waiting messages that a control dropped.", "control")

        def accepted(event: MessageAccepted) -> None:
            if event.fresh:
                messages.labels(self._channel(event.channel), event.kind).inc()
            else:
                redeliveries.labels(self._channel(event.channel)).inc()

        def controlled(event: ControlApplied) -> None:
            controls.labels(event.control).inc()
            dropped.labels(event.control).inc(event.dropped)

        self._on(MessageAccepted, accepted)
        self._on(WordsTaken, lambda event: says.labels(self._channel(event.channel)).inc(event.fresh))
        self._on(ActivityIgnored, lambda event: ignored.labels(self._channel(event.channel)).inc())
        self._on(RequestRefused, lambda event: refused.labels(event.path, str(event.status)).inc())
        self._on(ControlApplied, controlled)

    def _count_turns(self) -> None:
        ended = self._counter("turns", "Turns that ended, and how.", "backend", "channel", "ended")
        seconds = self._histogram("turn_seconds", "From a turn's start to its end.", "backend", "channel")
        waited = self._histogram("waiting_seconds", "From acceptance to the turn's first start.", "channel")
        released = self._counter("turns_released", "Turns put back to be taken up again.", "channel", "mended_by")
        lost = self._counter("leases_lost", "Turns that another process took.", "channel")
        delivered = self._counter("deliveries", "Parts of answers that a channel took.", "channel")
        faults = self._counter("faults", "Faults of the bot itself.", "where")

        def start(event: TurnStarted) -> None:
            self._in_hand[event.reference] = _InHand(self._channel_of(event))
            if event.attempt == 1:
                waited.labels(self._channel_of(event)).observe(event.waited)

        def end(event: TurnEnded) -> None:
            self._forget(event)
            ended.labels(self._backend, self._channel_of(event), event.ended).inc()
            seconds.labels(self._backend, self._channel_of(event)).observe(event.seconds)

        def release(event: TurnReleased) -> None:
            self._forget(event)
            released.labels(self._channel_of(event), "operator" if event.cure else "time").inc()

        def lose(event: LeaseLost) -> None:
            self._forget(event)
            lost.labels(self._channel_of(event)).inc()

        def unexpected(event: Unexpected) -> None:
            faults.labels(event.where).inc()
            if event.where == "inbox":  # the turn is left to whoever finds its lease expired
                self._forget(event)

        self._on(TurnStarted, start)
        self._on(TurnEnded, end)
        self._on(TurnReleased, release)
        self._on(LeaseLost, lose)
        self._on(Delivered, lambda event: delivered.labels(self._channel(event.channel)).inc())
        self._on(Unexpected, unexpected)

    def _count_runs(self) -> None:
        threads = self._counter("threads_opened", "Threads opened, and why.", "backend", "reason")
        runs = self._counter("runs_ended", "Runs that ended, by the service's word.", "backend", "channel", "state")
        tokens = self._counter("tokens", "Tokens that the service counted.", "backend", "channel", "kind")

        def look(event: RunLooked) -> None:
            if event.reference in self._in_hand:
                self._in_hand[event.reference].run = _state(event.state)

        def end(event: RunEnded) -> None:
            if event.reference in self._in_hand:
                self._in_hand[event.reference].run = None
            channel = self._channel_of(event)
            runs.labels(self._backend, channel, _state(event.state)).inc()
            tokens.labels(self._backend, channel, "prompt").inc(event.prompt_tokens)
            tokens.labels(self._backend, channel, "completion").inc(event.completion_tokens)

        self._on(ThreadOpened, lambda event: threads.labels(event.backend, event.reason).inc())
        self._on(RunLooked, look)
        self._on(RunEnded, end)

    def _count_tools(self) -> None:
        calls = self._counter("tool_calls", "Tool calls that have their output.", "channel", "tool")
        errors = self._counter("tool_errors", "Tool calls that failed, and how.", "channel", "tool", "error")
        seconds = self._histogram("tool_seconds", "From a tool call to its output.", "tool")

        def end(event: ToolEnded) -> None:
            channel, tool = self._channel_of(event), self._tool(event.tool)
            calls.labels(channel, tool).inc()
            seconds.labels(tool).observe(event.seconds)
            if event.error is not None:
                error = event.error if event.error in TOOL_ERRORS else OTHER
                errors.labels(channel, tool, error).inc()

        self._on(ToolEnded, end)

    def _count_feedback(self) -> None:
        given = self._counter("feedback", "Likes and dislikes; a changed one counts again.", "channel", "reaction")

        def give(event: FeedbackGiven) -> None:
            if event.outcome != "again":
                given.labels(self._channel(event.channel), event.reaction).inc()

        self._on(FeedbackGiven, give)

    # -- small things ---------------------------------------------------------------------------------------

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"threadkeeper_{name}", words, labels, registry=self._registry)

    def _histogram(self, name: str, words: str, *labels: str) -> Histogram:
        return Histogram(f"threadkeeper_{name}", words, labels, registry=self._registry, buckets=SECONDS)

    def _on(self, kind: type[E], tell: Callable[[E], None]) -> None:
        self._tell[kind] = tell  # pyright: ignore[reportArgumentType]  # told only what is of its type

    def _forget(self, event: Event) -> None:
        self._in_hand.pop(event.reference, None)

    def _channel_of(self, event: Event) -> str:
        """Each lane's key begins with its channel."""
        return self._channel(event.lane.split("/", 1)[0])

    def _channel(self, name: str) -> str:
        return name if name in self._channels else OTHER

    def _tool(self, name: str) -> str:
        """The agent may ask for a tool that there is not, by any name."""
        return name if any(spec.name == name for spec in self._toolbox.specs()) else OTHER


class _Now(Collector):
    """How things stand at the moment of the scrape."""

    def __init__(
        self,
        in_hand: Collection[_InHand],
        channels: Collection[str],
        waiting: Mapping[str, tuple[int, float]] | None,
    ) -> None:
        self._in_hand = in_hand
        self._channels = channels
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        running = GaugeMetricFamily("threadkeeper_turns_running", "Turns that run in this process.", labels=["channel"])
        for channel in self._channels:
            running.add_metric([channel], sum(turn.channel == channel for turn in self._in_hand))
        yield running
        open_runs = GaugeMetricFamily(
            "threadkeeper_runs", "Runs of those turns, by their last state.", labels=["state"]
        )
        for state in sorted({*RUN_STATES, OTHER}):
            open_runs.add_metric([state], sum(turn.run == state for turn in self._in_hand))
        yield open_runs
        reached = GaugeMetricFamily("threadkeeper_store_up", "Whether the database answered.")
        reached.add_metric([], 0 if self._waiting is None else 1)
        yield reached
        if self._waiting is not None:
            yield from self._queue(self._waiting)

    def _queue(self, waiting: Mapping[str, tuple[int, float]]) -> Iterator[Metric]:
        count = GaugeMetricFamily(
            "threadkeeper_waiting", "Messages that wait for a turn; the same at every replica.", labels=["channel"]
        )
        oldest = GaugeMetricFamily(
            "threadkeeper_oldest_waiting_seconds", "The age of the oldest of them.", labels=["channel"]
        )
        for channel in sorted({*self._channels, *waiting}):
            messages, age = waiting.get(channel, (0, 0.0))
            count.add_metric([channel], messages)
            oldest.add_metric([channel], age)
        yield count
        yield oldest


def _state(state: str) -> str:
    """The service's word for a run's state, less what it adds behind a colon."""
    word = state.split(":", 1)[0]
    return word if word in RUN_STATES else OTHER
