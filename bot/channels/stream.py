"""What happens in a local conversation, as events: a bounded past, and those who listen now."""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bot.channels.growth import Growth
from bot.ports import Clock
from bot.types import Json, JsonObject

PAST_EVENTS = 200
PAST_CHARACTERS = 2_000_000
QUEUE = 256
KEEP_ALIVE_SECONDS = 15.0

_EVENT_ID = re.compile(r"([0-9a-f]{8})-([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of a conversation, as the page and the terminal are told of it."""

    id: str
    kind: str
    data: JsonObject

    def frame(self) -> bytes:
        """Its form on the wire. JSON has no raw line break, so one `data:` line is enough."""
        data = json.dumps(self.data, ensure_ascii=False)
        return f"id: {self.id}\nevent: {self.kind}\ndata: {data}\n\n".encode("utf-8", "replace")


@dataclass(eq=False, slots=True)
class Listener:
    """One open event stream. None among what waits ends it; `drop` cuts off one that reads too slowly."""

    drop: Callable[[], None]
    waiting: deque[bytes | None] = field(default_factory=deque[bytes | None])
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _grows: bool = False

    def tell(self, frame: bytes | None, *, grows: bool = False) -> bool:
        """Queue it; False if the listener was too slow and is cut off: it reconnects and says what it has.

        A frame that `grows` takes the place of one right before it, so that a slow reader skips what is outdated.
        """
        if grows and self._grows and self.waiting:
            self.waiting[-1] = frame
        elif len(self.waiting) >= QUEUE:
            self.drop()
            return False
        else:
            self.waiting.append(frame)
        self._grows = grows
        self._more.set()
        return True

    async def next(self) -> bytes | None:
        """What to write next: a frame, a keep-alive comment, or None at the end."""
        try:
            async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                while not self.waiting:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            return b": keep-alive\n\n"
        return self.waiting.popleft()


class Stream:
    """What happens in one conversation: a bounded past for those who come back, and those who listen now."""

    def __init__(self, epoch: str, clock: Clock) -> None:
        self.listeners: set[Listener] = set()
        self.working = 0
        self.growth = Growth(lambda frame: self._tell(frame, grows=True))
        self._epoch = epoch
        self._clock = clock
        self._count = 0
        self._past: deque[Happened] = deque()
        self._characters = 0
        self._state: tuple[str, str] = ("", "")

    @property
    def last(self) -> str:
        """The id of the newest event, from which a listener goes on."""
        return f"{self._epoch}-{self._count}"

    @property
    def past(self) -> list[Happened]:
        """The newest events, oldest first."""
        return list(self._past)

    def publish(self, kind: str, **data: Json) -> None:
        """Tell every listener, and remember it for a while."""
        self._count += 1
        happened = Happened(self.last, kind, {**data, "at": self._clock.now()})
        self._past.append(happened)
        self._characters += _size(happened)
        while len(self._past) > PAST_EVENTS or self._characters > PAST_CHARACTERS:
            self._characters -= _size(self._past.popleft())
        self._tell(happened.frame())

    def _tell(self, frame: bytes, *, grows: bool = False) -> None:
        self.listeners = {listener for listener in self.listeners if listener.tell(frame, grows=grows)}

    def run(self, reference: str, state: str, **data: Json) -> None:
        """Tell the run's state where it changed; a run is looked at far more often than it changes."""
        if self._state != (reference, state):
            self._state = (reference, state)
            self.publish("run", reference=reference, state=state, **data)

    def since(self, event_id: str) -> list[Happened] | None:
        """What came after that event; None if it is of another process or too long ago."""
        matched = _EVENT_ID.fullmatch(event_id)
        if not matched or matched[1] != self._epoch:
            return None
        missed = self._count - int(matched[2])
        if not 0 <= missed <= len(self._past):
            return None
        return self.past[len(self._past) - missed :]


def without_repeats(history: list[JsonObject], past: list[Happened]) -> tuple[list[JsonObject], list[Happened]]:
    """The history and the past as one conversation: what both tell is left out of one of them.

    They have no ids in common: the history is the agent's, the past is what this process showed. From the end of
    the history back, each question is looked for among what was said; the first that is not there is older.
    """
    said = [place for place, one in enumerate(past) if one.kind == "said"]
    begins, first_said = len(history), len(past)
    for index in range(len(history) - 1, -1, -1):
        if history[index]["role"] != "user":
            continue
        is_answered = any(entry["role"] == "assistant" for entry in history[index:])
        same = [
            place
            for place in said
            if place < first_said
            and _ends_with(str(history[index]["text"]), _text(past[place]))
            and (not is_answered or any(one.data.get("by_agent") for one in past[place:]))
        ]
        if not same:
            break
        begins, first_said = index, same[-1]
    older = history[:begins]
    answers = [str(entry["text"]).strip() for entry in older if entry["role"] == "assistant"]

    def is_told(one: Happened) -> bool:
        text = _text(one)  # a file comes without words, and no history tells of it
        return bool(one.data.get("by_agent") and text) and any(a in text or text in a for a in answers if a)

    return older, [one for one in past[:first_said] if not is_told(one)] + past[first_said:]


def _size(happened: Happened) -> int:
    return sum(len(str(value)) for value in happened.data.values())


def _text(happened: Happened) -> str:
    """The words; of files alone the names, as an agent's history may have them."""
    names = ", ".join(file["name"] for file in happened.data.get("files", ()))
    return str(happened.data.get("text", "")).strip() or (f"({names})" if names else "")


def _ends_with(entry: str, text: str) -> bool:
    """Whether an entry of the history is this text, alone, behind a speaker's name, or last of several."""
    entry = entry.strip()
    before = entry.removesuffix(text)
    return before == "" or (before != entry and before.endswith(("\n", ": ")))
