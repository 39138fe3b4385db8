"""Whose thread, and rollover: the rule as a law, the move as a scenario."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import ServiceUnavailable
from bot.events import ThreadOpened
from bot.threads import ThreadLimits, near_limit, reason_to_open, thread_key
from bot.types import Conversation, ConversationKind, Person, Thread, ThreadReason
from tests.scripted import ScriptedAgent
from tests.world import open_world

NAMES = st.text(min_size=1, max_size=20)
LIMITS = ThreadLimits(messages=10, tokens=1000, idle_days=3)


def thread(**options) -> Thread:
    fields = {
        "id": 1,
        "lane": "l",
        "generation": 0,
        "backend": "b",
        "project": "p",
        "remote_id": "t",
        "reason": ThreadReason.FIRST,
        "opened_at": 0.0,
        "used_at": 0.0,
    }
    return Thread(**(fields | options))


def reason(one: Thread | None, *, now: float = 1.0, backend: str = "b", project: str = "p", generation: int = 0):
    return reason_to_open(one, LIMITS, now=now, backend=backend, project=project, generation=generation)


@given(
    messages=st.integers(0, 20),
    tokens=st.integers(0, 2000),
    idle=st.floats(0, 10 * 86_400),
    same=st.booleans(),
)
def test_a_thread_is_left_exactly_when_a_limit_is_reached(messages: int, tokens: int, idle: float, same: bool):
    found = reason(thread(messages=messages, prompt_tokens=tokens), now=idle, backend="b" if same else "c")
    reached = messages >= 10 or tokens >= 1000 or idle > 3 * 86_400 or not same
    assert (found is not None) == reached
    assert not same or found is not ThreadReason.MOVED


def test_a_lane_without_a_thread_opens_one():
    assert reason(None) is ThreadReason.FIRST
    assert reason(None, generation=2) is ThreadReason.START_OVER
    assert reason(thread(unusable=ThreadReason.STUCK)) is ThreadReason.STUCK
    assert reason(thread(), project="other") is ThreadReason.MOVED


@given(messages=st.integers(0, 12), added=st.integers(0, 4), tokens=st.integers(0, 1200))
def test_the_summary_is_prepared_before_the_limit(messages: int, added: int, tokens: int):
    near = near_limit(thread(messages=messages), LIMITS, messages=added, tokens=tokens)
    assert near == (messages + added >= 9 or tokens >= 900)


@pytest.mark.invariant("I10")
@given(tenant=NAMES, place=NAMES, one=NAMES, other=NAMES, kind=st.sampled_from(ConversationKind))
def test_keys_are_equal_only_for_the_same_person_in_the_same_place(tenant, place, one, other, kind):
    conversation = Conversation("c", tenant, place, kind)
    keys = [thread_key(conversation, Person(person), "person") for person in (one, other)]
    assert (keys[0] == keys[1]) == (one == other)


@pytest.mark.invariant("I10")
@given(parts=st.lists(st.tuples(NAMES, NAMES, NAMES), min_size=2, max_size=2, unique=True))
def test_no_two_keys_are_written_alike(parts):
    keys = {
        thread_key(Conversation("c", tenant, place, ConversationKind.GROUP), Person(person), "person")
        for tenant, place, person in parts
    }
    assert len(keys) == 2


async def rolled(tmp_path: Path, agent: ScriptedAgent, **limits):
    return open_world(tmp_path, agent=agent, threads=ThreadLimits(**limits))


@pytest.mark.invariant("I12")
async def test_at_90_percent_a_summary_is_made_unseen_and_then_carried(tmp_path: Path):
    agent = ScriptedAgent([["one"], ["two"], ["SUMMARY of it"], ["three"]])
    async with await rolled(tmp_path, agent, messages=4) as world:
        assert await world.ask("first") == "one"
        assert await world.ask("second") == "two"
        said = await world.ask("third")
        assert said.startswith("three")
        assert "continued in a new one with a summary" in said
        assert "SUMMARY" not in "".join(world.channel.texts)
        assert [run.thread for run in agent.runs] == ["t1", "t1", "t1", "t2"]
        assert agent.runs[2].ask.tools is None
        assert agent.threads["t2"][0].text == "SUMMARY of it"
        chain = await world.bot.store.threads.chain(world.events[0].lane)
        assert [(one.remote_id, one.previous_id is None, one.messages) for one in chain] == [
            ("t1", True, 4),
            ("t2", False, 2),
        ]
        opened = world.of(ThreadOpened)
        assert [(one.reason, one.carried) for one in opened] == [("first", "nothing"), ("messages", "summary")]


@pytest.mark.invariant("I12")
async def test_without_a_summary_the_last_messages_are_carried(tmp_path: Path):
    failing = [ServiceUnavailable("cut")] * 50
    agent = ScriptedAgent([["one"], ["two"], failing, ["three"]])
    async with await rolled(tmp_path, agent, messages=4) as world:
        await world.ask("first")
        await world.ask("second")
        said = await world.ask("third")
        assert "with our last messages" in said
        assert [entry.text for entry in agent.threads["t2"]][:2] == ["first", "one"]


@pytest.mark.invariant("I12")
async def test_tokens_and_idle_days_roll_over_too(tmp_path: Path):
    agent = ScriptedAgent()
    async with await rolled(tmp_path, agent, idle_days=1) as world:
        await world.ask("first")
        world.clock.advance(2 * 86_400)
        assert "It has been a while" in await world.ask("second")
    agent = ScriptedAgent()
    async with await rolled(tmp_path, agent, tokens=10) as world:
        await world.ask("third")
        assert "Our thread got long" in await world.ask("fourth")


async def test_a_thread_that_is_gone_is_replaced_once_and_said(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("first")
        agent.lost.add("t1")
        said = await world.ask("second")
        assert said.startswith("answer to second")
        assert "no longer exists" in said
        chain = await world.bot.store.threads.chain(world.events[0].lane)
        assert [(one.remote_id, one.unusable) for one in chain] == [("t1", ThreadReason.LOST), ("t2", None)]
        agent.lost |= {"t2", "t3"}
        assert "Sorry" in await world.ask("third")


async def test_another_agent_or_project_is_a_rollover(tmp_path: Path):
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        await world.ask("first")
    async with open_world(tmp_path, agent=ScriptedAgent(project="other")) as world:
        assert "The agent behind me changed" in await world.ask("second")


async def test_undo_after_a_rollover_brings_back_the_thread_of_before(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("first")
        await world.ask("start over")
        await world.ask("second")
        await world.ask("undo")
        await world.ask("third")
        assert [run.thread for run in agent.runs] == ["t1", "t2", "t1"]


@pytest.mark.invariant("I12")
async def test_what_is_carried_is_bounded(tmp_path: Path):
    agent = ScriptedAgent([["x" * 30_000], ["two"], [ServiceUnavailable("cut")] * 50])
    async with await rolled(tmp_path, agent, messages=4) as world:
        await world.ask("first")
        await world.ask("second")
        await world.ask("third")
        carried = [entry.text for entry in agent.threads["t2"]]
        assert carried[:2] == ["second", "two"]
        assert json.dumps(carried)
