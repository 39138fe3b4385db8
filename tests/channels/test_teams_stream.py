"""The answer as it grows in a one-to-one chat of Teams: by the service's rules, and never left standing unfinished."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from bot.channels import teams_stream, teams_streams, typing_signal
from bot.channels.stream_refusals import Why, refusal
from bot.errors import DeliveryFailed, DeliveryRefused, Interrupted, LostLease, OperatorError, ServiceUnavailable
from bot.events import Unexpected
from bot.ports import Show
from bot.texts import Texts
from bot.types import Asked, Control, ConversationKind, Interrupt, JsonObject, Part
from tests.teams import abs_slack, group_message, message
from tests.teams.connector import cut, hold, status
from tests.teams.labels import LABEL
from tests.teams.rig import Rig
from tests.teams.streams import CHANGED, COMPLETED, EXPIRED, NOT_ALLOWED, STOPPED, refused, stream_info

T = TypeVar("T")
CHAT = "a:1personal"
THINKING = Texts().thinking()
BROKE_OFF = Texts().broke_off()


def answer(text: str) -> Part:
    return Part(text, by_agent=True)


@pytest.fixture
async def address(rig: Rig) -> JsonObject:
    return await rig.address(message(rig.url))


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def typing(rig: Rig) -> None:
    """Until the first sign of work has arrived and the next one waits for its time."""
    await rig.connector.wait_for(1)
    await eventually(lambda: typing_signal.PERIOD in rig.clock.sleeping)


async def beat(rig: Rig) -> None:
    """Let the stream come to its next look."""
    await eventually(lambda: teams_stream.BUFFER in rig.clock.sleeping)
    rig.clock.advance(teams_stream.BUFFER)
    await eventually(lambda: teams_stream.BUFFER in rig.clock.sleeping)


async def grown(rig: Rig, show: Show, text: str) -> None:
    """Let this be shown: it is once it has not changed from one look to the next."""
    show(text)
    await beat(rig)
    await beat(rig)
    assert rig.connector.chats.shown(CHAT)[-1] == ("streaming", text)


@asynccontextmanager
async def streaming(rig: Rig, address: JsonObject) -> AsyncIterator[Show]:
    """A turn whose stream has begun."""
    async with rig.teams.working(address) as show:
        assert show is not None
        await typing(rig)
        await begin(rig)
        yield show


async def failing(rig: Rig, address: JsonObject, why: BaseException, *texts: str) -> None:
    """A turn whose answer grows to these, and then it ends with this."""
    with pytest.raises(type(why)):  # noqa: PT012 (what is before it cannot raise this)
        async with streaming(rig, address) as show:
            for text in texts:
                await grown(rig, show, text)
            raise why


async def begin(rig: Rig) -> None:
    before = len(rig.connector.deliveries)
    await eventually(lambda: teams_stream.START_AFTER in rig.clock.sleeping)
    rig.clock.advance(teams_stream.START_AFTER)
    await rig.connector.wait_for(before + 1)
    await eventually(lambda: teams_stream.BUFFER in rig.clock.sleeping)


async def passing(rig: Rig, work: Awaitable[T]) -> T:
    """Do the work; where it waits, time passes, a little at a time."""
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(10):
        while not task.done():
            await asyncio.wait({task}, timeout=0.005)
            if not task.done() and rig.clock.sleeping:
                rig.clock.advance(0.25)
    return task.result()


async def send(rig: Rig, address: JsonObject, part: Part) -> str:
    """Send it; time passes where that waits."""
    return await passing(rig, rig.teams.send(address, part))


def sentence(status: int, code: str, said: str = "") -> Any:
    async def fault(_request: Any) -> Any:
        return refused(status, code, said)

    return fault


def streamed(rig: Rig) -> list[dict[str, Any]]:
    return [d.activity for d in rig.connector.deliveries if stream_info(d.activity)]


# -- from the first sign to the last word -------------------------------------------------------------------


async def test_what_a_tool_is_doing_is_shown_until_the_answer_has_words(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        for words in ("Reading 1 of 2", "Reading 2 of 2"):
            rig.teams.progress(address, words)
            await beat(rig)
            assert rig.connector.chats.shown(CHAT) == [("informative", words)]
        await grown(rig, show, "A brown")
        rig.teams.progress(address, "Reading on")
        await beat(rig)
        assert rig.connector.chats.shown(CHAT) == [("streaming", "A brown")]
        await send(rig, address, answer("A brown fox jumps."))
    assert rig.connector.chats.shown(CHAT) == [("message", "A brown fox jumps.")]
    rig.teams.progress({**address, "conversation": {"id": "elsewhere"}}, "of nobody")


@pytest.mark.invariant("I5")
async def test_an_answer_grows_and_ends_as_a_message(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        stream = rig.connector.deliveries[-1]
        assert rig.connector.chats.shown(CHAT) == [("informative", THINKING)]
        assert stream.at < 2.0
        await grown(rig, show, "A brown")
        await grown(rig, show, "A brown fox")
        delivered = await send(rig, address, answer("A brown fox jumps."))
    assert rig.connector.chats.shown(CHAT) == [("message", "A brown fox jumps.")]
    first, *more, last = streamed(rig)
    assert (first["type"], first["text"]) == ("typing", THINKING)
    assert first["entities"] == [{"type": "streaminfo", "streamType": "informative", "streamSequence": 1}]
    for number, grew in enumerate(more, 2):
        info = {"type": "streaminfo", "streamId": delivered, "streamType": "streaming", "streamSequence": number}
        assert (grew["type"], grew["entities"], grew["textFormat"]) == ("typing", [info], last["textFormat"])
    assert [grew["text"] for grew in more] == ["A brown", "A brown fox"]
    label, info = last["entities"]
    assert (last["type"], label["type"], label["additionalType"]) == ("message", LABEL, ["AIGeneratedContent"])
    assert info == {"type": "streaminfo", "streamId": delivered, "streamType": "final"}
    assert all(d.activity_id is None for d in rig.connector.deliveries if stream_info(d.activity))
    assert all(d.answered < 300 for d in rig.connector.deliveries)


async def test_what_only_a_message_may_have_comes_with_the_last_one(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "well")
        await send(rig, address, Part("well?", by_agent=True, buttons=("yes",)))
    *grew, last = streamed(rig)
    assert all({"suggestedActions", "channelData", "attachments"}.isdisjoint(one) for one in grew)
    assert last["suggestedActions"]["actions"][0]["value"] == "yes"


async def test_more_parts_are_messages_of_their_own(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address):
        first = await send(rig, address, answer("one"))
        second = await send(rig, address, answer("two"))
    assert first != second
    assert rig.connector.chats.shown(CHAT) == [("message", "one"), ("message", "two")]
    assert rig.connector.deliveries[-1].activity["replyToId"] == "1700000000001"


async def test_a_quick_answer_needs_no_stream(rig: Rig, address: JsonObject) -> None:
    async with rig.teams.working(address) as show:
        assert show is not None
        await typing(rig)
        show("quick")
        assert await rig.teams.send(address, answer("quick answer"))
    rig.clock.advance(10)
    assert [d.activity["type"] for d in rig.connector.deliveries] == ["typing", "message"]
    assert streamed(rig) == []


async def test_words_that_are_there_at_its_beginning_begin_it(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        show("Hello")
        await beat(rig)
        show("Hello world")
        await beat(rig)
        assert rig.connector.chats.shown(CHAT) == [("streaming", "Hello")]
        await send(rig, address, answer("Hello world"))


@pytest.mark.parametrize("make", [group_message, abs_slack])
async def test_it_grows_in_one_to_one_chats_of_teams_alone(rig: Rig, make: Any) -> None:
    address = await rig.address(make(rig.url))
    async with rig.framework.channels()[address["channelId"]].working(address) as show:
        assert show is None


async def test_a_request_a_second_at_most_and_the_newest_text_alone(rig: Rig, address: JsonObject) -> None:
    words = [f"word{number}" for number in range(200)]
    async with streaming(rig, address) as show:
        for end in range(0, 200, 20):
            for number in range(20):
                show(" ".join(words[: end + number + 1]))
            await beat(rig)
        await send(rig, address, answer(" ".join(words)))
    times = [d.at for d in rig.connector.deliveries if stream_info(d.activity)]
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(times))
    assert len(times) < 15
    assert all(d.answered < 300 for d in rig.connector.deliveries)


async def test_typing_and_the_stream_do_not_overlap(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address):
        for _ in range(6):
            await beat(rig)
        assert [stream_info(d.activity) is not None for d in rig.connector.typing] == [False, True, True]
        await send(rig, address, answer("done"))


# -- text that changes --------------------------------------------------------------------------------------


@pytest.mark.invariant("I6")
async def test_text_that_changes_grows_no_more_and_the_message_replaces_it(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "It says so (4:0source)")
        show("It says so [1]. And more")
        await beat(rig)
        await beat(rig)
        assert rig.connector.chats.shown(CHAT) == [("streaming", "It says so (4:0source)")]
        delivered = await send(rig, address, answer("It says so [1]. And more"))
    assert rig.connector.chats.shown(CHAT) == [("message", "It says so [1]. And more")]
    *_, final, put = rig.connector.deliveries
    assert (final.activity["text"], final.answered) == ("It says so (4:0source)", 202)
    assert (put.method, put.activity_id, stream_info(put.activity)) == ("PUT", delivered, None)
    assert all(d.answered < 300 for d in rig.connector.deliveries), "no request that must fail is made"


async def test_too_large_to_grow_is_not_shown_before_its_end(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "x" * 30_000)
        show("x" * 50_000)
        await beat(rig)
        await beat(rig)
        assert len(rig.connector.chats.shown(CHAT)[0][1]) == 30_000
        await send(rig, address, answer("x" * 39_000))
    assert len(rig.connector.chats.shown(CHAT)[0][1]) == 39_000


# -- where it cannot go on ----------------------------------------------------------------------------------


@pytest.mark.invariant("I6")
@pytest.mark.parametrize("words", ["", "So far"])
async def test_after_two_minutes_the_message_is_put_in_its_place(rig: Rig, address: JsonObject, words: str) -> None:
    async with streaming(rig, address) as show:
        if words:
            await grown(rig, show, words)
        while rig.clock.monotonic() < teams_stream.LIFE - 1:
            await beat(rig)
        before = len(rig.connector.typing)
        rig.clock.advance(teams_stream.BUFFER * 3)
        await rig.connector.wait_for(len(rig.connector.deliveries) + 1)
        await rig.clock.until_asleep()
        rig.clock.advance(10)
        await eventually(lambda: len(rig.connector.typing) >= before + 2)
        assert all(stream_info(d.activity) is None for d in rig.connector.typing[before:]), "typing again"
        delivered = await send(rig, address, answer("So far so good"))
    assert rig.connector.chats.shown(CHAT) == [("message", "So far so good")]
    assert (rig.connector.deliveries[-1].method, rig.connector.deliveries[-1].activity_id) == ("PUT", delivered)
    assert all(d.answered < 300 for d in rig.connector.deliveries), "it is not tried where it must fail"


@pytest.mark.invariant("I6")
@pytest.mark.parametrize(
    "fault",
    [
        sentence(403, "ContentStreamNotAllowed", NOT_ALLOWED),
        sentence(403, "ContentStreamNotAllowed", COMPLETED),
        sentence(403, "ContentStreamNotAllowed", CHANGED),
        sentence(403, "ContentStreamNotAllowed", EXPIRED),
        sentence(403, "ContentStreamNotAllowed", "Message size too large"),
        sentence(202, "ContentStreamSequenceOrderPreConditionFailed", "PreCondition failed exception"),
        sentence(400, "BadRequest", "Start streaming activities should include text"),
    ],
)
async def test_a_refused_stream_is_followed_by_one_message(rig: Rig, address: JsonObject, fault: Any) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "So far")
        rig.connector.faults.append(fault)
        show("So far so")
        await beat_into_the_end(rig)
        show("So far so good, much")
        rig.clock.advance(130)
        await send(rig, address, answer("So far so good"))
    assert rig.connector.chats.shown(CHAT) == [("message", "So far so good")]


async def beat_into_the_end(rig: Rig) -> None:
    """Two looks, of which the second is refused; from then on there is typing."""
    await beat(rig)
    rig.clock.advance(teams_stream.BUFFER)
    await eventually(lambda: not rig.connector.faults)
    await eventually(lambda: teams_stream.BUFFER in rig.clock.sleeping)


@pytest.mark.invariant("I6")
async def test_a_final_that_is_refused_is_put_in_place(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "So far")
        rig.clock.advance(1)
        rig.connector.faults.append(sentence(403, "ContentStreamNotAllowed", COMPLETED))
        rig.connector.chats.complete(CHAT)
        delivered = await send(rig, address, answer("So far so good"))
    assert rig.connector.deliveries[-1].method == "PUT"
    assert rig.connector.deliveries[-1].activity_id == delivered
    assert rig.connector.chats.shown(CHAT) == [("message", "So far so good")]


@pytest.mark.invariant("I6")
async def test_where_nothing_can_be_put_in_place_it_is_a_message(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address):
        rig.connector.chats.complete(CHAT)
        rig.clock.advance(1)
        refusing = sentence(403, "ContentStreamNotAllowed", COMPLETED)
        rig.connector.faults += [refusing, refusing]
        await send(rig, address, answer("all of it"))
    assert rig.connector.chats.shown(CHAT) == [("message", "all of it")]


@pytest.mark.parametrize("fault", [sentence(403, "ContentStreamNotAllowed", NOT_ALLOWED), status(401), cut])
async def test_where_it_cannot_begin_there_is_typing_and_a_message(rig: Rig, address: JsonObject, fault: Any) -> None:
    async with rig.teams.working(address) as show:
        assert show is not None
        await typing(rig)
        await eventually(lambda: teams_stream.START_AFTER in rig.clock.sleeping)
        rig.connector.faults.append(fault)
        rig.clock.advance(teams_stream.START_AFTER)
        await eventually(lambda: not rig.connector.faults)
        await eventually(lambda: teams_stream.BUFFER in rig.clock.sleeping)
        show("nothing of this is streamed")
        await passing(rig, rig.connector.wait_for(3))
        await send(rig, address, answer("the answer"))
    kinds = [(d.activity["type"], stream_info(d.activity) is not None) for d in rig.connector.deliveries]
    assert kinds == [("typing", False), ("typing", True), ("typing", False), ("message", False)]
    assert rig.events == []


async def test_a_beginning_that_was_throttled_is_tried_again(rig: Rig, address: JsonObject) -> None:
    async with rig.teams.working(address):
        await typing(rig)
        rig.connector.faults.append(sentence(429, "", "API calls quota exceeded"))
        await begin(rig)
        await beat(rig)
        assert rig.connector.chats.shown(CHAT) == [("informative", THINKING)]
        await send(rig, address, answer("the answer"))
    assert rig.connector.chats.shown(CHAT) == [("message", "the answer")]


async def test_a_part_that_failed_is_followed_by_the_next_with_a_higher_number(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "one")
        rig.connector.faults.append(status(502))
        show("one two")
        await beat(rig)
        await beat(rig)
        await beat(rig)
        assert rig.connector.chats.shown(CHAT) == [("streaming", "one two")]
        await send(rig, address, answer("one two three"))
    assert [info["streamSequence"] for a in streamed(rig)[:-1] if (info := stream_info(a))] == [1, 2, 3, 4]
    assert rig.connector.chats.shown(CHAT) == [("message", "one two three")]


async def test_it_gives_up_where_every_part_fails(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        rig.connector.faults += [status(500)] * teams_stream.TRIES
        show("words")
        for _ in range(teams_stream.TRIES + 1):  # the first look only sees that the words are new
            await beat(rig)
        assert not rig.connector.faults
        before = len(streamed(rig))
        rig.clock.advance(30)
        await rig.connector.wait_for(before + 2)
        assert len(streamed(rig)) == before
        await send(rig, address, answer("words"))
    assert rig.connector.chats.shown(CHAT) == [("message", "words")]


# -- the person's stop --------------------------------------------------------------------------------------


@pytest.mark.invariant("I8")
@pytest.mark.parametrize("said", [STOPPED, "Content stream was cancelled by user."])
async def test_stop_is_stored_as_the_word(rig: Rig, address: JsonObject, said: str) -> None:
    asked = rig.accepted[-1]
    rig.connector.chats.stop_sentence = said
    async with streaming(rig, address) as show:
        await grown(rig, show, "So")
        rig.connector.chats.stop(CHAT)
        show("So far")
        await beat(rig)
        rig.clock.advance(teams_stream.BUFFER)
        await eventually(lambda: len(rig.accepted) == 2)
        before = len(rig.connector.deliveries)
        show("So far so good")
        rig.clock.advance(60)
        with pytest.raises(Interrupted):
            await send(rig, address, answer("So far so good"))
    stop = rig.accepted[1]
    assert {one.id for one in rig.accepted[1:]} == {stop.id}, "stored once"
    assert (stop.text, stop.person.id, stop.conversation) == ("stop", asked.person.id, asked.conversation)
    assert stop.conversation.kind is ConversationKind.PERSONAL
    assert stop.id == f"stop-{rig.connector.chats.ids(CHAT)[0]}"
    assert stop.address == asked.address
    assert len(rig.connector.deliveries) == before, "nothing comes after it, not even typing"
    assert rig.connector.chats.shown(CHAT) == [("stopped", "So")]


@pytest.mark.invariant("I8")
async def test_stop_is_noticed_while_nothing_grows(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address):
        rig.connector.chats.stop(CHAT)
        for _ in range(3):
            await beat(rig)
        rig.clock.advance(teams_stream.BUFFER)
        await eventually(lambda: len(rig.accepted) == 2)
    await rig.framework.close()
    assert [d.method for d in rig.connector.deliveries] == ["POST"] * 3


@pytest.mark.invariant("I8")
async def test_stop_is_noticed_at_the_end(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address):
        rig.connector.chats.stop(CHAT)
        with pytest.raises(Interrupted):
            await send(rig, address, answer("the answer"))
    assert [one.text for one in rig.accepted] == ["hello", "stop"]
    assert rig.connector.chats.shown(CHAT) == [("stopped", THINKING)]


@pytest.mark.invariant("I8")
async def test_a_stop_that_could_not_be_stored_is_stored_later(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        rig.fault = ServiceUnavailable("the database is away")
        rig.connector.chats.stop(CHAT)
        show("words")
        await beat(rig)
        rig.clock.advance(teams_stream.BUFFER)
        await eventually(lambda: rig.events != [])
        with pytest.raises(ServiceUnavailable):
            await send(rig, address, answer("words"))
        rig.fault = None
        with pytest.raises(Interrupted):
            await send(rig, address, answer("words"))
    assert [one.text for one in rig.accepted] == ["hello", "stop"]
    assert rig.connector.messages == []


# -- turns that end otherwise -------------------------------------------------------------------------------


async def closed(rig: Rig) -> None:
    """Until no stream is at its end any more; time passes where that waits."""

    async def ends() -> None:
        while tasks := [one for one in asyncio.all_tasks() if one.get_name() == "stream-end"]:
            await asyncio.wait(tasks)

    await passing(rig, ends())


@pytest.mark.invariant("I5")
@pytest.mark.parametrize("words", ["", "So far"])
@pytest.mark.parametrize("why", [LostLease("t1"), asyncio.CancelledError(), DeliveryFailed("later"), RuntimeError("x")])
async def test_nothing_is_left_standing(rig: Rig, address: JsonObject, why: BaseException, words: str) -> None:
    await failing(rig, address, why, *filter(None, [words]))
    ended = rig.clock.monotonic()
    await closed(rig)
    if isinstance(why, (LostLease, asyncio.CancelledError)):
        assert rig.clock.monotonic() - ended < teams_streams.LINGER, "its words come from elsewhere"
    assert rig.connector.chats.shown(CHAT) == []
    final, gone = rig.connector.deliveries[-2:]
    assert (final.activity["text"], gone.method) == (words or BROKE_OFF, "DELETE")
    assert rig.clock.sleeping == []
    assert await rig.teams.send(address, answer("anew"))
    assert rig.connector.chats.shown(CHAT) == [("message", "anew")]


@pytest.mark.invariant("I5")
async def test_what_a_stop_interrupts_stays_as_far_as_it_came(rig: Rig, address: JsonObject) -> None:
    await failing(rig, address, Interrupted("stop"), "So", "So far")
    await closed(rig)
    await send(rig, address, Part("Stopped."))
    assert rig.connector.chats.shown(CHAT) == [("message", "So far"), ("message", "Stopped.")]


@pytest.mark.invariant("I5")
@pytest.mark.parametrize("why", [Interrupted("stop"), OperatorError("The agent is gone.", "Make another.")])
async def test_words_that_follow_soon_take_its_place(rig: Rig, address: JsonObject, why: Exception) -> None:
    await failing(rig, address, why)
    await eventually(lambda: teams_streams.LINGER in rig.clock.sleeping)
    await send(rig, address, Part("Stopped."))
    await closed(rig)
    assert rig.connector.chats.shown(CHAT) == [("message", "Stopped.")]
    assert rig.connector.deliveries[-1].activity["text"] == "Stopped."


@pytest.mark.invariant("I5")
async def test_an_apology_replaces_what_grew(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "So far")
        await send(rig, address, Part("Sorry, I couldn't answer."))
    assert rig.connector.chats.shown(CHAT) == [("message", "Sorry, I couldn't answer.")]
    assert "entities" not in rig.connector.deliveries[-1].activity


@pytest.mark.invariant("I5")
async def test_the_end_of_the_process_ends_what_lingers(rig: Rig, address: JsonObject) -> None:
    await failing(rig, address, OperatorError("The agent is gone.", "Make another."))
    rig.clock.advance(1)
    await asyncio.wait_for(rig.framework.close(), 3)
    assert rig.connector.chats.shown(CHAT) == []


@pytest.mark.invariant("I5")
async def test_what_cannot_be_taken_away_says_that_it_broke_off(rig: Rig, address: JsonObject) -> None:
    rig.connector.chats.keeps = True
    await failing(rig, address, LostLease("t1"), "So far")
    await closed(rig)
    assert rig.connector.chats.shown(CHAT) == [("message", BROKE_OFF)]


@pytest.mark.invariant("I8")
async def test_what_was_on_its_way_when_the_person_said_stop_stays_too(rig: Rig, address: JsonObject) -> None:
    released = asyncio.Event()
    with pytest.raises(Interrupted):  # noqa: PT012 (what is before it cannot raise this)
        async with streaming(rig, address) as show:
            show("So far")
            await beat(rig)
            rig.connector.faults.append(rig.connector.late(released))
            rig.clock.advance(teams_stream.BUFFER)
            await eventually(lambda: not rig.connector.faults)
            raise Interrupted(Interrupt.STOP)
    confirming = asyncio.ensure_future(send(rig, address, Part("Stopped.")))
    await asyncio.sleep(0)
    released.set()
    await confirming
    await closed(rig)
    assert rig.connector.chats.shown(CHAT) == [("message", "So far"), ("message", "Stopped.")]


async def test_one_stream_follows_another(rig: Rig, address: JsonObject) -> None:
    await failing(rig, address, RuntimeError("first"))
    rig.connector.faults.append(rig.connector.late(released := asyncio.Event()))
    async with rig.teams.working(address) as show:
        assert show is not None
        rig.clock.advance(1)
        await eventually(lambda: not rig.connector.faults)
        rig.clock.advance(1)
        await eventually(lambda: len(rig.connector.deliveries) >= 4)
        assert teams_stream.START_AFTER not in rig.clock.sleeping, "the other one has not ended"
        released.set()
        await eventually(lambda: rig.connector.chats.shown(CHAT) == [])
        await begin(rig)
        await grown(rig, show, "anew")
        await send(rig, address, answer("anew indeed"))
    assert rig.connector.chats.shown(CHAT) == [("message", "anew indeed")]


# -- it is in nobody's way ----------------------------------------------------------------------------------


@pytest.mark.invariant("I5")
async def test_a_slow_beginning_delays_nothing_and_is_taken_away(
    rig: Rig, address: JsonObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams_stream, "PATIENCE", 0.0)
    released = asyncio.Event()
    async with asyncio.timeout(10):
        async with rig.teams.working(address) as show:
            assert show is not None
            await typing(rig)
            await eventually(lambda: teams_stream.START_AFTER in rig.clock.sleeping)
            rig.connector.faults.append(rig.connector.late(released))
            rig.clock.advance(teams_stream.START_AFTER)
            await rig.connector.wait_for(2)
            show("words")
            await send(rig, address, answer("words"))
    assert rig.connector.chats.shown(CHAT) == [("message", "words")]
    await asyncio.wait([one for one in asyncio.all_tasks() if one.get_name() == "stream-end"], timeout=0.05)
    released.set()
    await closed(rig)
    assert rig.connector.chats.shown(CHAT) == [("message", "words")]
    assert rig.connector.deliveries[-1].method == "DELETE"


async def test_a_slow_part_delays_nothing(rig: Rig, address: JsonObject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams_stream, "PATIENCE", 0.01)
    async with asyncio.timeout(10):
        async with streaming(rig, address) as show:
            rig.connector.faults.append(hold(released := asyncio.Event()))
            show("words")
            await beat(rig)
            rig.clock.advance(teams_stream.BUFFER)
            await eventually(lambda: not rig.connector.faults)
            await send(rig, address, answer("words and more"))
    released.set()
    assert rig.connector.chats.shown(CHAT) == [("message", "words and more")]


@pytest.mark.invariant("I6")
async def test_a_final_whose_fate_is_unknown_is_put_in_place(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "So far")
        rig.clock.advance(1)
        rig.connector.faults.append(rig.connector.taken_but_cut)
        delivered = await send(rig, address, answer("So far so good"))
    assert rig.connector.chats.shown(CHAT) == [("message", "So far so good")]
    assert [(d.method, d.activity_id) for d in rig.connector.deliveries[-2:]] == [("POST", None), ("PUT", delivered)]


@pytest.mark.invariant("I6")
async def test_a_send_that_failed_can_be_made_again(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address):
        rig.clock.advance(1)
        rig.connector.faults += [status(401), status(401)]
        with pytest.raises(OperatorError):
            await send(rig, address, answer("the answer"))
        rig.connector.faults.clear()
        rig.clock.advance(1)
        await send(rig, address, answer("the answer"))
    assert rig.connector.chats.shown(CHAT) == [("message", "the answer")]


@pytest.mark.invariant("I7")
async def test_a_process_that_stood_still_streams_no_more(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "So far")
        show("So far, of an older turn")
        before = len(streamed(rig))
        rig.clock.advance(60)
        await rig.connector.wait_for(before + 2)  # typing
        assert len(streamed(rig)) == before
        await send(rig, address, answer("So far so good"))
    assert rig.connector.chats.shown(CHAT) == [("message", "So far so good")]


async def test_a_fault_of_ours_is_an_event_and_no_more(
    rig: Rig, address: JsonObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with streaming(rig, address) as show:
        with monkeypatch.context() as broken:
            broken.setattr("bot.channels.steady.utf16_size", None)
            show("words")
            rig.clock.advance(teams_stream.BUFFER)
            await eventually(lambda: rig.events != [])
        await send(rig, address, answer("words"))
    assert rig.events == [Unexpected(reference="", lane="", where="stream", error="TypeError")]
    assert rig.connector.chats.shown(CHAT) == [("message", "words")]


@pytest.mark.invariant("I13")
@pytest.mark.parametrize(
    ("status", "code", "said", "why"),
    [
        (403, "ContentStreamNotAllowed", "Content stream was canceled by user", Why.STOPPED),
        (403, "ContentStreamNotAllowed", "CONTENT STREAM WAS CANCELLED BY USER.", Why.STOPPED),
        (403, "", "Content stream was canceled by user", Why.STOPPED),
        (403, "ContentStreamNotAllowed", EXPIRED, Why.EXPIRED),
        (403, "ContentStreamNotAllowed", "a sentence that quotes what people wrote", Why.REFUSED),
        (202, "ContentStreamSequenceOrderPreConditionFailed", "", Why.REFUSED),
        (403, "BotNotInConversationRoster", "The bot is not part of the conversation roster.", None),
        (202, "", "", None),
        (400, "BadRequest", "was canceled by user", None),
    ],
)
def test_why_it_is_refused(status: int, code: str, said: str, why: Why | None) -> None:
    found = refusal(status, {"error": {"code": code, "message": said}})
    assert (found.why if found else None) == why
    assert found is None or isinstance(found, DeliveryRefused)
    assert "wrote" not in str(found)


# -- a question in between ------------------------------------------------------------------------------------

ASKED = Asked("appr-1", "create_ticket", {"title": "Printer on fire"}, "Ann")
QUESTION = Part("May I?", asks=ASKED)
ON_THE_CARD = "May I use create_ticket for Ann? Approve or decline."


async def test_a_question_takes_thinking_away(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address):
        assert rig.connector.chats.shown(CHAT) == [("informative", THINKING)]
        await send(rig, address, QUESTION)
        assert rig.connector.chats.shown(CHAT) == [("message", ON_THE_CARD)]
        assert rig.clock.sleeping == [], "nobody types, and nothing grows, while a person is asked"
        await send(rig, address, answer("It is done."))
    assert rig.connector.chats.shown(CHAT) == [("message", ON_THE_CARD), ("message", "It is done.")]


async def test_what_grew_before_a_question_stays(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address) as show:
        await grown(rig, show, "I'll open a ticket.")
        await send(rig, address, QUESTION)
    assert rig.connector.chats.shown(CHAT) == [("message", "I'll open a ticket."), ("message", ON_THE_CARD)]


async def test_words_with_controls_take_thinking_away_too(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address):
        await send(rig, address, Part("It takes a while.", controls=(Control.STOP,)))
    assert rig.connector.chats.shown(CHAT) == [("message", "It takes a while.")]
    assert len(rig.connector.chats.cards(CHAT)) == 1


@pytest.mark.invariant("I8")
async def test_nothing_is_asked_of_somebody_who_has_stopped(rig: Rig, address: JsonObject) -> None:
    async with streaming(rig, address):
        rig.connector.chats.stop(CHAT)
        with pytest.raises(Interrupted):
            await send(rig, address, QUESTION)
    assert rig.connector.chats.cards(CHAT) == []
    assert [said.text for said in rig.accepted[1:]] == ["stop"]


# -- where the connector knows less -------------------------------------------------------------------------------


@pytest.mark.invariant("I6")
@pytest.mark.parametrize("code", [404, 405, 501])
async def test_where_nothing_may_grow_the_answer_comes_once(rig: Rig, address: JsonObject, code: int) -> None:
    async with rig.teams.working(address) as show:
        assert show is not None
        await typing(rig)
        rig.connector.faults.append(status(code))
        await eventually(lambda: teams_stream.START_AFTER in rig.clock.sleeping)
        rig.clock.advance(teams_stream.START_AFTER)
        await rig.connector.wait_for(2)
        show("It is")
        await eventually(lambda: rig.clock.sleeping != [])
        await send(rig, address, answer("It is 4 pm."))
    assert rig.connector.chats.shown(CHAT) == [("message", "It is 4 pm.")]
    assert len(streamed(rig)) == 1, "what is refused for good is not asked for again"
    assert not any(isinstance(event, Unexpected) for event in rig.events)


@pytest.mark.invariant("I5")
@pytest.mark.parametrize("code", [403, 404, 405, 501])
async def test_where_nothing_can_be_deleted_thinking_is_replaced(rig: Rig, address: JsonObject, code: int) -> None:
    rig.connector.chats.keeps, rig.connector.chats.keeps_with = True, code
    async with streaming(rig, address):
        await send(rig, address, QUESTION)
    assert rig.connector.chats.shown(CHAT) == [("message", Texts().asked_first()), ("message", ON_THE_CARD)]
