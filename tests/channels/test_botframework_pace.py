"""How fast the connector is asked, what is repeated, and for how long a conversation is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels import pace
from bot.channels.connector import PATIENCE, SEND_TIMEOUT
from bot.channels.pace import CONVERSATION, TENANT, Limits, Pace, Place
from bot.errors import DeliveryFailed
from bot.types import JsonObject, Part
from tests.channels.conftest import MakeRig
from tests.teams import HeldClock, group_message, message
from tests.teams.connector import cut, status
from tests.teams.rig import Rig

ANSWER = Part("the answer", by_agent=True)
PLACE = Place("tenant", "conversation")


@pytest.fixture
async def address(rig: Rig) -> JsonObject:
    """Of a group, where nothing is streamed."""
    return await rig.address(group_message(rig.url))


# -- the law ------------------------------------------------------------------------------------------------


def keeps(sent: Sequence[float], limits: Limits) -> bool:
    """Never more than so many in any window, wherever it begins."""
    ordered = sorted(sent)
    return all(
        later - earlier >= window - 1e-9
        for count, window in limits
        for earlier, later in zip(ordered, ordered[count:], strict=False)
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["answer", "aside", "both"]),
        st.sampled_from([0.0, 0.0, 0.01, 0.1, 0.5, 1.0, 3.0, 29.0, 600.0]),
    ),
    max_size=120,
)
SMALL: Limits = ((3, 1.0), (4, 2.0), (10, 30.0), (40, 3600.0))


@given(STEPS, st.sampled_from([CONVERSATION, SMALL]), st.sampled_from([TENANT, ((5, 1.0),)]))
@settings(max_examples=150, deadline=None)
def test_no_window_holds_more_than_is_documented(
    steps: list[tuple[str, str, float]], conversation: Limits, tenant: Limits
) -> None:
    """Whatever is sent when, at once or one after the other, waited for or not."""
    sent: list[tuple[str, float]] = []

    async def play() -> None:
        clock = HeldClock()
        paced = Pace(clock, conversation, tenant)

        async def answer(name: str) -> None:
            try:
                await paced.wait(Place("tenant", name), 40.0)
                sent.append((name, clock.monotonic()))
            except DeliveryFailed:
                pass

        waiting: list[asyncio.Task[None]] = []
        for name, kind, passing in steps:
            if kind != "aside":
                waiting.append(asyncio.create_task(answer(name)))
            if kind != "answer":
                try:
                    paced.aside(Place("tenant", name))
                    sent.append((name, clock.monotonic()))
                except DeliveryFailed:
                    pass
            await asyncio.sleep(0)
            clock.advance(passing)
        await clock.through(_all(waiting))

    asyncio.run(play())
    assert keeps([at for _, at in sent], tenant)
    for name in "abc":
        assert keeps([at for said, at in sent if said == name], conversation)


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


def test_what_is_documented() -> None:
    assert CONVERSATION == ((7, 1), (8, 2), (60, 30), (1800, 3600))
    assert TENANT == ((50, 1),)


@pytest.mark.invariant("I14")
async def test_memory_does_not_grow_with_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MOST_CONVERSATIONS", 10)
    clock = HeldClock()
    paced = Pace(clock)
    for number in range(30):
        await paced.wait(Place("tenant", str(number)), 1)
    kept = paced._conversations  # pyright: ignore[reportPrivateUsage]
    assert len(kept) == 10
    clock.advance(pace.LONGEST + 1)
    await paced.wait(PLACE, 1)
    assert list(kept) == ["conversation"]


async def test_a_window_that_is_in_use_is_not_forgotten() -> None:
    clock = HeldClock()
    paced = Pace(clock, ((2, 3600.0),), ())
    for _ in range(2):
        await paced.wait(PLACE, 1)
        clock.advance(1799)
    with pytest.raises(DeliveryFailed) as late:
        await paced.wait(PLACE, 1)
    assert late.value.retry_after == pytest.approx(2)


async def test_who_waits_for_a_conversation_holds_up_no_other() -> None:
    clock = HeldClock()
    paced = Pace(clock)
    for _ in range(7):
        await paced.wait(PLACE, 1)
    waiting = asyncio.create_task(paced.wait(PLACE, 3))
    await clock.until_asleep()
    assert await paced.wait(Place("tenant", "another"), 0.1) == 0
    assert await clock.through(_awaited(waiting)) == pytest.approx(1)


async def _awaited(task: asyncio.Task[float]) -> float:
    return await task


# -- answers before typing ----------------------------------------------------------------------------------


async def test_an_answer_waits_and_typing_is_left_out(rig: Rig, address: JsonObject) -> None:
    for _ in range(6):
        await rig.teams.send(address, ANSWER)
    async with rig.teams.working(address):
        await rig.clock.until_asleep()
        assert rig.connector.typing == []
        await rig.teams.send(address, ANSWER)
    sending = asyncio.create_task(rig.teams.send(address, ANSWER))
    await rig.clock.until_asleep()
    assert len(rig.connector.messages) == 7
    rig.clock.advance(1)
    await sending
    assert [d.at for d in rig.connector.deliveries] == [0] * 7 + [1]
    assert rig.events == []


async def test_a_long_wait_gives_the_turn_back(rig: Rig, address: JsonObject) -> None:
    for _ in range(60):
        await rig.teams.send(address, ANSWER)
        rig.clock.advance(0.3)
    with pytest.raises(DeliveryFailed) as failure:
        await rig.teams.send(address, ANSWER)
    assert failure.value.sent is False
    assert failure.value.retry_after == pytest.approx(30 - 18)
    assert len(rig.connector.deliveries) == 60


async def test_the_threads_of_a_channel_count_together(rig: Rig) -> None:
    for thread in range(8):
        place = {"conversationType": "channel", "isGroup": True, "id": f"19:c@thread.tacv2;messageid={thread}"}
        address = await rig.address(group_message(rig.url, conversation=place, id=str(thread)))
        sending = asyncio.create_task(rig.teams.send(address, ANSWER))
        if thread == 7:
            await rig.clock.until_asleep()
            rig.clock.advance(1)
        await sending
    assert [d.at for d in rig.connector.deliveries] == [0] * 7 + [1]


async def test_one_tenant_does_not_slow_another(rig: Rig, address: JsonObject) -> None:
    for number in range(50):
        await rig.teams.send(address | {"conversation": {"id": f"a:{number}"}}, ANSWER)
    await rig.teams.send(address | {"tenant": "another", "conversation": {"id": "a:x"}}, ANSWER)
    sending = asyncio.create_task(rig.teams.send(address | {"conversation": {"id": "a:y"}}, ANSWER))
    await rig.clock.until_asleep()
    assert len(rig.connector.deliveries) == 51
    rig.clock.advance(1)
    await sending


async def test_on_this_machine_nothing_is_counted(make_rig: MakeRig) -> None:
    rig = await make_rig(microsoft_app_id="", cloud={"loopback": False})
    status_, _ = await rig.post(message(rig.url), headers={})
    assert status_ == 202
    for _ in range(70):
        await rig.teams.send(rig.accepted[-1].address, ANSWER)


# -- what is repeated ---------------------------------------------------------------------------------------


async def test_too_fast_is_sent_again_when_the_service_says(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(status(429, retry_after="2"))
    assert await rig.clock.through(rig.teams.send(address, ANSWER)) == "delivered-2"
    assert [d.at for d in rig.connector.deliveries] == [0, 2]


async def test_too_fast_without_a_time_backs_off(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.extend([status(429), status(429)])
    await rig.clock.through(rig.teams.send(address, ANSWER))
    first, second, third = (d.at for d in rig.connector.deliveries)
    assert 0.375 <= second - first <= 0.625
    assert 0.75 <= third - second <= 1.25


async def test_too_fast_for_too_long_is_given_back_and_left_alone(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(status(429, retry_after="60"))
    with pytest.raises(DeliveryFailed) as failure:
        await rig.teams.send(address, ANSWER)
    assert (failure.value.retry_after, failure.value.sent) == (60, False)
    rig.clock.advance(20)
    with pytest.raises(DeliveryFailed) as failure:
        await rig.teams.send(address, Part("another word"))
    assert failure.value.retry_after == 40
    async with rig.teams.working(address):
        await rig.clock.until_asleep()
        assert rig.clock.sleeping == [40]
    assert len(rig.connector.deliveries) == 1
    await rig.teams.send(address | {"conversation": {"id": "a:other"}}, ANSWER)
    rig.clock.advance(40)
    await rig.teams.send(address, ANSWER)


async def test_it_ends_some_time(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.extend([status(429, retry_after="0")] * 9)
    with pytest.raises(DeliveryFailed, match="429"):
        await rig.clock.through(rig.teams.send(address, ANSWER))
    assert len(rig.connector.deliveries) == 4
    assert rig.clock.monotonic() <= PATIENCE < SEND_TIMEOUT


@pytest.mark.invariant("I6")
@pytest.mark.parametrize("fault", [status(408), status(412), status(500), status(502), status(503), status(504), cut])
async def test_what_may_have_been_shown_is_not_posted_again(rig: Rig, address: JsonObject, fault: object) -> None:
    rig.connector.faults.append(fault)  # type: ignore[arg-type]
    with pytest.raises(DeliveryFailed):
        await rig.teams.send(address, ANSWER)
    assert len(rig.connector.deliveries) == 1


@pytest.mark.parametrize("code", [412, 429, 502, 503, 504])
async def test_an_update_is_repeated(rig: Rig, address: JsonObject, code: int) -> None:
    """The same words in the same place: twice is once."""
    delivered = await rig.teams.send(address, ANSWER)
    rig.connector.faults.append(status(code))
    await rig.clock.through(rig.teams.update(address, delivered, ANSWER))
    tried = [(d.method, d.activity_id, d.answered < 300) for d in rig.connector.deliveries[1:]]
    assert tried == [("PUT", delivered, False), ("PUT", delivered, True)]


@pytest.mark.parametrize("code", [408, 500])
async def test_an_update_is_not_repeated_for_nothing(rig: Rig, address: JsonObject, code: int) -> None:
    rig.connector.faults.append(status(code))
    with pytest.raises(DeliveryFailed):
        await rig.teams.update(address, "delivered-9", ANSWER)
    assert len(rig.connector.deliveries) == 1


async def test_typing_is_never_repeated(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(status(429, retry_after="1"))
    async with rig.teams.working(address):
        await rig.connector.wait_for(1)
        await rig.clock.until_asleep()
        assert rig.clock.sleeping == [3]
    assert len(rig.connector.deliveries) == 1
