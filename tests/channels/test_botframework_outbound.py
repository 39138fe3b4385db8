"""What goes to the connector: with which token, to which host, how often, and what each failure is called."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from typing import Any

import pytest
from azure.identity import CredentialUnavailableError
from botbuilder.schema import Entity

from bot.channels import botframework, connector
from bot.channels.bot_token import BotToken
from bot.channels.service_hosts import ServiceHosts
from bot.errors import DeliveryFailed, DeliveryRefused, OperatorError
from bot.types import JsonObject, Part
from tests.channels.conftest import MakeRig
from tests.teams import APP_ID, TENANT, FakeConnector, HeldClock, abs_slack, group_message, message
from tests.teams.activities import SLACK_TOKEN
from tests.teams.connector import cut, cut_body, hold, redirect, status
from tests.teams.labels import LABEL
from tests.teams.rig import SECRET, Rig

ANSWER = Part("the answer", by_agent=True)


@pytest.fixture
async def address(rig: Rig) -> JsonObject:
    return await rig.address(message(rig.url))


async def test_an_answer_is_a_reply_to_the_message(rig: Rig, address: JsonObject) -> None:
    """Stock continue_conversation makes up an id, and the answer is a reply to that."""
    assert await rig.teams.send(address, ANSWER) == "delivered-1"
    [sent] = rig.connector.deliveries
    assert (sent.method, sent.conversation, sent.activity_id) == ("POST", "a:1personal", "1700000000001")
    assert sent.activity["replyToId"] == "1700000000001"
    assert sent.activity["text"] == "the answer"
    assert sent.authorization == "Bearer token-1"


async def test_without_a_message_to_reply_to_it_is_sent_to_the_conversation(rig: Rig, address: JsonObject) -> None:
    await rig.teams.send(address | {"activityId": None}, ANSWER)
    assert rig.connector.deliveries[0].activity_id is None


async def test_a_channels_thread_is_answered_in_the_thread(rig: Rig) -> None:
    place = {"conversationType": "channel", "isGroup": True, "id": "19:c@thread.tacv2;messageid=170"}
    address = await rig.address(group_message(rig.url, conversation=place))
    await rig.teams.send(address, ANSWER)
    assert rig.connector.deliveries[0].conversation == "19:c@thread.tacv2;messageid=170"


async def test_the_address_survives_the_store(rig: Rig, address: JsonObject) -> None:
    await rig.teams.send(json.loads(json.dumps(address)), ANSWER)
    assert rig.connector.messages


async def test_update_in_place(rig: Rig, address: JsonObject) -> None:
    delivered = await rig.teams.send(address, ANSWER)
    await rig.teams.update(address, delivered, Part("better", by_agent=True))
    sent = rig.connector.deliveries[-1]
    assert (sent.method, sent.activity_id, sent.activity["text"]) == ("PUT", delivered, "better")
    assert sent.activity["entities"][0]["additionalType"] == ["AIGeneratedContent"]
    with pytest.raises(DeliveryRefused):
        await rig.teams.update(address, "", ANSWER)


# -- the label ----------------------------------------------------------------------------------------------


async def test_every_answer_of_the_agent_has_the_label(rig: Rig, address: JsonObject) -> None:
    """Stock: `Entity` drops every key but `type`, and the label with it."""
    stock = Entity(type=LABEL)
    stock.additional_properties = {"additionalType": ["AIGeneratedContent"]}
    assert stock.serialize() == {"type": LABEL}

    await rig.teams.send(address, Part("of the agent", by_agent=True))
    await rig.teams.send(address, Part("of the bot"))
    labelled, plain = rig.connector.messages
    assert labelled["entities"] == [
        {
            "type": LABEL,
            "@type": "Message",
            "@context": "https://schema.org",
            "additionalType": ["AIGeneratedContent"],
        }
    ]
    assert "entities" not in plain


async def test_buttons_are_three_at_most(rig: Rig, address: JsonObject) -> None:
    await rig.teams.send(address, Part("well?", buttons=("a", "b", "c", "d")))
    offered = rig.connector.messages[0]["suggestedActions"]
    assert [a["value"] for a in offered["actions"]] == ["a", "b", "c"]
    assert offered["to"] == ["29:1ann"]


async def test_slack_gets_words_alone(rig: Rig) -> None:
    slack = rig.framework.channels()["slack"]
    address = await rig.address(abs_slack(rig.url))
    async with slack.working(address):
        await slack.send(address, Part("hi", by_agent=True, buttons=("a",)))
    [sent] = rig.connector.deliveries
    assert "entities" not in sent.activity
    assert "suggestedActions" not in sent.activity


def test_limits() -> None:
    assert botframework.LIMITS["msteams"] == 80_000


# -- what is used again -------------------------------------------------------------------------------------


@pytest.mark.invariant("I14")
async def test_ten_turns_use_one_token_one_client_one_connection(
    rig: Rig, address: JsonObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stock: two token requests, two clients and a TCP connection for each turn."""
    made: list[str] = []
    real = botframework.ConnectorClient

    def client(*args: Any, custom_configuration: Any) -> Any:
        made.append(custom_configuration.base_url)
        return real(*args, custom_configuration=custom_configuration)

    monkeypatch.setattr(botframework, "ConnectorClient", client)
    for _ in range(10):
        await rig.teams.send(address, ANSWER)
        rig.clock.advance(1)
    assert len(rig.entra.requests) == 1
    assert len(made) == 1
    assert len({d.peer for d in rig.connector.deliveries}) == 1


