"""What the server was asked, for tests to assert on."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

KEPT_HEADERS = ("authorization", "content-type", "user-agent", "x-ms-client-request-id", "accept")


@dataclass
class Recorded:
    """One request, as it came; `status` is what was answered, None where the connection was cut."""

    method: str
    path: str
    """From the project on: /threads/thread_x/runs."""
    query: dict[str, str]
    body: Any
    headers: dict[str, str]
    at: float
    status: int | None = None
    fault: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def parsed(body: bytes) -> Any:
    """A JSON body as an object, anything else as text, nothing as None."""
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
