"""A process forked from one that has loaded the bot: what `python -m` starts, less the second that imports take."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import runpy
import sys
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
POSSIBLE = "forkserver" in multiprocessing.get_all_start_methods()
COLUMNS = "200"
"""Of the terminal: its width is read when the bot's modules are loaded, so it can be no other in a fork."""


class Forked:
    """What tests use of `asyncio.subprocess.Process`."""

    def __init__(self, process: ForkServerProcess, out: asyncio.StreamReader, err: asyncio.StreamReader | None) -> None:
        self._process = process
        self._ended = asyncio.Event()
        self.stdout, self.stderr = out, err
        asyncio.get_running_loop().add_reader(process.sentinel, self._has_ended)

    def _has_ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._ended.set()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def terminate(self) -> None:
        self._process.terminate()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    async def wait(self) -> int:
        await self._ended.wait()
        self._process.join()
        code = self._process.exitcode
        assert code is not None
        return code

    async def communicate(self) -> tuple[bytes, bytes]:
        """What it wrote; its input was given when it started."""
        assert self.stderr is not None
        out, err = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, err


async def start(
    module: str, *arguments: str, cwd: Path, env: dict[str, str], given: bytes = b"", stderr: int | None = None
) -> Forked:
    """What `python -m module arguments` would do. `given` is all its input; `stderr` a file, where it is not read."""
    assert env.get("COLUMNS", COLUMNS) == COLUMNS
    with contextlib.ExitStack() as ours:
        stdin, feed = os.pipe()
        ours.callback(os.close, stdin)
        os.write(feed, given)  # far less than a pipe holds
        os.close(feed)
        out, stdout = await _reader(ours)
        err, stderr = (None, stderr) if stderr is not None else await _reader(ours)
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=_Run(module, arguments, str(cwd), env, (stdin, stdout, stderr)))
        _serve_forks(context)
        await asyncio.to_thread(process.start)  # the first waits until all is loaded
    return Forked(process, out, err)


async def _reader(ours: contextlib.ExitStack) -> tuple[asyncio.StreamReader, int]:
    reading, writing = os.pipe()
    ours.callback(os.close, writing)
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
    return reader, writing


def _serve_forks(context: Any) -> None:
    """Start what forks for us, once; it sees nothing of the tests' own settings."""
    context.set_forkserver_preload(["tests.loaded"])
    before = dict(os.environ)
    kept = {name: before[name] for name in ("PATH", "HOME", "LANG") if name in before}
    os.environ.clear()
    os.environ.update(kept | {"PYTHONPATH": str(ROOT), "COLUMNS": COLUMNS})
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


class _Run:
    """The fork's work. It is pickled as it is sent there, and its files go with it."""

    def __init__(
        self, module: str, arguments: tuple[str, ...], cwd: str, env: dict[str, str], files: tuple[int, int, int]
    ) -> None:
        self.module, self.arguments, self.cwd, self.env, self.files = module, arguments, cwd, env, files

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"files": [DupFd(file) for file in self.files]}

    def __call__(self) -> None:
        for number, file in enumerate(self.files):
            descriptor = file.detach()  # type: ignore[attr-defined]
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.env)
        sys.path[:] = [self.cwd, str(ROOT), *(path for path in sys.path if path not in ("", str(ROOT)))]
        sys.argv = [self.module, *self.arguments]
        runpy.run_module(self.module, run_name="__main__", alter_sys=True)