@pytest.mark.invariant("I14")
async def test_clients_are_kept_in_bounds(rig: Rig, address: JsonObject) -> None:
    for number in range(botframework.MAX_CLIENTS + 5):
        with pytest.raises(DeliveryRefused):
            await rig.teams.send(address | {"serviceUrl": f"{rig.url}{number}/"}, ANSWER)
        rig.clock.advance(1)
    assert len(rig.framework._clients.kept) == botframework.MAX_CLIENTS  # pyright: ignore[reportPrivateUsage]


async def test_a_slow_token_holds_up_nothing_but_who_needs_it(rig: Rig, address: JsonObject) -> None:
    """Stock: MSAL on the event loop; with 50 ms of latency everything stops for over a second."""
    rig.entra.gate = asyncio.Event()
    sends = [asyncio.create_task(rig.teams.send(address, ANSWER)) for _ in range(7)]
    await rig.entra.reached.wait()
    assert (await rig.post(message(rig.url)))[0] == 202
    rig.entra.gate.set()
    await asyncio.gather(*sends)
    assert len(rig.entra.requests) == 1


async def test_who_gave_up_waiting_does_not_take_the_token_along(rig: Rig, address: JsonObject) -> None:
    rig.entra.gate = asyncio.Event()
    first, second = (asyncio.create_task(rig.teams.send(address, ANSWER)) for _ in range(2))
    await rig.entra.reached.wait()
    first.cancel()
    rig.entra.gate.set()
    await second
    assert len(rig.entra.requests) == 1


async def test_a_token_at_its_end_is_not_used(rig: Rig, address: JsonObject) -> None:
    rig.entra.lifetime = 0
    await rig.teams.send(address, ANSWER)
    await rig.teams.send(address, ANSWER)
    assert [d.authorization for d in rig.connector.deliveries] == ["Bearer token-1", "Bearer token-2"]


# -- where it may go ----------------------------------------------------------------------------------------


@pytest.mark.invariant("I11")
@pytest.mark.parametrize(
    "change",
    [
        {"serviceUrl": "https://evil.example/"},
        {"serviceUrl": ""},  # stock: falls back to https://api.botframework.com, with the token
        {"serviceUrl": None},
        {"serviceUrl": "https://smba.trafficmanager.net:444/"},
        {"tenant": "another"},
        {"tenant": ""},
        {"appId": "another"},
        {"channelId": "slack"},
    ],
)
async def test_a_stored_address_is_checked_again(make_rig: MakeRig, change: JsonObject) -> None:
    rig = await make_rig(allowed_tenants=(TENANT,))
    address = await rig.address(message(rig.url))
    with pytest.raises(DeliveryRefused):
        await rig.teams.send(address | change, ANSWER)
    with pytest.raises(DeliveryRefused):
        await rig.teams.update(address | change, "1", ANSWER)
    assert (rig.connector.deliveries, rig.entra.requests) == ([], [])


