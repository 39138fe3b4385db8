"""The new client against responses as Microsoft's own server package makes them.

Microsoft's code checks and answers every request to /responses: its form, background, stored and streamed ones, the
events, calls and their outputs, input items, cancelling, what is not there. Conversations are ours (`front.py`), so
these tests say nothing of them, nor of locks; and the model is scripted.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bot.agents import foundry
from bot.agents.failures import Refused
from bot.agents.foundry import FoundryAgent
from bot.agents.openai_requests import request
from bot.clock import SystemClock
from bot.errors import RequestRefused, RunGone
from bot.settings import load
from bot.types import Ask, Carried, Finished, Handle, Stopped, Usage, Working
from tests.contracts.agent import OSLO, TOOLS, AgentContract, World, mark, outputs_of, until_it_waits, waiting
from tests.interop.agentserver.front import Front, opened_front
from tests.interop.servers import started

ROOT = Path(__file__).parents[3]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Microsoft's server, in its own environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python = os.environ["THREADKEEPER_AGENTSERVER"]
    command = [python, "-m", "tests.interop.agentserver.server", str(port)]
    folder = tmp_path_factory.mktemp("agentserver")
    async with (
        aiohttp.ClientSession() as session,
        started("agentserver", command, folder, {"PYTHONPATH": str(ROOT)}) as server,
    ):

        async def answers() -> bool:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readiness") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await server.until("ready", answers)
        yield f"http://127.0.0.1:{port}"


class ServerWorld(World):
    found_while_it_runs = False
    withholds_tools = False

    def __init__(self, agent: FoundryAgent, front: Front) -> None:
        super().__init__(agent)
        self.front = front

    async def tick(self) -> None:
        await self.agent.changed(Handle("", ""), 0.02)

    async def lose_thread(self, thread_id: str) -> None:
        del self.front.conversations[thread_id]


class ReadAlong(ServerWorld):
    """Every response is streamed."""

    def __init__(self, agent: FoundryAgent, front: Front) -> None:
        super().__init__(agent, front)
        start = agent.start

        async def streamed(thread_id: str, ask: Ask) -> Handle:
            return await start(thread_id, replace(ask, stream=True))

        agent.start = streamed  # pyright: ignore[reportAttributeAccessIssue]


@pytest_asyncio.fixture
async def front(address: str) -> AsyncIterator[tuple[str, Front]]:
    async with opened_front(address) as opened:
        yield opened


@pytest_asyncio.fixture
async def agent(front: tuple[str, Front]) -> AsyncIterator[FoundryAgent]:
    settings = load(None, agent_backend="foundry", project_endpoint=front[0], agent_name="keeper")
    agent = await foundry.create(settings, clock=SystemClock())
    yield agent
    await agent.close()


class TestContract(AgentContract):
    """All of it, but that a second response is refused: this server takes one at any time, unanswered calls or not."""

    test_a_second_run_is_refused_and_adds_nothing = None  # pyright: ignore[reportAssignmentType]

    @pytest.fixture
    def world(self, agent: FoundryAgent, front: tuple[str, Front]) -> World:
        return ServerWorld(agent, front[1])

    async def test_an_unknown_run_is_gone(self, world: World):
        """By an id of the right form: another one is refused as such."""
        handle = await started_on(world, "Good morning")
        await until_it_waits(world, handle)
        other = handle.run_id[:-4] + handle.run_id[-4:].swapcase()[::-1]
        with pytest.raises(RunGone):
            await world.agent.look(Handle(handle.thread_id, other))


class TestContractStreamed(TestContract):
    @pytest.fixture
    def world(self, agent: FoundryAgent, front: tuple[str, Front]) -> World:
        return ReadAlong(agent, front[1])


@pytest.fixture(params=[ServerWorld, ReadAlong], ids=["looked at", "read along"])
def world(request: pytest.FixtureRequest, agent: FoundryAgent, front: tuple[str, Front]) -> ServerWorld:
    return request.param(agent, front[1])


async def started_on(world: World, text: str) -> Handle:
    thread = await world.agent.open_thread(Carried(), mark())
    return await world.agent.start(thread, Ask(mark(), text, TOOLS))


async def test_what_was_used_is_told(world: ServerWorld):
    handle = await started_on(world, "Good morning")
    end = await until_it_waits(world, handle)
    assert isinstance(end, Finished)
    assert end.reply.text == "You said: Good morning"
    assert end.usage == Usage(100, 10, 100)


async def test_a_round_of_tools_goes_to_a_response_of_its_own(world: ServerWorld):
    thread = await world.agent.open_thread(Carried(), mark())
    handle, step = await waiting(world, thread, mark(), [OSLO])
    second = await world.agent.answer(handle, outputs_of(step))
    assert second.run_id != handle.run_id
    end = await until_it_waits(world, second)
    assert isinstance(end, Finished)
    assert "weather of Oslo" in end.reply.text
    assert world.front.forwarded.count("POST  200") == 2
    assert (await world.agent.find(thread, mark())).handle == handle, "the mark comes back with the response"


async def test_a_response_that_failed(world: ServerWorld):
    end = await until_it_waits(world, await started_on(world, "fail"))
    assert end == Stopped("failed", "rate_limit_exceeded", 22.0)


@pytest.mark.invariant("I8")
async def test_a_response_that_runs_is_cancelled(world: ServerWorld):
    handle = await started_on(world, "hold on")
    assert isinstance(await world.agent.look(handle), Working)
    await world.agent.cancel(handle)
    await world.agent.cancel(handle)
    assert await until_it_waits(world, handle) == Stopped("cancelled")
    assert [one for one in world.front.forwarded if one.endswith("/cancel 200")]
    again = await world.agent.start(handle.thread_id, Ask(mark("2"), "Good evening", TOOLS))
    assert isinstance(await until_it_waits(world, again), Finished)


async def test_text_grows(agent: FoundryAgent, front: tuple[str, Front]):
    world = ReadAlong(agent, front[1])
    handle = await started_on(world, "Good morning to all of you" + " and to all who read along" * 20)
    seen: list[str] = []
    while isinstance(step := await agent.look(handle), Working):
        seen.append(step.text)
        await agent.changed(handle, 0.02)
    assert isinstance(step, Finished)
    assert all(step.reply.text.startswith(text) for text in seen)
    assert len(set(seen)) > 2
    assert world.front.forwarded == ["POST  200"], "no look is needed"


async def test_in_the_foreground_a_response_ends_with_its_stream(agent: FoundryAgent, front: tuple[str, Front]):
    agent._responses._background = False
    world = ReadAlong(agent, front[1])
    handle = await started_on(world, "Good morning")
    assert isinstance(await until_it_waits(world, handle), Finished)
    handle = await started_on(world, "hold on")
    await agent._live.let_go(handle.run_id)
    with pytest.raises(RunGone):  # this server keeps one only once it has ended; a turn makes another attempt
        await agent.look(handle)
    handle = await started_on(world, "hold on")
    await agent.cancel(handle)
    assert not [one for one in world.front.forwarded if "cancel" in one]


@pytest.mark.parametrize("more", [{"metadata": {"k": "v" * 600}}, {"store": False, "background": True}])
async def test_a_refusal_is_read(agent: FoundryAgent, front: tuple[str, Front], more: dict[str, Any]):
    thread = await agent.open_thread(Carried(), mark())
    with pytest.raises(RequestRefused) as raised:
        await request(agent._client.responses.with_raw_response.create, conversation=thread, seconds=10, **more)
    assert isinstance(raised.value, Refused)
    assert raised.value.status == 400
    assert raised.value.code
    assert raised.value.words
