"""A tool that needs a person's agreement: asked, waited for without holding anything, decided once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bot.errors import DeliveryFailed, DeliveryRefused
from bot.runs import RunLimits
from bot.types import Accepted, Caller, Decision, Finished, Part, Reply, Stopped, ToolCall, Usage
from tests.scripted import ScriptedAgent
from tests.world import ADA, GRACE, FakeToolbox, FastClock, RecordingChannel, World, group, message, open_world

EXPIRED = Stopped("expired", "")
ANSWER = Finished(Reply("It is ordered."), Usage(10, 5, 10))


def toolbox(done: list[str] | None = None) -> FakeToolbox:
    box = FakeToolbox()
    made = done if done is not None else []
    box.add("order", lambda call, caller: made.append(caller.key) or "ordered", once=True, approve=True)
    box.add("look", lambda call, caller: "looked")
    return box


def ordering(*more: Any) -> ScriptedAgent:
    return ScriptedAgent([[["order"], *(more or (ANSWER,))]])


async def asked(world: World, words: str = "order it", **options: Any) -> Part:
    """Say it, and wait until the question stands in the chat and the turn waits for its word."""
    before = len(world.channel.sent)
    await world.say(words, **options)
    await world.answers(before + 1, ended=False)
    await world.bot.inbox.idle()
    return world.channel.sent[before][1]


async def press(world: World, part: Part, word: str = "approve", **options: Any) -> Accepted:
    assert part.asks is not None
    return await world.say(word, decides=part.asks.approval, **options)


async def test_nothing_is_called_before_the_word_and_once_after_it(tmp_path: Path, database_url: str) -> None:
    done: list[str] = []
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox(done), database_url=database_url) as world:
        question = await asked(world)
        assert question.text == (
            "Ada, may I use **order**?\n\n- arguments: {}\n\nSay **approve** or **decline** within 60 minutes."
        )
        assert question.asks is not None
        assert question.asks.tool == "order"
        assert not question.asks.outcome
        assert done == []
        assert world.bot.inbox.running == 0
        accepted = await world.say("Approve!")
        assert accepted.decision is Decision.APPROVED
        assert (await world.answers(2))[1] == "It is ordered."
        assert len(done) == 1
        ((delivered, shown),) = world.channel.updates
        assert delivered == "d1"
        assert shown.asks is not None
        assert shown.asks.outcome == "_Approved by Ada._"
        assert shown.text.endswith("_Approved by Ada._")
        assert (await world.say("approve")).decision is None  # nothing waits any more: words for the agent
        assert (await world.answers(3))[2] == "answer to approve"


@pytest.mark.invariant("I9")
async def test_declined_it_is_not_called_and_the_agent_is_told(tmp_path: Path) -> None:
    done: list[str] = []
    agent = ordering()
    async with open_world(tmp_path, agent=agent, toolbox=toolbox(done)) as world:
        await asked(world)
        assert (await world.say("decline")).decision is Decision.DECLINED
        await world.answers(2)
    assert done == []
    ((output,),) = [list(outputs.values()) for outputs in agent.runs[0].outputs]
    assert output.startswith("order was not called: the person was asked and declined.")


async def test_it_expires_with_a_word(tmp_path: Path, database_url: str) -> None:
    done: list[str] = []
    agent, clock = ordering(), FastClock()
    options: dict[str, Any] = {"approval_minutes": 0.002} if "postgresql" in database_url else {}
    async with open_world(
        tmp_path, agent=agent, clock=clock, toolbox=toolbox(done), database_url=database_url, **options
    ) as world:
        question = await asked(world)
        clock.advance(3601)
        world.bot.inbox.nudge()
        texts = await world.answers(2)
        assert texts[1] == "It is ordered.\n\n_I didn't use order: nobody approved it in time._"
        assert world.channel.updates[0][1].text.endswith("_Not done: nobody answered in time._")
        assert (await press(world, question)).decision is Decision.OVER
    assert done == []
    assert "did not answer in time" in next(iter(agent.runs[0].outputs[0].values()))


@pytest.mark.invariant("I3")
async def test_whoever_writes_meanwhile_is_told_that_it_waits_and_is_answered_after_it(tmp_path: Path) -> None:
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox()) as world:
        await asked(world)
        await world.say("and what is the time?")
        assert (await world.answers(2, ended=False))[1] == (
            "I'm still waiting: Ada, may I use **order**? Say **approve** or **decline**, or **stop**. "
            "What you wrote is kept and comes after it."
        )
        await world.bot.inbox.idle()
        await world.say("help")
        assert (await world.answers(3, ended=False))[2].startswith("I'm still waiting")
        await world.bot.inbox.idle()
        await world.say("approve")
        texts = await world.answers(6)
        assert texts[3] == "It is ordered."
        assert texts[4] == "answer to and what is the time?"
        assert texts[5].startswith("Just ask.")


@pytest.mark.invariant("I4")
async def test_a_restart_changes_nothing(tmp_path: Path, database_url: str) -> None:
    done: list[str] = []
    agent, channel = ordering(), RecordingChannel()
    options: dict[str, Any] = {"agent": agent, "channel": channel, "database_url": database_url}
    async with open_world(tmp_path, toolbox=toolbox(done), **options) as world:
        question = await asked(world)
    async with open_world(tmp_path, toolbox=toolbox(done), **options) as world:
        await world.bot.inbox.idle()
        assert (await press(world, question)).decision is Decision.APPROVED
        assert (await world.answers(2))[1] == "It is ordered."
    assert len(done) == 1
    assert len(agent.runs) == 1


async def test_only_the_asker_or_an_admin_decides(tmp_path: Path) -> None:
    done: list[str] = []
    place = group()
    agent = ScriptedAgent([[["order"], ANSWER], [["order"], ANSWER]])
    async with open_world(tmp_path, agent=agent, toolbox=toolbox(done), admins="root") as world:
        question = await asked(world, conversation=place)
        assert (await press(world, question, person=GRACE, conversation=place)).decision is Decision.NOT_YOURS
        root = type(ADA)("root", "Root")
        assert (await press(world, question, person=root)).decision is Decision.NOTHING  # asked somewhere else
        assert done == []
        pressed = message("approve", person=root, conversation=place, decides=question.asks.approval)  # type: ignore[union-attr]
        assert (await world.bot.accept(pressed)).decision is Decision.APPROVED
        again = await world.bot.accept(pressed)
        assert (again.decision, again.fresh) == (Decision.APPROVED, False)
        await world.answers(2)
        assert world.channel.updates[0][1].text.endswith("_Approved by Root._")
        assert (await press(world, question, person=ADA, conversation=place, word="decline")).decision is Decision.OVER
    assert len(done) == 1


async def test_in_a_shared_thread_another_s_word_is_not_taken(tmp_path: Path) -> None:
    done: list[str] = []
    place = group()
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox(done), group_threads="shared") as world:
        await asked(world, conversation=place)
        accepted = await world.say("approve", person=GRACE, conversation=place)
        assert accepted.decision is Decision.NOT_YOURS
        assert "Ada, may I use" in (await world.answers(2, ended=False))[1]
        await world.bot.inbox.idle()
        await world.say("approve", conversation=place)
        await world.answers(3)
    assert len(done) == 1


@pytest.mark.invariant("I7")
@pytest.mark.invariant("I8")
@pytest.mark.parametrize("word", ["stop", "start over", "forget me now"])
async def test_a_control_ends_the_wait_and_its_word_comes_too_late(tmp_path: Path, word: str) -> None:
    done: list[str] = []
    agent = ordering()
    async with open_world(tmp_path, agent=agent, toolbox=toolbox(done)) as world:
        question = await asked(world)
        await world.say(word)
        await world.answers(2)
        assert agent.cancelled == ["r1"]
        assert (await press(world, question)).decision is Decision.OVER
        await world.quiet()
    assert done == []
    assert len(world.channel.sent) == 2


@pytest.mark.invariant("I9")
async def test_a_run_that_ended_meanwhile_is_followed_by_one_that_is_told(tmp_path: Path) -> None:
    done: list[str] = []
    agent = ScriptedAgent([[["look", "order"], EXPIRED], [ANSWER]])
    async with open_world(tmp_path, agent=agent, toolbox=toolbox(done)) as world:
        question = await asked(world)
        agent.runs[0].calls, agent.runs[0].ended = (), EXPIRED
        await world.say("anything new?")  # it wakes, and goes on waiting
        await world.answers(2, ended=False)
        await world.bot.inbox.idle()
        assert done == []
        await press(world, question)
        texts = await world.answers(4)
        assert texts[2] == "It is ordered."
    assert len(done) == 1
    second = agent.runs[1].ask
    assert second.held
    assert second.mark.attempt == "run-1"
    assert second.note is not None
    assert "look gave:\nlooked" in second.note
    assert "order gave:\nordered" in second.note


async def test_two_calls_of_a_round_are_asked_about_one_after_the_other(tmp_path: Path) -> None:
    done: list[str] = []
    agent = ScriptedAgent([[["order", "order"], ANSWER]])
    async with open_world(tmp_path, agent=agent, toolbox=toolbox(done)) as world:
        await asked(world)
        await world.say("approve")
        await world.answers(2, ended=False)
        await world.bot.inbox.idle()
        assert len(done) == 1
        await world.say("decline")
        await world.answers(3)
    (outputs,) = agent.runs[0].outputs
    assert [output.split(".")[0] for output in outputs.values()] == [
        "ordered",
        "order was not called: the person was asked and declined",
    ]


async def test_the_time_of_waiting_does_not_count(tmp_path: Path) -> None:
    clock = FastClock()
    agent = ordering()
    async with open_world(
        tmp_path, agent=agent, clock=clock, toolbox=toolbox(), runs=RunLimits(deadline=300.0), message_max_age_minutes=5
    ) as world:
        await asked(world)
        clock.advance(3000)
        await world.say("approve")
        assert (await world.answers(2))[1] == "It is ordered."


@pytest.mark.invariant("I15")
async def test_the_arguments_are_forgotten_with_the_turn(tmp_path: Path) -> None:
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox()) as world:
        accepted = await world.say("order it")
        await world.answers(1, ended=False)
        await world.bot.inbox.idle()
        (kept,) = await world.bot.store.approvals.of(accepted.turn)
        assert kept.arguments == "{}"
        await world.say("approve")
        await world.answers(2)
        (kept,) = await world.bot.store.approvals.of(accepted.turn)
        assert (kept.state, kept.arguments) == ("approved", "")
        described = await world.bot.store.records.describe(accepted.turn)
        assert described is not None
        assert [(one["tool"], one["state"], one["decider"]) for one in described["approvals"]] == [
            ("order", "approved", "ada")
        ]
        assert kept.id not in str(described["approvals"])


async def test_a_question_that_cannot_be_put_now_is_put_again(tmp_path: Path) -> None:
    channel = RecordingChannel()
    channel.failures = [DeliveryFailed("not now")]
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox(), channel=channel) as world:
        await asked(world)
        await world.say("approve")
        assert (await world.answers(2))[1] == "It is ordered."


@pytest.mark.invariant("I8")
async def test_a_question_that_can_never_be_put_ends_the_run(tmp_path: Path) -> None:
    channel, agent, done = RecordingChannel(), ordering(), list[str]()
    channel.failures = [DeliveryRefused("gone")]
    async with open_world(tmp_path, agent=agent, toolbox=toolbox(done), channel=channel) as world:
        await world.say("order it")
        await world.quiet()
    assert agent.cancelled == ["r1"]
    assert done == []


async def test_arguments_that_changed_are_not_called(tmp_path: Path) -> None:
    done: list[str] = []
    agent = ordering()
    async with open_world(tmp_path, agent=agent, toolbox=toolbox(done)) as world:
        await asked(world)
        (call,) = agent.runs[0].calls
        agent.runs[0].calls = (ToolCall(call.id, call.name, '{"all": true}'),)
        await world.say("approve")
        await world.answers(2)
    assert done == []
    assert "its arguments are not those" in next(iter(agent.runs[0].outputs[0].values()))


async def test_an_edited_message_agrees_to_nothing(tmp_path: Path) -> None:
    done: list[str] = []
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox(done)) as world:
        await asked(world)
        await asyncio.gather(*(world.say("approve", id="twice") for _ in range(3)))
        await world.answers(2)
    assert len(done) == 1


async def test_a_tool_may_ask_while_it_runs(tmp_path: Path) -> None:
    box, agent = FakeToolbox(), ScriptedAgent([[["delete"], ANSWER], [["delete"], ANSWER]])

    async def delete(_call: ToolCall, caller: Caller) -> str:
        return "deleted" if await caller.ask("Delete all 12 files?") else "kept"

    box.add("delete", delete)
    async with open_world(tmp_path, agent=agent, toolbox=box, clock=RealSleeps()) as world:
        for count, word in ((2, "approve"), (4, "decline")):
            await world.say("tidy up")
            await world.answers(count - 1, ended=False)
            question = world.channel.sent[-1][1]
            assert "- it asks: Delete all 12 files?" in question.text
            await press(world, question, word)
            await world.answers(count)
    assert [list(run.outputs[0].values()) for run in agent.runs] == [["deleted"], ["kept"]]


@pytest.mark.invariant("I8")
async def test_stop_ends_a_tool_that_asks(tmp_path: Path) -> None:
    box, agent = FakeToolbox(), ScriptedAgent([[["delete"], ANSWER]])
    box.add("delete", lambda _call, caller: caller.ask("Delete?"))
    async with open_world(tmp_path, agent=agent, toolbox=box, clock=RealSleeps()) as world:
        await world.say("tidy up")
        await world.answers(1, ended=False)
        await world.say("stop")
        assert (await world.answers(2))[1].startswith("Stopped.")
    assert agent.cancelled == ["r1"]


class RealSleeps(FastClock):
    """A clock that does not run ahead while somebody makes up their mind."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))
