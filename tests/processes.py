"""The bot as a process of its own, as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests import forked
from tests.forked import Forked

ROOT = forked.ROOT
LOG = "serve.log"
Process = asyncio.subprocess.Process | Forked


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """What the process sees: nothing of the tests' own settings, and a database in the folder."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    database = f"sqlite+aiosqlite:///{folder / 'bot.db'}"
    usual = {"PYTHONPATH": str(ROOT), "DATABASE_URL": database, "PORT": "0", "COLUMNS": forked.COLUMNS}
    return kept | usual | variables


async def started(
    folder: Path,
    *arguments: str,
    module: str = "bot",
    given: str = "",
    log: int | None = None,
    fresh: bool = False,
    **variables: str,
) -> Process:
    """`python -m bot ...`, forked from one process that has its modules loaded; a `fresh` one loads them itself."""
    environ = environment(folder, **variables)
    if forked.POSSIBLE and not fresh:
        return await forked.start(module, *arguments, cwd=folder, env=environ, given=given.encode(), stderr=log)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        cwd=folder,
        env=environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if log is None else log,
    )
    assert process.stdin is not None
    process.stdin.write(given.encode())
    process.stdin.close()
    return process


async def command(
    folder: Path, *arguments: str, given: str = "", fresh: bool = False, **variables: str
) -> tuple[int, str, str]:
    """Run `python -m bot ...` to its end; exit code, output, errors. See `started`."""
    process = await started(folder, *arguments, given=given, fresh=fresh, **variables)
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, out.decode(), err.decode()


@dataclass
class Served:
    """A running `serve`, spoken to as the local page does."""

    process: Process
    address: str
    greeting: list[str]
    session: aiohttp.ClientSession

    async def say(self, text: str, *, person: str = "alex", id: str | None = None) -> dict[str, Any]:
        body = {"person": person, "conversation": "personal", "text": text, "id": id or uuid.uuid4().hex}
        async with self.session.post(f"{self.address}/local/messages", json=body) as response:
            assert response.status == 202, await response.text()
            return await response.json()

    async def state(self, person: str = "alex") -> dict[str, Any]:
        url = f"{self.address}/local/state?person={person}&conversation=personal"
        async with self.session.get(url) as response:
            return await response.json()

    async def shows(self, text: str) -> dict[str, Any]:
        """The state, once a message to the person holds the text. Elsewhere in it are ids and times, of any digits."""
        async with asyncio.timeout(20):
            while True:
                state = await self.state()
                if any(text in one for one in messages(state)):
                    return state
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()


def messages(state: dict[str, Any]) -> list[str]:
    """The texts that the person was sent, as the local page has them: what was before, and what has happened since."""
    before = [entry["text"] for entry in state["history"] if entry["role"] != "user"]
    return before + [event["data"]["text"] for event in state["events"] if event["kind"] == "message"]


@asynccontextmanager
async def served(folder: Path, *, fresh: bool = False, **variables: str) -> AsyncGenerator[Served]:
    """`python -m bot serve` on a free port; its log is a file in the folder. See `started`."""
    with (folder / LOG).open("ab") as log:
        process = await started(folder, "serve", log=log.fileno(), fresh=fresh, **variables)
    assert process.stdout is not None
    try:
        greeting: list[str] = []
        async with asyncio.timeout(30):
            while not any("running" in line for line in greeting):
                line = (await process.stdout.readline()).decode()
                assert line, f"it ended with {await process.wait()}: {greeting}"
                greeting.append(line.strip())
            greeting.append((await process.stdout.readline()).decode().strip())
        address = next(line for line in greeting if "http://" in line).split()[-1]
        async with aiohttp.ClientSession() as session:
            yield Served(process, address, greeting, session)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
