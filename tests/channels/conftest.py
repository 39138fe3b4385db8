"""The channel between its fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bot.channels import botframework
from bot.channels.botframework import BotFramework, BotFrameworkChannel
from bot.channels.cloud import Cloud
from bot.events import Event
from bot.settings import Settings
from bot.types import Accepted, JsonObject, Message
from tests.teams import APP_ID, TENANT, FakeConnector, FakeEntra, FakeIssuer, HeldClock

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
    fault: Exception | None = None

    async def accept(self, message: Message) -> Accepted:
        if self.fault is not None:
            raise self.fault
        self.accepted.append(message)
        return Accepted(turn=len(self.accepted), fresh=True)

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


MakeRig = Callable[..., Awaitable[Rig]]


@pytest.fixture
async def make_rig(tmp_path: Path) -> AsyncIterator[MakeRig]:
    """Rigs with the settings that a test needs."""
    async with AsyncExitStack() as stack:

        async def make(*, cloud: dict[str, Any] | None = None, **settings: Any) -> Rig:
            clock = HeldClock()
            issuer, entra, connector = FakeIssuer(), FakeEntra(tmp_path), FakeConnector(clock.monotonic)
            for fake in (issuer, entra, connector):
                await fake.start()
                stack.push_async_callback(fake.close)
            given = {
                "microsoft_app_id": APP_ID,
                "microsoft_app_password": SECRET,
                "microsoft_app_tenant_id": TENANT,
            } | settings
            where = {"metadata_url": issuer.url, "authority": entra.authority, "ca_file": entra.ca_file}
            rig: Rig
            framework = botframework.create(
                Settings(_env_file=None, **given),
                accept=lambda message: rig.accept(message),
                emit=lambda event: rig.events.append(event),
                clock=clock,
                cloud=Cloud(**(where | {"loopback": True} | (cloud or {}))),
            )
            await stack.enter_async_context(framework)
            app = web.Application()
            app.add_routes(framework.routes())
            client = TestClient(TestServer(app))
            await stack.enter_async_context(client)
            rig = Rig(issuer, entra, connector, clock, client, framework)
            if given["microsoft_app_id"]:
                connector.token = lambda: entra.valid
            return rig

        yield make


@pytest.fixture
async def rig(make_rig: MakeRig) -> Rig:
    return await make_rig()
