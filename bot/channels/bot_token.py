"""The bot's own token for the connector: one for all conversations, fetched beside the event loop's work.

azure-identity asks for it and not the SDK's credential classes: those block the event loop (MSAL over `requests`,
without a timeout), begin with an empty cache every turn, and fail with KeyError on a managed identity.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from azure.core.credentials import AccessToken
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError
from azure.identity.aio import CertificateCredential, ClientSecretCredential, ManagedIdentityCredential

from bot.channels.cloud import Cloud
from bot.errors import DeliveryFailed, OperatorError
from bot.ports import Clock
from bot.settings import Settings

REFRESH_BEFORE = 300.0
"""Seconds of life below which a token is not used any more."""
REQUEST_TIMEOUT = 10.0


def bot_token(settings: Settings, cloud: Cloud, clock: Clock) -> BotToken:
    """The token of the app that the settings name.

    Raises:
        OperatorError: its certificate cannot be used.
    """
    if settings.microsoft_app_certificate is not None:
        _credential(settings, cloud)  # better now than with the first answer
    managed = settings.microsoft_app_type == "UserAssignedMSI"
    return BotToken(lambda: _credential(settings, cloud), cloud.scope, clock, managed=managed)


def _credential(settings: Settings, cloud: Cloud) -> AsyncTokenCredential:
    """It makes each request once: who needs the token asks again."""
    if settings.microsoft_app_type == "UserAssignedMSI":
        return ManagedIdentityCredential(client_id=settings.microsoft_app_id, retry_total=0)
    multi = settings.microsoft_app_type == "MultiTenant"
    directory = cloud.directory if multi else settings.microsoft_app_tenant_id
    options: dict[str, Any] = {
        "authority": cloud.authority,
        "retry_total": 0,
        "connection_timeout": 5,
        "read_timeout": REQUEST_TIMEOUT,
    }
    if cloud.ca_file is not None:
        options["connection_verify"] = cloud.ca_file
    if settings.microsoft_app_certificate is not None:
        return _certified(settings, settings.microsoft_app_certificate, directory, options)
    secret = settings.microsoft_app_password.get_secret_value()
    return ClientSecretCredential(directory, settings.microsoft_app_id, secret, **options)


def _certified(settings: Settings, file: Path, directory: str, options: dict[str, Any]) -> AsyncTokenCredential:
    """By the certificate's private key, read anew each time, so that a renewed file is used once the old is refused."""
    password = settings.microsoft_app_certificate_password.get_secret_value() or None
    try:
        return CertificateCredential(
            directory, settings.microsoft_app_id, certificate_data=file.read_bytes(), password=password, **options
        )
    except (OSError, ValueError, TypeError) as fault:
        raise OperatorError(
            f"The bot's certificate cannot be used ({type(fault).__name__}).",
            "MICROSOFT_APP_CERTIFICATE must be a readable PEM file with the certificate and its RSA private key, and "
            "MICROSOFT_APP_CERTIFICATE_PASSWORD the key's password, if it has one.",
        ) from None


class BotToken:
    """The current token; many who need it at once make one request."""

    def __init__(self, make: Callable[[], AsyncTokenCredential], scope: str, clock: Clock, *, managed: bool) -> None:
        self._make = make
        self._scope = scope
        self._clock = clock
        self._managed = managed
        self._credential: AsyncTokenCredential | None = None
        self._token: AccessToken | None = None
        self._request: asyncio.Task[AccessToken] | None = None

    def __repr__(self) -> str:
        return f"BotToken({'held' if self._token else 'none'})"

    async def get(self) -> str:
        """A token that is good for some minutes.

        Raises:
            OperatorError: the credential is refused.
            DeliveryFailed: the token service cannot be reached; nothing was sent.
        """
        token = self._token
        if token is None or token.expires_on - self._clock.now() < REFRESH_BEFORE:
            if self._request is None:
                self._request = asyncio.create_task(self._fetch(), name="bot token")
                self._request.add_done_callback(_heard)
            self._token = token = await asyncio.shield(self._request)
        return token.token

    async def forget(self) -> None:
        """Drop a token that the connector refused, and the credential, which would give the same one again."""
        self._token = None
        if self._request is None and self._credential is not None:
            dropped, self._credential = self._credential, None
            await dropped.close()

    async def close(self) -> None:
        """Give back the credential's session."""
        if self._request is not None:
            self._request.cancel()
            await asyncio.gather(self._request, return_exceptions=True)
        await self.forget()

    async def _fetch(self) -> AccessToken:
        try:
            if self._credential is None:
                self._credential = await asyncio.to_thread(self._make)  # a certificate is read, and decrypted
            async with asyncio.timeout(REQUEST_TIMEOUT):
                return await self._credential.get_token(self._scope)
        except TimeoutError:
            raise DeliveryFailed("the token service did not answer", sent=False) from None
        except Exception as error:  # also KeyError and ValueError, where the answer is odd
            self._explain(error)
        finally:
            self._request = None

    def _explain(self, error: Exception) -> NoReturn:
        """Name who can act. The service's own words are left out: they quote the request."""
        if isinstance(error, OperatorError):
            raise error
        if isinstance(error, CredentialUnavailableError) and self._managed:
            raise OperatorError(
                "No managed identity answers here.",
                "Assign the identity of MICROSOFT_APP_ID to this machine, or unset MICROSOFT_APP_TYPE "
                "and set MICROSOFT_APP_PASSWORD.",
            ) from None
        status = getattr(error, "status_code", None)
        if isinstance(error, ClientAuthenticationError) and status in (None, 400, 401, 403, 404):
            raise OperatorError(
                "Microsoft Entra ID refused the bot's credential.",
                "Check MICROSOFT_APP_ID, MICROSOFT_APP_PASSWORD (the secret's value, not its id) or "
                "MICROSOFT_APP_CERTIFICATE (has it expired?), MICROSOFT_APP_TYPE, MICROSOFT_APP_TENANT_ID and "
                "MICROSOFT_CLOUD.",
            ) from None
        raise DeliveryFailed(f"the token service failed ({type(error).__name__})", sent=False) from None


def _heard(request: asyncio.Task[AccessToken]) -> None:
    """Whoever asked may be gone; the failure then is nobody's, and no trace in the log."""
    if not request.cancelled():
        request.exception()
