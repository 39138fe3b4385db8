"""What the inbox costs: from acceptance to the start of a turn, turns a second, idle CPU, and the weight of the past.

`python -m tests.bench.inbox [--database sqlite|postgresql|both] [--quick] [--rounds N]`. Runs the inbox and the store
without agent, channel or log. Each figure stands beside the bare commit of the same minutes: one row inserted and
committed, on an engine with the store's settings and the same disk. Prints; asserts nothing about time.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import random
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median, quantiles

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from bot.clock import SystemClock
from bot.events import Event, TurnEnded
from bot.inbox import Inbox, InboxLimits
from bot.lease import Turn
from bot.store import open_store
from bot.store.engine import open_engine
from bot.threads import thread_key
from bot.types import Ended, Ending, Entry, ThreadUse
from tests.bench.history import fill, said_by
from tests.databases import execute
from tests.postgres import CURE, binaries, private_server

DATABASES = ("sqlite", "postgresql")
LIMITS = InboxLimits()
STEPS = 5
STEP = {"thread": "thread_0123456789", "run": "run_0123456789abcdef", "state": "in_progress", "rounds": 1}
APART = 0.05
"""Seconds between messages at light load."""
LIGHT_LANES = 20
FEWEST_PAIRS = 8
SETTLING = LIMITS.fold + 2.0
"""Seconds after the last turn until nothing is left to do."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    messages: int = 120
    full_seconds: float = 4.0
    idle_rounds: int = 3
    idle_seconds: float = 20.0
    pairs: int = 120
    pairs_seconds: float = 15.0
    few: int = 1_000
    many: int = 1_000_000


QUICK = Plan(rounds=2, messages=40, full_seconds=1.5, idle_rounds=1, idle_seconds=5.0, pairs=40, few=1_000, many=20_000)


@dataclass
class Figure:
    """One line of the table: a value for each round, and the bare commit in milliseconds in that round."""

    name: str
    unit: str
    target: str = ""
    values: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    def add(self, value: float, bare: float) -> None:
        self.values.append(value)
        self.bare.append(bare)


def p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1]


# -- what is measured ---------------------------------------------------------------------------------------


def flush(folder: str, count: int = 200) -> float:
    """Milliseconds until the disk has a page: what no commit can do without."""
    took: list[float] = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(1000 * (time.perf_counter() - began))
    return median(took)


