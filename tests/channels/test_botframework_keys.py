"""The signing keys: rotation, outage, and no way to make the bot fetch without end."""

from __future__ import annotations

import asyncio

import pytest

from bot.channels import signing_keys
from tests.teams import message
from tests.teams.rig import Rig

pytestmark = pytest.mark.invariant("I11")


async def test_a_new_key_works_at_once(rig: Rig) -> None:
    """Stock: IndexError, and so 500, for every request until the cache is a day old."""
    assert (await rig.post(message(rig.url)))[0] == 202
    rig.issuer.rotate()
    assert (await rig.post(message(rig.url)))[0] == 202


async def test_a_withdrawn_key_stops_working(rig: Rig) -> None:
    old = rig.bearer()
    rig.issuer.rotate()
    assert (await rig.post(message(rig.url)))[0] == 202
    assert (await rig.post(message(rig.url), headers=old))[0] == 401


async def test_unknown_key_ids_cause_one_fetch_a_minute(rig: Rig) -> None:
    assert (await rig.post(message(rig.url)))[0] == 202
    for number in range(5):
        assert (await rig.post(message(rig.url), headers=rig.bearer(kid=f"made-up-{number}")))[0] == 401
    assert rig.issuer.requests.count("keys") == 2
    rig.clock.advance(61)
    assert (await rig.post(message(rig.url), headers=rig.bearer(kid="made-up")))[0] == 401
    assert rig.issuer.requests.count("keys") == 3


async def test_many_at_once_make_one_fetch_and_hold_up_nobody_else(rig: Rig) -> None:
    """Stock: `requests.get` on the event loop, without a timeout: a slow endpoint stops everything."""
    rig.issuer.gate = asyncio.Event()
    waiting = [asyncio.create_task(rig.post(message(rig.url))) for _ in range(20)]
    await rig.issuer.reached.wait()
    assert (await rig.post(message(rig.url), headers={}))[0] == 401  # answered meanwhile
    rig.issuer.gate.set()
    assert [status for status, _ in await asyncio.gather(*waiting)] == [202] * 20
    assert rig.issuer.requests == ["openid", "keys"]


async def test_keys_are_fetched_again_after_a_day(rig: Rig) -> None:
    assert (await rig.post(message(rig.url)))[0] == 202
    rig.clock.advance(24 * 3600 - 1)
    assert (await rig.post(message(rig.url)))[0] == 202
    assert rig.issuer.requests.count("keys") == 1
    rig.clock.advance(2)
    assert (await rig.post(message(rig.url)))[0] == 202
    assert rig.issuer.requests.count("keys") == 2


async def test_without_keys_it_is_503_so_that_it_is_delivered_again(rig: Rig) -> None:
    rig.issuer.down = True
    status, said = await rig.post(message(rig.url))
    assert (status, rig.accepted) == (503, [])
    assert said["error"]
    assert (await rig.post(message(rig.url)))[0] == 503
    assert rig.issuer.requests == ["openid"]  # not asked again at once
    rig.issuer.down = False
    rig.clock.advance(6)
    assert (await rig.post(message(rig.url)))[0] == 202


async def test_an_endpoint_that_hangs_is_given_up(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "FETCH_TIMEOUT", 0.05)
    rig.issuer.gate = asyncio.Event()
    assert (await rig.post(message(rig.url)))[0] == 503


async def test_known_keys_outlive_an_outage(rig: Rig) -> None:
    assert (await rig.post(message(rig.url)))[0] == 202
    rig.issuer.down = True
    rig.clock.advance(25 * 3600)
    assert (await rig.post(message(rig.url)))[0] == 202
    assert (await rig.post(message(rig.url)))[0] == 202
    assert rig.issuer.requests.count("openid") == 2


async def test_one_odd_key_does_not_cost_the_others(rig: Rig) -> None:
    for odd in ({"kty": "EC", "kid": "x"}, {"kty": "RSA", "kid": "y", "n": "!", "e": 5}, {"kty": "RSA"}):
        rig.issuer.publish_also(odd)
    assert (await rig.post(message(rig.url)))[0] == 202


@pytest.mark.parametrize(
    "documents",
    [
        {"openid": []},
        {"openid": {}},
        {"openid": {"jwks_uri": "ftp://127.0.0.1/keys"}},
        {"openid": {"jwks_uri": "//"}},
        {"keys": "keys"},
    ],
)
async def test_nonsense_is_an_outage(rig: Rig, documents: dict[str, object]) -> None:
    rig.issuer.documents = documents
    assert (await rig.post(message(rig.url)))[0] == 503
