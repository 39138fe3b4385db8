"""People's e-mail addresses, as the roster of a chat in Teams has them."""

from __future__ import annotations

import pytest

from bot.errors import DeliveryFailed, DeliveryRefused
from bot.types import JsonObject, Mails
from tests.teams import abs_slack, message
from tests.teams.connector import status
from tests.teams.rig import Rig


@pytest.fixture
async def address(rig: Rig) -> JsonObject:
    return await rig.address(message(rig.url))


async def test_the_roster_is_asked_for_the_one_person(rig: Rig, address: JsonObject) -> None:
    person = address["user"]["id"]
    rig.connector.members[person] = {"email": "Ada@contoso.example", "userPrincipalName": "ada.l@contoso.example"}
    assert await rig.teams.mails(address) == Mails("Ada@contoso.example", "ada.l@contoso.example")
    assert rig.connector.asked_about == [person]
    assert rig.connector.deliveries == []


async def test_a_roster_may_have_no_address(rig: Rig, address: JsonObject) -> None:
    rig.connector.members[address["user"]["id"]] = {"name": "A guest"}
    assert await rig.teams.mails(address) == Mails()


async def test_one_who_left_is_refused_for_good(rig: Rig, address: JsonObject) -> None:
    with pytest.raises(DeliveryRefused):
        await rig.teams.mails(address)


async def test_a_roster_that_is_away_may_be_asked_later(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.extend([status(429, retry_after="600")])
    with pytest.raises(DeliveryFailed):
        await rig.teams.mails(address)


@pytest.mark.invariant("I10")
async def test_the_token_goes_to_no_other_host(rig: Rig, address: JsonObject) -> None:
    with pytest.raises(DeliveryRefused):
        await rig.teams.mails(address | {"serviceUrl": "https://evil.example/teams/"})
    assert rig.connector.asked_about == []


async def test_nobody_is_asked_about_people_on_slack(rig: Rig) -> None:
    address = await rig.address(abs_slack(rig.url))
    assert await rig.framework.channels()["slack"].mails(address) == Mails()
    assert rig.connector.asked_about == []
