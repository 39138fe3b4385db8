"""Words to people, their addresses, and files that they were offered, on each database."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from bot.clock import SystemClock
from bot.errors import NotSaid
from bot.store import SqlStore, open_store
from bot.threads import thread_key
from bot.types import Entry, FileOffer, Message, RemoteFile, Saying
from tests.world import ADA, group, message

OFFER = FileOffer("offer-1", "test", "tenant", "ada", "chat-ada", RemoteFile("file-1", "a.xlsx", "text/x"))


@pytest.fixture
async def store(database_url: str) -> AsyncGenerator[SqlStore]:
    store = await open_store(database_url, SystemClock(), runner=True)
    yield store
    await store.close()


async def put(store: SqlStore, said: Message) -> str:
    lane = thread_key(said.conversation, said.person, "person")
    await store.inbox.put(Entry(said, lane), 600.0)
    return lane


async def said(store: SqlStore, lane: str, key: str = "k", text: str = "words") -> int:
    [ada] = await store.people.find("ada")
    return (await store.says.put(Saying(key, ada, lane, text, "cli"))).turn


async def test_the_newest_personal_address_is_spoken_to(store: SqlStore):
    await put(store, message("in the group", conversation=group()))
    lane = thread_key(message("").conversation, ADA, "person")
    with pytest.raises(NotSaid):
        await said(store, lane)
    await put(store, replace(message("one"), address={"to": "old", "activityId": "1"}))
    await put(store, replace(message("two"), address={"to": "new", "activityId": "2"}))
    await put(store, message("in the group again", conversation=group()))
    turn = await said(store, lane)
    assert await said(store, lane) == turn
    with pytest.raises(NotSaid, match="other words"):
        await said(store, lane, text="others")
    claims = {claim.lane: claim for claim in await store.inbox.claim("a", 10, 30.0)}
    assert len(claims[lane].messages) == 2, "what is to be said joins no question"
    [act] = await store.people.acts("cli", 10)
    assert (act.turn, act.detail) == (turn, {"characters": 5})


async def test_an_offer_is_in_one_hand_at_a_time(store: SqlStore):
    await store.offers.offer(OFFER, 60.0)
    assert await store.offers.take("offer-1", 60.0) == OFFER
    assert await store.offers.take("offer-1", 60.0) is None
    await store.offers.give_back("offer-1")
    assert await store.offers.take("offer-1", -1.0) == OFFER
    assert await store.offers.take("offer-1", 60.0) == OFFER, "whoever had it in hand died"
    await store.offers.close("offer-1")
    assert await store.offers.take("offer-1", 60.0) is None


async def test_an_offer_that_is_over_is_swept(store: SqlStore):
    await store.offers.offer(OFFER, -1.0)
    assert await store.offers.take("offer-1", 60.0) is None
    await store.records.sweep(1e9, 1e9)
    await store.offers.offer(OFFER, 60.0)  # its row is free


@pytest.mark.parametrize("whole", [True, False])
async def test_forgetting_takes_offers_and_the_address_along(store: SqlStore, whole: bool):
    lane = await put(store, message("one"))
    await store.offers.offer(OFFER, 60.0)
    [ada] = await store.people.find("ada")
    await store.forgetting.forget([lane], ada if whole else None, None)
    assert await store.offers.take("offer-1", 60.0) is None
    assert len(await store.people.find("ada")) == (0 if whole else 1)
    with pytest.raises(NotSaid):
        await store.says.put(Saying("k", ada, lane, "words", "cli"))
