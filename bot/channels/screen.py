"""What the terminal shows of a conversation: lines above, and while a run goes on, its state in the last one."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque

from rich.console import Console, ConsoleRenderable
from rich.control import Control
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import ControlType
from rich.text import Text

from bot.types import JsonObject

RECENT = 6

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"))


class Screen:
    """One person's conversation. `known` are the ids that were shown, or said here; `base_url` is where files lie."""

    def __init__(self, console: Console, person: str, base_url: str = "") -> None:
        self.changed = asyncio.Event()
        self.known: deque[str] = deque(maxlen=500)
        self.prompted = False
        self._console = console
        self._person = person
        self._base_url = base_url
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
                spoken.append((event["kind"] == "said", self._in_words(data)))
        for mine, text in spoken[-RECENT:]:
            self._print(Text(f"{'you' if mine else 'bot'}  {plain(text)}", "dim"))
        words = "start over, undo, stop, help; exit (or Ctrl-D) leaves. You can type while an answer is made."
        self._print(Text(words, "dim italic"))
        self.catch_up(state)
        self.prompt()

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
            case "typing" if data.get("words"):
                self._print(Text(f"    {plain(data['words'])}", "dim"))
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
            self._print(Text(f"you, elsewhere › {plain(self._in_words(data))}", "green"))

    def _delivered(self, kind: str, data: JsonObject) -> None:
        if kind == "message" and data["id"] in self.known:
            return
        self.known.append(data["id"])
        title = "Threadkeeper (AI)" if data["by_agent"] else "Threadkeeper"
        later = ", decided" if data.get("asks") else ", corrected"
        self._print(Text(title + (later if kind == "update" else ""), "bold cyan"))
        asks: JsonObject = data.get("asks") or {}
        outcome = str(asks.get("outcome", ""))
        if outcome:  # the question itself stands above
            self._print(Padding(Markdown(plain(outcome), hyperlinks=False), (0, 0, 1, 2)))
        elif data["text"].strip():
            self._print(Padding(Markdown(plain(data["text"]), hyperlinks=False), (0, 0, 1, 2)))
        if data.get("file"):
            self._print(Padding(Text(plain(self._file(data["file"]))), (0, 0, 1, 2)))
        for source in data.get("citations", ()):
            self._print(Text(f"  {plain(_source(source))}", "dim"))
        words = [*data["buttons"], *(control.replace("_", " ") for control in data.get("controls") or ())]
        if words:
            self._print(Text(f"  You can say: {', '.join(words)}", "dim"))
        if not self._runs:
            self.prompt()

    def _in_words(self, data: JsonObject) -> str:
        """What was said, with the names of what came along."""
        files = [file["name"] for file in data.get("files", ())]
        if data.get("file"):
            files.append(self._file(data["file"]))
        return " ".join(filter(None, [data["text"], f"[{', '.join(files)}]" if files else ""]))

    def _file(self, file: JsonObject) -> str:
        return f"{file['name']}: {self._base_url}{file['url']}"

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


def _source(source: JsonObject) -> str:
    """One line, whatever the title holds."""
    words = [source["mark"], source["title"], f"({source['url']})" if source["url"] else ""]
    return " ".join(" ".join(words).split())


def _tool(data: JsonObject) -> Text:
    name = plain(data["name"])
    if data["state"] == "started":
        return Text.assemble("  → ", (name, "bold"), " running", style="dim")
    if data["error"]:
        return Text.assemble("  ✗ ", (name, "bold"), f" failed: {data['error']}, {data['seconds']:.1f} s", style="red")
    return Text.assemble("  ✓ ", (name, "bold"), f" {data['seconds']:.1f} s", style="green")
