"""Where the Bot Framework is, and the one HTTP session that goes there."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp

MAX_CONNECTIONS = 256


@dataclass(frozen=True, slots=True)
class Cloud:
    """The public cloud, unless a test or a sovereign cloud says otherwise.

    `directory` issues the tokens of multi-tenant bots. `loopback` lets serviceUrl be this machine; `ca_file` is
    trusted for `authority`.
    """

    metadata_url: str = "https://login.botframework.com/v1/.well-known/openidconfiguration"
    issuer: str = "https://api.botframework.com"
    authority: str = "https://login.microsoftonline.com"
    scope: str = "https://api.botframework.com/.default"
    directory: str = "botframework.com"
    loopback: bool = False
    ca_file: str | None = None


CLOUDS = {
    "public": Cloud(),
    "usgov": Cloud(
        metadata_url="https://login.botframework.azure.us/v1/.well-known/openidconfiguration",
        issuer="https://api.botframework.us",
        authority="https://login.microsoftonline.us",
        scope="https://api.botframework.us/.default",
        directory="MicrosoftServices.onmicrosoft.us",
    ),
    "china": Cloud(
        metadata_url="https://login.botframework.azure.cn/v1/.well-known/openidconfiguration",
        issuer="https://api.botframework.azure.cn",
        authority="https://login.partner.microsoftonline.cn",
        scope="https://api.botframework.azure.cn/.default",
        directory="microsoftservices.partner.onmschina.cn",
    ),
}
"""By MICROSOFT_CLOUD; usgov is GCC High and DoD. From botframework-connector's GovernmentConstants, and for China from
Microsoft's Teams SDK (`CloudEnvironment`). Not tried against these clouds.
https://learn.microsoft.com/azure/bot-service/how-to-deploy-gov-cloud-high
"""


class Session:
    """An aiohttp session, made when first needed since it belongs to the running loop. It keeps no cookies."""

    def __init__(self) -> None:
        self._open: aiohttp.ClientSession | None = None

    def get(self) -> aiohttp.ClientSession:
        """The session."""
        if self._open is None:
            self._open = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS), cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._open

    async def close(self) -> None:
        """Close it and its connections."""
        if self._open is not None:
            await self._open.close()
