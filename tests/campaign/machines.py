"""What the campaign breaks: bot processes, a PostgreSQL, the agent service. Everything ends with its context."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import sqlalchemy as sa
from aiohttp import web
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from bot.texts import Texts
from tests.postgres import binaries, private_server
from tests.processes import ROOT, environment
from tests.teams import FakeConnector

TOOL = '''
import os
from adapters import tool

@tool(once=True)
def note(key: str) -> str:
    """Write a key down."""
    file = os.open(os.environ["CAMPAIGN_EFFECTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{key}\\n".encode())
    os.close(file)
    return f"noted {key}"
'''
TOKEN = re.compile(r"\bt\d{6}\b")
"""What names a message, and the answer to it."""
CHANNEL_SECONDS = 0.08
"""How long the connector takes over a delivery, so that a kill can fall into it."""


@dataclass
class Replica:
    """A bot process that can be killed, frozen and started again, at one address."""

    name: str
    folder: Path
    variables: dict[str, str]
    port: int = 0
    process: asyncio.subprocess.Process | None = None
    traces: list[Path] = field(default_factory=list)
    frozen: dict[Path, list[tuple[float, float]]] = field(default_factory=dict)
    killed: dict[Path, float] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/api/messages"

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        """Start it and wait until it listens."""
        self.port = self.port or free_port()
        trace = self.folder / f"{self.name}-{len(self.traces)}.trace"
        self.traces.append(trace)
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.campaign.replica",
                str(trace),
                cwd=ROOT,
                env=environment(self.folder, **self.variables, PORT=str(self.port)),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            line = await self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} did not start: {(self.folder / f'{self.name}.log').read_text()[-2000:]}")

    async def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.killed[self.traces[-1]] = time.time()
        self.process.kill()
        await self.process.wait()

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so many seconds."""
        assert self.process is not None
        began = time.time()
        self.process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.frozen.setdefault(self.traces[-1], []).append((began, time.time()))
            self.process.send_signal(signal.SIGCONT)

    async def stop(self, timeout: float = 40.0) -> None:
        """SIGTERM, and the end of the process."""
        assert self.process is not None
        if self.process.returncode is not None:
            self.odd.append(f"{self.name} ended by itself with {self.process.returncode}")
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(timeout):
                code = await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()
            self.odd.append(f"{self.name} did not end within {timeout:.0f} s of SIGTERM")
        else:
            if code:
                self.odd.append(f"{self.name} ended with {code} on SIGTERM")

    async def end(self) -> None:
        """Whatever state it is in."""
        if self.up:
            assert self.process is not None
            self.process.kill()
            await self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def says_it_is_kept(activity: dict[str, Any]) -> bool:
    """Whether it tells that a message is kept until the service is back: in its text, or on a card with a button."""
    return Texts().service_down() in (
        activity.get("text") or json.dumps(activity.get("attachments"), ensure_ascii=False)
    )


class SlowConnector(FakeConnector):
    """Teams' connector: has a delivery at once, and takes a moment to say so."""

    def __init__(self) -> None:
        super().__init__(time.time)
        self.replied: set[str] = set()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        response = await super()._handle(request)
        activity = await request.json() if request.body_exists else {}
        if activity.get("type") == "message" and not says_it_is_kept(activity):
            # what has grown replies to no message, and names those that it answers
            self.replied |= {
                activity.get("replyToId", ""),
                *(f"id-{token}" for token in TOKEN.findall(activity.get("text") or "")),
            }
        await asyncio.sleep(CHANNEL_SECONDS)
        return response


@dataclass
class Service:
    """The local Foundry, in a process of its own."""

    endpoint: str
    session: aiohttp.ClientSession

    async def fault(self, **fault: Any) -> None:
        async with self.session.post(f"{self._root}/_control/faults", json=fault) as response:
            assert response.status == 201, await response.text()

    async def heal(self) -> None:
        async with self.session.delete(f"{self._root}/_control/faults") as response:
            assert response.status == 200

    @property
    def _root(self) -> str:
        return self.endpoint.split("/api/")[0]


@asynccontextmanager
async def agent_service() -> AsyncGenerator[Service]:
    """`python -m tests.foundry`; a run takes at least half a second there, as the bot's first look does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.foundry",
        "--work",
        "0.2",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode().strip()
        async with aiohttp.ClientSession() as session:
            yield Service(line.removeprefix("PROJECT_ENDPOINT="), session)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class Postgres:
    """A private PostgreSQL that can be stopped as a crash stops it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._root = Path(str(make_url(url).query["host"]))

    def _control(self, *arguments: str) -> None:
        folder = binaries()
        assert folder is not None
        as_nobody = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
        place = ["-D", str(self._root / "data"), "-l", str(self._root / "log"), "-w"]
        subprocess.run(
            [*as_nobody, str(folder / "pg_ctl"), *place, *arguments], check=True, capture_output=True, cwd="/"
        )

    async def stop(self, mode: str) -> None:
        """`immediate`: as in a crash. `fast`: as an operator, or a fail-over, stops it."""
        await asyncio.to_thread(self._control, "-m", mode, "stop")

    async def start(self) -> None:
        """Start it again; it recovers from its log."""
        options = f"-k {self._root} -c listen_addresses='' -c fsync=off -c max_connections=200"
        await asyncio.to_thread(self._control, "-o", options, "start")

    async def cut(self, seconds: float) -> None:
        """End every connection that is at work, again and again."""
        engine = create_async_engine(self.url, isolation_level="AUTOCOMMIT")
        working = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'threadkeeper'"
        try:
            async with asyncio.timeout(seconds), engine.connect() as connection:
                while True:
                    await connection.execute(sa.text(f"{working} AND state <> 'idle'"))
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        finally:
            await engine.dispose()


@contextmanager
def postgres_server() -> Generator[Postgres]:
    with private_server() as url:
        yield Postgres(url)


def read_trace(path: Path) -> list[dict[str, Any]]:
    """The lines of a trace; the last may be cut off."""
    lines: list[dict[str, Any]] = []
    if path.exists():
        for line in path.read_text().splitlines():
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
    return lines
