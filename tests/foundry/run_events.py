"""A message of the classic API, told as the events of a stream, in the order of OpenAI's documentation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .events import PIECE
from .sight import Answer
from .state import Message


@dataclass(frozen=True)
class Written:
    """One event. `late`: it takes the time of a piece of text."""

    name: str
    data: dict[str, Any]
    late: bool = False


def content_of(answer: Answer) -> list[dict[str, Any]]:
    """The parts of the message that an answer becomes."""
    parts = list(answer.parts)
    if answer.refused:
        parts.append({"type": "refusal", "refusal": answer.text})
    elif answer.text or not parts:
        parts.append({"type": "text", "text": {"value": answer.text, "annotations": list(answer.annotations)}})
    return parts


def written(message: Message) -> Iterator[Written]:
    """The events from a message's beginning to before its end."""
    begun = message.body() | {"content": [], "status": "in_progress"}
    yield Written("thread.message.created", begun)
    yield Written("thread.message.in_progress", begun)
    for index, part in enumerate(message.content):
        match part["type"]:
            case "text":
                for piece in PIECE.findall(part["text"]["value"]):
                    yield _delta(message, index, {"type": "text", "text": {"value": piece}})
                for place, annotation in enumerate(part["text"]["annotations"]):
                    text = {"annotations": [{"index": place, **annotation}]}
                    yield _delta(message, index, {"type": "text", "text": text})
            case "refusal":
                for piece in PIECE.findall(part["refusal"]):
                    yield _delta(message, index, {"type": "refusal", "refusal": piece})
            case _:
                yield _delta(message, index, part)


def _delta(message: Message, index: int, part: dict[str, Any]) -> Written:
    delta = {"role": "assistant", "content": [{"index": index, **part}]}
    return Written(
        "thread.message.delta", {"id": message.id, "object": "thread.message.delta", "delta": delta}, late=True
    )