class Bare:
    """The bare commit, on a database of its own so that it waits for no lock of the store."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._table = sa.Table(
            "bare", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("x", sa.Text)
        )

    async def open(self) -> None:
        async with self._engine.begin() as connection:
            await connection.run_sync(self._table.metadata.create_all)

    async def commit(self) -> float:
        """Milliseconds of one."""
        began = time.perf_counter()
        async with self._engine.begin() as connection:
            await connection.execute(sa.insert(self._table).values(x="x" * 200))
        return 1000 * (time.perf_counter() - began)

    async def some(self, count: int = 50) -> list[float]:
        return [await self.commit() for _ in range(count)]

    async def close(self) -> None:
        await self._engine.dispose()


@dataclass(frozen=True)
class Times:
    """Milliseconds since `accept` was called: until it returned, the handler was entered, the turn had ended."""

    accepted: float
    started: float
    ended: float


class Load:
    """An inbox whose turns save five steps and end, and the people who write to it."""

    def __init__(self, inbox: Callable[[Callable[[Event], None]], Inbox], lanes: int) -> None:
        self.lanes = lanes
        self.inbox = inbox(self._listen)
        self.ended = 0
        self._numbers = itertools.count(int(time.time() * 1000))
        self._started: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._ids: dict[str, list[str]] = {}

    # the handler of the inbox

    async def run(self, turn: Turn) -> Ending:
        self._ids[turn.reference] = [message.id for message in turn.messages]  # several, if a turn was late
        self._started |= dict.fromkeys(self._ids[turn.reference], time.perf_counter())
        for number in range(STEPS):
            await turn.save_all({f"step{number}": STEP})
        use = ThreadUse(turn.thread.id, messages=2, prompt_tokens=900) if turn.thread else None
        return Ending(Ended.ANSWERED, turn.steps, use=use)

    async def give_up(self, turn: Turn, error: str) -> Ending:
        raise AssertionError(error)

    def _listen(self, event: Event) -> None:
        if isinstance(event, TurnEnded):
            self.ended += 1
            for said in self._ids.pop(event.reference):
                self._waiting.pop(said).set_result(None)

    # the people

    async def turn(self, person: int) -> Times:
        """One message, until its turn has ended."""
        number = next(self._numbers)
        said = said_by(person, f"f:{number}", sent_at=number)
        self._waiting[said.id] = ended = asyncio.get_running_loop().create_future()
        entry = Entry(said, thread_key(said.conversation, said.person, "person"))
        began = time.perf_counter()
        await self.inbox.accept(entry)
        accepted = time.perf_counter()
        await ended
        over = time.perf_counter()
        return Times(*(1000 * (at - began) for at in (accepted, self._started.pop(said.id), over)))

    def anyone(self) -> int:
        return random.randint(1, self.lanes)


@asynccontextmanager
async def loaded(url: str, finished: int) -> AsyncGenerator[Load]:
    """An inbox that runs on a database with so many finished turns."""
    store = await open_store(url, SystemClock(), runner=True)
    try:
        load = Load(lambda emit: Inbox(store, SystemClock(), emit, "bench", LIMITS), await fill(url, finished))
        await load.inbox.start(load)
        for _ in range(50):  # statements are compiled once
            await load.turn(load.anyone())
        yield load
        await load.inbox.stop(5.0)
    finally:
        await store.close()


# -- the measures -------------------------------------------------------------------------------------------


async def light(load: Load, bare: Bare, messages: int) -> tuple[list[Times], float]:
    """A message every 50 ms, and a bare commit half-way between each two."""
    turns: list[asyncio.Task[Times]] = []
    bares: list[float] = []
    for number in range(messages):
        turns.append(asyncio.create_task(load.turn(1 + number % LIGHT_LANES)))
        await asyncio.sleep(APART / 2)
        bares.append(await bare.commit())
        await asyncio.sleep(APART / 2)
    return await asyncio.gather(*turns), median(bares)


async def full(load: Load, bare: Bare, seconds: float) -> tuple[float, float, float]:
    """As many people as turns may run, each writing again when answered: turns a second, CPU ms a turn, bare commit."""
    bares = await bare.some()
    people = min(LIMITS.running, load.lanes)
    until = time.perf_counter() + seconds

    async def write(person: int) -> None:
        while time.perf_counter() < until:
            await load.turn(person)

    before, cpu, began = load.ended, time.process_time(), time.perf_counter()
    await asyncio.gather(*(write(1 + number * (load.lanes // people)) for number in range(people)))
    took, cpu, turns = time.perf_counter() - began, time.process_time() - cpu, load.ended - before
    bares += await bare.some()
    return turns / took, 1000 * cpu / turns, median(bares)


async def idle(bare: Bare, seconds: float) -> tuple[float, float]:
    """Percent of one core with nothing to do, and the bare commit."""
    bares = await bare.some()
    await asyncio.sleep(SETTLING)
    cpu, began = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    percent = 100 * (time.process_time() - cpu) / (time.perf_counter() - began)
    return percent, median(bares + await bare.some())


async def alone(loads: Sequence[Load], bare: Bare, plan: Plan) -> tuple[list[list[float]], float]:
    """Turns that run alone, one on each database in changing order; milliseconds of each, and the bare commit."""
    took: list[list[float]] = [[] for _ in loads]
    bares: list[float] = []
    order = list(range(len(loads)))
    until = time.perf_counter() + plan.pairs_seconds  # should a turn grow with the past, it would take for ever
    for number in range(plan.pairs):
        if number >= FEWEST_PAIRS and time.perf_counter() > until:
            break
        for which in order:
            took[which].append((await loads[which].turn(loads[which].anyone())).ended)
        bares.append(await bare.commit())
        order.reverse()
    return took, median(bares)


async def measure(urls: dict[str, str], plan: Plan) -> list[Figure]:
    """All figures of one database."""
    bare = Bare(urls["bare"])
    await bare.open()
    try:
        async with loaded(urls["few"], plan.few) as few:
            figures = await _by_itself(few, bare, plan)
            async with loaded(urls["many"], plan.many) as many:
                return figures + await _compared(few, many, bare, plan)
    finally:
        await bare.close()


async def _by_itself(load: Load, bare: Bare, plan: Plan) -> list[Figure]:
    accepts = Figure("accept(), p50", "ms"), Figure("accept(), p95", "ms")
    starts = Figure("accept to start, p50", "ms", "< 6"), Figure("accept to start, p95", "ms", "< 15")
    for _ in range(plan.rounds):
        times, commit = await light(load, bare, plan.messages)
        for figure, of in zip((*accepts, *starts), (median, p95) * 2, strict=True):
            figure.add(of([t.accepted if figure in accepts else t.started for t in times]), commit)
    rate, cpu = Figure("turns a second, full load", ""), Figure("CPU of a turn, full load", "ms")
    for _ in range(plan.rounds):
        turns, spent, commit = await full(load, bare, plan.full_seconds)
        rate.add(turns, commit)
        cpu.add(spent, commit)
    nothing = Figure("CPU with nothing to do", "%", "< 2")
    for _ in range(min(plan.rounds, plan.idle_rounds)):
        nothing.add(*await idle(bare, plan.idle_seconds))
    return [*accepts, *starts, rate, cpu, nothing]


async def _compared(few: Load, many: Load, bare: Bare, plan: Plan) -> list[Figure]:
    """The same turns with a short and a long past, in rounds that follow each other."""
    turn = [Figure(f"turn alone, {rows:,} finished", "ms") for rows in (plan.few, plan.many)]
    rate = [Figure(f"turns a second, {rows:,} finished", "") for rows in (plan.few, plan.many)]
    ratio = Figure("ratio of a turn alone, by medians", "", "<= 1.2")
    busy = Figure("ratio of a turn at full load", "", "<= 1.2")
    for number in range(plan.rounds):
        took, commit = await alone((few, many), bare, plan)
        for figure, values in zip(turn, took, strict=True):
            figure.add(median(values), commit)
        ratio.add(median(took[1]) / median(took[0]), commit)
        rates = {}
        for which in (0, 1) if number % 2 else (1, 0):
            rates[which], _, commit = await full((few, many)[which], bare, plan.full_seconds)
            rate[which].add(rates[which], commit)
        busy.add(rates[0] / rates[1], commit)
    return [*turn, ratio, *rate, busy]


# -- the report ---------------------------------------------------------------------------------------------


def report(figures: list[Figure]) -> str:
    """The figures as a table that Markdown shows as one too."""
    head = ["figure", "unit", "median", "least", "most", "bare commit, ms", "in commits", "target"]
    rows = [head]
    for figure in figures:
        middle, bare = median(figure.values), median(figure.bare)
        shown = [_short(value) for value in (middle, min(figure.values), max(figure.values), bare)]
        commits = f"{middle / bare:.1f}" if figure.unit == "ms" else ""
        rows.append([figure.name, figure.unit, *shown, commits, figure.target])
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    rows.insert(1, ["-" * (width - 1) + ("-" if column < 2 else ":") for column, width in enumerate(widths)])
    return "\n".join(f"| {' | '.join(_padded(row, widths))} |" for row in rows)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def _padded(row: list[str], widths: list[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [
        cell.ljust(width) if at < 2 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]


async def bench(database: str, place: str, plan: Plan) -> None:
    """Measure one database and print it. `place` is a folder for SQLite, a server's address for PostgreSQL."""
    names = ("bare", "few", "many")
    if database == "sqlite":
        urls = {name: f"sqlite+aiosqlite:///{Path(place) / name}.db" for name in names}
    else:
        server = make_url(place)
        for name in names:
            await execute(server, f"CREATE DATABASE {name}")
        urls = {name: server.set(database=name).render_as_string(hide_password=False) for name in names}
    began, disk = time.monotonic(), flush(tempfile.gettempdir())
    figures = await measure(urls, plan)
    took = time.monotonic() - began
    print(f"\n{database}: {STEPS} saved steps a turn, {plan.rounds} rounds, {took:.0f} s in all.")
    print(f"One flush of the disk: {disk:.2f} ms.\n\n{report(figures)}", flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    parser.add_argument("--quick", action="store_true", help="short rounds and a short past: to see that it works")
    parser.add_argument("--rounds", type=int, help="how often each figure is measured")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    plan = replace(plan, rounds=arguments.rounds or plan.rounds)
    for database in DATABASES if arguments.database == "both" else (arguments.database,):
        with ExitStack() as stack:
            if database == "sqlite":
                place = stack.enter_context(tempfile.TemporaryDirectory(prefix="tk-bench-"))
            elif binaries() is None:
                print(f"no PostgreSQL ({CURE})", file=sys.stderr)
                continue
            else:
                place = stack.enter_context(private_server(durable=True))
            asyncio.run(bench(database, place, plan))


if __name__ == "__main__":
    main()
