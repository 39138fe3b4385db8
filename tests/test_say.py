"""Words to people who have not asked: durable, in order, once; and who may have them said."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from bot.errors import DeliveryRefused, NotSaid
from bot.events import RequestRefused, TurnEnded, WordsTaken
from bot.say import MOST_CHARACTERS, Says
from bot.store.says import MOST_SAID
from bot.types import MOST_WAITING, Person, reference_of
from tests.processes import command, served
from tests.scripted import ScriptedAgent
from tests.test_forgetting import holding
from tests.world import ADA, GRACE, World, group, message, open_world

MARK = "the-words-4711"
KEY = "a-key-of-this-test-alone"


def says(world: World) -> Says:
    return Says(world.bot.store, world.events.append, wake=world.bot.inbox.nudge)


async def say(world: World, text: str = MARK, who: str = "ada", key: str = "key-1"):
    return await says(world).say(who, text, key, "cli:test")


async def refusal(world: World, **words: str) -> str:
    with pytest.raises(NotSaid) as refused:
        await say(world, **words)
    return refused.value.code


async def test_the_words_reach_the_person_where_they_spoke_last(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await world.ask("hello")
        await world.bot.accept(replace(message("again"), address={"to": "a new chat", "activityId": "17"}))
        await world.answers(2)
        accepted = await say(world, who="Ada")
        await world.answers(3)
        address, part = world.channel.sent[2]
        assert (part.text, part.by_agent) == (MARK, False)
        assert address == {"to": "a new chat"}, "without the message that it would be an answer to"
        [ended] = [one for one in world.of(TurnEnded) if one.reference == reference_of(accepted.turn)]
        assert ended.ended == "said"
        assert [(one.channel, one.fresh) for one in world.of(WordsTaken)] == [("test", True)]


@pytest.mark.invariant("I3")
async def test_they_wait_behind_what_waits_and_start_no_run(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("hello")
    async with open_world(tmp_path, agent=agent, start=False, channel=world.channel) as world:
        await world.say("one")
        await say(world)
        await world.say("two")
        await world.bot.start()
        assert (await world.answers(4))[1:] == ["answer to one", MARK, "answer to two"]
        assert len(agent.runs) == 2


@pytest.mark.invariant("I2")
async def test_the_same_key_says_them_once(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await world.ask("hello")
        first = await say(world)
        again = await say(world)
        assert (again.turn, first.fresh, again.fresh) == (first.turn, True, False)
        await world.answers(2)
        assert not (await say(world)).fresh
        assert await refusal(world, text="other words") == "other_words"
        await say(world, key="key-2")
        assert (await world.answers(3))[1:] == [MARK, MARK]
        acts = await world.bot.store.people.acts("cli:test", 10)
        assert [(act.act, act.subject) for act in acts] == [("say", "ada")] * 2
        assert MARK not in str(acts)


@pytest.mark.invariant("I1")
async def test_they_survive_a_restart_a_stop_and_a_start_over(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await world.ask("hello")
    async with open_world(tmp_path, start=False) as world:
        await say(world)
        await world.say("stop")
        await world.say("start over")
    async with open_world(tmp_path) as world:
        await world.answers(3)
        assert world.channel.texts.count(MARK) == 1


@pytest.mark.invariant("I15")
async def test_nothing_of_them_is_left(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await world.ask("hello")
        await say(world)
        await world.answers(2)
    assert holding(tmp_path, MARK) == []


async def test_whoever_was_forgotten_is_not_spoken_to(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await world.ask("hello")
    async with open_world(tmp_path, start=False) as world:
        await say(world)
        await world.say("forget me now")
        await world.bot.start()
        await world.answers(1)
        assert MARK not in world.channel.texts
        assert await refusal(world, key="key-2") == "unknown_person"
        await world.ask("hello", conversation=group())
        assert await refusal(world, key="key-3") == "no_address"


async def test_an_admin_who_forgets_a_personal_conversation_forgets_the_address(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await world.ask("hello")
        store = world.bot.store
        [ada] = await store.people.find("ada")
        await store.forgetting.forget(await store.people.lanes(ada, every=False), None, None)
        assert await refusal(world) == "no_address"
        await world.ask("hello again")
        assert (await say(world)).fresh


async def test_who_and_what_cannot_be_said(tmp_path: Path):
    async with open_world(tmp_path) as world:
        for person in (ADA, Person("lin1", "Lin Wu"), Person("lin2", "Lin Wu")):
            await world.ask("hello", person=person)
        assert await refusal(world, who="nobody") == "unknown_person"
        assert await refusal(world, who="Lin Wu") == "several_people"
        assert await refusal(world, text=" \0 ") == "empty"
        assert await refusal(world, text="x" * (MOST_CHARACTERS + 1)) == "too_long"


async def test_they_never_fill_the_line_of_the_person(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await world.ask("hello")
    async with open_world(tmp_path, start=False) as world:
        for number in range(MOST_SAID):
            await say(world, key=f"key-{number}")
        assert await refusal(world, key="one more") == "too_many"
        for number in range(MOST_WAITING):
            await world.say(f"question {number}")
        await world.bot.start()
        await world.answers(MOST_SAID + 1)
        assert not [text for text in world.channel.texts if "were waiting" in text]


async def test_a_chat_that_is_gone_ends_it(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("hello")
        world.channel.failures = [DeliveryRefused("gone")]
        accepted = await say(world)
        await world.quiet()
        [ended] = [one for one in world.of(TurnEnded) if one.reference == reference_of(accepted.turn)]
        assert ended.ended == "dead"
        assert "nothing to retry" in await world.ask("retry"), "they are no question of the person's"


async def test_an_operator_may_let_go_of_them_while_they_wait(tmp_path: Path):
    async with open_world(tmp_path) as world:
        await world.ask("hello")
    async with open_world(tmp_path, start=False) as world:
        accepted = await say(world)
        assert await world.bot.store.records.drop(accepted.turn)


# -- over HTTP ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def api(folder: Path, key: str = KEY) -> AsyncGenerator[tuple[World, Any]]:
    async with (
        open_world(folder, say_api_key=key) as world,
        TestClient(TestServer(world.bot.app, host="127.0.0.1")) as client,
    ):

        async def post(body: Any, **headers: str) -> tuple[int, Any]:
            sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"} | headers
            async with client.post("/api/say", data=json.dumps(body), headers=sent) as response:
                return response.status, await response.json()

        yield world, post


def body(**changes: Any) -> dict[str, Any]:
    return {"person": "ada", "text": MARK, "idempotency_key": "key-1"} | changes


async def test_a_program_has_it_said(tmp_path: Path):
    async with api(tmp_path) as (world, post):
        await world.ask("hello")
        status, said = await post(body())
        assert (status, said["fresh"]) == (202, True)
        assert await post(body()) == (202, said | {"fresh": False})
        assert (await world.answers(2))[1] == MARK


async def test_without_a_key_there_is_no_such_address(tmp_path: Path):
    async with api(tmp_path, key="") as (_, post):
        assert (await post(body()))[0] == 404


@pytest.mark.invariant("I11")
@pytest.mark.parametrize(
    "header", ["", KEY, f"Basic {KEY}", "Bearer", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", "Bearer é"]
)
async def test_a_wrong_key_is_refused_before_the_body_is_read(tmp_path: Path, header: str):
    async with api(tmp_path) as (world, post):
        await world.ask("hello")
        status, said = await post("no object", Authorization=header)
        assert (status, said["code"]) == (401, "unauthorized")
        assert [(one.path, one.status) for one in world.of(RequestRefused)] == [("/api/say", 401)]
        assert world.of(WordsTaken) == []


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ([], 400, "bad_request"),
        (body(text=1), 400, "bad_request"),
        (body(idempotency_key=""), 400, "bad_request"),
        (body(idempotency_key="k" * 201), 400, "bad_request"),
        (body(person="nobody"), 404, "unknown_person"),
        (body(text="x" * (MOST_CHARACTERS + 1)), 413, "too_long"),
        (body(person="grace"), 409, "no_address"),
        (body(person="a"), 404, "unknown_person"),
    ],
)
async def test_what_is_wrong_is_said_in_json(tmp_path: Path, sent: Any, status: int, code: str):
    async with api(tmp_path) as (world, post):
        await world.ask("hello")
        await world.ask("hello", person=GRACE, conversation=group())
        answered, said = await post(sent)
        assert (answered, said["code"]) == (status, code)
        assert MARK not in said["error"]


async def test_another_content_type_is_refused(tmp_path: Path):
    async with api(tmp_path) as (_, post):
        status, _ = await post(body(), **{"Content-Type": "text/plain"})
        assert status == 415


# -- the command --------------------------------------------------------------------------------------------


async def test_beside_a_running_bot(tmp_path: Path):
    async with served(tmp_path) as bot:
        await bot.say("good morning")
        words = ("say", "--to", "Alex", "--key", "k", "The printer works again.")
        code, out, err = await command(tmp_path, *words, fresh=True)
        assert (code, "Taken: " in out) == (0, True), err
        await bot.shows("The printer works again.")
        code, out, _ = await command(tmp_path, *words)
        assert (code, "Taken before: " in out) == (0, True)
        code, _, err = await command(tmp_path, "say", "--to", "Sam", "Hello")
        assert (code, "Nobody of that id or name" in err) == (2, True)
