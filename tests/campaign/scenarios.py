"""What goes wrong, under load. Each takes a `Stage` and breaks things until the load is over."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.campaign.machines import Postgres, Replica, Service
from tests.campaign.replica import LEASE


@dataclass
class Stage:
    """What a scenario may break."""

    replicas: list[Replica]
    service: Service
    postgres: Postgres | None
    dice: random.Random
    over: asyncio.Event
    faults: int = 0
    outages: list[tuple[float, float]] = field(default_factory=list)
    """When the database was away."""

    async def pause(self, least: float, most: float) -> None:
        """A while, or until the load is over."""
        try:
            async with asyncio.timeout(self.dice.uniform(least, most)):
                await self.over.wait()
        except TimeoutError:
            pass


async def kill_one(stage: Stage) -> None:
    """One process, killed at any moment and started again at once."""
    [replica] = stage.replicas
    while not stage.over.is_set():
        await stage.pause(1.5, 6.0)
        await replica.kill()
        stage.faults += 1
        await replica.start()


async def kill_replica(stage: Stage) -> None:
    """One of two, killed at any moment; the other goes on alone for a while."""
    while not stage.over.is_set():
        await stage.pause(2.0, 8.0)
        replica = stage.dice.choice(stage.replicas)
        await replica.kill()
        stage.faults += 1
        await stage.pause(0.0, 8.0)
        await replica.start()


async def freeze(stage: Stage) -> None:
    """One of two stands still for longer than its lease, then goes on as if nothing had been."""
    while not stage.over.is_set():
        await stage.pause(2.0, 4.0)
        stage.faults += 1
        await stage.dice.choice(stage.replicas).freeze(LEASE * stage.dice.uniform(1.2, 1.5))


async def again(stage: Stage) -> None:
    """Nothing breaks, but every message is delivered ten times at both, and older ones behind newer ones."""
    await stage.over.wait()


async def service_away(stage: Stage) -> None:
    """The agent service refuses, does the work and cuts the answer, or says nothing at all."""
    kinds = (
        {"kind": "status", "status": 503},
        {"kind": "cut", "when": "after"},
        {"kind": "cut"},
    )
    turn = 0
    while not stage.over.is_set():
        await stage.pause(2.0, 4.0)
        await stage.service.fault(**kinds[turn % len(kinds)], count=None)
        turn += 1
        stage.faults += 1
        await stage.pause(3.0, 8.0)
        await stage.service.heal()


async def database_away(stage: Stage) -> None:
    """Connections are cut at work; the database is stopped by its operator, or as in a crash, and comes back."""
    assert stage.postgres is not None
    kinds = itertools.cycle(("cut", "fast", "immediate"))
    while not stage.over.is_set():
        await stage.pause(2.0, 4.0)
        began, kind = time.time(), next(kinds)
        stage.faults += 1
        if kind == "cut":
            await stage.postgres.cut(stage.dice.uniform(1.0, 2.0))
        else:
            await stage.postgres.stop(kind)
            await stage.pause(2.0, 5.0)
            await stage.postgres.start()
        stage.outages.append((began, time.time()))


async def rolling(stage: Stage) -> None:
    """SIGTERM to one after the other, each started again when it has ended."""
    while not stage.over.is_set():
        for replica in stage.replicas:
            await stage.pause(1.0, 3.0)
            if stage.over.is_set():
                return
            await replica.stop()
            stage.faults += 1
            await replica.start()


@dataclass(frozen=True)
class Scenario:
    """Its words in the table, what breaks, and the load it is given."""

    name: str
    breaks: Callable[[Stage], Awaitable[None]]
    seconds: float
    people: int = 24
    pause: float = 3.0
    copies: int = 1
    again: bool = False


SCENARIOS = {
    "sqlite": (
        Scenario("kill -9 at any moment", kill_one, 32),
        Scenario("every message ten times, older ones again", again, 12, pause=4.0, copies=10, again=True),
        Scenario("agent service away", service_away, 16),
        Scenario("restart by SIGTERM", rolling, 12),
    ),
    "postgresql": (
        Scenario("kill -9 of one of two", kill_replica, 32),
        Scenario("one of two frozen past its lease", freeze, 24),
        Scenario("every message ten times at both, older ones again", again, 12, pause=4.0, copies=10, again=True),
        Scenario("agent service away", service_away, 16),
        Scenario("database away", database_away, 20),
        Scenario("rolling restart by SIGTERM", rolling, 16),
    ),
}
