"""Entra ID's token endpoint, and a managed identity's, counted. The former only speaks TLS, as its clients demand."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@cache
def _certificate() -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


class FakeEntra:
    """Answers with `token-1`, `token-2`, …, or with what `refusal` says."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[dict[str, Any]] = []
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.lifetime = 3600
        self.claims: dict[str, Any] | None = None
        """What its tokens say of the app; None: they are not to be read."""
        self.gate: asyncio.Event | None = None
        self.reached = asyncio.Event()
        self.ca_file = str(folder / "entra.pem")
        certificate, key = _certificate()
        Path(self.ca_file).write_bytes(certificate)
        (folder / "entra.key").write_bytes(key)
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(self.ca_file, folder / "entra.key")
        app = web.Application()
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._token)
        managed = web.Application()
        managed.router.add_get("/msi/token", self._managed)
        self._server = TestServer(app, scheme="https")
        self._managed_server = TestServer(managed)

    async def start(self) -> None:
        await self._server.start_server(ssl=self._tls)
        await self._managed_server.start_server()

    async def close(self) -> None:
        if self.gate is not None:
            self.gate.set()
        await self._server.close()
        await self._managed_server.close()

    @property
    def authority(self) -> str:
        return f"https://127.0.0.1:{self._server.port}"

    @property
    def managed_endpoint(self) -> str:
        return f"http://127.0.0.1:{self._managed_server.port}/msi/token"

    @property
    def valid(self) -> str:
        """The token that was given last."""
        return f"token-{len(self.requests)}"

    async def _answer(self) -> web.Response:
        self.reached.set()
        number = len(self.requests)
        if self.gate is not None:
            await self.gate.wait()
        if self.refusal is not None:
            return web.json_response(self.refusal[1], status=self.refusal[0])
        body = {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": self._made(number)}
        body["resource"] = "https://api.botframework.com"
        return web.json_response(body)

    def _made(self, number: int) -> str:
        return f"token-{number}" if self.claims is None else jwt.encode(self.claims, "a key of nobody's" * 2)

    async def _token(self, request: web.Request) -> web.Response:
        self.requests.append({"tenant": request.match_info["tenant"]} | dict(await request.post()))
        return await self._answer()

    async def _managed(self, request: web.Request) -> web.Response:
        self.requests.append(dict(request.query))
        return await self._answer()
