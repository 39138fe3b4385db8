"""POST /api/messages: who is listened to, and what each request is answered.

`stock` names what botbuilder 4.17.1 does with the same request.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import jwt
import pytest

from bot.channels import endpoint
from bot.events import ActivityIgnored, Unexpected
from bot.types import Accepted, Message
from tests.channels.conftest import MakeRig
from tests.teams import APP_ID, TENANT, abs_slack, group_message, invoke, message
from tests.teams.rig import Rig

Changed = Callable[[Rig], str]


@pytest.mark.invariant("I1")
async def test_acknowledged_only_once_it_is_stored(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, stored = asyncio.Event(), asyncio.Event()

    async def accept(_message: Message) -> Accepted:
        entered.set()
        await stored.wait()
        return Accepted(turn=1, fresh=True)

    monkeypatch.setattr(rig, "accept", accept)
    answer = asyncio.create_task(rig.post(message(rig.url)))
    await entered.wait()
    done, _ = await asyncio.wait({answer}, timeout=0.05)
    assert not done
    stored.set()
    assert await answer == (202, None)


@pytest.mark.invariant("I1")
async def test_what_cannot_be_stored_is_not_acknowledged(rig: Rig) -> None:
    rig.fault = RuntimeError("disk full: hello")
    status, said = await rig.post(message(rig.url))
    assert status == 503
    assert "hello" not in json.dumps(said)
    assert rig.events == [Unexpected(reference="", lane="", where="accept", error="RuntimeError")]


async def test_a_fault_of_ours_is_no_500_and_no_trace(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_given: object, **_options: object) -> None:
        raise KeyError("hello")

    monkeypatch.setattr(endpoint, "read", broken)
    status, said = await rig.post(message(rig.url))
    assert status == 503
    assert "hello" not in json.dumps(said) + caplog.text
    assert rig.events == [Unexpected(reference="", lane="", where="endpoint", error="KeyError")]


# -- tokens -------------------------------------------------------------------------------------------------


def _forged(rig: Rig) -> str:
    """A known key id over a signature of another key."""
    known = rig.issuer.kid
    rig.issuer.rotate(publish=False)
    return rig.issuer.token(rig.url, kid=known)


def _unsigned(rig: Rig) -> str:
    claims = {"iss": "https://api.botframework.com", "aud": APP_ID, "exp": time.time() + 60, "serviceurl": rig.url}
    return jwt.encode(claims, None, algorithm="none", headers={"kid": rig.issuer.kid})


def _symmetric(rig: Rig) -> str:
    claims = {"iss": "https://api.botframework.com", "aud": APP_ID, "exp": time.time() + 60, "serviceurl": rig.url}
    return jwt.encode(claims, "a-shared-secret-of-thirty-two-bytes", algorithm="HS256", headers={"kid": rig.issuer.kid})


def _own_multi_tenant_token(rig: Rig) -> str:
    issuer = "https://sts.windows.net/d6d49420-f39b-4df7-a1dc-d59a935871db/"
    return rig.issuer.token(rig.url, iss=issuer, appid=APP_ID, ver="1.0", aud="https://api.botframework.com")


BAD_TOKENS: dict[str, Changed] = {
    "no token": lambda _: "",
    "stock 500: garbage": lambda _: "Bearer garbage",
    "another scheme": lambda _: "Basic YTpi",
    "stock 500: expired": lambda r: "Bearer " + r.issuer.token(r.url, exp=int(time.time()) - 301),
    "stock accepts: without exp": lambda r: "Bearer " + r.issuer.token(r.url, drop=("exp",)),
    "not yet valid": lambda r: "Bearer " + r.issuer.token(r.url, nbf=int(time.time()) + 900),
    "for another app": lambda r: "Bearer " + r.issuer.token(r.url, aud="another-app"),
    "for the connector": lambda r: "Bearer " + r.issuer.token(r.url, aud="https://api.botframework.com"),
    "without audience": lambda r: "Bearer " + r.issuer.token(r.url, drop=("aud",)),
    "another issuer": lambda r: "Bearer " + r.issuer.token(r.url, iss="https://evil.example"),
    "stock accepts: our own multi-tenant token": lambda r: "Bearer " + _own_multi_tenant_token(r),
    "our own token, audience changed": lambda r: (
        "Bearer " + r.issuer.token(r.url, iss=f"https://sts.windows.net/{TENANT}/", appid=APP_ID)
    ),
    "stock 500: unknown key": lambda r: "Bearer " + r.issuer.token(r.url, kid="nobody"),
    "stock 500: forged": lambda r: "Bearer " + _forged(r),
    "unsigned": lambda r: "Bearer " + _unsigned(r),
    "stock 500: symmetric": lambda r: "Bearer " + _symmetric(r),
    "a header of brackets": lambda _: "Bearer " + "W1tb" * 1500 + ".e30.c2ln",
    "a key id that is no text": lambda r: "Bearer " + _with_key_id(r, ["a"]),
}


def _with_key_id(rig: Rig, key_id: Any) -> str:
    header, _, rest = rig.issuer.token(rig.url).partition(".")
    raw = json.dumps({"alg": "RS256", "kid": key_id}).encode()
    return jwt.utils.base64url_encode(raw).decode() + "." + rest if header else ""


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("case", BAD_TOKENS)
async def test_bad_tokens_are_401(rig: Rig, case: str) -> None:
    header = BAD_TOKENS[case](rig)
    status, said = await rig.post(message(rig.url), headers={"Authorization": header} if header else {})
    assert status == 401, said
    assert said["error"]
    assert header.removeprefix("Bearer ") not in json.dumps(said) or not header
    assert rig.accepted == []


@pytest.mark.invariant("I11")
async def test_five_minutes_of_skew_are_forgiven(rig: Rig) -> None:
    status, _ = await rig.post(message(rig.url), headers=rig.bearer(exp=int(time.time()) - 240))
    assert status == 202


@pytest.mark.invariant("I11")
async def test_the_sender_is_verified_before_the_body_is_read(rig: Rig) -> None:
    """Stock deserialises first: 1 MiB of empty members, without any credential, stops the loop for 2 s.

    Here not a byte of the body has been sent when the answer comes.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.client.port)
    head = "POST /api/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 200000\r\n\r\n"
    writer.write(head.encode())
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    await writer.wait_closed()
    assert b" 401 " in line


