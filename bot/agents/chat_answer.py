"""What a model answered: read from one JSON body, or put together from a stream's pieces.

Servers differ in everything that is not the words: ids and indices of calls may be missing or repeated, and arguments
may be an object.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, cast

from bot.types import JsonObject, storable


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that the model wants, as the server gave it: `id` may be empty, `arguments` need not be JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of the model. `prompt` and `written` are the server's counts of tokens, None where it gives none."""

    text: str
    calls: tuple[Wanted, ...] = ()
    finish: str = ""
    prompt: int | None = None
    written: int | None = None


def completion_of(body: object) -> Completion:
    """An answer that came in one piece.

    Raises:
        ValueError: it is none.
    """
    choices = _list(_object(body).get("choices"))
    if not choices:
        raise ValueError("no choices")
    choice = _object(choices[0])
    message = _object(choice.get("message"))
    pieces = Pieces()
    pieces.add_choice(message, choice.get("finish_reason"))
    pieces.add_usage(_object(body).get("usage"))
    return pieces.completion()


@dataclass(slots=True)
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""

    def wanted(self) -> Wanted:
        return Wanted(storable(self.id), storable(self.name), storable(self.arguments) or "{}")


@dataclass(slots=True)
class Pieces:
    """An answer that comes piece by piece."""

    text: str = ""
    refusal: str = ""
    finish: str = ""
    usage: JsonObject = field(default_factory=dict[str, Any])
    _calls: list[_Call] = field(default_factory=list[_Call])
    _at: dict[int, _Call] = field(default_factory=dict[int, _Call])

    def add(self, chunk: object) -> bool:
        """Take a piece in; whether there is more text now.

        Raises:
            ValueError: it is none.
        """
        before = len(self.text) + len(self.refusal)
        body = _object(chunk)
        self.add_usage(body.get("usage"))
        for choice in _list(body.get("choices"))[:1]:  # Azure begins with a piece that has none
            known = _object(choice)
            self.add_choice(_object(known.get("delta") or {}), known.get("finish_reason"))
        return len(self.text) + len(self.refusal) > before

    def add_choice(self, message: JsonObject, finish: object) -> None:
        """Take in what was said, or a piece of it."""
        self.text += _words(message.get("content"))
        self.refusal += _words(message.get("refusal"))
        for call in _list(message.get("tool_calls")):
            self._add_call(_object(call))
        self.finish = finish if isinstance(finish, str) and finish else self.finish

    def add_usage(self, usage: object) -> None:
        """Take in the counts of tokens."""
        if isinstance(usage, dict):
            self.usage = cast(JsonObject, usage)

    def _add_call(self, piece: JsonObject) -> None:
        index, given = piece.get("index"), str(piece.get("id") or "")
        function = _object(piece.get("function") or {})
        place = index if isinstance(index, int) else None
        call = self._at.get(place) if place is not None else None
        if place is None and self._calls and not given and not function.get("name"):
            call = self._calls[-1]
        # Some servers give every call the same index, and a new id.
        if call is None or (given and call.id and given != call.id):
            call = _Call()
            self._calls.append(call)
        if place is not None:
            self._at[place] = call
        call.id = call.id or given
        call.name = call.name or str(function.get("name") or "")
        arguments = function.get("arguments")
        call.arguments += arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""

    def completion(self) -> Completion:
        """The whole. A refusal's words are the answer."""
        text = storable(self.text.strip() or self.refusal.strip())
        calls = tuple(call.wanted() for call in self._calls if call.name)
        return Completion(
            text, calls, self.finish, _count(self.usage, "prompt_tokens"), _count(self.usage, "completion_tokens")
        )


def _words(content: object) -> str:
    if isinstance(content, str):
        return content
    return "".join(str(_object(part).get("text") or "") for part in _list(content))


def _count(usage: JsonObject, name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else None


def _object(value: object) -> JsonObject:
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return cast(JsonObject, value)


def _list(value: object) -> list[Any]:
    return cast(list[Any], value) if isinstance(value, list) else []
