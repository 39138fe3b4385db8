"""Answers that grow in one conversation, told as they stand: the newest text of each, and never their past."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

PACE_SECONDS = 0.1
"""Between two frames. A model writes faster than that; a reader does not read faster."""


@dataclass(eq=False, slots=True)
class Draft:
    """One answer that grows, and who asked for it."""

    to: str
    text: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Growth:
    """The answers that grow now. Each frame holds all of them, so the newest alone is enough for who comes back.

    The frames have no id: to a listener that reconnects they are no part of what it missed.
    """

    def __init__(self, tell: Callable[[bytes], None]) -> None:
        self._tell = tell
        self._drafts: list[Draft] = []
        self._told = self.frame()
        self._timer: asyncio.TimerHandle | None = None

    def frame(self) -> bytes:
        """What grows now, on the wire."""
        drafts = [{"id": one.id, "to": one.to, "text": one.text} for one in self._drafts if one.text.strip()]
        data = json.dumps({"drafts": drafts}, ensure_ascii=False)
        return f"event: drafts\ndata: {data}\n\n".encode("utf-8", "replace")

    def begin(self, to: str) -> Draft:
        """An answer that is to grow; nothing is told of it before its first words."""
        draft = Draft(to)
        self._drafts.append(draft)
        return draft

    def show(self, draft: Draft, text: str) -> None:
        """Its whole text so far. After its end it is told no more."""
        draft.text = text
        if self._timer is None and draft in self._drafts:
            self._on_time()

    def end(self, draft: Draft) -> None:
        """Take it away, if that was not done yet."""
        if draft in self._drafts:
            self._drafts.remove(draft)
        self.tell()

    def settle(self, to: str) -> str | None:
        """The id of the answer to this person that grew, and whose final words come now; `tell` after those.

        It is taken away without a word, so that nobody sees neither.
        """
        for draft in self._drafts:
            if draft.to == to and draft.text.strip():
                self._drafts.remove(draft)
                return draft.id
        return None

    def tell(self) -> None:
        """Tell what grows now, if that is new."""
        frame = self.frame()
        if frame != self._told:
            self._told = frame
            self._tell(frame)

    def _on_time(self) -> None:
        """Tell what is new, and look again after a while, until nothing is."""
        self._timer = None
        told = self._told
        self.tell()
        if self._told is not told:
            self._timer = asyncio.get_running_loop().call_later(PACE_SECONDS, self._on_time)
