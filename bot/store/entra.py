"""The database's password where the app's identity is the password: a token of Microsoft Entra ID.

https://learn.microsoft.com/azure/postgresql/security/security-entra-configure
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.identity import CredentialUnavailableError
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential, get_bearer_token_provider

from bot.errors import OperatorError, ServiceUnavailable

SCOPES = {
    "public": "https://ossrdbms-aad.database.windows.net/.default",
    "usgov": "https://ossrdbms-aad.database.usgovcloudapi.net/.default",
    "china": "https://ossrdbms-aad.database.chinacloudapi.cn/.default",
}
"""By MICROSOFT_CLOUD. As Azure's command line has them, which calls them the ossrdbms resource of a cloud."""
SECONDS = 30.0
"""That a token may take; on a virtual machine the identity's own endpoint is asked several times."""
_OWN_SECRETS = ("AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE")


def credential(environ: Mapping[str, str] = os.environ) -> AsyncTokenCredential:
    """Who the app is: the managed identity that AZURE_CLIENT_ID names, else whatever this machine is signed in as."""
    client_id = environ.get("AZURE_CLIENT_ID", "")
    if client_id and not any(environ.get(name) for name in _OWN_SECRETS):
        return ManagedIdentityCredential(client_id=client_id)
    return DefaultAzureCredential()


class EntraPassword:
    """A token for each new connection; it is kept until five minutes before its end, then replaced."""

    def __init__(self, cloud: str, make: Callable[[], AsyncTokenCredential] = credential) -> None:
        self._scope = SCOPES[cloud]
        self._make = make
        self._credential: AsyncTokenCredential | None = None
        self._provider: Callable[[], Awaitable[str]] | None = None
        self._dropped: list[AsyncTokenCredential] = []

    def __repr__(self) -> str:
        return "EntraPassword()"

    async def get(self) -> str:
        """A token that is good for some minutes; an open connection outlives it.

        Raises:
            OperatorError: the machine has no identity, or it is refused.
            ServiceUnavailable: the token service does not answer.
        """
        await self._close_dropped()
        if self._provider is None:
            self._credential = self._make()
            self._provider = get_bearer_token_provider(self._credential, self._scope)
        try:
            async with asyncio.timeout(SECONDS):
                return await self._provider()
        except (CredentialUnavailableError, ClientAuthenticationError) as error:
            failure = _no_token(error)
        except (AzureError, OSError, ValueError, KeyError) as error:
            failure = ServiceUnavailable(f"The database needs a token, and none came ({type(error).__name__}).")
        raise failure  # outside the handlers: the service's words quote the request, and would hang on as the context

    def forget(self) -> None:
        """Drop a token that the database refused, and the credential, which would give the same one again."""
        if self._credential is not None:
            self._dropped.append(self._credential)
        self._credential = self._provider = None

    async def close(self) -> None:
        """Give back the credential's session."""
        self.forget()
        await self._close_dropped()

    async def _close_dropped(self) -> None:
        while self._dropped:
            with suppress(AzureError, OSError):
                await self._dropped.pop().close()


def _no_token(error: Exception) -> OperatorError:
    return OperatorError(
        f"There is no token for the database ({type(error).__name__}).",
        "In Azure: give the app a managed identity and set AZURE_CLIENT_ID to its client id. On your own machine: "
        "az login. With a password in DATABASE_URL: unset DATABASE_AUTH.",
    )
