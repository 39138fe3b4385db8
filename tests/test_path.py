"""The whole path with the rehearsal agent: a message in, an answer out, in the same thread."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.events import ThreadOpened
from tests.world import FakeToolbox, message, open_world


async def test_a_message_is_answered(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        assert "rehearsal agent" in await world.ask("what are you?")


@pytest.mark.invariant("I2")
async def test_ten_deliveries_are_one_turn(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        said = message("remember my code is 2208")
        accepted = [await world.bot.accept(said) for _ in range(10)]
        await world.answers(1)
        assert [one.fresh for one in accepted] == [True] + [False] * 9
        assert len({one.turn for one in accepted}) == 1
        assert world.channel.texts == ["I'll remember: my code is 2208"]


async def test_the_thread_survives_a_restart(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.ask("remember my code is 2208")
    async with open_world(tmp_path) as world:
        assert await world.ask("what is my code?") == "You told me: my code is 2208"
        assert world.of(ThreadOpened) == []


async def test_two_tools_in_one_round(tmp_path: Path) -> None:
    toolbox = FakeToolbox()
    toolbox.add("a", lambda call, _: "A!")
    toolbox.add("b", lambda call, _: "B!")
    async with open_world(tmp_path, toolbox=toolbox) as world:
        assert await world.ask("use a and use b") == "a: A!\nb: B!"
        assert [key.split("/")[1:] for _, key, _ in toolbox.calls] == [["1", "0"], ["1", "1"]]


async def test_start_over_and_undo(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        await world.ask("remember my code is 2208")
        assert "new conversation" in await world.ask("Start over!")
        assert "2208" not in await world.ask("what is my code?")
        assert "earlier conversation" in await world.ask("undo")
        assert "2208" in await world.ask("what is my code?")
        assert "nothing to undo" in await world.ask("undo")
