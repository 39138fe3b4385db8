"""The local conversation in a terminal: a client of the same four addresses that the chat page uses."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import os
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator

import aiohttp
from rich.console import Console, ConsoleRenderable
from rich.control import Control
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import ControlType
from rich.text import Text

from bot.types import JsonObject

LOCAL_MODE = ("X-Threadkeeper-Mode", "local")
SHORT = aiohttp.ClientTimeout(total=10)
STREAM = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=45)
RETRY_SECONDS = 1.0
RECENT = 6

_UNREACHABLE = (aiohttp.ClientError, TimeoutError, ConnectionError)
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"))


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


async def typed(descriptor: int = 0) -> AsyncIterator[str]:
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


async def chat(base_url: str, *, person: str, console: Console, lines: AsyncIterator[str], wait: bool = False) -> None:
    """Talk, until the lines end or one of them is `exit`.

    `wait` stays for the answers to what was said when the lines end: for lines that come from a pipe or a file.
    """
    screen = Screen(console, person)
    async with aiohttp.ClientSession() as http:
        link = Link(http, base_url.rstrip("/"), person)
        try:
            state = await link.state()
        except _UNREACHABLE:
            screen.note(f"Threadkeeper doesn't answer at {base_url}. Is it running? `python -m bot serve` starts it.")
            return
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
            async for kind, data in link.events():
                screen.reached()
                if kind == "reset":
                    state = await link.state()
                    for event in state["events"]:
                        screen.show(event["kind"], event["data"])
                    screen.catch_up(state)
                    link.last = state["last"]
                    break
                screen.show(kind, data)
            else:
                screen.lost()
            continue
        screen.lost()
        await asyncio.sleep(RETRY_SECONDS)


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
        """The conversation as it stands."""
        url = f"{self._base_url}/local/state"
        async with self._http.get(url, params=self._place, timeout=SHORT) as response:
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

    async def events(self) -> AsyncIterator[tuple[str, JsonObject]]:
        """What happened after `last`, as it happens; `last` follows."""
        url, params = f"{self._base_url}/local/events", {**self._place, "after": self.last}
        async with self._http.get(url, params=params, timeout=STREAM) as response:
            response.raise_for_status()
            rest = b""
            async for chunk in response.content.iter_any():
                *frames, rest = (rest + chunk).split(b"\n\n")
                for frame in frames:
                    fields = dict(line.split(": ", 1) for line in frame.decode().split("\n") if ": " in line[1:])
                    if "event" in fields:
                        self.last = fields["id"]
                        yield fields["event"], json.loads(fields["data"])


class Screen:
    """What the terminal shows: lines above, and while a run goes on, its state in the last one."""

    def __init__(self, console: Console, person: str) -> None:
        self.changed = asyncio.Event()
        self.known: deque[str] = deque(maxlen=500)
        self.prompted = False
        self._console = console
        self._person = person
        self._live: Live | None = None
        self._runs: dict[str, str] = {}
        self._lost = False

    def welcome(self, state: JsonObject) -> None:
        """Where we are, the last words, and what can be said."""
        self._print(Text("Threadkeeper", "bold"))
        self._print(Text(f"{_thread(state)} Agent: {state['backend'] or 'unknown'}.", "dim"))
        spoken = [(entry["role"] == "user", entry["text"]) for entry in state["history"]]
        for event in state["events"]:
            data: JsonObject = event["data"]
            if event["kind"] in ("said", "message", "update"):
                self.known.append(data["id"])
                spoken.append((event["kind"] == "said", data["text"]))
        for mine, text in spoken[-RECENT:]:
            self._print(Text(f"{'you' if mine else 'bot'}  {plain(text)}", "dim"))
        words = "start over, undo, stop, help; exit (or Ctrl-D) leaves. You can type while an answer is made."
        self._print(Text(words, "dim italic"))
        self.catch_up(state)

    def catch_up(self, state: JsonObject) -> None:
        """Take over what runs now."""
        self._runs = {state["running"]: "running"} if state["running"] else {}
        if state.get("problem"):
            self.note(state["problem"])
        self._status()

    def note(self, text: str) -> None:
        """A sentence of the terminal's own."""
        self._print(Text(plain(text), "yellow"))
        self.prompt()

    def lost(self) -> None:
        """Say once that the connection is gone."""
        if not self._lost:
            self._lost = True
            self._runs.clear()
            self._status()
            self.note("The connection is lost; trying again…")

    def reached(self) -> None:
        """Say that it is back."""
        if self._lost:
            self._lost = False
            self.note("Connected again.")

    def prompt(self) -> None:
        """Show that it is the person's turn, unless the status line is there."""
        if self._console.is_terminal and self._live is None and not self.prompted:
            self._console.print("[bold green]›[/] ", end="")
            self.prompted = True

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._runs.clear()
        self._status()
        if self.prompted:
            self._console.print()

    def show(self, kind: str, data: JsonObject) -> None:
        """One event of the conversation."""
        match kind:
            case "said":
                self._said(data)
            case "message" | "update":
                self._delivered(kind, data)
            case "run":
                self._runs[data["reference"]] = str(data["state"])
                self._status()
                if data.get("cure"):
                    self.note(data["cure"])
            case "tool":
                self._print(_tool(data))
            case "thread":
                self._print(Rule(Text(f"new thread: {data['reason']}", "dim"), style="dim"))
            case "ended":
                self._runs.pop(data["reference"], None)
                self._status()
                self._print(Text(f"{data['outcome']} in {data['seconds']:.1f} s · {data['reference']}", "dim"))
                self.prompt()
            case _:
                pass
        self.changed.set()

    def _said(self, data: JsonObject) -> None:
        if data["id"] not in self.known:  # by the same person, in another window
            self._print(Text(f"you, elsewhere › {plain(data['text'])}", "green"))

    def _delivered(self, kind: str, data: JsonObject) -> None:
        if kind == "message" and data["id"] in self.known:
            return
        self.known.append(data["id"])
        title = "Threadkeeper (AI)" if data["by_agent"] else "Threadkeeper"
        self._print(Text(title + (", corrected" if kind == "update" else ""), "bold cyan"))
        self._print(Padding(Markdown(plain(data["text"]), hyperlinks=False), (0, 0, 1, 2)))
        if data["buttons"]:
            self._print(Text(f"  You can say: {', '.join(data['buttons'])}", "dim"))
        if not self._runs:
            self.prompt()

    def _print(self, shown: ConsoleRenderable) -> None:
        if self.prompted:
            erase = Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
            self._console.control(erase)
            self.prompted = False
        self._console.print(shown)

    def _status(self) -> None:
        """The status line. It is drawn when the state changes, not by a timer, which would wipe what is typed."""
        if not self._runs:
            if self._live is not None:
                self._live.stop()
            self._live = None
            return
        reference, state = list(self._runs.items())[-1]
        words = Text.assemble(
            "● ", (state.replace("_", " "), "bold"), f" · {reference} · stop interrupts", style="cyan"
        )
        if self._live is None:
            self._print(Text())
            self._live = Live(words, console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(words, refresh=True)


def plain(text: str) -> str:
    """The text without what a terminal would obey: an answer must not move the cursor or set the title."""
    return _CONTROL_CHARACTERS.sub("", text)


def _thread(state: JsonObject) -> str:
    thread = state["thread"]
    if not thread:
        return "No thread yet; your next message opens one."
    age = max(0.0, state.get("now", time.time()) - thread["opened_at"])
    when = "just now"
    for span, name in _SPANS:
        if age >= span:
            when = f"{int(age // span)} {name}{'s' if age >= 2 * span else ''} ago"
            break
    return f"Going on in thread {thread['number']} ({thread['messages']} messages, opened {when})."


def _tool(data: JsonObject) -> Text:
    name = plain(data["name"])
    if data["state"] == "started":
        return Text.assemble("  → ", (name, "bold"), " running", style="dim")
    if data["error"]:
        return Text.assemble("  ✗ ", (name, "bold"), f" failed: {data['error']}, {data['seconds']:.1f} s", style="red")
    return Text.assemble("  ✓ ", (name, "bold"), f" {data['seconds']:.1f} s", style="green")