@pytest.mark.invariant("I11")
@pytest.mark.parametrize(
    "url", ["https://evil.example/v3/", "http://smba.trafficmanager.net/v3/", "https://127.0.0.1/"]
)
async def test_the_request_itself_is_checked_too(url: str) -> None:
    """Whatever the SDK made of an address: without a host on the list there is no session, no token, no request."""

    def nothing() -> Any:
        raise AssertionError("used")

    hosts, token = ServiceHosts(("smba.trafficmanager.net",)), BotToken(nothing, "", HeldClock(), managed=False)
    with pytest.raises(DeliveryRefused):
        await connector.Connector(nothing, hosts, token, HeldClock()).request("POST", url, {}, "{}")


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_redirects_are_not_followed(rig: Rig, address: JsonObject, code: int) -> None:
    """Stock follows 307, on which `requests` repeats the body."""
    elsewhere = FakeConnector()
    await elsewhere.start()
    rig.connector.faults.append(redirect(elsewhere.url + "v3/conversations/x/activities", code))
    with pytest.raises(DeliveryFailed) as failure:
        await rig.teams.send(address, ANSWER)
    assert failure.value.sent is False
    assert elsewhere.deliveries == []
    await elsewhere.close()


# -- failures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sent"),
    [(408, True), (412, False), (425, False), (500, True), (502, True), (503, True), (504, True), (520, True)],
)
async def test_not_now(rig: Rig, address: JsonObject, code: int, sent: bool) -> None:
    rig.connector.faults.append(status(code, error="SomeCode"))
    with pytest.raises(DeliveryFailed, match=f"{code} SomeCode") as failure:
        await rig.teams.send(address, ANSWER)
    assert (failure.value.sent, failure.value.retry_after) == (sent, None)
    assert len(rig.connector.deliveries) == 1, "a POST is never repeated blindly"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("7", 7.0), ("0.5", 0.5), ("999999999", 3600.0), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
async def test_retry_after_is_passed_on(rig: Rig, address: JsonObject, value: str, expected: float | None) -> None:
    rig.connector.faults.append(status(503, retry_after=value))
    with pytest.raises(DeliveryFailed) as failure:
        await rig.teams.send(address, ANSWER)
    assert failure.value.retry_after == expected


@pytest.mark.parametrize("code", [400, 403, 404, 405, 410, 413])
async def test_never(rig: Rig, address: JsonObject, code: int) -> None:
    rig.connector.faults.append(status(code, error="BotNotInConversationRoster"))
    with pytest.raises(DeliveryRefused, match="BotNotInConversationRoster"):
        await rig.teams.send(address, ANSWER)
    assert len(rig.connector.deliveries) == 1


