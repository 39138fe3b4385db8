"""The text of a response while it is written: the deltas of a stream, put together."""

from __future__ import annotations

from bot.types import JsonObject

_DELTAS = ("response.output_text.delta", "response.refusal.delta")


class Writing:
    """Takes the events of a stream in order; `text` is what has been said so far."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int], str] = {}

    @property
    def text(self) -> str:
        """All parts, in the order of the answer."""
        return "\n\n".join(self._parts[place] for place in sorted(self._parts))

    def add(self, event: JsonObject) -> bool:
        """Take one event; whether it brought text."""
        delta = event.get("delta")
        if event.get("type") not in _DELTAS or not isinstance(delta, str):
            return False
        place = (int(event.get("output_index") or 0), int(event.get("content_index") or 0))
        self._parts[place] = self._parts.get(place, "") + delta
        return True
