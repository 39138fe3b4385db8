"""The local conversation in a terminal: a client of the same addresses that the chat page uses.

An answer is shown when it is whole: what a terminal has printed it cannot take back.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
import threading
import uuid
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
from rich.console import Console

from bot.channels.screen import Screen
from bot.errors import BadRequest
from bot.types import JsonObject

LOCAL_MODE = ("X-Threadkeeper-Mode", "local")
SHORT = aiohttp.ClientTimeout(total=10)
STREAM = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=45)
RETRY_SECONDS = 1.0

_UNREACHABLE = (aiohttp.ClientError, TimeoutError, ConnectionError)


async def joined(base_url: str) -> bool:
    """Whether a Threadkeeper in local mode answers there."""
    name, value = LOCAL_MODE
    with contextlib.suppress(*_UNREACHABLE):
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http,
            http.get(f"{base_url.rstrip('/')}/healthz") as response,
        ):
            return response.headers.get(name) == value
    return False


async def typed_lines(descriptor: int = 0) -> AsyncIterator[str]:
    """The lines typed there, read by a thread so that nothing waits for them.

    It reads the descriptor, not `sys.stdin`: a thread that waits inside Python's own buffer would hold its lock
    while the interpreter shuts down, which ends in a fatal error.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    def read() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        with contextlib.suppress(RuntimeError):  # the loop has ended before the input
            with contextlib.suppress(OSError):
                while data := os.read(descriptor, 65536):
                    *lines, rest = (rest + decoder.decode(data)).split("\n")
                    for line in lines:
                        loop.call_soon_threadsafe(queue.put_nowait, line)
            loop.call_soon_threadsafe(queue.put_nowait, rest or None)
            loop.call_soon_threadsafe(queue.put_nowait, None)

    threading.Thread(target=read, name="typed lines", daemon=True).start()
    while (line := await queue.get()) is not None:
        yield line


async def chat(base_url: str, *, person: str, console: Console, lines: AsyncIterator[str], wait: bool = False) -> bool:
    """Talk, until the lines end or one of them is `exit`; False where nobody answers, or not to this person.

    `wait` stays for the answers to what was said when the lines end: for lines that come from a pipe or a file.
    """
    screen = Screen(console, person, base_url.rstrip("/"))
    async with aiohttp.ClientSession() as http:
        link = Link(http, base_url.rstrip("/"), person)
        try:
            state = await link.state()
        except BadRequest as refused:
            screen.note(refused.reason)
            return False
        except _UNREACHABLE:
            screen.note(f"Threadkeeper doesn't answer at {base_url}. Is it running? `python -m bot serve` starts it.")
            return False
        screen.welcome(state)
        try:
            async with asyncio.TaskGroup() as tasks:
                outbox: asyncio.Queue[str] = asyncio.Queue()
                background = [
                    tasks.create_task(_listen(link, screen, state)),
                    tasks.create_task(_send(link, screen, outbox)),
                ]
                if await _read(screen, lines, outbox) and wait:
                    await outbox.join()
                    await _settled(link, screen)
                for task in background:
                    task.cancel()
        finally:
            screen.close()
    return True


async def _read(screen: Screen, lines: AsyncIterator[str], outbox: asyncio.Queue[str]) -> bool:
    """Queue what is typed; True at the end of the lines, False where someone said exit."""
    async for line in lines:
        if line.strip().lower() in ("exit", "quit"):
            return False
        if line.strip():
            screen.prompted = False
            outbox.put_nowait(line)
        else:
            screen.prompt()
    return True


async def _send(link: Link, screen: Screen, outbox: asyncio.Queue[str]) -> None:
    """Send each message until the server has it. A retry has the same id, so it is one message."""
    while True:
        text, message_id, told = await outbox.get(), str(uuid.uuid4()), False
        screen.known.append(message_id)
        while True:
            try:
                refused = await link.say(message_id, text)
                break
            except _UNREACHABLE:
                if not told:
                    screen.note("Not sent yet; trying again…")
                told = True
            await asyncio.sleep(RETRY_SECONDS)
        if refused:
            screen.note(f"Not taken: {refused}")
        elif told:
            screen.note("Sent.")
        outbox.task_done()


async def _listen(link: Link, screen: Screen, state: JsonObject) -> None:
    """Show what happens; when the connection is lost, say so, come back and show what was missed."""
    link.last = state["last"]
    while True:
        with contextlib.suppress(*_UNREACHABLE):
            if await _follow(link, screen):
                continue
        screen.lost()
        await asyncio.sleep(RETRY_SECONDS)


async def _follow(link: Link, screen: Screen) -> bool:
    """Show one stream's events; True where the next can begin at once, False where the server ended it."""
    async with contextlib.aclosing(link.events()) as events:
        async for kind, data in events:
            if kind == "open":
                screen.reached()
            elif kind == "reset":
                state = await link.state()
                for event in state["events"]:
                    screen.show(event["kind"], event["data"])
                screen.catch_up(state)
                link.last = state["last"]
                return True
            else:
                screen.show(kind, data)
    return False


async def _settled(link: Link, screen: Screen) -> None:
    """Wait until nothing runs or waits in the conversation, and all of it was shown."""
    while True:
        try:
            state = await link.state()
        except _UNREACHABLE:
            screen.lost()
            return
        if not state["running"] and not state["waiting"] and link.last == state["last"]:
            return
        screen.changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_SECONDS):
                await screen.changed.wait()


class Link:
    """The HTTP side. Its methods raise aiohttp's errors where the server cannot be reached."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, person: str) -> None:
        self.last = ""
        self._http = http
        self._base_url = base_url
        self._place = {"person": person, "conversation": "personal"}

    async def state(self) -> JsonObject:
        """The conversation as it stands.

        Raises:
            BadRequest: there is no such person.
        """
        url = f"{self._base_url}/local/state"
        async with self._http.get(url, params=self._place, timeout=SHORT) as response:
            if response.status == 400:
                raise BadRequest(400, str((await response.json())["error"]))
            response.raise_for_status()
            return await response.json()

    async def say(self, message_id: str, text: str) -> str:
        """Send a message; the reason where it is refused for good, else an empty string."""
        body = {**self._place, "id": message_id, "text": text}
        async with self._http.post(f"{self._base_url}/local/messages", json=body, timeout=SHORT) as response:
            if response.status >= 500:
                response.raise_for_status()
            answer: JsonObject = await response.json()
            return "" if response.ok else str(answer.get("error"))

    async def events(self) -> AsyncGenerator[tuple[str, JsonObject]]:
        """`open`, then what happened after `last`, as it happens; `last` follows."""
        url, params = f"{self._base_url}/local/events", {**self._place, "after": self.last}
        async with self._http.get(url, params=params, timeout=STREAM) as response:
            response.raise_for_status()
            yield "open", {}
            rest = b""
            async for chunk in response.content.iter_any():
                *frames, rest = (rest + chunk).split(b"\n\n")
                for frame in frames:
                    fields = dict(line.split(": ", 1) for line in frame.decode().split("\n") if ": " in line[1:])
                    if "event" in fields:
                        self.last = fields.get("id", self.last)  # what grows has none
                        yield fields["event"], json.loads(fields["data"])