# -- a valid token, but not for this ------------------------------------------------------------------------


@pytest.mark.invariant("I11")
async def test_service_url_must_be_the_tokens(rig: Rig) -> None:
    status, said = await rig.post(message(rig.url + "other/"))
    assert (status, rig.accepted) == (403, [])
    assert "serviceUrl" in said["error"]


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("field", ["serviceUrl", "channelId", "type"])
@pytest.mark.parametrize("value", ["", None, 7])
async def test_a_field_left_out_skips_no_check(rig: Rig, field: str, value: Any) -> None:
    """Stock: without serviceUrl the claim, without channelId the endorsement is not looked at."""
    status, said = await rig.post(message(rig.url) | {field: value})
    assert (status, rig.accepted) == (400, [])
    assert field in said["error"]


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("endorsements", [("webchat",), (), None])
async def test_a_key_must_be_endorsed_for_the_channel(rig: Rig, endorsements: tuple[str, ...] | None) -> None:
    """Stock: 500 for another channel, and accepted where the key has no endorsements."""
    rig.issuer.rotate(endorsements=endorsements)
    status, _ = await rig.post(message(rig.url))
    assert (status, rig.accepted) == (403, [])


@pytest.mark.invariant("I11")
async def test_channels_that_nobody_asked_for_are_refused(rig: Rig) -> None:
    rig.issuer.rotate(endorsements=("directline", "msteams"))
    status, _ = await rig.post(message(rig.url, channelId="directline"))
    assert (status, rig.accepted) == (403, [])


@pytest.mark.invariant("I11")
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://smba.trafficmanager.net.evil.example/",
        "https://evilbotframework.com/",
        "https://user@smba.trafficmanager.net/",
        "https://smba.trafficmanager.net:8443/",
        "http://smba.trafficmanager.net/",
        "https://169.254.169.254/",
        "https://[::1]/",
        "https://evil.example\\@smba.trafficmanager.net/",
        "https://smba.trafficmanager.net/#@evil.example",
        "not an address",
        "https://[",
    ],
)
async def test_only_listed_hosts_are_answered(make_rig: MakeRig, url: str) -> None:
    """Stock has no list: the bot's token goes wherever a signed activity, or a stored reference, says."""
    rig = await make_rig(cloud={"loopback": False})
    header = {"Authorization": f"Bearer {rig.issuer.token(url)}"}
    status, _ = await rig.post(message(url), headers=header)
    assert (status, rig.accepted) == (403, [])


@pytest.mark.parametrize("url", ["https://smba.trafficmanager.net/emea/", "https://slack.botframework.com/"])
async def test_listed_hosts_are_answered(make_rig: MakeRig, url: str) -> None:
    rig = await make_rig(cloud={"loopback": False})
    status, _ = await rig.post(message(url), headers={"Authorization": f"Bearer {rig.issuer.token(url)}"})
    assert status == 202


