"""Forgetting: at the service first, then here; cut off, it goes on; nothing that was said is left in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.errors import ServiceUnavailable
from bot.events import ThreadsDeleted
from bot.texts import Texts
from bot.types import Conversation
from tests.scripted import ScriptedAgent
from tests.world import ADA, GRACE, group, open_world

MARK = "xyzzy-4711-mark"


def holding(folder: Path, words: str) -> list[str]:
    """The files in which these words stand."""
    return [file.name for file in folder.iterdir() if words.encode() in file.read_bytes()]


class FailingAgent(ScriptedAgent):
    """Fails so many deletions, of the threads from the second on."""

    failing = 1

    async def delete_thread(self, thread_id: str) -> None:
        if thread_id != "t1" and self.failing:
            self.failing -= 1
            raise ServiceUnavailable("cut")
        await super().delete_thread(thread_id)


async def test_forget_me_is_confirmed_and_deletes_every_thread_of_the_person(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("first")
        await world.ask("start over")
        await world.ask("second")
        await world.ask("in the group", conversation=group())
        await world.ask("hers", person=GRACE)
        assert "**forget me now**" in await world.ask("forget me")
        assert len(agent.threads) == 4
        assert await world.ask("forget me now") == "Done: our conversations are deleted."
        assert list(agent.threads) == ["t4"]
        lane = world.events[0].lane
        assert await world.bot.store.threads.chain(lane) == []
        assert [person.id for person in await world.bot.store.people.everyone()] == ["grace"]
        assert [(one.deleted, one.left) for one in world.of(ThreadsDeleted)] == [(3, 0)]
        assert "nothing to undo" in await world.ask("undo")
        assert await world.ask("hello again") == "answer to hello again"


async def test_cut_off_in_the_middle_it_goes_on(tmp_path: Path):
    agent = FailingAgent()
    async with open_world(tmp_path, agent=agent) as world:
        for text in ("first", "start over", "second", "start over", "third"):
            await world.ask(text)
        assert await world.ask("forget me now") == "Done: our conversations are deleted."
        assert agent.threads == {}
        assert await world.bot.store.threads.chain(world.events[0].lane) == []


async def test_a_new_life_of_the_bot_goes_on_with_it(tmp_path: Path):
    agent = FailingAgent()
    agent.failing = 10**6
    async with open_world(tmp_path, agent=agent) as world:
        for text in ("first", "start over", "second"):
            await world.ask(text)
        await world.say("forget me now")
        assert "Sorry" in (await world.answers(4))[-1]
        assert list(agent.threads) == ["t2"]
    agent.failing = 0
    async with open_world(tmp_path, agent=agent) as world:
        await world.bot.forgetting.sweep()
        assert agent.threads == {}
        assert await world.bot.store.forgetting.marked(None, 10) == []


@pytest.mark.invariant("I15")
async def test_what_was_said_is_in_no_file_afterwards(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await world.ask(f"remember my code is {MARK}")
        assert MARK in await world.ask("what is my code?")
        await world.ask("forget me now")
        await world.quiet()
        await world.bot.store.fold()
        assert holding(tmp_path, MARK) == []


async def test_a_thread_is_deleted_after_its_days_and_counted(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent, retention_days=90) as world:
        await world.ask("first")
        await world.ask("start over")
        await world.ask("second")
        world.clock.advance(60 * 86_400)
        await world.ask("hers", person=GRACE)
        await world.bot.forgetting.sweep()
        assert len(agent.threads) == 3
        world.clock.advance(31 * 86_400)
        await world.bot.forgetting.sweep()
        assert list(agent.threads) == ["t3"]
        assert [(one.deleted, one.left) for one in world.of(ThreadsDeleted)] == [(2, 0)]
        assert [person.id for person in await world.bot.store.people.everyone()] == ["grace"]
        assert await world.ask("third") == "answer to third"


async def test_nothing_is_deleted_where_all_is_kept(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent, retention_days=0) as world:
        await world.ask("first")
        world.clock.advance(10_000 * 86_400)
        await world.bot.forgetting.sweep()
        assert list(agent.threads) == ["t1"]


async def test_a_thread_of_another_agent_is_left_for_it(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("first")
    async with open_world(tmp_path, agent=ScriptedAgent(project="other")) as world:
        assert "1 thread lies with an agent" in await world.ask("forget me now")
    async with open_world(tmp_path, agent=agent) as world:
        await world.bot.forgetting.sweep()
        assert agent.threads == {}


async def test_a_thread_that_a_group_shares_is_not_one_persons_to_forget(tmp_path: Path):
    agent = ScriptedAgent()
    place: Conversation = group()
    async with open_world(tmp_path, agent=agent, group_threads="shared") as world:
        await world.ask("ours", conversation=place)
        await world.ask("mine", person=ADA)
        await world.ask("forget me now", conversation=place)
        assert list(agent.threads) == ["t1"]


def test_the_welcome_says_how_long_it_is_kept():
    assert "I delete conversations 90 days after your last message, or now with **forget me**." in Texts().welcome()
    assert "days" not in Texts(retention_days=0).welcome()
