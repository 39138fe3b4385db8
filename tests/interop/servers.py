"""The bot and the Agents Playground as processes, in a network namespace with nothing but loopback."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).parent / "node_modules" / "@microsoft" / "m365agentsplayground" / "cli.js"
BOT = "http://127.0.0.1:3978"
PLAYGROUND = "http://127.0.0.1:56150"
READY = 60.0
STOPPED = 30.0
_PAUSE = 0.1

_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914  # SIOCGIFFLAGS, SIOCSIFFLAGS: netdevice(7)
_UP, _LOOPBACK = 0x1, 0x8
_REQUEST = "16sH22x"


def only_loopback() -> None:
    """Bring loopback up, as a new namespace has it down.

    Raises:
        RuntimeError: another interface is up, so this is no namespace of ours, and the client would be open to it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            request = struct.pack(_REQUEST, name.encode(), 0)
            flags: int = struct.unpack(_REQUEST, fcntl.ioctl(asked, _GET_FLAGS, request))[1]
            if flags & _LOOPBACK:
                fcntl.ioctl(asked, _SET_FLAGS, struct.pack(_REQUEST, name.encode(), flags | _UP))
            elif flags & _UP:
                raise RuntimeError(f"{name} is up here: start these tests with tests/interop/run.")


@dataclass
class Server:
    """One process, with the files that it writes to."""

    name: str
    process: asyncio.subprocess.Process
    out: Path
    err: Path

    @property
    def output(self) -> str:
        """All that it has written so far."""
        return self.out.read_text(errors="replace") + self.log

    @property
    def log(self) -> str:
        """Standard error."""
        return self.err.read_text(errors="replace")

    async def until(self, what: str, ready: Callable[[], Awaitable[bool]]) -> None:
        """Ask until it is so.

        Raises:
            AssertionError: it ended, or the time is up.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY):
                while self.process.returncode is None:
                    if await ready():
                        return
                    await asyncio.sleep(_PAUSE)
        raise AssertionError(f"{self.name}: not {what} (exit code {self.process.returncode}):\n{self.output}")

    async def stop(self) -> int:
        """End it and what it started; its exit code."""
        self._signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), STOPPED)
        except TimeoutError:
            raise AssertionError(f"{self.name} did not stop in {STOPPED:.0f} s:\n{self.output}") from None
        finally:
            self._signal(signal.SIGKILL)
            await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


@asynccontextmanager
async def started(name: str, command: list[str], folder: Path, environment: Mapping[str, str]) -> AsyncIterator[Server]:
    """It runs in an empty folder, with no variable of ours but these: nobody's `.env` and keys take part."""
    out, err = folder / f"{name}.out", folder / f"{name}.err"
    inherited = {key: os.environ[key] for key in ("PATH", "LANG", "LC_ALL", "TZ") if key in os.environ}
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env={**inherited, "HOME": str(folder), **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    server = Server(name, process, out, err)
    try:
        yield server
    finally:
        await server.stop()
        print(f"-- {name} wrote:\n{server.output}")


@asynccontextmanager
async def bot(folder: Path, session: aiohttp.ClientSession) -> AsyncIterator[Server]:
    """`python -m bot serve` in local mode, with the rehearsal agent."""
    environment = {
        "PYTHONPATH": str(ROOT),
        "HOST": "127.0.0.1",
        "PORT": BOT.rpartition(":")[2],
        "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/bot.db",
    }
    async with started("bot", [sys.executable, "-m", "bot", "serve"], folder, environment) as server:
        await server.until("ready", lambda: _answers(session, f"{BOT}/readyz"))
        yield server


@asynccontextmanager
async def playground(folder: Path, session: aiohttp.ClientSession) -> AsyncIterator[Server]:
    """The client, as Teams, with nothing of it measured: the flag alone leaves some of that on."""
    node = shutil.which("node")
    assert node is not None
    command = [node, str(CLIENT), "start", "-e", f"{BOT}/api/messages", "-c", "msteams"]
    command += ["-p", PLAYGROUND.rpartition(":")[2], "--disable-telemetry"]
    environment = {"TEAMSAPPTESTER_BROWSER": "none", "APPLICATION_INSIGHTS_NO_STATSBEAT": "1"}
    async with started("playground", command, folder, environment) as server:
        await server.until("ready", lambda: _answers(session, f"{PLAYGROUND}/_debug/ping"))
        yield server


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False