@pytest.mark.invariant("I11")
async def test_tenants_outside_the_list_are_refused(make_rig: MakeRig) -> None:
    rig = await make_rig(allowed_tenants=(TENANT, "T1"))
    for refused in (
        message(rig.url, channelData={"tenant": {"id": "another"}}),
        message(rig.url, channelData={}),
        abs_slack(rig.url, team="T2"),
        invoke(rig.url, "message/submitAction") | {"channelData": None},
    ):
        assert (await rig.post(refused))[0] == 403
    assert rig.accepted == []
    assert (await rig.post(message(rig.url)))[0] == 202
    assert (await rig.post(abs_slack(rig.url)))[0] == 202


# -- bodies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe{}",
        b"[" * 100_000,
        b'{"a":' * 20_000,
        b'{"type": ' + b"9" * 5000 + b"}",
    ],
)
async def test_bodies_that_are_no_activity_are_400(rig: Rig, data: bytes) -> None:
    """Stock: 500 and a trace in the log."""
    status, said = await rig.post(data=data)
    assert status == 400
    assert said["error"]


@pytest.mark.parametrize(
    "change",
    [
        {"conversation": None},
        {"conversation": {"id": ""}},
        {"conversation": {"id": ".."}},
        {"conversation": "a:1"},
        {"from": {}},
        {"from": None},
    ],
)
async def test_messages_that_cannot_be_answered_are_400(rig: Rig, change: dict[str, Any]) -> None:
    status, said = await rig.post(message(rig.url) | change)
    assert (status, rig.accepted) == (400, [])
    assert said["error"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_other_content_types_are_415(rig: Rig, headers: dict[str, str]) -> None:
    status, said = await rig.post(headers=rig.bearer() | headers, data=b"{}")
    assert status == 415
    assert said["error"]


async def test_large_bodies_are_413_announced_or_not(rig: Rig) -> None:
    assert (await rig.post(data=b" " * (256 * 1024 + 1)))[0] == 413

    async def unannounced() -> AsyncIterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    status, said = await rig.post(data=unannounced())  # type: ignore[arg-type]
    assert status == 413
    assert said["error"]


async def test_a_message_of_exactly_the_limit_is_taken(rig: Rig) -> None:
    body = json.dumps(message(rig.url)).encode()
    assert (await rig.post(data=body + b" " * (256 * 1024 - len(body))))[0] == 202


async def test_other_methods_are_405(rig: Rig) -> None:
    """Stock: 500."""
    async with rig.client.get("/api/messages") as response:
        assert response.status == 405


# -- what is no message -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["typing", "conversationUpdate", "messageReaction", "messageDelete", "brandNew"])
async def test_other_activities_are_acknowledged_and_counted(rig: Rig, kind: str) -> None:
    status, _ = await rig.post(message(rig.url, type=kind))
    assert (status, rig.accepted) == (200, [])
    assert rig.events == [ActivityIgnored(reference="", lane="", channel="msteams", kind=kind)]


async def test_words_between_people_are_not_taken(rig: Rig) -> None:
    status, _ = await rig.post(group_message(rig.url, "lunch?", entities=[]))
    assert (status, rig.accepted) == (200, [])
    assert rig.events == [ActivityIgnored(reference="", lane="", channel="msteams", kind="not mentioned")]


@pytest.mark.parametrize(
    ("name", "value", "status", "kind"),
    [
        ("message/submitAction", {"actionName": "feedback"}, 200, None),
        ("adaptiveCard/action", {"action": {"verb": "x"}}, 200, "application/vnd.microsoft.activity.message"),
        ("adaptiveCard/action", None, 200, "application/vnd.microsoft.error"),
        ("adaptiveCard/action", ["malformed"], 200, "application/vnd.microsoft.error"),
        ("task/fetch", {}, 200, None),
        ("signin/verifyState", {}, 501, None),
        ("", None, 501, None),
    ],
)
async def test_invokes_are_answered_in_place(rig: Rig, name: str, value: Any, status: int, kind: str | None) -> None:
    """Stock: any body is 500, `'dict' object has no attribute 'is_xml_model'`."""
    answered, said = await rig.post(invoke(rig.url, name, value))
    assert (answered, rig.accepted) == (status, [])
    assert said.get("type") == kind
    assert said == {} or name != "message/submitAction"


async def test_expect_replies_is_stored_like_any_message(rig: Rig) -> None:
    """Stock: 500, as for every other body."""
    assert (await rig.post(message(rig.url, deliveryMode="expectReplies")))[0] == 202
    assert len(rig.accepted) == 1
