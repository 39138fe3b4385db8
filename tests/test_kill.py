"""A real process under a real kill -9, at three points of a turn: started again, it answers once, and acts once."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.processes import Process, started

POINTS = ("after inbox.put", "after tool_calls.ended", "before channel.send")
TOOL = """
import os
from pathlib import Path
from adapters import tool

@tool(once=True)
def note(key: str) -> str:
    \"\"\"Write a key down.\"\"\"
    with Path(os.environ["EFFECTS"]).open("a") as file:
        file.write(key + "\\n")
    return f"noted {key}"
"""


@asynccontextmanager
async def alive(folder: Path, **variables: str) -> AsyncGenerator[tuple[Process, str]]:
    """The process, and its address."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    process = await started(folder, module="tests.killable", log=nowhere, **variables)
    os.close(nowhere)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            address = (await process.stdout.readline()).decode().strip()
        assert address, f"it ended with {await process.wait()}"
        yield process, address
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def post(address: str, key: str) -> int | None:
    """Say it; None if nobody was there to acknowledge it."""
    body = {"person": "alex", "conversation": "personal", "text": f"use note key={key}", "id": "the-only-one"}
    with contextlib.suppress(aiohttp.ClientError):
        async with aiohttp.ClientSession() as session, session.post(f"{address}/local/messages", json=body) as answer:
            return answer.status
    return None


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.invariant("I1")
@pytest.mark.invariant("I4")
@pytest.mark.invariant("I9")
async def test_killed_for_good_it_answers_once_and_acts_once(
    database_url: str,
    tmp_path: Path,
    point: str,
):
    tools, chat, effects = tmp_path / "my_tools", tmp_path / "chat", tmp_path / "effects"
    tools.mkdir()
    (tools / "note.py").write_text(TOOL)
    seen = {"DATABASE_URL": database_url, "TOOLS_DIR": str(tools), "CHAT": str(chat), "EFFECTS": str(effects)}
    async with alive(tmp_path, **seen, KILL_AT=point) as (process, address):
        acknowledged = await post(address, "x1")
        async with asyncio.timeout(10):
            assert await process.wait() == -9
    assert not chat.exists()
    async with alive(tmp_path, **seen) as (process, address):
        if acknowledged is None:
            assert await post(address, "x1") == 202  # Teams delivers again what was not acknowledged
        async with asyncio.timeout(15):
            while not chat.exists() or not chat.read_text():
                await asyncio.sleep(0.02)
        process.terminate()
        assert await process.wait() == 0
    assert [line.count("noted x1") for line in chat.read_text().splitlines()] == [1]
    assert effects.read_text() == "x1\n"
