"""The typing indicator: at once, every 3 s, never after the answer, and never in anyone's way."""

from __future__ import annotations

import asyncio

import pytest

from bot.channels import typing_signal
from bot.types import JsonObject, Part
from tests.teams import group_message
from tests.teams.connector import hold, status
from tests.teams.rig import Rig

pytestmark = pytest.mark.invariant("I5")


@pytest.fixture
async def address(rig: Rig) -> JsonObject:
    """A group: in a one-to-one chat the answer grows (test_teams_stream.py)."""
    return await rig.address(group_message(rig.url))


async def test_at_once_and_every_three_seconds(rig: Rig, address: JsonObject) -> None:
    async with rig.teams.working(address):
        for beat in range(4):
            await rig.connector.wait_for(beat + 1)
            await rig.clock.until_asleep()
            assert rig.clock.sleeping == [3.0]
            rig.clock.advance(3)
        await rig.connector.wait_for(5)
    assert [d.at for d in rig.connector.typing] == [0, 3, 6, 9, 12]
    assert {d.conversation for d in rig.connector.typing} == {"19:group@thread.v2"}
    assert rig.clock.sleeping == []


async def test_it_delays_nothing(rig: Rig, address: JsonObject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typing_signal, "LAST_WORD", 0.01)
    rig.connector.faults.append(hold(released := asyncio.Event()))
    async with asyncio.timeout(10):
        async with rig.teams.working(address):
            await rig.connector.wait_for(1)  # it hangs
            await rig.teams.send(address, Part("answer"))
    released.set()
    assert [m["text"] for m in rig.connector.messages] == ["answer"]


async def test_it_ends_with_the_failure(rig: Rig, address: JsonObject) -> None:
    """Stock ShowTypingMiddleware goes on for ever when the turn raises."""

    async def turn() -> None:
        async with rig.teams.working(address):
            await rig.connector.wait_for(1)
            raise RuntimeError("turn")

    with pytest.raises(RuntimeError, match="turn"):
        await turn()
    rig.clock.advance(60)
    assert rig.clock.sleeping == []
    assert len(rig.connector.deliveries) == 1


async def test_it_ends_when_the_turn_is_cancelled(rig: Rig, address: JsonObject) -> None:
    async def turn() -> None:
        async with rig.teams.working(address):
            await asyncio.Event().wait()

    task = asyncio.create_task(turn())
    await rig.connector.wait_for(1)
    await rig.clock.until_asleep()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.clock.sleeping == []


async def test_none_comes_after_the_answer(rig: Rig, address: JsonObject) -> None:
    async with rig.teams.working(address):
        await rig.connector.wait_for(1)
        await rig.teams.send(address, Part("answer"))
        rig.clock.advance(30)
        await rig.teams.send(address, Part("more"))
    assert [d.activity["type"] for d in rig.connector.deliveries] == ["typing", "message", "message"]


async def test_one_on_its_way_arrives_before_the_answer(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(hold(released := asyncio.Event()))
    async with rig.teams.working(address):
        await rig.connector.wait_for(1)
        sending = asyncio.create_task(rig.teams.send(address, Part("answer")))
        done, _ = await asyncio.wait({sending}, timeout=0.05)
        assert not done
        released.set()
        await sending
    first, second = rig.connector.deliveries
    assert (first.activity["type"], first.answered, second.activity["type"]) == ("typing", 201, "message")


async def test_another_persons_answer_does_not_end_it(rig: Rig, address: JsonObject) -> None:
    other = address | {"user": {"id": "29:other"}}
    async with rig.teams.working(address):
        await rig.connector.wait_for(1)
        await rig.clock.until_asleep()
        await rig.teams.send(other, Part("answer"))
        assert rig.clock.sleeping == [3.0]


@pytest.mark.parametrize("code", [429, 500, 502])
async def test_a_failure_is_nobodys_and_the_next_one_comes(rig: Rig, address: JsonObject, code: int) -> None:
    rig.connector.faults.append(status(code))
    async with rig.teams.working(address):
        await rig.connector.wait_for(1)
        await rig.clock.until_asleep()
        rig.clock.advance(3)
        await rig.connector.wait_for(2)
    assert rig.events == []


async def test_retry_after_is_kept(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(status(429, retry_after="20"))
    async with rig.teams.working(address):
        await rig.clock.until_asleep()
        assert rig.clock.sleeping == [20.0]


@pytest.mark.parametrize("code", [401, 403, 404])
async def test_it_stops_where_it_is_refused(rig: Rig, address: JsonObject, code: int) -> None:
    rig.connector.faults.append(status(code))
    async with rig.teams.working(address):
        await rig.connector.wait_for(1)
        signals = [t for t in asyncio.all_tasks() if t.get_name() == "typing"]
        await asyncio.wait_for(asyncio.gather(*signals), 5)
    assert len(rig.connector.deliveries) == 1


async def test_an_address_of_nobody_harms_no_turn(rig: Rig, address: JsonObject) -> None:
    async with rig.teams.working(address | {"appId": "another"}):
        pass
    async with rig.teams.working({}):
        pass
    assert rig.connector.deliveries == []
