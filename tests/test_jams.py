"""Controls, crashes and retries at unlucky moments: every turn ends, and every word about it is true."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.errors import DeliveryFailed, OperatorError, ServiceBusy, ServiceUnavailable, ThreadGone
from bot.events import TurnEnded, TurnReleased
from bot.runs import RunLimits
from bot.threads import ThreadLimits
from bot.types import Ask, Change, Decision, Ended, Handle, Part, Revision, Stopped
from tests.failpoints import Overlay
from tests.scripted import WORKING, ScriptedAgent
from tests.test_approvals import ANSWER, asked, ordering, toolbox
from tests.test_giving_up import HASTY
from tests.world import GRACE, FakeToolbox, RecordingChannel, World, group, message, open_world

FOR_EVER = RunLimits(deadline=1e9)


class Told(RecordingChannel):
    """A channel in which something is said while the first message is being sent."""

    world: World
    words: str = ""

    async def send(self, address: Any, part: Part) -> str:
        delivered = await super().send(address, part)
        if self.words and len(self.sent) == 1:
            words, self.words = self.words, ""
            await self.world.say(words)
        return delivered


@pytest.mark.parametrize("word", ["stop", "start over", "forget me now"])
async def test_a_control_said_while_the_question_is_put(tmp_path: Path, word: str) -> None:
    channel = Told()
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox(), channel=channel) as world:
        channel.world, channel.words = world, word
        await world.say("order it")
        await world.answers(2)


async def test_two_forget_me_now(tmp_path: Path) -> None:
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        await world.ask("one")
        await world.ask("two", conversation=group())
        await asyncio.gather(world.say("forget me now"), world.say("forget me now", conversation=group()))
        await world.answers(4)


async def test_inbox_retry_of_what_waits(tmp_path: Path) -> None:
    done: list[str] = []
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox(done)) as world:
        await asked(world)
        (open_one,) = await world.bot.store.records.attention()
        assert not await world.bot.store.records.again(open_one["id"])
        assert (await world.say("approve")).decision is Decision.APPROVED
        await world.answers(2)


async def test_a_fault_in_the_summary(tmp_path: Path) -> None:
    agent = ScriptedAgent([["well"], [KeyError("x")] * 100])
    limits = ThreadLimits(messages=2)
    async with open_world(tmp_path, agent=agent, inbox=HASTY, threads=limits) as world:
        await world.ask("question")
        assert [one.ended for one in world.of(TurnEnded)] == [Ended.ANSWERED]
        assert not world.of(TurnReleased)


async def test_retry_whose_answer_came_at_the_second_try(tmp_path: Path) -> None:
    agent = ScriptedAgent([[Stopped("failed", "nope")], ["well"]])
    async with open_world(tmp_path, agent=agent) as world:
        assert "Sorry" in await world.ask("question")
        world.channel.failures = [DeliveryFailed("x")]
        assert await world.ask("retry") == "well"
        assert "nothing to retry" in await world.ask("retry")


async def test_retry_that_could_not_be_answered_itself(tmp_path: Path) -> None:
    agent = ScriptedAgent([[Stopped("failed", "nope")], ["well"], ["well again"]])
    async with open_world(tmp_path, agent=agent, inbox=HASTY) as world:
        assert "Sorry" in await world.ask("question")
        world.channel.failures = [KeyError("x")] * 1000
        await world.say("retry")
        await world.quiet()
        world.channel.failures = []
        await world.ask("retry")
        assert [run.ask.text for run in agent.runs] == ["question"] * 3


async def test_retry_by_who_joined(tmp_path: Path) -> None:
    place = group()
    agent = ScriptedAgent([[Stopped("failed", "nope")], ["well"]])
    async with open_world(tmp_path, agent=agent, group_threads="shared", start=False) as world:
        await world.say("ada asks", conversation=place)
        await world.say("grace asks", person=GRACE, conversation=place)
        await world.bot.start()
        await world.answers(1)
        assert await world.ask("retry", person=GRACE, conversation=place) == "well"


async def test_stop_during_a_retry(tmp_path: Path) -> None:
    agent = ScriptedAgent([[Stopped("failed", "nope")], [WORKING] * 100_000])
    async with open_world(tmp_path, agent=agent, runs=FOR_EVER) as world:
        assert "Sorry" in await world.ask("question")
        await world.say("retry")
        async with asyncio.timeout(5):
            while len(agent.runs) < 2:
                await asyncio.sleep(0.001)
        await world.say("stop")
        assert (await world.answers(2))[-1] == "Stopped."
        assert agent.cancelled == ["r2"]


async def test_the_newest_question_is_decided(tmp_path: Path) -> None:
    done: list[str] = []
    agent = ScriptedAgent([[["order"]], [["order"], ANSWER]])
    async with open_world(tmp_path, agent=agent, toolbox=toolbox(done)) as world:
        await asked(world)
        agent.lost.add("t1")
        agent.runs[0].calls = ()
        agent.runs[0].script = [ThreadGone("t1")]
        await world.say("anything new?")
        await world.answers(2, ended=False)
        await world.bot.inbox.idle()
        assert "may I use" in world.channel.texts[1]
        await world.say("approve")
        await world.answers(3, ended=False)
    assert len(done) == 1


@pytest.mark.parametrize("shared", [True, False])
async def test_a_control_that_does_nothing_while_a_question_waits(tmp_path: Path, shared: bool) -> None:
    who: dict[str, Any] = {"conversation": group()} if shared else {}
    options: dict[str, Any] = {"group_threads": "shared"} if shared else {}
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox(), **options) as world:
        await asked(world, **who)
        await world.say("stop" if shared else "undo", **({**who, "person": GRACE} if shared else {}))
        await world.answers(2, ended=False)
        assert "still waiting" in world.channel.texts[1]


async def test_a_tool_is_not_begun_after_stop(tmp_path: Path) -> None:
    done: list[str] = []
    box = FakeToolbox()
    box.add("pay", lambda call, caller: done.append("paid") or "paid", once=True)
    agent = ScriptedAgent([[["pay"], "well"]])
    async with open_world(tmp_path, agent=agent, toolbox=box, start=False) as world:
        store = world.bot.turns.runs.rounds.store

        async def started(*args: Any) -> None:
            await store.started(*args)
            await world.say("stop")

        object.__setattr__(world.bot.turns.runs.rounds, "store", Overlay(store, started=started))
        await world.bot.start()
        await world.say("question")
        await world.answers(1)
        assert world.channel.texts == ["Stopped."]
        assert done == []


async def test_admin_reset_during_a_retry(tmp_path: Path) -> None:
    agent = ScriptedAgent([[Stopped("failed", "nope")], [WORKING] * 100_000])
    async with open_world(tmp_path, agent=agent, runs=FOR_EVER, admins="grace") as world:
        await world.ask("question")
        await world.say("retry")
        async with asyncio.timeout(5):
            while len(agent.runs) < 2:
                await asyncio.sleep(0.001)
        await world.say("start over for Ada", person=GRACE)
        await world.answers(3)


async def test_restored_after_a_stop_that_came_too_late(tmp_path: Path) -> None:

    agent = ScriptedAgent([["well"]])
    channel = Told()
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        channel.world, channel.words = world, "stop"
        await world.say("question", id="m-1")
        await world.answers(2)
        await world.bot.accept(replace(message("", id="m-1d"), revises=Revision("m-1", Change.DELETED)))
        await world.quiet()
        await world.bot.accept(replace(message("question", id="m-1r"), revises=Revision("m-1", Change.RESTORED)))
        await world.quiet()
        assert len(agent.runs) == 1


async def test_thread_gone_when_interrupted(tmp_path: Path) -> None:
    agent = ScriptedAgent([[WORKING] * 100_000])
    async with open_world(tmp_path, agent=agent, runs=FOR_EVER, grace=0.0) as world:
        await world.say("question")
        async with asyncio.timeout(5):
            while "look" not in agent.log:
                await asyncio.sleep(0.001)
    agent.before["cancel"] = [ThreadGone("t1")] * 1000
    async with open_world(tmp_path, agent=agent, runs=FOR_EVER, clock=world.clock, start=False) as world:
        await world.say("start over")
        await world.bot.start()
        assert (await world.answers(1))[0].startswith("I stopped one answer.")
        assert not world.of(TurnReleased)


async def test_a_retry_whose_words_are_gone_ends_its_run(tmp_path: Path) -> None:
    agent = ScriptedAgent([[Stopped("failed", "nope")], [WORKING] * 100_000])
    async with open_world(tmp_path, agent=agent, runs=FOR_EVER, grace=0.0) as world:
        first = await world.say("first")
        await world.answers(1)
        await world.say("retry")
        async with asyncio.timeout(5):
            while len(agent.runs) < 2:
                await asyncio.sleep(0.001)
    async with open_world(tmp_path, agent=agent, runs=FOR_EVER, clock=world.clock, start=False) as world:
        assert await world.bot.store.records.drop(first.turn)
        await world.bot.start()
        await world.answers(1)
        assert agent.cancelled == ["r2"]


async def test_an_edit_while_a_question_waits(tmp_path: Path) -> None:

    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox()) as world:
        await asked(world, id="m-1")
        said = replace(message("order two", id="m-1e"), revises=Revision("m-1", Change.EDITED))
        await world.bot.accept(said)
        await world.answers(2, ended=False)
        assert "still waiting" in world.channel.texts[1]


async def test_a_turn_claimed_while_the_bot_stops_is_handed_over(tmp_path: Path) -> None:
    agent = ScriptedAgent([[WORKING] * 100_000])
    async with open_world(tmp_path, agent=agent, start=False, grace=0.0) as world:
        store = world.bot.store.inbox
        begun = asyncio.Event()

        async def claim(*args: Any) -> Any:
            claims = await store.claim(*args)
            if claims:
                begun.set()
                await asyncio.sleep(0.2)
            return claims

        world.bot.inbox._store = Overlay(world.bot.store, inbox=Overlay(store, claim=claim))  # type: ignore[attr-defined]
        await world.bot.start()
        await world.say("question")
        await begun.wait()
        await world.bot.stop(0.0)
        assert world.bot.inbox.running == 0


async def test_stop_of_a_joint_turn(tmp_path: Path) -> None:
    place = group()
    agent = ScriptedAgent([["one"], [WORKING] * 100_000, ["for Grace"]])
    async with open_world(tmp_path, agent=agent, runs=FOR_EVER, group_threads="shared", start=False) as world:
        await world.say("ada asks", conversation=place)
        await world.say("grace asks", person=GRACE, conversation=place)
        agent.scripts.pop(0)
        await world.bot.start()
        async with asyncio.timeout(5):
            while "look" not in agent.log:
                await asyncio.sleep(0.001)
        await world.say("stop", conversation=place)
        assert await world.answers(2) == ["for Grace", "Stopped."]  # in the order of what they wrote
        assert [run.ask.text for run in agent.runs] == ["Ada: ada asks\n\nGrace: grace asks", "Grace: grace asks"]


async def test_stop_when_the_service_said_when(tmp_path: Path) -> None:
    """The stop comes while the request is on its way that ends in 'come again in an hour'."""
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent) as world:
        start = agent.start

        async def busy(thread_id: str, ask: Ask) -> Handle:
            agent.start = start
            await world.say("stop")
            raise ServiceBusy("later", 3600.0)

        agent.start = busy
        await world.say("question")
        await world.answers(1, timeout=5)
        assert "Stopped." in world.channel.texts


@pytest.mark.invariant("I1")
async def test_what_another_version_wrote_holds_up_nobody_else(tmp_path: Path) -> None:
    async with open_world(tmp_path, agent=ScriptedAgent(), start=False) as world:
        theirs = await world.say("one")
        with closing(sqlite3.connect(tmp_path / "bot.db")) as database, database:
            database.execute("""UPDATE inbox SET payload = json_set(payload, '$.kind', 'of a newer version')""")
        await world.bot.start()
        await world.say("two", person=GRACE)
        assert await world.answers(1, ended=False) == ["answer to two"]
        waiting = next(one for one in await world.bot.store.records.attention() if one["id"] == theirs.turn)
        assert waiting["error"] == "cannot be read by this version"
        with closing(sqlite3.connect(tmp_path / "bot.db")) as database, database:
            database.execute("UPDATE inbox SET not_before = NULL, payload = json_set(payload, '$.kind', 'text')")
        assert (await world.answers(2))[1] == "answer to one"


async def test_inbox_retry_beside_a_later_turn_that_is_under_way(tmp_path: Path) -> None:
    agent = ScriptedAgent([[Stopped("failed", "nope")], [ServiceUnavailable("x", 0.5)] * 5 + ["second"], ["first"]])
    async with open_world(tmp_path, agent=agent) as world:
        first = await world.say("first")
        await world.answers(1)
        await world.say("second")
        async with asyncio.timeout(5):
            while not world.of(TurnReleased):
                await asyncio.sleep(0.001)
        assert not await world.bot.store.records.again(first.turn)
        assert (await world.answers(2))[1] == "second"
        assert await world.bot.store.records.again(first.turn)
        world.bot.inbox.nudge()
        assert (await world.answers(3))[2] == "first"


@pytest.mark.invariant("I8")
async def test_a_stop_that_comes_when_the_answer_is_there_withdraws_nothing(tmp_path: Path) -> None:
    channel, agent = Told(), ScriptedAgent()
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        channel.world, channel.words = world, "stop"
        await world.say("question")
        assert (await world.answers(2))[0] == "answer to question"
        await world.ask("another")
        assert agent.runs[-1].ask.note is None


async def test_inbox_retry_whose_first_start_gets_no_answer(tmp_path: Path) -> None:
    """The run that failed bears the turn's name too; it is not taken for the one that was started just now."""
    agent = ScriptedAgent([[Stopped("failed", "server_error")]] * 2 + [["well"]])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(attempts=2)) as world:
        said = await world.say("question")
        assert "Sorry" in (await world.answers(1))[0]
        agent.before["start"] = [ServiceUnavailable("cut", 0.0)]
        agent.log.clear()
        assert await world.bot.store.records.again(said.turn)
        world.bot.inbox.nudge()
        assert (await world.answers(2))[1] == "well"
        assert [run.ask.mark.attempt for run in agent.runs] == ["run-0", "run-1", "run-2"]
        assert agent.runs[2].ask.text == "question"


@pytest.mark.invariant("I8")
@pytest.mark.parametrize("word", ["stop", "start over"])
@pytest.mark.parametrize("verb", ["start", "look"])
async def test_a_word_about_a_turn_for_which_an_operator_must_mend_something(
    tmp_path: Path, word: str, verb: str
) -> None:
    agent = ScriptedAgent([[WORKING] * 100] if verb == "look" else [])
    bad = OperatorError("The secret has expired.", "Make a new one.")
    agent.before = {each: [bad] * 10_000 for each in (verb, "find", "cancel")}
    async with open_world(tmp_path, agent=agent) as world:
        await world.say("question")
        await world.answers(1, ended=False)
        await world.say(word)
        await world.answers(2)
        agent.before = {}
        assert await world.ask("another") == "answer to another"
