"""The small help desk: whose tickets are whose, what may follow a state, and that none is lost or counted twice."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.discovery import load
from adapters.function import FunctionAdapter, FunctionTool
from adapters.toolbox import Toolbox
from bot.clock import SystemClock
from bot.store import open_store
from bot.types import Caller
from tests.contracts.toolbox import call
from tests.tools.kept import Memory, caller
from tools import tickets
from tools.tickets import COUNTER, NEXT, OWN, TICKETS, offered

TOOLS = Toolbox([FunctionAdapter([FunctionTool(one) for one in offered({"TICKETS": "records"})], environ={})])


@pytest.fixture
def desk() -> Memory:
    return Memory()


async def use(who: Caller, name: str, **given: Any) -> Any:
    output = await TOOLS.call(call(f"{name}_ticket" if name != "list" else "list_tickets", **given), who)
    if output.error is not None:
        return f"{output.error}: {output.output}"
    return json.loads(output.output) if output.output.startswith("{") else output.output


async def names(who: Caller, **given: Any) -> list[str]:
    return [one["name"] for one in (await use(who, "list", **given))["tickets"]]


async def test_a_ticket_from_its_opening_to_its_end(desk: Memory):
    ada, help_desk = caller("Ada", desk), caller("Hal", desk, "help-desk")
    made = await use(ada, "create", title=" The printer smokes ", text="On floor 3.", priority="high")
    assert (made["name"], made["title"], made["state"], made["by"]) == ("T-1", "The printer smokes", "open", "Ada")
    assert "owner" not in made
    assert (await use(help_desk, "change", ticket="T-1", state="waiting"))["state"] == "waiting"
    assert await use(help_desk, "comment", ticket="1", text="Which one?") == "The comment stands in T-1."
    shown = await use(ada, "show", ticket="t1")
    assert [(one["by"], one["text"]) for one in shown["comments"]] == [("Hal", "Which one?")]
    assert shown["may become"] == ["in progress", "closed"]
    assert (await use(ada, "change", ticket="#1", state="in progress"))["state"] == "in progress"
    assert (await use(help_desk, "change", ticket="T-1", state="solved"))["state"] == "solved"
    assert (await use(ada, "change", ticket="T-1", state="open", priority="urgent"))["priority"] == "urgent"
    assert (await use(ada, "change", ticket="T-1", state="closed"))["state"] == "closed"
    assert await names(ada) == []
    assert await names(ada, state="closed") == ["T-1"]
    assert "T-1 is closed. Open a new ticket" in await use(ada, "comment", ticket="T-1", text="again")
    assert "Ada may make it: nothing else" in await use(ada, "change", ticket="T-1", state="open")


async def test_who_may_see_which(desk: Memory):
    ada, bob, admin = caller("Ada", desk), caller("Bob", desk), caller("Eve", desk, "admin")
    other = caller("Ada", desk, channel="slack")  # of the same id, and somebody else
    await use(ada, "create", title="Ada's secret")
    await use(bob, "create", title="Bob's")
    for stranger in (bob, other):
        for name, more in (("show", {}), ("comment", {"text": "x"}), ("change", {"state": "closed"})):
            said = await use(stranger, name, ticket="T-1", **more)
            assert said == "failed: There is no ticket 'T-1' that this person may see. List their tickets."
    assert "There is no ticket 'T-9'" in await use(ada, "show", ticket="T-9")
    assert await names(ada) == ["T-1"]
    assert await names(bob) == ["T-2"]
    assert await names(other) == []
    assert "Only the help desk sees" in await use(bob, "list", everyone=True)
    found = (await use(admin, "list", everyone=True))["tickets"]
    assert {(one["name"], one["by"]) for one in found} == {("T-1", "Ada"), ("T-2", "Bob")}
    assert (await use(admin, "show", ticket="T-1"))["title"] == "Ada's secret"


@pytest.mark.parametrize("given", ["", "T-", "printer", "T-1x", "٣", "T--1", "9" * 40, "../T-1"])
async def test_what_is_no_ticket_is_none(desk: Memory, given: str):
    assert "There is no ticket" in await use(caller("Ada", desk), "show", ticket=given)


async def test_every_change_of_state_is_as_the_table_says(desk: Memory):
    ada, hal = caller("Ada", desk), caller("Hal", desk, "help-desk")
    await use(ada, "create", title="x")
    for who, table in ((hal, NEXT), (ada, OWN)):
        for before in NEXT:
            for after in NEXT:
                kept = await desk.get(TICKETS, "T-1")
                await desk.put(TICKETS, "T-1", kept | {"state": before})
                said = await use(who, "change", ticket="T-1", state=after)
                fine = after == before or after in table.get(before, ())
                assert isinstance(said, dict) == fine, (who.person.name, before, after)


def test_who_opened_a_ticket_may_never_do_more_than_the_desk():
    assert all(set(OWN.get(state, ())) <= set(NEXT[state]) for state in NEXT)
    assert {one for after in NEXT.values() for one in after} <= set(NEXT)


async def test_what_is_empty_or_too_long_is_said(desk: Memory):
    ada = caller("Ada", desk)
    assert "The title is empty" in await use(ada, "create", title="  \0")
    assert "The title has 201 characters" in await use(ada, "create", title="x" * 201)
    assert "The text has 4001 characters" in await use(ada, "create", title="x", text="y" * 4001)
    assert "bad_arguments" in await use(ada, "create", title="x", priority="now")
    await use(ada, "create", title="half \ud800 a pair")
    assert "Say what to change" in await use(ada, "change", ticket="T-1")
    assert [one for one in desk.kept if one[0] == TICKETS] == [(TICKETS, "T-1")]


async def test_many_at_once_get_each_a_name_of_their_own(desk: Memory):
    made = await asyncio.gather(*(use(caller(f"P{n}", desk), "create", title=f"{n}") for n in range(30)))
    assert {one["name"] for one in made} == {f"T-{n}" for n in range(1, 31)}


async def test_two_who_change_a_ticket_lose_nothing(desk: Memory, monkeypatch: pytest.MonkeyPatch):
    ada, hal = caller("Ada", desk), caller("Hal", desk, "help-desk")
    await use(ada, "create", title="x")
    put, others = desk.put, 2

    async def meanwhile(collection: str, key: str, value: Any, **options: Any) -> bool:
        nonlocal others
        if collection == TICKETS and others:
            others -= 1
            await put(TICKETS, key, await desk.get(TICKETS, key) | {"priority": "urgent", "changed": f"{others}"})
        return await put(collection, key, value, **options)

    monkeypatch.setattr(Memory, "put", lambda self, *given, **options: meanwhile(*given, **options))
    changed = await use(hal, "change", ticket="T-1", state="solved")
    assert (changed["state"], changed["priority"]) == ("solved", "urgent")


async def test_comments_have_an_end(desk: Memory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tickets, "MOST_COMMENTS", 3)
    ada = caller("Ada", desk)
    await use(ada, "create", title="x")
    said = [await use(ada, "comment", ticket="T-1", text=f"{n}") for n in range(4)]
    assert "has 3 comments, and takes no more" in said[3]
    assert [one["text"] for one in (await use(ada, "show", ticket="T-1"))["comments"]] == ["0", "1", "2"]


async def test_a_long_list_says_how_much_more_there_is(desk: Memory):
    ada = caller("Ada", desk)
    for number in range(52):
        await use(ada, "create", title=f"{number}")
    listed = await use(ada, "list")
    assert (len(listed["tickets"]), listed["more"]) == (50, "2 more; ask for one state")


async def test_what_has_an_effect_is_never_repeated():
    once = {spec.name: spec.once for spec in TOOLS.specs()}
    assert once == {
        "change_ticket": True,
        "comment_ticket": True,
        "create_ticket": True,
        "list_tickets": False,
        "show_ticket": False,
    }


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(sorted(NEXT))), max_size=12))
def test_a_closed_ticket_stays_closed(steps: list[tuple[bool, str]]):
    async def run() -> None:
        desk = Memory()
        ada, hal = caller("Ada", desk), caller("Hal", desk, "help-desk")
        await use(ada, "create", title="x")
        closed = False
        for by_desk, state in steps:
            await use(hal if by_desk else ada, "change", ticket="T-1", state=state)
            now = (await desk.get(TICKETS, "T-1"))["state"]
            assert now == "closed" or not closed
            closed = now == "closed"

    asyncio.run(run())


async def test_it_works_over_each_database(database_url: str):
    store = await open_store(database_url, SystemClock(), runner=True)
    try:
        desk: Any = store.tool_records.of_organisation("t")
        ada = caller("Ada", desk)
        made = await asyncio.gather(*(use(ada, "create", title=f"{n}") for n in range(5)))
        assert {one["name"] for one in made} == {f"T-{n}" for n in range(1, 6)}
        assert (await use(ada, "change", ticket="T-3", state="closed"))["state"] == "closed"
        await use(ada, "comment", ticket="T-2", text="here")
        assert sorted(await names(ada)) == ["T-1", "T-2", "T-4", "T-5"]
        assert [one["text"] for one in (await use(ada, "show", ticket="T-2"))["comments"]] == ["here"]
        assert await desk.get(COUNTER, "last") == 5
    finally:
        await store.close()


@pytest.mark.parametrize(("chosen", "there"), [("records", True), ("off", False), ("github", False), ("", False)])
def test_the_setting_says_whether_there_are_any(chosen: str, there: bool):
    specs = {spec.name: spec.source for spec in load(environ={}, settings={"TICKETS": chosen}).toolbox.specs()}
    assert (specs.get("create_ticket") == "tools/tickets.py") == there
