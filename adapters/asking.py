"""What a person is shown of a call that they are to agree to."""

from __future__ import annotations

import json

from adapters.masking import masked
from bot.types import Json, JsonObject, ToolSpec, storable

LONGEST = 400
"""Characters of one value: who decides must be able to read it all."""
MOST = 20
"""Arguments. What is more is counted."""


def shown(given: JsonObject, spec: ToolSpec) -> dict[str, str]:
    """Each argument as text: secrets masked, long values cut, with a word of how much more there is."""
    safe = masked(given, spec.parameters)
    lines = {storable(name)[:LONGEST]: _cut(_text(value)) for name, value in list(safe.items())[:MOST]}
    if len(safe) > MOST:
        lines["…"] = f"and {len(safe) - MOST} more"
    return lines


def _text(value: Json) -> str:
    if isinstance(value, str):
        return storable(value)
    try:
        return storable(json.dumps(value, ensure_ascii=False))
    except (ValueError, RecursionError):
        return "…"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text) - LONGEST} more characters)"
