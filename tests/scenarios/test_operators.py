"""What an operator has to mend, and what may be found on the disk: the whole bot on its services."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.events import RunStarted, TurnReleased
from tests.foundry import FoundryServer, Rules
from tests.llm import LLMServer
from tests.processes import LOG, served
from tests.world import GRACE, FastClock, message, open_world

MARK = "zebra-stripe-4711"


@pytest.mark.invariant("I16")
async def test_a_secret_expires_and_a_restart_brings_a_new_one(tmp_path: Path):
    """Nothing is lost and no attempt used up; what grew too old meanwhile is said to be, and asks nobody."""
    async with LLMServer(key="the-new-key") as endpoint:
        settings = {
            "agent_backend": "chat-completions",
            "openai_base_url": endpoint.base_url,
            "model_deployment_name": "model",
        }
        clock = FastClock()
        async with open_world(tmp_path, clock=clock, openai_api_key="the-old-key", **settings) as world:
            await world.say("an old question")
            await world.answers(1, ended=False)
            assert "is kept" in world.channel.texts[0]
            [problem] = await world.bot.ready()
            assert "OPENAI_API_KEY" in problem
            assert all(event.cure for event in world.of(TurnReleased))
        clock.advance(3_700)
        async with open_world(
            tmp_path, clock=clock, openai_api_key="the-new-key", start=False, message_max_age_minutes=60, **settings
        ) as world:
            await world.bot.accept(message("a new question", person=GRACE))
            await world.bot.start()
            said = await world.answers(2)
            assert any(text.startswith("I couldn't answer your message from") for text in said), said
            assert len(world.of(RunStarted)) == 1
            assert await world.bot.ready() == []
        assert not any("the-old-key" in text or "the-new-key" in text for text in said)


@pytest.mark.invariant("I13")
@pytest.mark.invariant("I15")
async def test_after_the_turn_no_file_and_no_line_holds_what_was_said(tmp_path: Path):
    """Searched while the bot runs, when its log has been folded: database, WAL and everything that it printed."""
    async with FoundryServer(rules=Rules()) as foundry:
        foundry.add_assistant(assistant_id="asst_1")
        environ = {
            "AGENT_BACKEND": "foundry-classic",
            "PROJECT_ENDPOINT": foundry.endpoint,
            "AGENT_ID": "asst_1",
        }
        async with served(tmp_path, **environ) as bot:
            await bot.say(f"use calculate expression=25*47 and remember {MARK}")
            await bot.shows("1175")
            async with asyncio.timeout(15):
                while holding(tmp_path, MARK):
                    await asyncio.sleep(0.05)
            assert await bot.stop() == 0
        assert holding(tmp_path, MARK) == []
        assert (tmp_path / LOG).stat().st_size > 0
        [thread] = foundry.state.threads
        assert MARK in str(foundry.messages_of(thread)), "the agent's own thread keeps it"


def holding(folder: Path, mark: str) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]