async def test_the_connectors_sentences_are_not_repeated(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(status(403, error="a sentence that quotes what people wrote"))
    with pytest.raises(DeliveryRefused) as refusal:
        await rig.teams.send(address, ANSWER)
    assert "people wrote" not in str(refusal.value)


async def test_too_large(rig: Rig, address: JsonObject) -> None:
    with pytest.raises(DeliveryRefused, match="MessageSizeTooBig"):
        await rig.teams.send(address, Part("x" * 60_000))


@pytest.mark.parametrize("answer", [status(201, body="<html>"), status(202, body="[]"), status(204, body="")])
async def test_success_without_an_id_is_success(rig: Rig, address: JsonObject, answer: Any) -> None:
    """Stock: 204 is an error, and so is a body that is not JSON."""
    rig.connector.faults.append(answer)
    assert await rig.teams.send(address, ANSWER) == ""


async def test_a_failure_without_json_is_that_failure(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(status(500, body="<html>"))
    with pytest.raises(DeliveryFailed, match="500"):
        await rig.teams.send(address, ANSWER)


async def test_a_cut_connection_may_have_been_shown(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(cut)
    with pytest.raises(DeliveryFailed) as failure:
        await rig.teams.send(address, ANSWER)
    assert failure.value.sent is True
    assert len(rig.connector.deliveries) == 1


async def test_what_was_taken_is_delivered_though_the_id_is_lost(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(cut_body)
    assert await rig.teams.send(address, ANSWER) == ""


async def test_a_connector_that_hangs_may_have_shown_it(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connector, "SEND_TIMEOUT", 0.5)
    rig = await make_rig()
    address = await rig.address(message(rig.url))
    released = asyncio.Event()
    rig.connector.faults.append(hold(released))
    with pytest.raises(DeliveryFailed) as failure:
        await rig.teams.send(address, ANSWER)
    released.set()
    assert failure.value.sent is True


async def test_nobody_there_means_nothing_sent(rig: Rig, address: JsonObject) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        with pytest.raises(DeliveryFailed) as failure:
            await rig.clock.through(rig.teams.send(address | {"serviceUrl": nobody}, ANSWER))
    assert failure.value.sent is False


# -- the credential -----------------------------------------------------------------------------------------


@pytest.mark.invariant("I16")
async def test_a_refused_token_is_the_operators_and_is_not_used_again(rig: Rig, address: JsonObject) -> None:
    rig.connector.faults.append(status(401))
    with pytest.raises(OperatorError) as failure:
        await rig.teams.send(address, ANSWER)
    assert "MICROSOFT_APP_PASSWORD" in failure.value.cure
    await rig.teams.send(address, ANSWER)
    assert rig.connector.deliveries[-1].authorization == "Bearer token-2"


@pytest.mark.invariant("I16")
@pytest.mark.parametrize(
    ("code", "error"), [(401, "invalid_client"), (400, "unauthorized_client"), (400, "invalid_request")]
)
async def test_a_refused_credential_names_its_cure(rig: Rig, address: JsonObject, code: int, error: str) -> None:
    rig.entra.refusal = (code, {"error": error, "error_description": f"AADSTS7000215: {SECRET}"})
    with pytest.raises(OperatorError) as failure:
        await rig.teams.send(address, ANSWER)
    assert "MICROSOFT_APP_PASSWORD" in failure.value.cure
    assert SECRET not in str(failure.value)
    assert failure.value.__cause__ is None
    assert rig.connector.deliveries == []
    rig.entra.refusal = None
    assert await rig.teams.send(address, ANSWER)


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_token_service_that_is_down_is_waited_for(rig: Rig, address: JsonObject, code: int) -> None:
    rig.entra.refusal = (code, {"error": "temporarily_unavailable"})
    with pytest.raises(DeliveryFailed) as failure:
        await rig.teams.send(address, ANSWER)
    assert failure.value.sent is False
    assert len(rig.entra.requests) == 1


async def test_a_token_service_that_is_gone_is_waited_for(rig: Rig, address: JsonObject) -> None:
    await rig.entra.close()
    with pytest.raises(DeliveryFailed) as failure:
        await rig.teams.send(address, ANSWER)
    assert failure.value.sent is False


async def test_single_tenant_asks_its_own_directory(rig: Rig, address: JsonObject) -> None:
    await rig.teams.send(address, ANSWER)
    [asked] = rig.entra.requests
    assert (asked["tenant"], asked["client_id"]) == (TENANT, APP_ID)
    assert (asked["scope"], asked["client_secret"]) == ("https://api.botframework.com/.default", SECRET)


async def test_multi_tenant_asks_the_bot_frameworks_directory(make_rig: MakeRig) -> None:
    rig = await make_rig(microsoft_app_type="MultiTenant")
    await rig.teams.send(await rig.address(message(rig.url)), ANSWER)
    assert rig.entra.requests[0]["tenant"] == "botframework.com"


async def test_a_managed_identity_needs_no_secret(make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = await make_rig(microsoft_app_type="UserAssignedMSI", microsoft_app_password="")
    monkeypatch.setenv("IDENTITY_ENDPOINT", rig.entra.managed_endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    await rig.teams.send(await rig.address(message(rig.url)), ANSWER)
    [asked] = rig.entra.requests
    assert (asked["client_id"], asked["resource"]) == (APP_ID, "https://api.botframework.com")


@pytest.mark.invariant("I16")
async def test_a_missing_managed_identity_names_its_cure() -> None:
    """Stock: KeyError('access_token')."""

    class Missing:
        async def get_token(self, *_scopes: str) -> Any:
            raise CredentialUnavailableError("no identity")

        async def close(self) -> None: ...

    token = BotToken(Missing, "scope", HeldClock(), managed=True)  # type: ignore[arg-type]
    with pytest.raises(OperatorError, match="Assign the identity"):
        await token.get()


@pytest.mark.invariant("I13")
async def test_no_secret_is_logged_stored_or_told(
    rig: Rig, address: JsonObject, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    slack_address = await rig.address(abs_slack(rig.url))
    told = [repr(rig.framework.__dict__), json.dumps(address), json.dumps(slack_address)]
    await rig.teams.send(address, ANSWER)
    for fault in (status(401), status(500), cut):
        rig.connector.faults.append(fault)
        with pytest.raises((DeliveryFailed, OperatorError)) as failure:
            await rig.teams.send(address, ANSWER)
        told.append(repr(failure.value))
    said, headers = "a secret of Ann's", rig.bearer()
    await rig.post(message(rig.url, said), headers=headers)
    told += [caplog.text, repr(rig.events), repr(rig.framework._token)]  # pyright: ignore[reportPrivateUsage]
    for secret in (SECRET, SLACK_TOKEN, rig.entra.valid, headers["Authorization"].split(".")[-1], said):
        assert all(secret not in text for text in told), secret
