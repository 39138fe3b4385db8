"""What tools keep: one contract over the store on both engines and the records in memory that tests are given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from adapters.memory import MemoryRecords
from bot.clock import SystemClock
from bot.store import SqlStore, open_store
from bot.types import LARGEST_VALUE, Json, Records, ToolOutput
from tests.world import FastClock


@pytest_asyncio.fixture
async def store(database_url: str) -> AsyncGenerator[SqlStore]:
    store = await open_store(database_url, SystemClock(), runner=True)
    yield store
    await store.close()


class RecordsContract:
    """Over records that are empty."""

    @pytest.fixture
    def records(self) -> Records:
        raise NotImplementedError

    @pytest.mark.parametrize(
        "value", ["text", 0, False, 1.5, [], {}, {"a": [None, "é\0\ud800"]}, [{"b": True}]], ids=repr
    )
    async def test_what_is_put_is_got(self, records: Records, value: Json):
        assert await records.put("tickets", "T-1", value)
        assert await records.get("tickets", "T-1") == value
        [record] = await records.list("tickets")
        assert (record.key, record.value) == ("T-1", value)
        assert record.at > 0

    async def test_what_is_not_there_is_none(self, records: Records):
        assert await records.get("tickets", "T-1") is None
        assert not await records.delete("tickets", "T-1")
        assert list(await records.list("tickets")) == []

    async def test_it_is_changed_only_where_it_is_as_was_thought(self, records: Records):
        assert await records.put("c", "k", {"n": 1}, new=True)
        assert not await records.put("c", "k", {"n": 9}, new=True)
        assert not await records.put("c", "k", {"n": 9}, was={"n": 2})
        assert await records.put("c", "k", {"n": 2}, was={"n": 1})
        assert not await records.put("c", "other", 1, was=1)
        assert await records.get("c", "k") == {"n": 2}
        assert await records.put("c", "k", {"n": 3})
        assert await records.get("c", "k") == {"n": 3}

    async def test_of_many_who_count_at_once_none_is_lost(self, records: Records):
        async def number() -> int:
            for wanted in range(20):
                if await records.put("tickets", f"T-{wanted}", "open", new=True):
                    return wanted
            raise AssertionError("no number is free")

        assert sorted(await asyncio.gather(*(number() for _ in range(10)))) == list(range(10))

    async def test_they_are_listed_by_the_bytes_of_their_keys_page_by_page(self, records: Records):
        for key in ("b", "a", "B", "é", "a-2", "a-1", "c"):
            await records.put("c", key, key)
        await records.put("d", "x", "elsewhere")
        keys = ["B", "a", "a-1", "a-2", "b", "c", "é"]
        assert [record.key for record in await records.list("c")] == keys
        assert [record.key for record in await records.list("c", most=3)] == keys[:3]
        assert [record.key for record in await records.list("c", after="a-1", most=3)] == keys[3:6]
        assert [record.key for record in await records.list("c", prefix="a-")] == ["a-1", "a-2"]
        assert [record.key for record in await records.list("c", prefix="A")] == []
        await records.put("c", "b", "again")
        assert [record.key for record in await records.list("c", newest=True, most=2)] == ["b", "c"]

    async def test_what_is_let_go_of_is_gone(self, records: Records):
        await records.put("c", "k", 1)
        assert await records.delete("c", "k")
        assert await records.get("c", "k") is None

    @pytest.mark.parametrize(
        ("collection", "key", "value"),
        [
            ("", "k", 1),
            ("a b", "k", 1),
            ("c", "", 1),
            ("c", "k" * 201, 1),
            ("c", "a\nb", 1),
            ("c", "k", None),
            ("c", "k", {1, 2}),
            ("c", "k", float("nan")),
            ("c", "k", "x" * LARGEST_VALUE),
        ],
    )
    async def test_what_is_no_record_is_refused(self, records: Records, collection: str, key: str, value: Json):
        with pytest.raises(ValueError, match="must be"):
            await records.put(collection, key, value)

    async def test_what_was_put_is_not_changed_from_outside(self, records: Records):
        value = {"n": [1]}
        await records.put("c", "k", value)
        value["n"].append(2)
        (await records.get("c", "k"))["n"].append(3)
        assert await records.get("c", "k") == {"n": [1]}


class TestInTheStore(RecordsContract):
    @pytest.fixture
    def records(self, store: SqlStore) -> Records:
        return store.tool_records.of_organisation("tenant")


class TestInMemory(RecordsContract):
    @pytest.fixture
    def records(self) -> Records:
        return MemoryRecords()


@pytest.mark.invariant("I10")
async def test_each_owner_has_their_own(store: SqlStore):
    owners = [
        store.tool_records.of_organisation("a"),
        store.tool_records.of_organisation("b"),
        store.tool_records.of_person("test", "a", "ada"),
        store.tool_records.of_person("test", "a", "grace"),
        store.tool_records.of_person("slack", "a", "ada"),
    ]
    for number, records in enumerate(owners):
        await records.put("c", "k", number)
    assert [await records.get("c", "k") for records in owners] == [0, 1, 2, 3, 4]
    assert [[one.value for one in await records.list("c")] for records in owners] == [[0], [1], [2], [3], [4]]


async def test_files_are_swept_when_their_time_is_over(database_url: str):
    clock = FastClock()
    store = await open_store(database_url, clock, runner=True)
    assert await store.tool_files.of(1) == []
    await store.records.sweep(1e9, 1e9)
    await store.close()
    assert ToolOutput("c", "x").files == ()
