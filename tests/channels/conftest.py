"""The channel between its fakes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bot.channels import botframework
from bot.channels.cloud import Cloud
from bot.settings import Settings
from tests.teams import APP_ID, TENANT, FakeConnector, FakeEntra, FakeIssuer, HeldClock
from tests.teams.rig import SECRET, Rig

MakeRig = Callable[..., Awaitable[Rig]]


@pytest.fixture
async def make_rig(tmp_path: Path) -> AsyncIterator[MakeRig]:
    """Rigs with the settings that a test needs."""
    async with rigs(tmp_path) as make:
        yield make


@asynccontextmanager
async def rigs(tmp_path: Path) -> AsyncIterator[MakeRig]:
    """As the fixture, for a test with an event loop of its own."""
    async with AsyncExitStack() as stack:

        async def make(
            *, cloud: dict[str, Any] | None = None, options: dict[str, Any] | None = None, **settings: Any
        ) -> Rig:
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
                judge=lambda given: rig.judge(given),
                **(options or {}),
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
