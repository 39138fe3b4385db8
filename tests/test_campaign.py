"""The campaign's own counters: each is forced above zero once, so that a zero in its table means something."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from bot.clock import SystemClock
from bot.store import open_store
from bot.store.tables import inbox, lanes, tool_calls
from bot.texts import Texts
from bot.types import reference_of
from tests.campaign.machines import SlowConnector
from tests.campaign.people import Said
from tests.campaign.verdict import LABEL, Counts, judge
from tests.teams import Delivery


async def test_people_learn_whom_an_answer_was_for() -> None:
    """Else each of them would write six messages and wait for ever."""
    connector = SlowConnector()
    await connector.start()
    answers: list[dict[str, Any]] = [
        {"type": "message", "text": "answered t000001 and t000002", "replyToId": "id-t000003"},
        {"type": "message", "text": f"t000004 {Texts().service_down()}", "replyToId": "id-t000004"},
        {"type": "typing"},
    ]
    try:
        async with aiohttp.ClientSession() as http:
            for activity in answers:
                address = f"{connector.url}v3/conversations/a:1/activities"
                async with http.post(address, json=activity) as response:
                    assert response.status < 300
    finally:
        await connector.close()
    assert connector.replied == {"id-t000001", "id-t000002", "id-t000003"}


@dataclass
class Process:
    """What the verdict reads of a replica."""

    traces: list[Path] = field(default_factory=list)
    frozen: dict[Path, list[tuple[float, float]]] = field(default_factory=dict)
    killed: dict[Path, float] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)


@dataclass
class Play:
    """What happened, written down as a campaign finds it: two people, a message each, both answered."""

    folder: Path
    said: list[Said] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    trace: list[dict[str, Any]] = field(default_factory=list)
    process: Process = field(default_factory=Process)
    outages: list[tuple[float, float]] = field(default_factory=list)

    def message(self, number: int, *, person: int = 1, at: float, uses_tool: bool = False) -> str:
        """Accepted and on disk; its token."""
        token = f"t{number:06d}"
        self.said.append(Said(token, person, uses_tool, f"key-{token}", {"id": f"id-{token}"}, at))
        self.rows.append(
            {
                "id": number,
                "key": f"key-{token}",
                "lane": f"lane-{person}",
                "channel": "msteams",
                "person": str(person),
                "generation": 0,
                "joins": True,
                "state": "done",
                "ended": "answered",
                "accepted_at": at,
            }
        )
        return token

    def answer(self, token: str, *, at: float, text: str | None = None, by_agent: bool = True) -> None:
        activity = {
            "type": "message",
            "replyToId": f"id-{token}",
            "text": text if text is not None else f"so: {token}",
            "entities": [{"type": LABEL}] if by_agent else [],
        }
        self.deliveries.append(Delivery("POST", "c", None, activity, None, 0, at, 201))

    def does(self, what: str, at: float, **more: Any) -> None:
        """A line of the process's trace."""
        self.trace.append({"what": what, "at": at, **more})

    async def judged(self) -> Counts:
        url = f"sqlite+aiosqlite:///{self.folder / 'bot.db'}"
        store = await open_store(url, SystemClock(), runner=True)
        await store.close()
        engine = sa.create_engine(f"sqlite:///{self.folder / 'bot.db'}")
        with engine.begin() as connection:
            for lane in {row["lane"] for row in self.rows}:
                values = {"key": lane, "channel": "msteams", "tenant": "t", "created_at": 0.0}
                connection.execute(sa.insert(lanes).values(**values))
            for row in self.rows:
                connection.execute(sa.insert(inbox).values(**row))
            for call in self.calls:
                connection.execute(sa.insert(tool_calls).values(**call))
        engine.dispose()
        file, trace = self.folder / "effects", self.folder / "trace"
        file.write_text("\n".join(self.effects))
        trace.write_text("".join(json.dumps(line) + "\n" for line in self.trace))
        self.process.traces.append(trace)
        counts = Counts("played", "sqlite")
        replicas: Any = [self.process]
        return await judge(counts, url, self.said, self.deliveries, replicas, self.outages, file)


@pytest.fixture
def play(tmp_path: Path) -> Play:
    played = Play(tmp_path)
    one = played.message(1, at=1.0, uses_tool=True)
    other = played.message(2, at=2.0)
    played.answer(one, at=3.0)
    played.answer(other, at=4.0)
    played.effects.append(one)
    return played


def above_zero(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in counts.wrong}


async def test_a_sound_play_is_zero_everywhere(play: Play):
    counts = await play.judged()
    assert (above_zero(counts), counts.findings) == ({}, [])
    assert (counts.accepted, counts.turns, counts.answered, counts.effects) == (2, 2, 2, 1)


