"""The Bot Framework channel between its fakes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient

from bot.channels.botframework import BotFramework, BotFrameworkChannel
from bot.events import Event
from bot.types import Accepted, Decision, Feedback, JsonObject, Message, Told
from tests.teams.clock import HeldClock
from tests.teams.connector import FakeConnector
from tests.teams.entra import FakeEntra
from tests.teams.issuer import FakeIssuer

SECRET = "the-client-secret"


@dataclass
class Rig:
    """A bot whose inbox is a list."""

    issuer: FakeIssuer
    entra: FakeEntra
    connector: FakeConnector
    clock: HeldClock
    client: TestClient[web.Request, web.Application]
    framework: BotFramework
    accepted: list[Message] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    judged: list[Feedback] = field(default_factory=list)
    fault: Exception | None = None
    decision: Decision | None = None
    """What the next presses come to."""

    async def accept(self, message: Message) -> Accepted:
        if self.fault is not None:
            raise self.fault
        fresh = all(message.id != one.id for one in self.accepted)
        self.accepted.append(message)
        return Accepted(turn=len(self.accepted), fresh=fresh, decision=self.decision)

    async def judge(self, given: Feedback) -> Told:
        if self.fault is not None:
            raise self.fault
        self.judged.append(given)
        return Told(None, "", "new")

    @property
    def teams(self) -> BotFrameworkChannel:
        return self.framework.channels()["msteams"]

    @property
    def url(self) -> str:
        return self.connector.url

    def bearer(self, **claims: Any) -> dict[str, str]:
        """The header of a sound request."""
        return {"Authorization": f"Bearer {self.issuer.token(self.url, **claims)}"}

    async def post(
        self, activity: Any = None, *, headers: dict[str, str] | None = None, data: bytes | None = None
    ) -> tuple[int, Any]:
        """POST /api/messages; status and JSON of the answer."""
        sent = {"Content-Type": "application/json"} | (self.bearer() if headers is None else headers)
        body = {"data": data} if data is not None else {"json": activity}
        async with self.client.post("/api/messages", headers=sent, **body) as response:
            text = await response.text()
            return response.status, await response.json() if text else None

    async def address(self, activity: JsonObject) -> JsonObject:
        """The stored address of an activity that came in."""
        status, _ = await self.post(activity)
        assert status == 202
        return self.accepted[-1].address
