"""A command is the whole message; anything else goes to the agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.commands import WORDS, parse
from bot.types import Command, Control
from tests.world import FakeToolbox, open_world

UNSPOKEN = {Control.DELETE, Control.SAY}
"""Controls that no word makes: a message taken back, and words of the bot's own."""


@pytest.mark.parametrize(
    "text", ["start over", "Start over!", "  START   OVER. ", "**start over**", "> quoted\nstart over"]
)
def test_a_command_is_the_whole_message(text: str):
    assert parse(text) is Control.START_OVER


@pytest.mark.parametrize(
    "text",
    ["How do I start over in Excel?", "stop the clock", "help me", "undo that", "start\u200bover", "", "retry it"],
)
def test_anything_else_is_for_the_agent(text: str):
    assert parse(text) is None


def test_every_word_means_one_thing():
    assert {parse(word) for word in WORDS} == {*Control, *Command} - UNSPOKEN


async def test_help_status_and_tools(tmp_path: Path):
    toolbox = FakeToolbox()
    toolbox.add("dice", lambda *_: "4")
    async with open_world(tmp_path, toolbox=toolbox, support_contact="it@example.org") as world:
        assert "start over" in await world.ask("help")
        assert "it@example.org" in await world.ask("Hi!")
        assert "No thread yet" in await world.ask("status")
        await world.ask("remember my code is 2208")
        status = await world.ask("status")
        assert "2 messages" in status
        assert "rehearsal" in status
        assert "**dice**: The tool dice" in await world.ask("tools")
