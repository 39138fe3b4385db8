"""The app's certificate, and the clouds that are not the public one."""

from __future__ import annotations

import logging
from pathlib import Path

import jwt
import pytest
from botframework.connector.auth.authentication_constants import AuthenticationConstants
from botframework.connector.auth.government_constants import GovernmentConstants
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bot.channels.cloud import CLOUDS
from bot.errors import OperatorError, SettingsError
from bot.settings import SERVICE_HOSTS, load
from bot.types import Part
from tests.channels.conftest import MakeRig
from tests.teams import APP_ID, TENANT, message
from tests.teams.issuer import FakeIssuer
from tests.teams.pems import pem
from tests.teams.rig import SECRET

ANSWER = Part("the answer", by_agent=True)
PASSWORD = "the-key's-password"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


# -- the certificate ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["", PASSWORD])
async def test_a_certificate_signs_for_the_app(
    make_rig: MakeRig, tmp_path: Path, key: rsa.RSAPrivateKey, password: str
) -> None:
    rig = await make_rig(
        microsoft_app_password="",
        microsoft_app_certificate=pem(tmp_path / "bot.pem", key, password),
        microsoft_app_certificate_password=password,
    )
    await rig.teams.send(await rig.address(message(rig.url)), ANSWER)
    [asked] = rig.entra.requests
    assert (asked["tenant"], asked["client_id"]) == (TENANT, APP_ID)
    assert "client_secret" not in asked
    said = jwt.decode(
        asked["client_assertion"], key.public_key(), algorithms=["RS256", "PS256"], options={"verify_aud": False}
    )
    assert (said["iss"], said["sub"]) == (APP_ID, APP_ID)
    assert said["aud"].startswith(rig.entra.authority)


