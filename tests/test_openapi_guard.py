"""Where a described service may be, and how one signs in to it."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from adapters.http_guard import Guarded, NotSent, Request, address_problem, refusal
from adapters.openapi_auth import NotSigned, Signer
from adapters.openapi_options import read_options
from tests.contracts.toolbox import CALLER, SECRET, call
from tests.openapi_service import document, offered, operation, parameter, says, serving

PUBLIC = ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
PRIVATE = ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "::1", "fd12::1", "100.64.0.1", "::ffff:10.0.0.1"]
NEVER = [
    *("169.254.169.254", "169.254.1.1", "fe80::1%eth0", "fd00:ec2::254"),
    *("168.63.129.16", "100.100.100.200", "192.0.0.192"),
    *("0.0.0.0", "::", "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255"),
    *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
]  # fmt: skip


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_called_with_https_alone(address: str):
    assert refusal(address, private=False, plain=False) == ""
    assert refusal(address, private=True, plain=False) == ""
    assert "https only" in refusal(address, private=True, plain=True)


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_called_where_it_is_allowed_alone(address: str):
    assert "allow_private" in refusal(address, private=False, plain=False)
    assert refusal(address, private=True, plain=True) == ""


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_called(address: str):
    assert refusal(address, private=True, plain=False)
    assert refusal(address, private=False, plain=False)


@given(st.ip_addresses(v=4))
def test_an_address_within_another_is_judged_as_itself(address: Any):
    mapped = f"::ffff:{address}"
    for private, plain in ((False, False), (True, False), (True, True)):
        inner = refusal(str(address), private=private, plain=plain)
        assert refusal(mapped, private=private, plain=plain) == inner
        if inner:
            assert refusal(f"64:ff9b::{address}", private=private, plain=plain) == inner


@pytest.mark.parametrize(
    ("address", "private", "problem"),
    [
        ("https://api.example.com/v1", False, ""),
        ("https://api.example.com:8443", False, ""),
        ("http://crm.internal:8080/api", True, ""),
        ("http://127.0.0.1:1", True, ""),
        ("http://api.example.com", False, "must begin with https"),
        ("http://8.8.8.8", True, "it has a public address, which is called with https only"),
        ("https://10.0.0.1", False, "it has a private address"),
        ("https://[::1]", False, "it has a private address"),
        ("https://169.254.169.254/latest", True, "never called"),
        ("https://user:pw@example.com", False, "without a user"),
        ("https://example.com/?key=1", False, "without a user, a query"),
        ("ftp://example.com", True, "is no address"),
        ("example.com", True, "is no address"),
        ("https://", True, "is no address"),
        ("https://example.com:port", True, "is no address"),
        ("https://exam ple.com", True, "is no address"),
        ("https://[::1", True, "is no address"),
    ],
)
def test_an_address_is_judged_when_it_is_read(address: str, private: bool, problem: str):
    found = address_problem(address, private=private)
    assert problem in found
    assert bool(found) is bool(problem)


@pytest.mark.invariant("I11")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_connection_to_a_private_address_is_refused_as_it_is_made(host: str):
    async with serving() as service:
        address = service.address.replace("http:", "https:").replace("127.0.0.1", host)
        async with Guarded(address) as http:
            with pytest.raises(NotSent, match="private address"):
                await http.send(Request("GET", address + "/x"))
    assert service.asked == []


@pytest.mark.invariant("I11")
async def test_a_name_that_leads_elsewhere_after_it_was_checked_is_refused(monkeypatch: pytest.MonkeyPatch):
    """DNS rebinding: the address that counts is the one that is connected to."""
    answers = ["93.184.215.14", "127.0.0.1", "169.254.169.254"]

    def resolves(host: Any, port: Any, *more: Any, **named: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[-1], port or 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolves)
    assert address_problem("https://rebinding.example/", private=False) == ""
    async with Guarded("https://rebinding.example") as http:
        with pytest.raises(NotSent, match="never called"):
            await http.send(Request("GET", "https://rebinding.example/x"))


@pytest.mark.invariant("I11")
async def test_another_host_than_the_named_one_is_not_called():
    async with serving() as other, serving() as service, Guarded(service.address, private=True) as http:
        assert (await http.send(Request("GET", service.address + "/a"))).status == 200
        for address in (other.address + "/a", service.address.replace("http:", "https:") + "/a"):
            with pytest.raises(NotSent, match="another than the one that is allowed"):
                await http.send(Request("GET", address))
    assert other.asked == []


@pytest.mark.invariant("I10")
async def test_no_cookie_of_one_call_comes_with_another():
    async with serving(says({}, Set_Cookie="session=ada")) as service:
        address = service.address.replace("127.0.0.1", "localhost")  # of a bare address no jar keeps a cookie
        async with Guarded(address, private=True) as http:
            for _ in range(2):
                await http.send(Request("GET", address + "/a"))
    assert "Cookie" not in service.asked[1].headers


async def test_what_is_asked_for_is_not_shown_when_it_is_printed():
    request = Request("GET", f"https://x/?key={SECRET}", {"Authorization": SECRET}, SECRET.encode())
    assert SECRET not in repr(request)


# -- signing in ---------------------------------------------------------------------------------------------

GET = document({"/items": {"get": operation(parameters=[parameter("key"), parameter("q")])}})


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("toml", "header", "value"),
    [
        ('type = "bearer"\nenv = "KEY"', "Authorization", f"Bearer {SECRET}"),
        ('type = "api_key"\nenv = "KEY"\nname = "X-Key"', "X-Key", SECRET),
        ('type = "api_key"\nenv = "KEY"\nname = "sid"\nin = "cookie"', "Cookie", f"sid={SECRET}"),
        ('type = "basic"\nuser = "ada"\nenv = "KEY"', "Authorization", basic("ada", SECRET)),
        ('type = "basic"\nuser_env = "KEY"', "Authorization", basic(SECRET, "")),
    ],
)
async def test_a_call_is_signed(tmp_path: Path, toml: str, header: str, value: str):
    environ = {"KEY": f"{SECRET}\n"}  # as a file that ends in a line break gives it
    async with serving() as service, offered(tmp_path, service, GET, f"[auth]\n{toml}\n", environ) as made:
        assert (await made.toolbox.call(call("do"), CALLER)).error is None
    assert service.asked[0].headers[header] == value


async def test_the_agent_does_not_fill_what_the_key_fills(tmp_path: Path):
    toml = '[auth]\ntype = "api_key"\nenv = "KEY"\nname = "key"\nin = "query"\n'
    async with serving() as service, offered(tmp_path, service, GET, toml, {"KEY": "a&b"}) as made:
        assert list(made.tools[0].spec.parameters["properties"]) == ["q"]
        await made.toolbox.call(call("do", q="x"), CALLER)
        await made.toolbox.call(call("do"), CALLER)
    assert service.targets == ["GET /api/items?q=x&key=a%26b", "GET /api/items?key=a%26b"]


OAUTH = """[auth]
type = "oauth_client_credentials"
env = "KEY"
client_id = "bot"
scope = "read"
"""


def tokens(*lifetimes: int | None):
    """A token service: `token 1`, `token 2` and so on."""
    given: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        given.append(f"token-{len(given) + 1}")
        lifetime = lifetimes[min(len(given), len(lifetimes)) - 1]
        return web.json_response({"access_token": given[-1], "token_type": "Bearer", "expires_in": lifetime})

    return answer


@pytest.mark.parametrize("send", ["basic", "body"])
async def test_a_token_is_fetched_once_and_used_until_its_end(tmp_path: Path, send: str):
    async with serving(tokens(3600)) as issuer, serving() as service:
        toml = f'{OAUTH}token_address = "{issuer.address}/token"\nsend = "{send}"\n'
        async with offered(tmp_path, service, GET, toml, {"KEY": "se:cret"}) as made:
            for _ in range(2):
                assert (await made.toolbox.call(call("do"), CALLER)).error is None
    assert [one.headers["Authorization"] for one in service.asked] == ["Bearer token-1"] * 2
    (asked,) = issuer.asked
    fields = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
    known = {"grant_type": "client_credentials", "scope": "read"}
    if send == "body":
        assert fields == known | {"client_id": "bot", "client_secret": "se:cret"}
    else:
        assert fields == known
        assert asked.headers["Authorization"] == basic("bot", "se%3Acret")


async def test_calls_at_one_time_share_one_token(tmp_path: Path):
    async with serving(tokens(3600)) as issuer, serving() as service:
        toml = f'{OAUTH}token_address = "{issuer.address}"\n'
        async with offered(tmp_path, service, GET, toml, {"KEY": SECRET}) as made:
            await asyncio.gather(*(made.toolbox.call(call("do"), CALLER) for _ in range(3)))
    assert len(issuer.asked) == 1
    assert [one.headers["Authorization"] for one in service.asked] == ["Bearer token-1"] * 3


async def test_a_token_is_fetched_anew_before_its_end():
    now = [0.0]
    async with serving(tokens(3600, 10, None)) as issuer:
        toml = f'address = "https://x.example"\nallow_private = true\n{OAUTH}token_address = "{issuer.address}"\n'
        signer = Signer(read_options(toml).auth, {"KEY": SECRET}, private=True, now=lambda: now[0])

        async def token() -> str:
            return (await signer.sign(Request("GET", "https://x.example/"))).headers["Authorization"]

        async with signer:
            assert await token() == "Bearer token-1"
            now[0] = 3539
            assert await token() == "Bearer token-1"
            now[0] = 3541  # a minute before its end
            assert await token() == "Bearer token-2"
            now[0] += 4  # of ten seconds half are used
            assert await token() == "Bearer token-2"
            now[0] += 2
            assert await token() == "Bearer token-3"
            signer.forget()
            assert await token() == "Bearer token-4"


async def test_a_token_that_the_service_refuses_is_fetched_anew_next_time(tmp_path: Path):
    async with serving(tokens(3600)) as issuer, serving(says(status=401), says({})) as service:
        toml = f'{OAUTH}token_address = "{issuer.address}"\n'
        async with offered(tmp_path, service, GET, toml, {"KEY": SECRET}) as made:
            assert "this is not allowed" in (await made.toolbox.call(call("do"), CALLER)).output
            assert (await made.toolbox.call(call("do"), CALLER)).error is None
    assert [one.headers["Authorization"] for one in service.asked] == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.invariant("I13")
@pytest.mark.parametrize(
    "answer",
    [
        says({"error": "invalid_client", "error_description": SECRET}, 401),
        says({"access_token": ""}),
        says({"access_token": "a\nb"}),
        says(SECRET),
        says(status=302, Location="https://elsewhere.example/"),
    ],
)
async def test_where_no_token_is_given_nothing_is_called(tmp_path: Path, answer: Any, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO)
    async with serving(answer) as issuer, serving() as service:
        toml = f'{OAUTH}token_address = "{issuer.address}"\n'
        async with offered(tmp_path, service, GET, toml, {"KEY": SECRET}) as made:
            output = await made.toolbox.call(call("do"), CALLER)
    assert service.asked == []
    assert output.output.startswith("do was not called: signing in to the service failed.")
    assert SECRET not in output.output + caplog.text
    assert "the token service answered" in caplog.text


async def test_a_token_service_that_is_not_there_is_named_as_such():
    async with serving() as issuer:
        pass
    toml = f'address = "https://x.example"\nallow_private = true\n{OAUTH}token_address = "{issuer.address}"\n'
    async with Signer(read_options(toml).auth, {"KEY": SECRET}, private=True) as signer:
        with pytest.raises(NotSigned, match="gave no token: it cannot be reached"):
            await signer.sign(Request("GET", "https://x.example/"))
