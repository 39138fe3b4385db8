"""Refusals, in the shapes in which the real service sends them.

The agent API itself answers like the Assistants API it grew out of (`type`, `param`, `code: null`); what
stands in front of it (identity, permissions, api-version) answers with Azure's `code` and `message` only.
The new API answers in both ways too: the model's part like OpenAI, Foundry's own part with `details` as well.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any


class ServiceError(Exception):
    """A request is refused with this status and body."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body
        self.headers = headers or {}


def invalid(message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> ServiceError:
    """The agent API's own refusal."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return ServiceError(status, {"error": error})


def foundry(
    code: str, message: str, *, param: str | None = None, status: int = 400, details: Sequence[dict[str, Any]] = ()
) -> ServiceError:
    """A refusal by what stands between the new API and the model (microsoft/agent-framework#5130)."""
    error: dict[str, Any] = {
        "code": code,
        "message": message,
        "param": param,
        "type": "invalid_request_error",
        "details": list(details),
        "additionalInfo": {"request_id": secrets.token_hex(16)},
    }
    return ServiceError(status, {"error": error})


def azure(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> ServiceError:
    """A refusal by what stands in front of the agent API."""
    return ServiceError(status, {"error": {"code": code, "message": message}}, headers)


def not_found(noun: str, object_id: str) -> ServiceError:
    return invalid(f"No {noun} found with id '{object_id}'.", status=404)


def unauthorized(
    message: str = "Access token is missing, invalid, audience is incorrect, or has expired.",
) -> ServiceError:
    return azure(401, "Unauthorized", message, {"WWW-Authenticate": 'Bearer error="invalid_token"'})


def permission_denied(method: str) -> ServiceError:
    """A valid token without the role: Foundry says 401 here, not 403 (foundry-samples issue 155)."""
    action = "read" if method == "GET" else "write"
    return azure(
        401,
        "PermissionDenied",
        "The principal `00000000-0000-0000-0000-000000000001` lacks the required data action "
        f"`Microsoft.CognitiveServices/accounts/AIServices/agents/{action}` to perform this operation. "
        "For instructions on granting the necessary permissions, see https://aka.ms/FoundryPermissions.",
    )


def forbidden() -> ServiceError:
    return azure(403, "AuthenticationTypeDisabled", "Public access is disabled. Please configure private endpoint.")


def by_status(
    status: int, retry_after: float | None = None, code: str | None = None, message: str | None = None
) -> ServiceError:
    """The usual body for a status, with its Retry-After where one is asked for."""
    usual = {
        404: ("NotFound", "Resource not found"),
        408: ("Timeout", "The operation was timeout."),
        409: ("Conflict", "Conflict"),
        429: ("rate_limit_exceeded", "Rate limit is exceeded. Try again later."),
        500: ("server_error", "The server had an error while processing your request. Sorry about that!"),
        502: ("BadGateway", "Bad gateway"),
        503: ("ServiceUnavailable", "Service is temporarily unavailable."),
        504: ("Timeout", "The gateway timed out."),
    }
    default_code, default_message = usual.get(status, ("error", f"Injected {status}"))
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    if status == 400:
        return invalid(message or "Bad request", code=code)
    if status == 401:
        return unauthorized(message) if message else unauthorized()
    return azure(status, code or default_code, message or default_message, headers)
