"""The new client and the local Foundry, as its test modules share them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from bot.agents import foundry
from bot.agents.foundry import FoundryAgent
from bot.settings import Settings, load
from bot.types import Ask, Carried, Finished, Handle, Reply, Step, Working
from tests.agents.still import StillClock
from tests.contracts.agent import TOOLS, World, mark, to_the_end
from tests.foundry import Answer, Fault, FoundryServer, Incomplete, ManualClock, Rules, Script

RESPONSES = "/openai/v1/responses"
CONVERSATIONS = "/openai/v1/conversations"
ITEMS = CONVERSATIONS + "/*/items"

Make = Callable[..., Awaitable[FoundryAgent]]


class FoundryWorld(World):
    """The client and the local Foundry; its responses take two seconds of a clock that stands still between looks."""

    found_while_it_runs = False
    withholds_tools = False

    def __init__(self, agent: FoundryAgent, server: FoundryServer, clock: ManualClock) -> None:
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

    async def opened(self) -> str:
        return await self.agent.open_thread(Carried(), mark())

    async def started(self, text: str = "Good morning", **more: Any) -> Handle:
        return await self.agent.start(await self.opened(), Ask(mark(), text, TOOLS, **more))

    async def answered(self, answer: Answer | Incomplete) -> Reply:
        """What a response becomes in which the model answers so."""
        self.server.model = Script([answer])
        end = await to_the_end(self, await self.started("Well?"))
        assert isinstance(end, Finished)
        return end.reply

    async def read_along(self, handle: Handle) -> tuple[list[str], Step]:
        """What a reader sees until it rests, and how it rests."""
        seen: list[str] = []
        while isinstance(step := await self.agent.look(handle), Working):
            if step.text and [step.text] != seen[-1:]:
                seen.append(step.text)
            await self.tick()
        return seen, step


class StreamingWorld(FoundryWorld):
    """Somebody reads along with every response."""

    def __init__(self, agent: FoundryAgent, server: FoundryServer, clock: ManualClock) -> None:
        super().__init__(agent, server, clock)
        start = agent.start

        async def streamed(thread_id: str, ask: Ask) -> Handle:
            return await start(thread_id, replace(ask, stream=True))

        agent.start = streamed  # pyright: ignore[reportAttributeAccessIssue]

    async def tick(self) -> None:
        """Move the server's clock once a stream waits for it; for a moment, since none may be left to wait."""
        with suppress(TimeoutError):
            await self.clock.until_asleep(timeout=0.02)
        self.clock.advance(1)


@asynccontextmanager
async def opened_server(clock: ManualClock) -> AsyncGenerator[FoundryServer]:
    """The local Foundry with an agent that has the tools of the contract."""
    async with FoundryServer(clock=clock, rules=Rules(queue=1, work=1, cancel=1)) as server:
        tools = [
            {"type": "function", "name": t.name, "description": t.description, "parameters": t.parameters}
            for t in TOOLS
        ]
        server.add_agent("keeper", tools=tools)
        yield server


def settings_for(server: FoundryServer, **more: Any) -> Settings:
    given = {"agent_name": "keeper", "project_endpoint": server.endpoint} | more
    return load(None, agent_backend="foundry", **given)


@asynccontextmanager
async def opened_agents(server: FoundryServer) -> AsyncGenerator[Make]:
    """Makes agents, and closes them."""
    made: list[FoundryAgent] = []

    async def make(*, credential: Any = None, post_seconds: float = 30.0, **more: Any) -> FoundryAgent:
        settings = settings_for(server, **more)
        agent = await foundry.create(settings, clock=StillClock(), credential=credential, post_seconds=post_seconds)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        await agent.close()


def strikes(fault: Fault, **more: Any) -> Fault:
    """The same fault, not yet struck, for ever unless it says otherwise."""
    return Fault(**(fault.body() | {"struck": 0, "count": None} | more))
