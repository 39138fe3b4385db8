"""Local mode: nobody can be verified, so only this machine may speak. Stock: no app id, and everyone may."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request

from bot.channels.gate import check_local
from bot.errors import BadRequest, DeliveryRefused
from bot.types import Part
from tests.channels.conftest import MakeRig
from tests.teams import message
from tests.teams.rig import Rig

pytestmark = pytest.mark.invariant("I11")


@pytest.fixture
async def local(make_rig: MakeRig) -> Rig:
    none: dict[str, Any] = {"loopback": False}
    return await make_rig(microsoft_app_id="", microsoft_app_password="", microsoft_app_tenant_id="", cloud=none)


async def test_this_machine_needs_no_token_and_gets_none(local: Rig) -> None:
    for channel in ("msteams", "emulator"):
        status, _ = await local.post(message(local.url, channelId=channel), headers={})
        assert status == 202
        await local.framework.channels()[channel].send(local.accepted[-1].address, Part("hi", by_agent=True))
    assert [d.authorization for d in local.connector.deliveries] == [None, None]
    assert (local.issuer.requests, local.entra.requests) == ([], [])


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},  # a name that a web page has rebound to 127.0.0.1
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Origin": "https://evil.example"},  # a web page
        {"Origin": "null"},
        {"Origin": "http://localhost:8080"},
        {"X-Forwarded-For": "203.0.113.9"},  # a tunnel
        {"X-Forwarded-Host": "me.tunnel.example"},
        {"Forwarded": "for=203.0.113.9"},
    ],
)
async def test_web_pages_and_tunnels_are_refused(local: Rig, headers: dict[str, str]) -> None:
    status, said = await local.post(message(local.url), headers=headers)
    assert (status, local.accepted) == (403, [])
    assert said["error"]


@pytest.mark.parametrize("host", ["localhost:3978", "127.0.0.1", "[::1]:3978"])
async def test_names_of_this_machine(local: Rig, host: str) -> None:
    assert (await local.post(message(local.url), headers={"Host": host}))[0] == 202


@pytest.mark.parametrize("peer", [("203.0.113.9", 50000), ("fe80::1", 1, 0, 0), None, ""])
def test_other_machines_are_refused(peer: Any) -> None:
    transport = Mock()
    transport.get_extra_info = lambda name: peer if name == "peername" else None
    request = make_mocked_request("POST", "/api/messages", headers={"Host": "localhost"}, transport=transport)
    with pytest.raises(BadRequest) as refusal:
        check_local(request)
    assert refusal.value.status == 403


@pytest.mark.parametrize(
    "url",
    [
        "https://smba.trafficmanager.net/emea/",
        "https://evil.example/",
        "http://127.0.0.1.evil.example/",
        "http://10.0.0.1/",
        "http://2130706433/",
        "http://user@localhost/",
        "file://localhost/etc/passwd",
    ],
)
async def test_only_this_machine_is_answered(local: Rig, url: str) -> None:
    """Stock posts the answer to whatever serviceUrl an anonymous request names."""
    assert (await local.post(message(url), headers={}))[0] == 403
    address = await local.address(message(local.url))
    with pytest.raises(DeliveryRefused):
        await local.teams.send(address | {"serviceUrl": url}, Part("hi"))


async def test_a_plain_cross_site_post_is_no_json(local: Rig) -> None:
    assert (await local.post(headers={"Content-Type": "text/plain"}, data=b"{}"))[0] == 415


async def test_an_address_from_local_mode_is_not_used_with_a_token(local: Rig, rig: Rig) -> None:
    address = await local.address(message(local.url))
    with pytest.raises(DeliveryRefused):
        await rig.teams.send(address, Part("hi"))
