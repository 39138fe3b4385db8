"""From one agent service to another: what was said before is known after it, by itself and by `migrate`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.backends import Backends, open_agent
from bot.bootstrap import texts_for
from bot.clock import SystemClock
from bot.events import ThreadOpened
from bot.moving import WHOLE, Moving, Outcome
from bot.store import open_store
from bot.types import Said, ThreadReason
from tests.foundry import Fault, FoundryServer, Rules
from tests.llm import LLMServer
from tests.processes import command
from tests.scripted import ScriptedAgent
from tests.world import FastClock, World, open_world, settings_for

BACKENDS = ("rehearsal", "foundry-classic", "foundry", "chat-completions")
PAIRS = [(old, new) for old in BACKENDS for new in BACKENDS if old != new]


class Services:
    """Both APIs of one project, and an endpoint: which of them a bot uses is one setting."""

    def __init__(self, foundry: FoundryServer, endpoint: LLMServer) -> None:
        self.foundry = foundry
        self.endpoint = endpoint
        foundry.add_assistant(assistant_id="asst_1")
        foundry.add_agent("keeper")

    def settings(self, backend: str) -> dict[str, Any]:
        return {
            "agent_backend": backend,
            "project_endpoint": self.foundry.endpoint,
            "agent_id": "asst_1",
            "agent_name": "keeper",
            "openai_base_url": self.endpoint.base_url,
            "model_deployment_name": "model",
        }


@pytest.fixture
async def services() -> AsyncGenerator[Services]:
    async with FoundryServer(rules=Rules()) as foundry, LLMServer() as endpoint:
        yield Services(foundry, endpoint)


@asynccontextmanager
async def opened(folder: Path, services: Services, backend: str, **options: Any) -> AsyncIterator[World]:
    async with open_world(folder, **services.settings(backend), **options) as world:
        yield world


@asynccontextmanager
async def moving_to(folder: Path, services: Services, backend: str) -> AsyncIterator[Moving]:
    settings = settings_for(folder, **services.settings(backend))
    clock, texts = FastClock(), texts_for(settings)
    async with AsyncExitStack() as stack:
        store = await open_store(settings.database_url, SystemClock(), runner=False)
        stack.push_async_callback(store.close)
        agent = await open_agent(settings, store, clock, texts, stack)
        yield Moving(store, agent, Backends(settings, agent, store, clock, texts, stack), clock, texts)


async def all_moved(moving: Moving, *, dry: bool = False) -> list[Outcome]:
    return [(await moving.move(lane, dry=dry)).outcome async for lane in moving.lanes()]


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.invariant("I12")
async def test_a_changed_setting_is_a_rollover(tmp_path: Path, services: Services, old: str, new: str):
    async with opened(tmp_path, services, old) as world:
        await world.ask("remember my code is 2208")
    async with opened(tmp_path, services, new) as world:
        assert f"Agent: {new}. Your next message takes our conversation there." in await world.ask("status")
        said = await world.ask("what is my code?")
        assert "2208" in said
        assert (await world.ask("status")).endswith(f"Agent: {new}.")
        assert world.of(ThreadOpened)[0].reason is ThreadReason.MOVED
        assert "2208" in await world.ask("what is my code?")


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.invariant("I12")
async def test_migrate_moves_before_anyone_writes(tmp_path: Path, services: Services, old: str, new: str):
    async with opened(tmp_path, services, old) as world:
        await world.ask("remember my code is 2208")
    async with moving_to(tmp_path, services, new) as moving:
        assert await all_moved(moving, dry=True) == [Outcome.MOVED]
        assert await all_moved(moving) == [Outcome.MOVED]
        assert await all_moved(moving) == []
    async with opened(tmp_path, services, new) as world:
        assert "2208" in await world.ask("what is my code?")
        assert world.of(ThreadOpened) == [], "nobody notices"
        (thread,) = [lane.thread for lane in [await world.bot.store.threads.lane(await a_lane(world))] if lane]
        assert thread is not None
        assert thread.reason is ThreadReason.MOVED
        assert thread.previous_id is not None


async def a_lane(world: World) -> str:
    [person] = await world.bot.store.people.everyone()
    [key] = await world.bot.store.people.lanes(person, every=False)
    return key


async def test_what_runs_or_waits_is_left_where_it_is(tmp_path: Path, services: Services):
    async with opened(tmp_path, services, "foundry-classic") as world:
        await world.ask("good morning")
    async with opened(tmp_path, services, "foundry-classic", start=False) as world:
        await world.say("and now?")
        async with moving_to(tmp_path, services, "foundry") as moving:
            assert await all_moved(moving) == [Outcome.BUSY]
    assert services.foundry.project.conversations == {}


async def test_a_message_that_comes_while_its_lane_is_moved_wins(tmp_path: Path, services: Services):
    async with opened(tmp_path, services, "foundry-classic", start=False) as world:
        pass
    async with opened(tmp_path, services, "foundry-classic") as world:
        await world.ask("good morning")
        async with moving_to(tmp_path, services, "foundry") as moving:
            [lane] = [lane async for lane in moving.lanes()]
            open_thread = moving.agent.open_thread

            async def slow(*args: Any) -> str:
                await world.ask("start over")
                return await open_thread(*args)

            moving.agent.open_thread = slow  # type: ignore[method-assign]
            assert (await moving.move(lane, dry=False)).outcome is Outcome.BUSY
    assert services.foundry.project.conversations == {}, "the one that was not taken is deleted"


async def test_a_long_past_is_carried_as_a_summary_and_its_end_word_for_word(tmp_path: Path, services: Services):
    async with opened(tmp_path, services, "foundry") as world:
        await world.ask("remember my code is 2208")
        [conversation] = services.foundry.project.conversations
        agent = world.bot.agent
        long_past = [Said("user", f"message {number}") for number in range(WHOLE + 20)]
        await agent._conversations.add(conversation, [item_of(one) for one in long_past])  # type: ignore[attr-defined]
    async with moving_to(tmp_path, services, "foundry-classic") as moving:
        assert await all_moved(moving) == [Outcome.MOVED]
    async with opened(tmp_path, services, "foundry-classic") as world:
        assert "2208" in await world.ask("what is my code?")


def item_of(said: Said) -> dict[str, Any]:
    return {"type": "message", "role": said.role, "content": said.text}


async def test_more_entries_than_one_request_takes_are_all_carried(tmp_path: Path, services: Services):
    async with opened(tmp_path, services, "rehearsal") as world:
        await world.ask("remember my code is 2208")
        for number in range(14):
            await world.ask(f"message {number}")
    async with moving_to(tmp_path, services, "foundry") as moving:
        assert await all_moved(moving) == [Outcome.MOVED]
    [conversation] = services.foundry.project.conversations
    assert len(services.foundry.items_of(conversation)) == 31, "a word before them, and thirty"


async def test_an_old_service_that_answers_no_more_holds_nobody_up(tmp_path: Path, services: Services):
    async with opened(tmp_path, services, "foundry-classic") as world:
        await world.ask("good morning")
    services.foundry.inject(Fault("status", "*", "/threads/**", count=None, status=503))
    async with moving_to(tmp_path, services, "foundry") as moving:
        assert await all_moved(moving) == [Outcome.UNREACHABLE]
    async with opened(tmp_path, services, "foundry") as world:
        said = await world.ask("good evening")
        assert "Sorry" not in said
        [opening] = world.of(ThreadOpened)
        assert (opening.reason, opening.carried) == (ThreadReason.MOVED, "nothing")


@pytest.mark.invariant("I15")
async def test_forget_me_deletes_at_the_service_that_was_left_too(tmp_path: Path, services: Services):
    async with opened(tmp_path, services, "foundry-classic") as world:
        await world.ask("good morning")
    async with opened(tmp_path, services, "foundry") as world:
        await world.ask("good evening")
        await world.ask("forget me")
        await world.ask("forget me now")
    assert services.foundry.state.threads == {}
    assert services.foundry.project.conversations == {}


async def test_the_command(tmp_path: Path, services: Services):
    async with opened(tmp_path, services, "foundry-classic") as world:
        await world.ask("remember my code is 2208")
    environ = {name.upper(): str(value) for name, value in services.settings("foundry").items()}
    code, out, err = await command(tmp_path, "migrate", "--dry-run", fresh=True, **environ)
    assert (code, "if it were done" in out, "1" in out) == (0, True, True), err
    assert services.foundry.project.conversations == {}
    code, out, err = await command(tmp_path, "migrate", **environ)
    assert (code, "moved" in out) == (0, True), err
    code, out, err = await command(tmp_path, "migrate", **environ)
    assert (code, "lies with foundry already" in out) == (0, True), err
    async with opened(tmp_path, services, "foundry") as world:
        assert "2208" in await world.ask("what is my code?")


async def test_a_thread_of_an_unknown_backend_begins_anew(tmp_path: Path, services: Services):
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        await world.ask("good morning")
    async with opened(tmp_path, services, "rehearsal") as world:
        await world.ask("good evening")
        assert world.of(ThreadOpened)[0].carried == "nothing"
