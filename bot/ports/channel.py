"""A platform on which people write: what it calls, and what it is asked to show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol, runtime_checkable

from bot.types import Accepted, Attachment, Feedback, JsonObject, Mails, Message, Part, Told

Accept = Callable[[Message], Awaitable[Accepted]]
"""What a channel calls with a verified message; when it returns, the message is on disk."""

Judge = Callable[[Feedback], Awaitable[Told]]
"""What a channel calls with verified feedback; when it returns, that is on disk."""

View = Callable[[str], Awaitable[JsonObject]]
"""What the local page shows of a lane: its thread, its history, what runs and what waits."""

Beside = Literal["files", "citations"]

Show = Callable[[str], None]
"""What a channel offers that can show an answer as it grows: takes the whole text so far, as often as it changes."""


class Channel(Protocol):
    """The chat side. `limit` is the size of one delivery in bytes of UTF-16."""

    @property
    def name(self) -> str:
        """The channel's name, as messages carry it."""
        ...

    @property
    def limit(self) -> int:
        """How many bytes of UTF-16 one delivery may have."""
        ...

    @property
    def send_timeout(self) -> float:
        """Seconds after which a send that got no answer can no longer be shown."""
        ...

    @property
    def shows(self) -> frozenset[Beside]:
        """What it can show beside text; the rest is said in words."""
        ...

    def dialect(self, text: str) -> str:
        """The text as the channel shows it, before it is split. Said of its own result, it changes nothing."""
        ...

    def working(self, address: JsonObject) -> AbstractAsyncContextManager[Show | None]:
        """Show that an answer is being made, until the block ends; its own failures never reach the turn.

        Gives a way to show the text as it grows, where the channel has one.
        """
        ...

    async def send(self, address: JsonObject, part: Part) -> str:
        """Show it; the delivery's id in the channel.

        Raises:
            DeliveryFailed: not now.
            DeliveryRefused: never.
            Interrupted: the person stopped it in the channel itself, which is stored as their "stop".
        """
        ...

    async def update(self, address: JsonObject, delivered: str, part: Part) -> None:
        """Show it in place of an earlier delivery.

        Raises:
            DeliveryFailed: not now.
            DeliveryRefused: never, or the channel cannot update.
        """
        ...

    async def fetch(self, address: JsonObject, attachment: Attachment, most: int) -> bytes:
        """The content of an attachment that came without it, of at most so many bytes.

        Raises:
            ServiceUnavailable: not now.
            DeliveryRefused: never: it is gone, too large, or not to be had by this channel.
        """
        ...


@runtime_checkable
class ShowsProgress(Protocol):
    """A channel that can show what a tool is doing while an answer is being made."""

    def progress(self, address: JsonObject, words: str) -> None:
        """Show one line where something shows that an answer is being made, and nowhere else. Never waits."""
        ...


@runtime_checkable
class KnowsMails(Protocol):
    """A channel whose platform tells it people's e-mail addresses."""

    async def mails(self, address: JsonObject) -> Mails:
        """Those of the person with whom this is a chat; empty ones where the platform has none.

        Raises:
            DeliveryFailed, OperatorError: not now.
            DeliveryRefused: never.
        """
        ...
