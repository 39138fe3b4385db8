"""Servers for tests: their files, their processes, and the adapter over them."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.mcp import McpAdapter
from adapters.mcp_file import ServerFile, read
from adapters.mcp_server import Pace
from adapters.toolbox import Toolbox
from tests.contracts.toolbox import PATIENCE

HERE = Path(__file__).parent
QUICK = Pace(first=0.05, most=0.2, listen=0.05, pause=0.01, close=4.0)
"""A pace at which nothing that is waited for takes long."""


def toml(**keys: object) -> str:
    """Keys as TOML; a dict is a table, and one within `tool` a table of that."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if not isinstance(value, dict)]
    for key, value in keys.items():
        if isinstance(value, dict):
            inner = [
                f"{json.dumps(name)} = {json.dumps(one)}" for name, one in value.items() if not isinstance(one, dict)
            ]
            plain += [f"[{key}]", *inner]
            for name, one in value.items():
                if isinstance(one, dict):
                    plain += [f"[{key}.{json.dumps(name)}]", *(f"{k} = {json.dumps(v)}" for k, v in one.items())]
    return "\n".join(plain) + "\n"


def written(folder: Path, name: str, **keys: object) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.mcp.toml"
    file.write_text(toml(**keys), encoding="utf-8")
    return file


def plain(folder: Path, way: str = "", name: str = "plain", **keys: object) -> ServerFile:
    """The server without a package, over stdio. Its notes are in the folder."""
    variables = {**os.environ, "NOTES": str(folder / "notes")}
    wanted: list[str] = ["NOTES", *(["MEET"] if "MEET" in os.environ else [])]
    keys = {"command": sys.executable, "args": [str(HERE / "plain.py"), way], "env": wanted, "timeout": 15, **keys}
    return read(written(folder, name, **keys), f"{folder.name}/{name}.mcp.toml", variables)


def packaged(folder: Path, name: str = "packaged", **keys: object) -> ServerFile:
    """The package's own server, over stdio, or where `url` says."""
    way: dict[str, object] = {"command": sys.executable, "args": [str(HERE / "packaged.py")]}
    keys = {**({} if "url" in keys else way), "timeout": 15, **keys}
    return read(written(folder, name, **keys), f"{folder.name}/{name}.mcp.toml", os.environ)


def notes(folder: Path) -> list[str]:
    """What the server noted so far."""
    file = folder / "notes"
    return file.read_text().splitlines() if file.exists() else []


@asynccontextmanager
async def boxed(
    *files: ServerFile, taken: Sequence[str] = (), pace: Pace = QUICK, start_seconds: float = PATIENCE
) -> AsyncIterator[tuple[Toolbox, McpAdapter]]:
    """The toolbox over these servers, entered, and the adapter in it."""
    adapter = McpAdapter(files, taken, pace, start_seconds)
    async with Toolbox([adapter]) as toolbox:
        yield toolbox, adapter


async def until(what: str, holds: Callable[[], object]) -> None:
    """Look until it is so.

    Raises:
        AssertionError: it never is.
    """
    try:
        async with asyncio.timeout(PATIENCE):
            while not holds():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@asynccontextmanager
async def served(port: int, *more: str) -> AsyncIterator[None]:
    """The package's own server over streamable HTTP."""
    command = [sys.executable, str(HERE / "packaged.py"), str(port), *more]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    break
        yield
    finally:
        process.kill()
        await process.wait()
