"""Calls that wait for a person's word, on each database: asked once, decided once, and no word missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from bot.errors import LostLease
from bot.store import SqlStore
from bot.types import Approval, Claim, Control, Decision, Ended, Ending, ToolCall, ToolRow
from tests.store.test_inbox import UNDO, entry, opened
from tests.world import ADA

CALL = ToolCall("c1", "order", '{"to": "Oslo"}')


@pytest.fixture
async def two(database_url: str) -> AsyncGenerator[tuple[SqlStore, SqlStore]]:
    """The store of the replica that asks, and that of the one which the word comes to."""
    async with opened(database_url) as asking, opened(database_url, runner=False) as hearing:
        yield asking, hearing


async def asked(store: SqlStore, words: str = "order it", seconds: float = 60.0) -> tuple[Claim, Approval]:
    await store.inbox.put(entry(words), UNDO)
    (claim,) = await store.inbox.claim("me", 10, 30.0)
    await store.inbox.save(claim.turn, "me", {"run": {}})
    await store.tool_calls.started(claim.turn, "me", [ToolRow("c1", "0", 1, 0, "order", True, "asked")])
    return claim, await store.approvals.ask(claim.turn, "me", CALL, "ada", seconds)


async def test_it_is_asked_once_and_only_by_its_holder(two: tuple[SqlStore, SqlStore]) -> None:
    store, _ = two
    claim, approval = await asked(store)
    again = await store.approvals.ask(claim.turn, "me", CALL, "ada", 60.0)
    assert again.id == approval.id
    assert len(approval.id) > 20
    assert (again.state, again.arguments, again.person, again.delivered) == ("asked", CALL.arguments, "ada", None)
    assert 50 < again.left <= 60
    for write in (
        store.approvals.ask(claim.turn, "you", CALL, "ada", 60.0),
        store.approvals.told(claim.turn, "you", approval.id, "d1"),
        store.approvals.expire(claim.turn, "you", approval.id),
        store.inbox.wait(claim.turn, "you", approval.id),
    ):
        with pytest.raises(LostLease):
            await write
    assert (await store.approvals.expire(claim.turn, "me", approval.id)).state == "asked"  # it has time left


async def test_what_waits_is_claimed_again_by_the_word_alone(two: tuple[SqlStore, SqlStore]) -> None:
    store, hearing = two
    claim, approval = await asked(store)
    await store.inbox.wait(claim.turn, "me", approval.id)
    await hearing.inbox.put(entry("status", joins=False), UNDO)  # it stands behind it, and nudges
    (claim,) = await store.inbox.claim("me", 10, 30.0)
    (now,) = await store.approvals.of(claim.turn)
    assert now.nudged
    assert claim.attempts == 1
    await store.approvals.told(claim.turn, "me", approval.id, "d1")
    await store.inbox.wait(claim.turn, "me", approval.id)
    assert await store.inbox.claim("me", 10, 30.0) == []  # the lane is closed
    decided = await hearing.inbox.put(entry("approve", control=Control.APPROVE), UNDO)
    assert decided.decision is Decision.APPROVED
    (claim,) = await store.inbox.claim("me", 10, 30.0)
    (now,) = await store.approvals.of(claim.turn)
    assert (now.state, now.decider, now.delivered, now.nudged) == ("approved", ADA.name, "d1", False)
    await store.inbox.finish(claim.turn, "me", Ending(Ended.ANSWERED, {}))
    (behind,) = await store.inbox.claim("me", 10, 30.0)
    assert behind.messages[0].text == "status"  # the word has no turn of its own


@pytest.mark.invariant("I3")
async def test_a_word_at_the_very_moment_of_waiting_is_not_missed(two: tuple[SqlStore, SqlStore]) -> None:
    store, hearing = two
    for number in range(15):
        claim, approval = await asked(store, f"order {number}")
        word = entry(f"approve{'!' * number}", control=Control.APPROVE)
        _, accepted = await asyncio.gather(
            store.inbox.wait(claim.turn, "me", approval.id), hearing.inbox.put(word, UNDO)
        )
        assert accepted.decision is Decision.APPROVED
        (claim,) = await store.inbox.claim("me", 10, 30.0)
        await store.inbox.finish(claim.turn, "me", Ending(Ended.ANSWERED, {}))


async def test_of_two_words_the_first_holds(two: tuple[SqlStore, SqlStore]) -> None:
    store, hearing = two
    claim, _approval = await asked(store)
    words = [entry(word, control=Control(word)) for word in ("approve", "decline")]
    outcomes = await asyncio.gather(store.inbox.put(words[0], UNDO), hearing.inbox.put(words[1], UNDO))
    # the second finds nothing that waits, and is said to the agent
    assert sorted(str(one.decision) for one in outcomes) in (["None", "approved"], ["None", "declined"])
    (now,) = await store.approvals.of(claim.turn)
    assert now.state in ("approved", "declined")
    await store.inbox.finish(claim.turn, "me", Ending(Ended.ANSWERED, {}))
    (behind,) = await store.inbox.claim("me", 10, 30.0)
    assert behind.control is None
    assert behind.messages[0].text in ("approve", "decline")


async def test_it_expires_by_the_database_s_clock_and_ends_with_its_turn(two: tuple[SqlStore, SqlStore]) -> None:
    store, hearing = two
    claim, approval = await asked(store, seconds=0.0)
    late = await hearing.inbox.put(entry("approve", control=Control.APPROVE), UNDO)
    assert late.decision is None
    assert (await store.approvals.expire(claim.turn, "me", approval.id)).state == "expired"
    await store.inbox.finish(claim.turn, "me", Ending(Ended.ANSWERED, {}))
    (now,) = await store.approvals.of(claim.turn)
    assert (now.state, now.arguments) == ("expired", "")
