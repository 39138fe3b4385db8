"""The log: one JSON object a line, found by the turn's reference, without a word that was said."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from bot import telemetry
from bot.types import reference_of
from tests.world import FakeToolbox, open_world


@pytest.fixture
def log() -> Generator[io.StringIO]:
    """What is logged, from the level at which `serve` logs."""
    root, own = logging.getLogger(), logging.getLogger("threadkeeper")
    before = (root.handlers[:], root.level, own.level)
    stream = io.StringIO()
    telemetry.configure(stream)
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


async def test_every_line_of_a_turn_has_its_reference(tmp_path: Path, log: io.StringIO) -> None:
    toolbox = FakeToolbox()
    toolbox.add("weigh", lambda call, _: logging.getLogger("somebody.else").warning("heavy") or "1 kg")
    async with open_world(tmp_path, toolbox=toolbox) as world:
        first = await world.say("use weigh what=plums")
        await world.answers(1)
        second = await world.say("remember my code is swordfish")
        await world.answers(2)
    told = lines(log)
    for accepted in (first, second):
        own = [line["message"] for line in told if line.get("reference") == reference_of(accepted.turn)]
        assert own[:2] == ["message_accepted", "turn_started"]
        assert own[-1] == "turn_ended"
        assert {"run_started", "run_ended", "delivered"} <= set(own)
    [heavy] = [line for line in told if line["message"] == "heavy"]
    assert (heavy["logger"], heavy["level"]) == ("somebody.else", "warning")
    assert heavy["reference"] == reference_of(first.turn)
    assert not re.search(r"\b(plums|swordfish|1 kg|ada)\b", log.getvalue(), re.IGNORECASE)
    waited = next(line["waited"] for line in told if line["message"] == "turn_started")
    assert waited == round(waited, 3), "as exact as the time of the line"


def test_a_line_outside_of_turns_has_none(log: io.StringIO) -> None:
    logging.getLogger("threadkeeper").info("hello")
    assert ["reference" in line for line in lines(log)] == [False]
