"""What the audit keeps of a call's arguments: names and sizes always, values only where they are wanted."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Protocol, cast

from adapters.contract import BadArguments, arguments_of
from adapters.masking import masked
from bot.types import CallNote, Json, JsonObject, ToolCall, ToolSpec, storable

OTHERS = "*"
"""In place of names that the tool's schema does not have: an agent may write anything there."""
KEPT = 16 * 1024
"""Characters of the arguments' JSON that are kept whole."""
_KEPT_VALUE = 1000
"""Characters of each value where all together are longer."""


class Offers(Protocol):
    """Whatever knows the tools."""

    def specs(self) -> Sequence[ToolSpec]: ...


class Notes:
    """Makes the note of a call. `values`: keep what the arguments are, less every secret, which is AUDIT_ARGUMENTS."""

    def __init__(self, toolbox: Offers, *, values: bool = False) -> None:
        self._toolbox = toolbox
        self._values = values

    def of(self, call: ToolCall) -> CallNote:
        """The note, without who calls. Never raises: arguments that are none have a size alone."""
        spec = next((spec for spec in self._toolbox.specs() if spec.name == call.name), None)
        size = _bytes(call.arguments)
        if spec is None:
            return CallNote(size=size)
        try:
            given = arguments_of(call)
        except BadArguments:
            return CallNote(source=spec.source, size=size)
        kept = _kept(masked(given, spec.parameters)) if self._values else None
        return CallNote(source=spec.source, size=size, sizes=_sizes(given, spec.parameters), arguments=kept)


def _sizes(given: JsonObject, schema: JsonObject) -> dict[str, int]:
    properties: Json = schema.get("properties")
    known = cast("JsonObject", properties) if isinstance(properties, dict) else {}
    sizes: dict[str, int] = {}
    for name, value in given.items():
        shown = storable(name) if name in known else OTHERS
        sizes[shown] = sizes.get(shown, 0) + _bytes(_text(value))
    return sizes


def _kept(arguments: JsonObject) -> JsonObject:
    """As a JSON column of every database takes it, and bounded."""
    whole = cast("JsonObject", _storable(arguments))
    if len(_text(whole)) <= KEPT:
        return whole
    cut: JsonObject = {}
    for name, value in list(whole.items())[: KEPT // _KEPT_VALUE]:
        text = _text(value)
        cut[name[:_KEPT_VALUE]] = value if len(text) <= _KEPT_VALUE else f"{text[:_KEPT_VALUE]}…"
    return cut


def _storable(value: Json) -> Json:
    if isinstance(value, dict):
        return {storable(name): _storable(item) for name, item in cast("JsonObject", value).items()}
    if isinstance(value, list):
        return [_storable(item) for item in cast("list[Json]", value)]
    if isinstance(value, float) and not math.isfinite(value):  # 1e999 is JSON, its value is none
        return str(value)
    return storable(value) if isinstance(value, str) else value


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):  # an integer of over 4,300 digits; what is nested a thousand times
        return ""


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
