"""The Agents Playground's own interface: what a person does in it, what it shows, what went between it and the bot."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.interop.servers import PLAYGROUND

PATIENCE = 20.0
AI_LABEL = "AIGeneratedContent"


@dataclass(frozen=True)
class Shown:
    """Something the bot showed: `kind` is createMessage, updateMessage or typing."""

    kind: str
    conversation: str
    text: str
    by_agent: bool


@dataclass(frozen=True)
class Exchange:
    """One activity, to the bot or from it, and what the other side answered."""

    to_bot: bool
    kind: str
    activity: dict[str, Any]
    status: int


class Playground:
    """One person at the client, in Teams' manner."""

    def __init__(self, session: aiohttp.ClientSession, config: dict[str, Any]) -> None:
        self._session = session
        self._news = asyncio.Event()
        self.person: str = config["currentUser"]["id"]
        self.bot: str = config["bot"]["id"]
        self.mention = f"<at>{config['bot']['name']}</at>"
        self.personal: str = config["personalChat"]["id"]
        self.group: str = config["groupChats"][0]["id"]
        self.channel: str = config["teams"][0]["channels"][0]["id"]
        self.shown: list[Shown] = []
        self.exchanged: list[Exchange] = []

    @classmethod
    @asynccontextmanager
    async def joined(cls, session: aiohttp.ClientSession) -> AsyncIterator[Playground]:
        """At the client, and listening."""
        async with session.get(f"{PLAYGROUND}/_internal/v1/config") as response:
            client = cls(session, (await response.json())["config"])
        async with (
            session.ws_connect(f"{PLAYGROUND}/_ws_conversation/v1/conversations/stream") as conversations,
            session.ws_connect(f"{PLAYGROUND}/_ws/log/stream") as log,
        ):
            listening = [
                asyncio.create_task(client._listen(conversations, client._on_conversation)),
                asyncio.create_task(client._listen(log, client._on_log)),
            ]
            try:
                yield client
            finally:
                for task in listening:
                    task.cancel()
                await asyncio.wait(listening)

    # -- what a person does --------------------------------------------------------------------------------

    async def install(self, conversation: str) -> None:
        """Add the bot to it."""
        await self._post(f"/_debug/conversation/{conversation}/installation", {})

    async def say(self, conversation: str, text: str, *, mentioning: bool = False) -> None:
        """Write a message. The client, like Teams, keeps what does not mention the bot in a group from it."""
        mentions = [{"mentioned": {"id": self.bot}, "text": self.mention}] if mentioning else []
        text = f"{self.mention} {text}" if mentioning else text
        said = {"from": {"id": self.person}, "text": text, "textFormat": "plain", "mentions": mentions}
        await self._post(f"/_conversation/v1/conversations/{conversation}/messages", said)

    async def overhear(self, conversation: str, text: str) -> None:
        """Hand the bot a message that does not mention it, as Teams does for an app that may read all of them."""
        path = f"/_internal/v1/customActivities/template?type=userAdded&conversationId={conversation}"
        async with self._session.get(PLAYGROUND + path) as response:
            template = await response.json()
        assert response.status == 200, template
        del template["membersAdded"]
        await self._post("/_internal/v1/customActivities", template | {"type": "message", "text": text})

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        async with self._session.post(PLAYGROUND + path, json=body) as response:
            assert response.status == 200, await response.text()

    # -- what it shows -------------------------------------------------------------------------------------

    def messages(self, conversation: str) -> list[Shown]:
        """What the bot said there."""
        return [shown for shown in self.shown if shown.kind == "createMessage" and shown.conversation == conversation]

    async def said(self, conversation: str, count: int) -> list[Shown]:
        """What the bot said there, once it has said so much; it may not have said more."""
        await self.until(f"{count} messages in {conversation}", lambda: len(self.messages(conversation)) >= count)
        messages = self.messages(conversation)
        assert len(messages) == count, messages
        return messages

    async def heard(self, text: str) -> Exchange:
        """The message with these words, once the bot has answered the request."""
        found: list[Exchange] = []

        def is_there() -> bool:
            found[:] = [one for one in self.exchanged if one.to_bot and text in str(one.activity.get("text", ""))]
            return bool(found)

        await self.until(f"the bot to hear {text!r}", is_there)
        return found[0]

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for it.

        Raises:
            AssertionError: the time is up.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} in {PATIENCE:.0f} s; shown: {self.shown}") from None

    async def _listen(self, stream: aiohttp.ClientWebSocketResponse, hear: Callable[[dict[str, Any]], None]) -> None:
        async for frame in stream:
            hear(json.loads(frame.data))
            self._news.set()

    def _on_conversation(self, event: dict[str, Any]) -> None:
        message: dict[str, Any] = event.get("message") or {}
        labels: list[str] = (message.get("aiEntity") or {}).get("additionalType") or []
        if event["action"] == "typing" or message.get("from", {}).get("id") == self.bot:
            cards: list[dict[str, Any]] = [
                one["content"] for one in message.get("attachments") or () if one.get("content")
            ]
            text = str(message.get("text") or next((card["fallbackText"] for card in cards), ""))
            self.shown.append(Shown(event["action"], event["actionConversationId"], text, AI_LABEL in labels))

    def _on_log(self, event: dict[str, Any]) -> None:
        entry: dict[str, Any] = event.get("log") or {}
        if entry.get("type") == "bot":
            activity, status = entry["request"]["body"], int(entry["response"]["statusCode"])
            to_bot = entry["to"] == "User Application"
            self.exchanged.append(Exchange(to_bot, entry["activityName"], activity, status))