@pytest.mark.invariant("I13")
async def test_the_private_key_is_told_to_nobody(
    make_rig: MakeRig, tmp_path: Path, key: rsa.RSAPrivateKey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    file = pem(tmp_path / "bot.pem", key, PASSWORD)
    rig = await make_rig(
        microsoft_app_password="", microsoft_app_certificate=file, microsoft_app_certificate_password=PASSWORD
    )
    address = await rig.address(message(rig.url))
    await rig.teams.send(address, ANSWER)
    await rig.framework._token.forget()  # type: ignore[union-attr]  # pyright: ignore[reportPrivateUsage]
    rig.entra.refusal = (401, {"error": "invalid_client", "error_description": "AADSTS700027: assertion"})
    with pytest.raises(OperatorError) as failure:
        await rig.teams.send(address, ANSWER)
    assert "MICROSOFT_APP_CERTIFICATE" in failure.value.cure
    told = caplog.text + repr(failure.value) + repr(rig.events) + repr(rig.framework.__dict__)
    lines = [line for line in file.read_text().splitlines() if len(line) > 40]
    assert lines
    assert not any(line in told for line in lines)
    assert PASSWORD not in told
    assert rig.entra.requests[0]["client_assertion"] not in told


async def test_a_renewed_file_is_used_once_the_old_one_is_refused(
    make_rig: MakeRig, tmp_path: Path, key: rsa.RSAPrivateKey
) -> None:
    file = pem(tmp_path / "bot.pem", key)
    rig = await make_rig(microsoft_app_password="", microsoft_app_certificate=file)
    address = await rig.address(message(rig.url))
    await rig.teams.send(address, ANSWER)
    renewed = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem(file, renewed)
    await rig.framework._token.forget()  # type: ignore[union-attr]  # pyright: ignore[reportPrivateUsage]
    await rig.teams.send(address, ANSWER)
    assertion = rig.entra.requests[1]["client_assertion"]
    assert jwt.decode(assertion, renewed.public_key(), algorithms=["RS256", "PS256"], options={"verify_aud": False})


@pytest.mark.invariant("I16")
@pytest.mark.parametrize("broken", ["no key", "not PEM", "another password", "no RSA key"])
async def test_a_certificate_that_cannot_be_used_refuses_to_start(
    make_rig: MakeRig, tmp_path: Path, key: rsa.RSAPrivateKey, broken: str
) -> None:
    file = tmp_path / "bot.pem"
    match broken:
        case "no key":
            text = pem(file, key).read_text()
            file.write_text(text[text.index("-----BEGIN CERTIFICATE") :])
        case "not PEM":
            file.write_text("what people wrote")
        case "another password":
            pem(file, key, "another")
        case _:
            pem(file, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(OperatorError) as failure:
        await make_rig(microsoft_app_password="", microsoft_app_certificate=file)
    assert "MICROSOFT_APP_CERTIFICATE must be" in failure.value.cure
    assert "people wrote" not in str(failure.value)


def test_one_credential_is_enough_and_two_are_too_many(tmp_path: Path) -> None:
    app = {"microsoft_app_id": APP_ID, "microsoft_app_tenant_id": TENANT}
    file = tmp_path / "bot.pem"
    file.write_text("")
    assert load(env_file=None, **app, microsoft_app_certificate=str(file)).microsoft_app_certificate == file
    for wrong in (
        {},
        {"microsoft_app_password": SECRET, "microsoft_app_certificate": str(file)},
        {"microsoft_app_certificate": str(tmp_path / "missing.pem")},
    ):
        with pytest.raises(SettingsError, match="MICROSOFT_APP_CERTIFICATE") as refusal:
            load(env_file=None, **app, **wrong)
        assert SECRET not in str(refusal.value)


# -- other clouds -------------------------------------------------------------------------------------------


def test_the_public_and_the_government_cloud_are_the_sdks() -> None:
    for name, sdk in (("public", AuthenticationConstants), ("usgov", GovernmentConstants)):
        cloud = CLOUDS[name]
        assert cloud.issuer == sdk.TO_BOT_FROM_CHANNEL_TOKEN_ISSUER
        assert cloud.metadata_url == sdk.TO_BOT_FROM_CHANNEL_OPENID_METADATA_URL
        assert cloud.authority + "/" == sdk.TO_CHANNEL_FROM_BOT_LOGIN_URL_PREFIX
        assert cloud.scope == sdk.TO_CHANNEL_FROM_BOT_OAUTH_SCOPE + "/.default"
        assert cloud.directory == sdk.DEFAULT_CHANNEL_AUTH_TENANT


def test_every_cloud_has_its_own_addresses() -> None:
    assert set(CLOUDS) == set(SERVICE_HOSTS)
    for name, cloud in CLOUDS.items():
        ending = {"public": ".com", "usgov": ".us", "china": ".cn"}[name]
        addresses = (cloud.issuer, cloud.authority, cloud.scope.removesuffix("/.default"))
        assert all(address.endswith(ending) for address in addresses)
        assert (cloud.loopback, cloud.ca_file) == (False, None)


def test_the_hosts_are_the_clouds_unless_others_are_named() -> None:
    app = {"microsoft_app_id": APP_ID, "microsoft_app_tenant_id": TENANT, "microsoft_app_password": SECRET}
    assert load(env_file=None, **app).service_hosts == SERVICE_HOSTS["public"]
    assert load(env_file=None, **app, microsoft_cloud="usgov").service_hosts == SERVICE_HOSTS["usgov"]
    named = load(env_file=None, **app, microsoft_cloud="china", allowed_service_hosts="a.example")
    assert named.service_hosts == ("a.example",)


@pytest.mark.invariant("I11")
@pytest.mark.parametrize(
    ("cloud", "url", "status"),
    [
        ("public", "https://smba.trafficmanager.net/teams/", 202),
        ("usgov", "https://smba.infra.gov.teams.microsoft.us/gcch/", 202),
        ("usgov", "https://slack.botframework.azure.us/", 202),
        ("usgov", "https://smba.trafficmanager.net/teams/", 403),
        ("china", "https://msteams.botframework.azure.cn/", 202),
        ("china", "https://smba.infra.gov.teams.microsoft.us/gcch/", 403),
    ],
)
async def test_each_cloud_has_its_issuer_and_its_hosts(make_rig: MakeRig, cloud: str, url: str, status: int) -> None:
    there = CLOUDS[cloud]
    rig = await make_rig(microsoft_cloud=cloud, cloud={"issuer": there.issuer, "loopback": False})
    for issuer in {known.issuer for known in CLOUDS.values()}:
        header = {"Authorization": f"Bearer {rig.issuer.token(url, iss=issuer)}"}
        answered, _ = await rig.post(message(url, id=issuer), headers=header)
        assert answered == (status if issuer == there.issuer else 401)


async def test_a_multi_tenant_bot_asks_its_clouds_directory(make_rig: MakeRig) -> None:
    there = CLOUDS["usgov"]
    rig = await make_rig(microsoft_app_type="MultiTenant", cloud={"directory": there.directory, "scope": there.scope})
    await rig.teams.send(await rig.address(message(rig.url)), ANSWER)
    [asked] = rig.entra.requests
    assert (asked["tenant"], asked["scope"]) == (there.directory, "https://api.botframework.us/.default")


@pytest.mark.invariant("I11")
async def test_a_token_without_a_service_address_is_for_none(make_rig: MakeRig) -> None:
    rig = await make_rig()
    issuer: FakeIssuer = rig.issuer
    for claims in ({"drop": ("serviceurl",)}, {"serviceurl": ""}, {"serviceurl": [rig.url]}, {"serviceurl": None}):
        header = {"Authorization": f"Bearer {issuer.token(rig.url, **claims)}"}  # type: ignore[arg-type]
        assert (await rig.post(message(rig.url), headers=header))[0] == 403
    assert rig.accepted == []
