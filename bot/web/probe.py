"""A request to somebody's door without a credential: whether anybody answers, how, and what time they have."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp

from bot.errors import OperatorError
from bot.findings import Finding
from bot.settings import is_loopback
from bot.web.app import MODE_HEADER

MESSAGES = "/api/messages"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `offset` as `Finding` has it; None where no Date came."""

    status: int
    headers: Mapping[str, str]
    offset: float | None


async def ask(method: str, url: str, body: object = None) -> Answer:
    """One request; redirects are not followed, and the answer's body is not read.

    Raises:
        OperatorError: nobody answers there, or cannot be trusted.
    """
    # made now: SSL_CERT_FILE may name what a company's proxy signs with
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context() if url.startswith("https:") else True)
    asked = time.time()
    data = None if body is None else json.dumps(body)
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(method, url, data=data, headers=headers, allow_redirects=False) as response,
        ):
            offset = _offset(response.headers.get("Date", ""), (asked + time.time()) / 2)
            return Answer(response.status, response.headers.copy(), offset)
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError, ValueError) as error:
        failure = _unreachable(error, type(error).__name__, urlsplit(url).hostname or "")
    raise failure  # outside: the error's words quote the address, and would hang on as the context


def _offset(date: str, now: float) -> float | None:
    try:
        there = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return now - there - 0.5  # a Date has whole seconds, cut off


def _unreachable(error: object, kind: str, host: str) -> OperatorError:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return OperatorError(
            f"The name {host} is not known here.", "Check how it is written, and the DNS of this machine or network."
        )
    if isinstance(error, (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError, ssl.SSLError)):
        return OperatorError(
            f"The certificate of {host} is not trusted here, or it speaks no TLS ({kind}).",
            "Renew it there; behind a company's proxy, name the proxy's certificate in SSL_CERT_FILE.",
        )
    return OperatorError(
        f"Nobody answers at {host} ({kind}).",
        "Check the address, that the service runs, and that this network lets the bot reach it.",
    )


async def door(subject: str, url: str, setting: str) -> Finding:
    """Whether a service answers at all, whatever it says.

    Raises:
        OperatorError: it does not.
    """
    answer = await ask("GET", url)
    host = urlsplit(url).hostname or ""
    if 300 <= answer.status < 400:
        return Finding(
            subject,
            "problem",
            f"{host} sends elsewhere ({answer.status}); nobody is followed with a token.",
            f"Check {setting}.",
            answer.offset,
        )
    if answer.status >= 500:
        return Finding(
            subject,
            "problem",
            f"{host} cannot answer now ({answer.status}).",
            f"Wait, then ask again; if it stays so, check {setting} and what stands before the service.",
            answer.offset,
        )
    return Finding(subject, "ok", f"{host} answers.", offset=answer.offset)


async def public(subject: str, address: str) -> Finding:
    """Whether the bot can be reached from where this runs, and lets nobody in who brings no token.

    Raises:
        OperatorError: nobody answers there.
    """
    url = urlsplit(address.rstrip("/").removesuffix(MESSAGES))
    near = url.scheme == "http" and is_loopback(url.hostname or "")
    if not near and (url.scheme != "https" or not url.hostname):
        return _public(subject, f"{address} is no https address.", "Teams delivers to https://YOUR-HOST alone.")
    base = f"{url.scheme}://{url.netloc}{url.path}"
    health = await ask("GET", f"{base}/healthz")
    if health.status != 200 or MODE_HEADER not in health.headers:
        return _public(
            subject,
            f"What answers there is no Threadkeeper (/healthz: {health.status}).",
            "Let the proxy or ingress pass every path on to the bot's HOST and PORT, and see that the bot runs.",
        )
    if health.headers[MODE_HEADER] == "local":
        return _public(
            subject,
            "A bot in local mode answers there, which takes no message from outside.",
            "Set MICROSOFT_APP_ID and its credential, and start it again.",
        )
    refused = await ask("POST", f"{base}{MESSAGES}", {})
    if refused.status != 401:
        return _public(
            subject,
            f"POST {MESSAGES} without a token got {refused.status}, and must get 401.",
            f"Let the proxy pass POST {MESSAGES} on as it is, with its headers, and answer nothing itself.",
        )
    return Finding(subject, "ok", f"{base} answers, and refuses who brings no token.")


def _public(subject: str, words: str, cure: str) -> Finding:
    return Finding(subject, "problem", words, cure)
