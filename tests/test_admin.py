"""What admins say in a chat, what others are told, and what stays on record."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bot.admin import Form, parse
from bot.types import Person
from tests.scripted import WORKING, ScriptedAgent
from tests.world import ADA, FAST, GRACE, FastClock, World, open_world

BOSS = Person("boss-1", "Bo Boss")


class PatientClock(FastClock):
    """Does not run ahead: what is polled for long keeps its lease."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


def world_for(folder: Path, agent: ScriptedAgent | None = None, **options):
    return open_world(folder, agent=agent or ScriptedAgent(), admins="boss-1", **options)


async def acts(world: World) -> list[tuple[str, str, str]]:
    return [(act.actor, act.act, act.subject) for act in await world.bot.store.people.acts(None, 50)][::-1]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("start over for Ada", Form("reset", "Ada")),
        ("**Start over** for ada@example.org.", None),
        ("Start over for ada@example.org.", Form("reset", "ada@example.org")),
        ("start over for <@U123>", Form("reset", "U123")),
        ("start over for Ada Lovelace all", Form("reset", "Ada Lovelace", every=True)),
        ("start over for everyone!", Form("everyone")),
        ("status of Ada", Form("status", "Ada")),
        ("confirm 412", Form("confirm", number=412)),
        ("confirm it", None),
        ("please start over for Ada", None),
        ("start over", None),
    ],
)
def test_a_form_is_the_whole_message(text: str, form: Form | None):
    assert parse(text) == form


async def test_an_admin_starts_over_for_a_person_who_is_told_once(tmp_path: Path):
    agent = ScriptedAgent()
    async with world_for(tmp_path, agent) as world:
        await world.ask("first", person=ADA)
        assert "1 conversation of Ada" in await world.ask("start over for ada", person=BOSS)
        said = await world.ask("second", person=ADA)
        assert said.startswith("answer to second")
        assert "An admin started our conversation over on" in said
        assert "admin" not in await world.ask("third", person=ADA)
        assert [run.thread for run in agent.runs] == ["t1", "t2", "t2"]
        assert await acts(world) == [("boss-1", "start over", "ada")]


async def test_an_answer_that_is_stopped_for_it_is_told_at_once(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 100_000])
    options = {"clock": PatientClock(), "inbox": replace(FAST, heartbeat=0.1)}
    async with world_for(tmp_path, agent, **options) as world:
        await world.say("first", person=ADA)
        async with asyncio.timeout(10):
            while not agent.runs or not agent.runs[0].looks:
                await asyncio.sleep(0.005)
        await world.say("start over for Ada", person=BOSS)
        texts = await world.answers(2)
        told = next(text for text in texts if "An admin" in text)
        assert told.startswith("I stopped one answer.")
        assert agent.cancelled == ["r1"]
        assert "admin" not in await world.ask("second", person=ADA)


async def test_others_are_told_no_with_their_own_id(tmp_path: Path):
    async with world_for(tmp_path) as world:
        await world.ask("first", person=ADA)
        for text in ("start over for Ada", "start over for everyone", "status of Ada"):
            said = await world.ask(text, person=GRACE)
            assert "Only admins" in said
            assert "Your id is grace" in said
        assert await world.ask("status of my order", person=GRACE) == "answer to status of my order"
        assert await world.ask("confirm 1", person=GRACE) == "answer to confirm 1"
        assert await acts(world) == []


async def test_several_matches_are_listed_and_none_is_touched(tmp_path: Path):
    two = [Person("a1", "Ada Byron"), Person("a2", "Ada King")]
    async with world_for(tmp_path) as world:
        for person in two:
            await world.ask("first", person=person)
        said = await world.ask("start over for ada", person=BOSS)
        assert "a1" in said
        assert "a2" in said
        assert "nobody called Bob" in await world.ask("start over for Bob", person=BOSS)
        assert "1 conversation of Ada King" in await world.ask("start over for ada king", person=BOSS)
        assert "1 conversation of Ada Byron" in await world.ask("start over for A1", person=BOSS)


async def test_status_of_a_person(tmp_path: Path):
    async with world_for(tmp_path) as world:
        await world.ask("first", person=ADA)
        said = await world.ask("status of Ada", person=BOSS)
        assert "Thread t1, 2 messages" in said
        assert await acts(world) == [("boss-1", "status", "ada")]


async def test_everyone_is_confirmed_by_the_number_and_in_time(tmp_path: Path):
    agent = ScriptedAgent()
    async with world_for(tmp_path, agent) as world:
        for person in (ADA, GRACE, BOSS):
            await world.ask("first", person=person)
        assert await world.ask("confirm 3", person=BOSS) == "answer to confirm 3"
        said = await world.ask("start over for everyone", person=BOSS)
        assert "resets 3 conversations of 3 people" in said
        assert "**confirm 3**" in said
        assert "not the number" in await world.ask("confirm 4", person=BOSS)
        world.clock.advance(301)
        assert "longer than 5 minutes" in await world.ask("confirm 3", person=BOSS)
        assert [run.thread for run in agent.runs] == ["t1", "t2", "t3", "t3"]
        await world.ask("start over for everyone", person=BOSS)
        assert "every conversation started over" in await world.ask("confirm 3", person=BOSS)
        for person in (ADA, GRACE, BOSS):
            assert "An admin" in await world.ask("again", person=person)
        assert [run.thread for run in agent.runs[4:]] == ["t4", "t5", "t6"]
        asked = ("boss-1", "asked to start over for everyone", "everyone")
        assert await acts(world) == [asked, asked, ("boss-1", "start over for everyone", "everyone")]
        assert await world.ask("confirm 3", person=BOSS) == "answer to confirm 3"
