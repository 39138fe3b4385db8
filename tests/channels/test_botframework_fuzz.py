"""POST /api/messages with anything: every request is answered, none with a 500, and nothing of it reaches the log."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Generator
from contextlib import AsyncExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.bootstrap import entry_of
from bot.clock import SystemClock
from bot.events import Unexpected
from bot.store import open_store
from bot.types import Accepted, Message
from tests.channels.conftest import rigs
from tests.teams import abs_slack, group_message, installed, invoke, message
from tests.teams.rig import Rig
from tests.world import settings_for

PERMITTED = {200, 202, 400, 403, 501}
MARK = "what people wrote"

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", ".", "..", "28:", "\0", "\ud800", "mention", "true", "2026-11-21T04:00:00Z", "9" * 400])
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)


def _changed(event: str, kind: str) -> Callable[[str], dict[str, Any]]:
    def made(url: str) -> dict[str, Any]:
        activity = group_message(url, type=kind)
        activity["channelData"]["eventType"] = event
        return activity

    return made


KNOWN: list[Callable[[str], dict[str, Any]]] = [
    message,
    group_message,
    installed,
    abs_slack,
    _changed("editMessage", "messageUpdate"),
    _changed("undeleteMessage", "messageUpdate"),
    _changed("softDeleteMessage", "messageDelete"),
    *(
        lambda url, name=name: invoke(url, name, {"action": {"verb": MARK}, "actionName": "feedback"})
        for name in ("message/submitAction", "adaptiveCard/action", "task/fetch", "fileConsent/invoke", "unknown")
    ),
]


@dataclass
class Bench:
    """An endpoint before a real store, on a loop of its own."""

    runner: asyncio.Runner
    rig: Rig
    statuses: set[int] = field(default_factory=set)

    def post(self, *args: Any, **options: Any) -> tuple[int, str]:
        status, said = self.runner.run(self.rig.post(*args, **options))
        self.statuses.add(status)
        return status, json.dumps(said)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Bench]:
    monkeypatch.chdir(tmp_path)
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def opened() -> Rig:
            make = await stack.enter_async_context(rigs(tmp_path))
            store = await open_store(f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}", SystemClock(), runner=True)
            stack.push_async_callback(store.close)
            rig = await make(teams_receive_all=True)

            async def accept(said: Message) -> Accepted:
                return await store.inbox.put(entry_of(said, settings_for(tmp_path)), 600.0)

            rig.accept = accept  # type: ignore[method-assign]
            return rig

        rig = runner.run(opened())
        try:
            yield Bench(runner, rig)
        finally:
            runner.run(stack.aclose())


def sound(bench: Bench, status: int, said: str, log: pytest.LogCaptureFixture) -> None:
    assert status in PERMITTED, (status, said)
    assert [e for e in bench.rig.events if isinstance(e, Unexpected)] == []
    assert [r for r in log.records if r.levelno >= logging.WARNING or r.exc_info] == []
    assert MARK not in said + log.text
    bench.rig.events.clear()


def test_any_json_at_all(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    @given(anything)
    @settings(max_examples=80, deadline=None)
    def tried(activity: Any) -> None:
        sound(bench, *bench.post(activity), caplog)

    tried()
    assert bench.statuses == {400}


def test_any_bytes_at_all(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    @given(st.binary(max_size=200))
    @example(b'{"type": NaN}')
    @settings(max_examples=60, deadline=None)
    def tried(body: bytes) -> None:
        sound(bench, *bench.post(data=body), caplog)

    tried()


def test_any_field_may_be_anything(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """What the platforms send, with some of its fields replaced, left out, or new ones beside them."""

    @given(st.sampled_from(KNOWN), st.lists(st.tuples(st.randoms(use_true_random=False), anything), max_size=3))
    @settings(max_examples=250, deadline=None)
    def tried(made: Callable[[str], dict[str, Any]], changes: list[tuple[Any, Any]]) -> None:
        activity = deepcopy(made(bench.rig.url))
        activity |= {"id": json.dumps([repr(value) for _, value in changes])[:100], "name": activity.get("name", "")}
        for random, value in changes:
            _replace(activity, random, value)
        sound(bench, *bench.post(activity), caplog)

    tried()
    assert bench.statuses >= {200, 202, 501}


def _replace(holder: Any, random: Any, value: Any) -> None:
    """Put a value somewhere into a document."""
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    if not keys:
        return
    key = random.choice(keys)
    inner = holder[key]
    if isinstance(inner, (dict, list)) and inner and random.random() < 0.7:
        _replace(inner, random, value)
    elif isinstance(holder, dict) and random.random() < 0.15:
        del holder[key]
    else:
        holder[key] = value


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("signin/verifyState", 501),
        ("signin/tokenExchange", 501),
        ("composeExtension/query", 501),
        ("suggestedActions/submit", 501),
        ("config/fetch", 501),
        ("", 501),
        ("a" * 10_000, 501),
    ],
)
def test_unknown_invokes_are_501(bench: Bench, caplog: pytest.LogCaptureFixture, name: str, status: int) -> None:
    for value in (None, [], {"query": MARK}, MARK):
        answered, said = bench.post(invoke(bench.rig.url, name, value))
        assert answered == status
        sound(bench, answered, said, caplog)


@pytest.mark.parametrize("kind", ["event", "endOfConversation", "handoff", "trace", "contactRelationUpdate", "x" * 999])
def test_unknown_activities_are_200(bench: Bench, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    answered, said = bench.post(message(bench.rig.url, MARK, type=kind))
    assert answered == 200
    sound(bench, answered, said, caplog)
