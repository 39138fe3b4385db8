"""People, the audit and forgetting in the store, on each database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine

import bot.store
from bot.clock import SystemClock
from bot.store import SqlStore, open_store
from bot.threads import thread_key
from bot.types import Act, Control, Ended, Ending, Entry, Known, Mails, Person, Thread, ThreadReason
from tests.world import ADA, GRACE, group, message

UNDO = 600.0


@pytest.fixture
async def store(database_url: str) -> AsyncGenerator[SqlStore]:
    store = await open_store(database_url, SystemClock(), runner=True)
    yield store
    await store.close()


def entry(text: str, *, person=ADA, control: Control | None = None, shared: bool = False, **options) -> Entry:
    said = message(text, person=person, **options)
    lane = thread_key(said.conversation, person, "shared" if shared else "person")
    return Entry(said, lane, control, control is None, shared)


async def put(store: SqlStore, text: str, **options) -> int:
    return (await store.inbox.put(entry(text, **options), UNDO)).turn


async def answer(store: SqlStore, remote_id: str, notice: float | None = None) -> None:
    """Claim the next turn, open a thread in it, and end it."""
    (claim,) = await store.inbox.claim("a", 1, 30.0)
    if claim.thread is None and claim.control is None:
        thread = Thread(0, claim.lane, claim.generation, "b", "p", remote_id, ThreadReason.FIRST, 0.0, 0.0)
        await store.threads.open(claim.turn, "a", thread, carried="nothing")
    await store.inbox.finish(claim.turn, "a", Ending(Ended.ANSWERED, {}, notice=notice))


async def known(store: SqlStore, words: str) -> Known:
    (person,) = await store.people.find(words)
    return person


async def test_people_are_found_by_id_by_name_and_by_words_of_it(store: SqlStore):
    for person in (Person("a1", "Åsa Öberg"), Person("a2", "Ada 100%"), Person("a3", "Ada King")):
        await put(store, "hello", person=person)
    assert (await known(store, "A1")).name == "Åsa Öberg"
    assert (await known(store, "åsa öberg")).id == "a1"
    assert (await known(store, "öberg")).id == "a1"
    assert (await known(store, "100%")).id == "a2"
    assert [person.id for person in await store.people.find("ada")] == ["a2", "a3"]
    assert await store.people.find("ad") == []
    assert await store.people.find(" ") == []
    await put(store, "married", person=Person("a3", "Ada Lovelace"))
    assert (await known(store, "Lovelace")).id == "a3"
    await put(store, "no name this time", person=Person("a3"))
    assert (await known(store, "a3")).name == "Ada Lovelace"


async def test_people_are_found_by_what_their_directory_calls_them(store: SqlStore):
    await put(store, "hello")
    await put(store, "in a group", person=GRACE, conversation=group())  # where there is no chat with her to ask in
    [(ada, address)] = await store.people.strangers(["test"], 9)
    assert (ada.id, bool(address)) == (ADA.id, True)
    assert await store.people.strangers(["msteams"], 9) == []
    await store.people.introduce(ada, Mails("Ada.Lovelace@Contoso.example", "al@contoso.example"))
    assert await store.people.strangers(["test"], 9) == []
    for words in ("ada.lovelace@contoso.example", " AL@contoso.example "):
        assert (await known(store, words)).id == ADA.id
    assert await store.people.find("lovelace@contoso.example") == []
    assert await store.people.find("") == []


async def test_who_has_another_name_is_asked_about_again(store: SqlStore):
    await put(store, "hello", person=Person("a1", "Ada Byron"))
    [(ada, _)] = await store.people.strangers(["test"], 9)
    await store.people.introduce(ada, Mails("byron@contoso.example"))
    await put(store, "married", person=Person("a1", "Ada King"))
    [(king, _)] = await store.people.strangers(["test"], 9)
    await store.people.introduce(ada, Mails("byron@contoso.example"))  # an answer that comes late
    assert await store.people.strangers(["test"], 9) == [(king, _)]
    await store.people.introduce(king, Mails("king@contoso.example"))
    assert await store.people.find("byron@contoso.example") == []
    assert (await known(store, "king@contoso.example")).name == "Ada King"


@pytest.mark.invariant("I15")
async def test_an_address_is_forgotten_with_the_conversation(store: SqlStore):
    await put(store, "hello")
    [(ada, _)] = await store.people.strangers(["test"], 9)
    await store.people.introduce(ada, Mails("ada@contoso.example"))
    await store.forgetting.forget(await store.people.lanes(ada, every=False), None, None)
    assert await store.people.find("ada@contoso.example") == []
    assert await store.people.strangers(["test"], 9) == []


async def test_lanes_are_the_persons_own(store: SqlStore):
    await put(store, "mine")
    await put(store, "in a group", conversation=group())
    await put(store, "ours", conversation=group("g2"), shared=True)
    ada = await known(store, "ada")
    personal = await store.people.lanes(ada, every=False)
    assert len(personal) == 1
    assert len(await store.people.lanes(ada, every=True)) == 2


async def test_a_reset_drops_what_waits_and_acts_once_a_turn(store: SqlStore):
    await put(store, "first")
    await answer(store, "t1")
    keys = await store.people.lanes(await known(store, "ada"), every=False)
    await put(store, "waits")
    asks = await put(store, "start over for Ada", person=GRACE)
    act = Act("grace", "start over", "ada", asks)
    done = await store.forgetting.reset(keys, act, UNDO)
    assert done.detail == {"conversations": 1, "dropped": 1, "stopped": 0}
    assert await store.forgetting.reset(keys, act, UNDO) == done
    lane = await store.threads.lane(keys[0])
    assert lane is not None
    assert (lane.generation, lane.thread) == (1, None)
    claims = {claim.lane: claim for claim in await store.inbox.claim("a", 9, 30.0)}
    told = claims[keys[0]]
    assert (told.control, told.effect["dropped"], told.messages[0].text) == (Control.START_OVER, 1, "")
    assert told.notice is not None
    await store.inbox.finish(told.turn, "a", Ending(Ended.CONFIRMED, {}, notice=told.notice))
    await put(store, "next")
    assert [claim.notice for claim in await store.inbox.claim("a", 9, 30.0)] == [None]
    assert [one.act for one in await store.people.acts("grace", 9)] == ["start over"]


async def test_everyone_is_started_over_once_and_newer_threads_stay(store: SqlStore):
    for number, person in enumerate((ADA, GRACE)):
        await put(store, "first", person=person)
        await answer(store, f"t{number}")
    assert await store.people.count() == (2, 2)
    act = await store.people.record(Act("grace", "start over for everyone", "everyone"))
    first = await store.forgetting.reset_some(act, UNDO, "")
    assert first is not None
    assert await store.people.count() == (0, 0)
    assert await store.forgetting.reset_some(act, UNDO, first) is None
    await put(store, "second")
    await answer(store, "t9")
    assert await store.forgetting.reset_some(act, UNDO, "") is None
    assert await store.people.count() == (1, 1)


async def test_forgetting_marks_every_thread_and_its_own_turn_goes_on(store: SqlStore):
    await put(store, "first")
    await answer(store, "t1")
    await put(store, "hers", person=GRACE)
    await answer(store, "t2")
    turn = await put(store, "forget me now", control=Control.FORGET)
    (claim,) = await store.inbox.claim("a", 9, 30.0)
    assert (claim.turn, claim.thread, claim.interrupt, claim.effect["lanes"]) == (turn, None, None, [claim.lane])
    assert await store.forgetting.running([claim.lane], None) == 0, "it makes no answer, for which another would wait"
    (marked,) = await store.forgetting.marked([claim.lane], 9)
    assert marked.remote_id == "t1"
    await store.forgetting.deleted(marked.id)
    assert await store.forgetting.marked(None, 9) == []
    await store.forgetting.forget([claim.lane], await known(store, "ada"), turn)
    assert await store.people.find("ada") == []


async def test_an_answer_that_is_being_made_is_waited_for(store: SqlStore):
    turn = await put(store, "question")
    (claim,) = await store.inbox.claim("a", 9, 30.0)
    assert await store.forgetting.running([claim.lane], None) == 1
    assert await store.forgetting.running([claim.lane], turn) == 0, "but not by itself"


async def test_a_thread_in_use_does_not_expire(store: SqlStore):
    await put(store, "first")
    await answer(store, "t1")
    await put(store, "waits")
    assert await store.forgetting.expire(-10.0) == 0
    await answer(store, "t1")
    assert await store.forgetting.expire(3600.0) == 0
    assert await store.forgetting.expire(-10.0) == 1
    assert [thread.remote_id for thread in await store.forgetting.marked(None, 9)] == ["t1"]
    assert await store.people.everyone() == []


async def test_lanes_of_before_get_their_owners(empty_database_url: str):
    engine = create_async_engine(empty_database_url)
    keys = ["c/t/person/ada", "c/t/group/g%2F1/ada", "c/t/group/g2"]

    def before(connection: sa.Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(bot.store.__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for key in keys:
            row = "INSERT INTO lanes (key, channel, tenant, created_at) VALUES (:key, 'c', 't', 1.0)"
            connection.execute(sa.text(row), {"key": key})

    async with engine.begin() as connection:
        await connection.run_sync(before)
    await engine.dispose()
    store = await open_store(empty_database_url, SystemClock(), runner=True)
    ada = await known(store, "ada")
    assert await store.people.lanes(ada, every=False) == keys[:1]
    assert sorted(await store.people.lanes(ada, every=True)) == sorted(keys[:2])
    await store.close()
