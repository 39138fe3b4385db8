"""create_and_poll: polling, deadlines, attempts, tools, and what a crash leaves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.errors import RunGone, ServiceUnavailable
from bot.events import RunEnded, RunStarted
from bot.runs import RunLimits
from bot.texts import Texts
from bot.types import Finished, Reply, Stopped, Usage, Working
from tests.scripted import WORKING, ScriptedAgent
from tests.world import FakeToolbox, World, open_world


async def test_polling_starts_at_half_a_second_and_grows_to_five(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 9 + ["done"]])
    async with open_world(tmp_path, agent=agent) as world:
        assert await world.ask("question") == "done"
        assert world.clock.slept == pytest.approx([0.5, 0.5, 0.75, 1.125, 1.6875, 2.53125, 3.796875, 5, 5, 5])


async def test_the_service_s_own_wish_to_wait_is_honoured(tmp_path: Path):
    agent = ScriptedAgent([[Working("queued", retry_after=7.0), "done"]])
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("question")
        assert world.clock.slept == [0.5, 7.0]


@pytest.mark.invariant("I8")
async def test_past_its_deadline_a_run_is_cancelled_and_the_thread_stays_usable(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 100])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=20)) as world:
        said = await world.ask("question")
        assert "I stopped after" in said
        assert agent.cancelled == ["r1"]
        assert await world.ask("again") == "answer to again"
        assert len(agent.threads) == 1


@pytest.mark.invariant("I8")
async def test_a_run_that_will_not_end_makes_a_rollover(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 100], stubborn=True)
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=20, ending=5)) as world:
        assert "Sorry" in await world.ask("question")
        said = await world.ask("again")
        assert said.startswith("answer to again")
        assert "blocked" in said
        assert [run.thread for run in agent.runs] == ["t1", "t2"]


async def test_too_many_rounds_end_in_words(tmp_path: Path):
    agent = ScriptedAgent([[["a"]] * 20])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(rounds=3)) as world:
        assert "too many steps" in await world.ask("question")
        assert len(agent.runs[0].outputs) == 3
        assert agent.cancelled == ["r1"]


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "server_error"])
async def test_a_failed_run_that_is_worth_it_is_tried_again_without_the_message(tmp_path: Path, code: str):
    agent = ScriptedAgent([[Stopped("failed", code, retry_after=9.0)], ["done"]])
    async with open_world(tmp_path, agent=agent) as world:
        assert await world.ask("question") == "done"
        assert [(run.ask.text, run.ask.held) for run in agent.runs] == [("question", False), ("question", True)]
        assert [run.ask.mark.attempt for run in agent.runs] == ["run-0", "run-1"]
        assert 9.0 in world.clock.slept


@pytest.mark.invariant("I5")
async def test_a_run_that_is_there_no_more_is_made_again(tmp_path: Path):
    """As one that ended with its stream, at a service that keeps such runs only once they have ended."""
    agent = ScriptedAgent([[RunGone("r1")], ["done"]])
    async with open_world(tmp_path, agent=agent) as world:
        assert await world.ask("question") == "done"
        assert [run.ask.mark.attempt for run in agent.runs] == ["run-0", "run-1"]


@pytest.mark.invariant("I5")
@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Stopped("failed", "invalid_prompt"), "Sorry, I couldn't answer"),
        (Stopped("expired"), "Sorry, I couldn't answer"),
        (Stopped("cancelled"), "Sorry, I couldn't answer"),
        (Stopped("failed", "content_filter"), "content filter blocked"),
        (Stopped("incomplete", "max_prompt_tokens"), "Sorry, I couldn't answer"),
    ],
)
async def test_a_run_without_an_answer_ends_in_an_apology(tmp_path: Path, step: Stopped, words: str):
    async with open_world(tmp_path, agent=ScriptedAgent([[step]])) as world:
        said = await world.ask("question")
        assert words in said
        assert "Reference" in said


async def test_a_cut_answer_says_so(tmp_path: Path):
    step = Finished(Reply("half of it", cut=True), Usage())
    async with open_world(tmp_path, agent=ScriptedAgent([[step]])) as world:
        said = await world.ask("question")
        assert said.startswith("half of it")
        assert "length limit" in said


@pytest.mark.invariant("I9")
async def test_a_run_in_which_a_once_tool_has_started_is_not_tried_again(tmp_path: Path):
    toolbox = FakeToolbox()
    toolbox.add("order", lambda *_: "ordered", once=True)
    agent = ScriptedAgent([[["order"], Stopped("failed", "server_error")], ["never"]])
    async with open_world(tmp_path, agent=agent, toolbox=toolbox) as world:
        assert "Sorry" in await world.ask("question")
        assert len(agent.runs) == 1


@pytest.mark.invariant("I9")
async def test_all_outputs_of_a_round_go_in_one_submission_by_call_id(tmp_path: Path):
    toolbox = FakeToolbox()
    answers = iter("abc")
    toolbox.add("same", lambda *_: next(answers))
    agent = ScriptedAgent([[["same", "same", "same"], "done"]])
    async with open_world(tmp_path, agent=agent, toolbox=toolbox) as world:
        await world.ask("question")
        assert agent.runs[0].outputs == [{"r1-c0-0": "a", "r1-c0-1": "b", "r1-c0-2": "c"}]
        assert agent.log.count("answer") == 1


@pytest.mark.invariant("I4")
async def test_a_start_whose_answer_was_lost_is_found_not_repeated(tmp_path: Path):
    agent = ScriptedAgent([["done"]], after={"start": [ServiceUnavailable("cut")]})
    async with open_world(tmp_path, agent=agent) as world:
        assert await world.ask("question") == "done"
        assert agent.log.count("start") == 1
        assert [event.adopted for event in world.of(RunStarted)] == [True]


@pytest.mark.invariant("I4")
async def test_a_start_that_never_arrived_is_waited_out_and_then_made_again(tmp_path: Path):
    agent = ScriptedAgent([["done"]], before={"start": [ServiceUnavailable("cut")]})
    async with open_world(tmp_path, agent=agent) as world:
        assert await world.ask("question") == "done"
        assert agent.log.count("find") == 2
        assert max(world.clock.slept) > 29
        assert [run.ask.text for run in agent.runs] == ["question"]


async def test_an_answer_that_was_lost_on_the_way_is_given_once(tmp_path: Path):
    toolbox = FakeToolbox()
    toolbox.add("a", lambda *_: "A")
    agent = ScriptedAgent([[["a"], "done"]], after={"answer": [ServiceUnavailable("cut")]})
    async with open_world(tmp_path, agent=agent, toolbox=toolbox) as world:
        assert await world.ask("question") == "done"
        assert len(agent.runs[0].outputs) == 1
        assert len(toolbox.calls) == 1


async def test_a_submission_that_did_not_arrive_is_repeated_with_the_saved_outputs(tmp_path: Path):
    toolbox = FakeToolbox()
    toolbox.add("a", lambda *_: "A")
    agent = ScriptedAgent([[["a"], "done"]], before={"answer": [ServiceUnavailable("cut")]})
    async with open_world(tmp_path, agent=agent, toolbox=toolbox) as world:
        assert await world.ask("question") == "done"
        assert len(toolbox.calls) == 1


async def test_looks_that_fail_now_and_then_do_not_end_a_run(tmp_path: Path):
    cut = ServiceUnavailable("cut")
    agent = ScriptedAgent([[cut, WORKING, cut, cut, "done"]])
    async with open_world(tmp_path, agent=agent) as world:
        assert await world.ask("question") == "done"
        assert agent.log.count("start") == 1


async def test_another_s_run_in_the_way_is_ended_first(tmp_path: Path):
    agent = ScriptedAgent([["one"], [WORKING] * 50, ["two"]])
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("first")
        from bot.types import Ask, RunMark  # noqa: PLC0415

        await agent.start("t1", Ask(RunMark("someone", "else", ""), "from elsewhere"))
        assert await world.ask("second") == "two"
        assert agent.cancelled == ["r2"]


async def _blocked(world: World, agent: ScriptedAgent) -> None:
    async with asyncio.timeout(5):
        while not agent.runs or not agent.runs[-1].looks:
            await asyncio.sleep(0.001)


@pytest.mark.invariant("I8")
async def test_stop_cancels_the_run_and_says_so(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 10_000])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e9)) as world:
        await world.say("question")
        await _blocked(world, agent)
        await world.say("and this")
        await world.say("stop")
        assert await world.answers(1) == ["Stopped. 1 waiting message dropped."]
        assert agent.cancelled == ["r1"]
        assert await world.ask("stop") == "Nothing is running."


@pytest.mark.invariant("I8")
async def test_after_a_stop_the_agent_is_told_once_that_the_question_was_withdrawn(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 10_000])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e9)) as world:
        await world.say("question")
        await _blocked(world, agent)
        await world.ask("stop")
        agent.before["start"] = [ServiceUnavailable("cut")]
        await world.ask("another")
        await world.ask("and one more")
        assert [run.ask.note for run in agent.runs] == [None, Texts().withdrawn([]), None]


@pytest.mark.invariant("I7")
async def test_a_new_thread_is_not_told_of_what_was_withdrawn_in_the_old_one(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 10_000])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e9)) as world:
        await world.say("question")
        await _blocked(world, agent)
        await world.ask("stop")
        await world.ask("start over")
        await world.ask("fresh")
        assert agent.runs[-1].ask.note is None


@pytest.mark.invariant("I7")
async def test_nothing_of_an_older_generation_is_said(tmp_path: Path):
    agent = ScriptedAgent([[WORKING] * 10_000, ["new"]])
    async with open_world(tmp_path, agent=agent, runs=RunLimits(deadline=1e9)) as world:
        await world.say("question")
        await _blocked(world, agent)
        await world.say("waiting")
        await world.say("start over")
        await world.say("fresh")
        said = await world.answers(2)
        assert said[0].startswith("I stopped one answer and dropped 1 message.")
        assert said[1:] == ["new"]
        assert [run.thread for run in agent.runs] == ["t1", "t2"]
        assert agent.cancelled == ["r1"]


async def test_tokens_and_states_are_told_as_events(tmp_path: Path):
    async with open_world(tmp_path, agent=ScriptedAgent([["done"]])) as world:
        await world.ask("question")
        [ended] = world.of(RunEnded)
        assert (ended.state, ended.prompt_tokens, ended.completion_tokens, ended.rounds) == ("completed", 10, 5, 0)
