"""The new client against the local Foundry: the contract in each form of the service, and what it makes of failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from bot.agents import foundry
from bot.agents.foundry import FoundryAgent
from bot.ports import Agent
from bot.settings import load
from bot.types import Carried
from tests.contracts.agent import TOOLS, AgentContract, World, mark
from tests.foundry import FoundryServer, ManualClock, Rules

RESPONSES = "/openai/v1/responses"


class StillClock:
    """Our own time, moved by hand; a wait lets the rest of the program run."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds
        await asyncio.sleep(0)


class FoundryWorld(World):
    """The client and the local Foundry; its responses take two seconds of a clock that stands still between looks."""

    found_while_it_runs = False
    withholds_tools = False

    def __init__(self, agent: Agent, server: FoundryServer, clock: ManualClock) -> None:
        super().__init__(agent)
        self.server = server
        self.clock = clock

    async def tick(self) -> None:
        self.clock.advance(1)
        await asyncio.sleep(0)

    async def lose_thread(self, thread_id: str) -> None:
        self.server.lose_conversation(thread_id)

    def requests(self) -> int:
        return len(self.server.requests)

    def posts(self) -> list[str]:
        return [record.path for record in self.server.requests if record.method == "POST"]


@pytest.fixture
def server_clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def server(server_clock: ManualClock) -> AsyncIterator[FoundryServer]:
    async with FoundryServer(clock=server_clock, rules=Rules(queue=1, work=1, cancel=1)) as server:
        tools = [
            {"type": "function", "name": t.name, "description": t.description, "parameters": t.parameters}
            for t in TOOLS
        ]
        server.add_agent("keeper", tools=tools)
        yield server


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


Make = Callable[..., Awaitable[FoundryAgent]]


@pytest_asyncio.fixture
async def make(server: FoundryServer, clock: StillClock) -> AsyncIterator[Make]:
    made: list[FoundryAgent] = []

    async def make(*, post_seconds: float = 30.0, **more: Any) -> FoundryAgent:
        given = {"agent_name": "keeper", "model_deployment_name": "gpt"} | more
        settings = load(None, agent_backend="foundry", project_endpoint=server.endpoint, **given)
        agent = await foundry.create(settings, clock=clock, post_seconds=post_seconds)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        await agent.close()


@pytest_asyncio.fixture
async def world(make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
    return FoundryWorld(await make(), server, server_clock)


class TestContract(AgentContract):
    """As documented: background responses, whose input joins the conversation at the end."""

    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
        return FoundryWorld(await make(), server, server_clock)


class TestContractWhereInputJoinsAtOnce(TestContract):
    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
        server.switches.input_joins = "start"
        server.switches.needs_input = True
        return FoundryWorld(await make(), server, server_clock)


class TestContractWithoutBackground(TestContract):
    """The foreground fallback: every response is read as a stream."""

    @pytest_asyncio.fixture
    async def world(self, make: Make, server: FoundryServer, server_clock: ManualClock) -> FoundryWorld:
        server.switches.background = False
        return FoundryWorld(await make(), server, server_clock)


async def opened(world: World) -> str:
    return await world.agent.open_thread(Carried(), mark())
