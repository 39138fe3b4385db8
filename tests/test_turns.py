"""From a message to its delivered answer: own words, retries, parking, staleness, delivery."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.errors import DeliveryFailed, DeliveryRefused, OperatorError, ServiceBusy, ServiceUnavailable
from bot.events import TurnReleased
from bot.inbox import InboxLimits
from bot.types import MessageKind, Stopped, reference_of, turn_of
from tests.scripted import ScriptedAgent
from tests.world import FAST, GRACE, RecordingChannel, group, message, open_world

REFERENCE = r"Reference [0-9A-Z]{4}-[0-9A-Z]{2}\."


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (MessageKind.WELCOME, "an AI assistant"),
        (MessageKind.WELCOME_GROUP, "Mention me to ask"),
        (MessageKind.FILES, "can't read files"),
        (MessageKind.CARD, "isn't one of mine"),
        (MessageKind.EMPTY, "without words"),
    ],
)
@pytest.mark.invariant("I5")
async def test_what_is_no_question_is_answered_by_the_bot(tmp_path: Path, kind: MessageKind, words: str):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent) as world:
        assert words in await world.ask("", kind=kind)
        assert agent.log == []
        assert not world.channel.sent[0][1].by_agent


async def test_only_the_agent_s_words_are_labelled_as_its(tmp_path: Path):
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        await world.ask("question")
        await world.ask("help")
        assert [part.by_agent for _, part in world.channel.sent] == [True, False]


@pytest.mark.invariant("I5")
async def test_an_apology_has_a_reference_and_retry_asks_again(tmp_path: Path):
    agent = ScriptedAgent([[Stopped("failed", "invalid_prompt")], ["now it works"]])
    async with open_world(tmp_path, agent=agent) as world:
        accepted = await world.say("question")
        [said] = await world.answers(1)
        assert reference_of(accepted.turn) in said
        assert await world.ask("retry") == "now it works"
        assert agent.runs[1].ask.text == "question"
        assert "nothing to retry" in await world.ask("retry")


async def test_a_retry_that_fails_can_be_tried_again(tmp_path: Path):
    failed = Stopped("failed", "invalid_prompt")
    agent = ScriptedAgent([[failed], [failed], ["now it works"]])
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("question")
        assert "Sorry" in await world.ask("retry")
        assert await world.ask("retry") == "now it works"
        assert [run.ask.text for run in agent.runs] == ["question"] * 3


@pytest.mark.invariant("I16")
async def test_what_an_operator_must_mend_parks_the_turn_and_uses_no_attempt(tmp_path: Path):
    missing = OperatorError("The agent is missing.", "Set AGENT_ID.")
    agent = ScriptedAgent(before={"start": [missing] * 20})
    async with open_world(tmp_path, agent=agent, inbox=InboxLimits(attempts=3, park=0.01)) as world:
        await world.say("question")
        async with asyncio.timeout(5):
            while not world.of(TurnReleased):
                await asyncio.sleep(0.005)
        assert any("Set AGENT_ID." in problem for problem in await world.bot.ready())
        said = await world.answers(2)
        assert said == [
            "The agent service isn't reachable. Your message is kept; no need to resend.",
            "answer to question",
        ]
        assert await world.bot.ready() == []
        assert {event.cure for event in world.of(TurnReleased)} == {"Set AGENT_ID."}


@pytest.mark.invariant("I16")
async def test_an_old_message_gets_the_stale_text_and_no_run(tmp_path: Path):
    agent = ScriptedAgent(before={"open": [OperatorError("No.", "Mend it.")] * 1000})
    async with open_world(tmp_path, agent=agent, message_max_age_minutes=30) as world:
        await world.say("question")
        await world.answers(1, ended=False)
        world.clock.advance(31 * 60)
        said = await world.answers(2)
        assert "I couldn't answer your message from" in said[1]
        assert agent.runs == []
        agent.before.clear()
        assert await world.ask("retry") == "answer to question"


@pytest.mark.invariant("I5")
async def test_a_turn_that_fails_too_often_ends_in_an_apology_and_others_go_on(tmp_path: Path):
    agent = ScriptedAgent(before={"open": [ServiceUnavailable("cut")] * 100})
    limits = InboxLimits(attempts=3, backoff=0.001, backoff_cap=0.002)
    async with open_world(tmp_path, agent=agent, inbox=limits) as world:
        accepted = await world.say("poison")
        said = await world.answers(2)
        assert "is kept" in said[0]
        assert reference_of(accepted.turn) in said[1]
        described = await world.bot.store.records.describe(accepted.turn)
        assert described is not None
        assert (described["ended"], described["attempts"], described["text_kept"]) == ("dead", 3, True)
        agent.before.clear()
        assert await world.ask("fine") == "answer to fine"
        assert await world.ask("retry") == "answer to poison"


@pytest.mark.invariant("I5")
async def test_a_fault_of_ours_is_tried_again_and_never_shown(tmp_path: Path):
    agent = ScriptedAgent(before={"start": [KeyError("secret text")]})
    async with open_world(tmp_path, agent=agent, inbox=FAST) as world:
        assert await world.ask("question") == "answer to question"
        assert "secret" not in "".join(world.channel.texts)


async def test_a_busy_service_is_asked_again_after_the_time_it_named(tmp_path: Path):
    agent = ScriptedAgent(before={"start": [ServiceBusy("429", retry_after=0.05)]})
    async with open_world(tmp_path, agent=agent) as world:
        assert await world.ask("question") == "answer to question"
        [released] = world.of(TurnReleased)
        assert released.delay == pytest.approx(0.05)
        assert agent.log.count("start") == 2


@pytest.mark.invariant("I6")
async def test_a_delivery_that_failed_is_made_again_without_asking_the_agent_again(tmp_path: Path):
    channel = RecordingChannel()
    channel.failures = [DeliveryFailed("429", 0.01), DeliveryFailed("cut")]
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent, channel=channel) as world:
        assert await world.ask("question") == "answer to question"
        assert len(agent.runs) == 1


async def test_a_delivery_that_is_refused_for_good_ends_the_turn(tmp_path: Path):
    channel = RecordingChannel()
    channel.failures = [DeliveryRefused("403")]
    async with open_world(tmp_path, agent=ScriptedAgent(), channel=channel) as world:
        accepted = await world.say("question")
        await world.quiet()
        described = await world.bot.store.records.describe(accepted.turn)
        assert described is not None
        assert described["ended"] == "dead"
        assert "not delivered" in described["error"]
        assert await world.ask("next") == "answer to next"


async def test_a_long_answer_is_split_and_each_part_is_a_saved_step(tmp_path: Path):
    channel = RecordingChannel()
    channel.limit = 2_000
    text = "\n\n".join(f"paragraph {n} " + "x" * 300 for n in range(10))
    channel.failures = []
    async with open_world(tmp_path, agent=ScriptedAgent([[text]]), channel=channel) as world:
        accepted = await world.say("question")
        said = await world.answers(2)
        await world.quiet()
        assert len(channel.texts) > 2
        assert "".join("".join(channel.texts).split()) == "".join(text.split())
        assert said[0].startswith("paragraph 0")
        described = await world.bot.store.records.describe(accepted.turn)
        assert described is not None
        assert len(described["steps"]["delivered"]) == len(channel.texts)


@pytest.mark.invariant("I3")
async def test_messages_that_waited_become_one_turn_with_one_answer(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent, start=False) as world:
        for text in ("one", "two", "three"):
            await world.say(text)
        await world.bot.start()
        assert await world.answers(1) == ["answer to one\n\ntwo\n\nthree"]
        assert len(agent.runs) == 1


@pytest.mark.invariant("I10")
async def test_people_never_share_a_thread_but_where_the_setting_says_so(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("ada's secret")
        await world.ask("grace's secret", person=GRACE)
        await world.ask("ada in the group", conversation=group())
        await world.ask("grace in the group", person=GRACE, conversation=group())
        assert len({run.thread for run in agent.runs}) == 4


@pytest.mark.invariant("I10")
async def test_a_shared_group_thread_names_who_speaks(tmp_path: Path):
    agent = ScriptedAgent()
    async with open_world(tmp_path, agent=agent, group_threads="shared") as world:
        await world.ask("hear me", conversation=group())
        await world.ask("and me", person=GRACE, conversation=group())
        await world.ask("my own", person=GRACE)
        assert [run.ask.text for run in agent.runs] == ["Ada: hear me", "Grace: and me", "my own"]
        assert [run.thread for run in agent.runs] == ["t1", "t1", "t2"]


@pytest.mark.invariant("I1")
async def test_what_was_accepted_before_a_stop_is_answered_after_the_start(tmp_path: Path):
    async with open_world(tmp_path, agent=ScriptedAgent(), start=False) as world:
        await world.say("question")
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        assert await world.answers(1) == ["answer to question"]


@pytest.mark.invariant("I15")
async def test_after_the_turn_the_database_holds_none_of_its_words(tmp_path: Path):
    agent = ScriptedAgent([["the marked answer"]])
    async with open_world(tmp_path, agent=agent) as world:
        await world.ask("the marked question")
    for path in files_of(tmp_path):
        assert b"marked" not in path.read_bytes(), path.name


@pytest.mark.invariant("I14")
async def test_the_inbox_holds_nothing_of_conversations_that_have_ended(tmp_path: Path):
    async with open_world(tmp_path, agent=ScriptedAgent()) as world:
        for number in range(20):
            await world.bot.accept(message("question", conversation=group(f"g{number}")))
        await world.answers(20)
        assert world.bot.inbox.running == 0


def files_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def test_references_are_unique_and_lead_back():
    seen = {reference_of(turn) for turn in range(1, 5_000)}
    assert len(seen) == 4_999
    assert all(turn_of(reference_of(turn)) == turn for turn in (1, 2, 77, 2**30 - 1))
    assert turn_of(reference_of(5).lower().replace("-", "")) == 5
    with pytest.raises(ValueError, match="looks like"):
        turn_of("nonsense")
