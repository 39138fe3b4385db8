"""Controls, crashes and retries at unlucky moments: every turn ends, and every word about it is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.types import Part
from tests.test_approvals import ordering, toolbox
from tests.world import RecordingChannel, World, open_world


class Told(RecordingChannel):
    """A channel in which something is said while the first message is being sent."""

    world: World
    words: str = ""

    async def send(self, address: Any, part: Part) -> str:
        delivered = await super().send(address, part)
        if self.words and len(self.sent) == 1:
            words, self.words = self.words, ""
            await self.world.say(words)
        return delivered


@pytest.mark.parametrize("word", ["stop", "start over", "forget me now"])
async def test_a_control_said_while_the_question_is_put(tmp_path: Path, word: str) -> None:
    channel = Told()
    async with open_world(tmp_path, agent=ordering(), toolbox=toolbox(), channel=channel) as world:
        channel.world, channel.words = world, word
        await world.say("order it")
        await world.answers(2, timeout=4)