async def test_a_message_that_got_no_answer_is_silent(play: Play):
    play.message(3, person=2, at=5.0)
    assert above_zero(await play.judged()) == {"silent": 1}


async def test_a_message_that_is_not_on_disk_is_silent(play: Play):
    play.message(3, person=2, at=5.0)
    play.rows.pop()
    assert above_zero(await play.judged()) == {"silent": 1}


async def test_words_of_the_bot_s_own_are_an_apology(play: Play):
    play.answer(play.message(3, person=2, at=5.0), at=6.0, text="Sorry.", by_agent=False)
    assert above_zero(await play.judged()) == {"apologised": 1}


async def test_an_answer_to_something_else_is_strange(play: Play):
    play.answer(play.message(3, person=2, at=5.0), at=6.0, text="so: t000001")
    assert above_zero(await play.judged()) == {"strange": 1}


async def test_a_delivery_for_no_message_is_strange(play: Play):
    play.answer("t999999", at=6.0)
    assert above_zero(await play.judged()) == {"strange": 1}


@pytest.mark.invariant("I3")
async def test_answers_in_another_order_than_the_messages_are_out_of_order(play: Play):
    play.deliveries[0], play.deliveries[1] = play.deliveries[1], play.deliveries[0]
    for delivery, at in zip(play.deliveries, (3.0, 4.0), strict=True):
        object.__setattr__(delivery, "at", at)
    assert above_zero(await play.judged()) == {"disorder": 1}


@pytest.mark.invariant("I3")
async def test_ids_in_another_order_than_the_acknowledgements_are_out_of_order(play: Play):
    play.said[0].accepted_at = 2.5
    counts = await play.judged()
    assert counts.disorder > 0


@pytest.mark.invariant("I2")
async def test_a_second_answer_is_counted(play: Play):
    play.does("asks", 2.8, turn=1)
    play.does("send", 2.9, message="id-t000001")
    play.does("Delivered", 3.1, reference=reference_of(1))
    play.answer("t000001", at=7.0)
    assert above_zero(await play.judged()) == {"twice": 1}


@pytest.mark.invariant("I6")
async def test_a_second_answer_after_a_kill_before_the_save_falls_into_its_window(play: Play):
    play.does("asks", 2.8, turn=1)
    play.does("send", 2.9, message="id-t000001")
    play.process.killed[play.folder / "trace"] = 3.05
    play.answer("t000001", at=7.0)
    counts = await play.judged()
    assert (above_zero(counts), counts.window_saved) == ({}, 1)


@pytest.mark.invariant("I6")
async def test_a_second_answer_of_a_frozen_process_falls_into_its_window(play: Play):
    play.does("asks", 2.8, turn=1)
    play.does("send", 2.9, message="id-t000001")
    play.process.frozen[play.folder / "trace"] = [(2.85, 5.0)]
    play.answer("t000001", at=7.0)
    counts = await play.judged()
    assert (above_zero(counts), counts.window_frozen) == ({}, 1)


@pytest.mark.invariant("I9")
async def test_an_effect_that_happened_twice_is_repeated(play: Play):
    play.effects.append("t000001")
    assert above_zero(await play.judged()) == {"repeated": 1}


@pytest.mark.invariant("I9")
async def test_an_effect_that_never_happened_is_lost(play: Play):
    play.effects.clear()
    assert above_zero(await play.judged()) == {"lost": 1}


async def test_an_effect_that_is_said_to_be_unknown_is_neither(play: Play):
    play.effects.clear()
    call = {"call_id": "c", "attempt": "0", "round": 1, "position": 0, "name": "note", "once": True}
    play.calls.append({"turn": 1, "state": "unknown", "started_at": 0.0, **call})
    counts = await play.judged()
    assert (above_zero(counts), counts.unknown) == ({}, 1)


async def test_what_a_process_left_behind_is_strange(play: Play):
    play.process.odd.append("replica1 ended with 1")
    assert above_zero(await play.judged()) == {"strange": 1}


async def test_a_take_over_is_timed_from_the_kill(play: Play):
    play.does("TurnStarted", 2.0, reference=reference_of(1))
    play.does("TurnStarted", 9.5, reference=reference_of(1))
    play.process.killed[play.folder / "trace"] = 3.0
    assert (await play.judged()).takeovers == [6.5]


def test_every_column_that_must_be_zero_is_forced_above_it_here():
    words = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in Counts.MUST_BE_ZERO if f'"{name}": 1' not in words] == []
