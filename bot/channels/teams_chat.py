# pyright: basic, reportArgumentType=false
"""One person's one-to-one chat in Teams, and what can be done in it beside sending messages: show an answer that grows.

https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux#stream-message-through-rest-api
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from botbuilder.core import TurnContext
from botbuilder.schema import Activity, Entity

from bot.channels.fields import object_at, string_at
from bot.errors import DeliveryRefused
from bot.ports import Accept
from bot.types import Conversation, JsonObject, Message, Part, Person

InTurn = Callable[..., Awaitable[Any]]
"""Does something in the stored conversation: takes the address, the act, and whether it replies to the message."""


class StreamInfo(Entity):
    """Where an activity stands in a stream. The stock `Entity` loses every key but `type`."""

    _attribute_map = {  # noqa: RUF012 (the SDK's serialiser reads it)
        "type": {"key": "type", "type": "str"},
        "stream_id": {"key": "streamId", "type": "str"},
        "stream_type": {"key": "streamType", "type": "str"},
        "stream_sequence": {"key": "streamSequence", "type": "int"},
    }

    def __init__(self, stream_type: str, stream_id: str, stream_sequence: int | None = None) -> None:
        super().__init__(type="streaminfo")
        self.stream_type = stream_type
        self.stream_id = stream_id or None
        self.stream_sequence = stream_sequence


def can_stream(address: JsonObject) -> bool:
    """Whether an answer may grow there: in one-to-one chats alone."""
    conversation = object_at(address, "conversation")
    return string_at(conversation, "conversationType").lower() == "personal" and not conversation.get("isGroup")


class TeamsChat:
    """The chat at this address. `made` makes a part into an activity.

    All methods that ask the connector raise what `Channel.send` raises, and `StreamRefused`.
    """

    def __init__(
        self, address: JsonObject, in_turn: InTurn, made: Callable[[JsonObject, Part], Activity], accept: Accept
    ) -> None:
        self._address = address
        self._in_turn = in_turn
        self._made = made
        self._accept = accept

    def rendered(self, part: Part) -> str:
        """The text as the chat gets it."""
        return self._made(self._address, part).text or ""

    async def typing(self) -> None:
        """Show the typing indicator once."""
        await self._send(Activity(type="typing"))

    async def grow(self, text: str, stream: str, sequence: int, *, informative: bool) -> str:
        """Show the text so far, as `rendered` gave it, or what is done meanwhile.

        Where `stream` is empty it begins, and this is its id.
        """
        info = StreamInfo("informative" if informative else "streaming", stream, sequence)
        written = self._made(self._address, Part("", by_agent=True)).text_format
        return await self._send(Activity(type="typing", text=text, text_format=written, entities=[info]), reply=False)

    async def finish(self, part: Part, stream: str, *, as_grown: bool = False) -> None:
        """End the stream with its message; where it is `as_grown` with that very text, which is rendered already."""
        message = self._made(self._address, part)
        if as_grown:
            message.text = part.text
        message.entities = [*(message.entities or ()), StreamInfo("final", stream)]
        await self._send(message, reply=False)

    async def replace(self, part: Part, delivered: str) -> None:
        """Put a message in the place of another, or of a stream that has ended."""
        if not delivered:
            raise DeliveryRefused("The platform gave that delivery no id.")
        message = self._made(self._address, part)
        message.id = delivered
        await self._in_turn(self._address, lambda turn: turn.update_activity(message))

    async def remove(self, delivered: str) -> None:
        """Delete a message, or what a stream has come to."""
        await self._in_turn(self._address, lambda turn: turn.delete_activity(delivered))

    async def post(self, part: Part) -> str:
        """A message of its own; its id, empty where the platform gives none."""
        return await self._send(self._made(self._address, part))

    async def stop(self, stream: str) -> None:
        """The person pressed Stop: take it as if they had said it, once for each stream."""
        user, address = object_at(self._address, "user"), self._address
        conversation = string_at(object_at(address, "conversation"), "id")
        await self._accept(
            Message(
                id=f"stop-{stream}",
                conversation=Conversation(string_at(address, "channelId"), string_at(address, "tenant"), conversation),
                person=Person(
                    string_at(user, "aadObjectId") or string_at(user, "id"),
                    string_at(user, "name"),
                    string_at(address, "locale"),
                ),
                text="stop",
                address=address,
            )
        )

    async def _send(self, activity: Activity, *, reply: bool = True) -> str:
        async def act(turn: TurnContext) -> Any:
            return await turn.send_activity(activity)

        taken = await self._in_turn(self._address, act, reply=reply)
        return taken.id or "" if taken else ""
