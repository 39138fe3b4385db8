"""The shipped tools from a chat, through the whole bot, with the rehearsal agent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from adapters.discovery import load
from tests.world import GRACE as SAM
from tests.world import World, message, open_world


def everything(folder: Path) -> Any:
    (folder / "documents").mkdir(exist_ok=True)
    (folder / "documents" / "leave.md").write_text("# Leave\n\nTwelve weeks.")
    told = {"KNOWLEDGE_DIR": f"{folder / 'documents'}", "KNOWLEDGE_INDEX": f"{folder / 'k.db'}", "TICKETS": "records"}
    return load(environ={}, settings=told).toolbox


async def test_documents_and_tickets_from_a_chat_and_after_a_restart(tmp_path: Path):
    async with everything(tmp_path) as tools, open_world(tmp_path, toolbox=tools) as world:
        assert "[leave.md, Leave] Twelve weeks." in " ".join(
            (await world.ask("use search_knowledge query=weeks")).split()
        )
        assert '"name":"T-1"' in await world.ask('use create_ticket title="The printer smokes"')
    async with everything(tmp_path) as tools, open_world(tmp_path, toolbox=tools) as world:
        assert "The printer smokes" in await world.ask("use show_ticket ticket=T-1")
        assert "There is no ticket 'T-1'" in await world.ask("use show_ticket ticket=T-1", person=SAM)
        assert '"name":"T-2"' in await world.ask("use create_ticket title=second", person=SAM)


async def test_what_was_said_before_is_found_until_the_conversation_starts_over(tmp_path: Path):
    async with everything(tmp_path) as tools, open_world(tmp_path, toolbox=tools, thread_max_messages=4) as world:
        for words in ("my flight goes to Lima", "25 * 47", "3 + 4", "what is my code?"):
            await world.ask(words)
        assert "The person: my flight goes to Lima" in await search(world, "flight")
        everything_said = await search(world, "", most=10)
        assert world.bot.turns.texts.summary_request()[:40] not in everything_said
        assert "What we talked about before" not in everything_said
        other = message("use search_earlier query=flight", person=SAM)
        assert "There are no earlier threads" in await world.ask(other.text, person=SAM)
        await world.ask("start over")
        assert "There are no earlier threads" in await search(world, "flight")


async def search(world: World, words: str, most: int = 5) -> str:
    return await world.ask(f'use search_earlier query="{words}" most={most}')
