"""What a model did, told as the events of a stream: each with whether it has to wait, and the item it finishes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .sight import Answer, Call, Calls, Failure, Incomplete
from .state import new_id

PIECE = re.compile(r"\s*\S+\s*|\s+")
_PREFIXES = {"image_generation_call": "ig_", "web_search_call": "ws_", "reasoning": "rs_"}
_NESTED = ("url_citation", "file_citation", "file_path")


@dataclass(frozen=True)
class Told:
    """One event, without its number. `late`: it takes the time of a piece of text. `item` is finished by it."""

    body: dict[str, Any]
    late: bool = False
    item: dict[str, Any] | None = None


def events_of(act: Calls | Answer | Failure | Incomplete, *, parallel: bool) -> Iterator[Told]:
    """The events between response.in_progress and the end, in the order of OpenAI's documentation."""
    for place, item in enumerate(_items(act, parallel=parallel)):
        yield from _item(place, item)


def _items(act: Calls | Answer | Failure | Incomplete, *, parallel: bool) -> Iterator[dict[str, Any]]:
    match act:
        case Calls():
            if not act.calls:
                raise ValueError("a model made a round of no calls")
            if act.text:
                yield _message([_text(act.text)])
            for call in act.calls if parallel else act.calls[:1]:
                yield _call(call)
        case Answer():
            for item in act.items:
                given = {"status": "completed", **item}
                yield {"id": new_id(_PREFIXES.get(given["type"], "item_")), **given}
            if act.refused:
                yield _message([{"type": "refusal", "refusal": act.text}])
            elif act.text or not act.items:
                yield _message([_text(act.text, [_annotation(annotation) for annotation in act.annotations])])
        case Failure() | Incomplete():
            if act.text is not None:
                yield _message([_text(act.text)], status="incomplete")


def _message(parts: list[dict[str, Any]], status: str = "completed") -> dict[str, Any]:
    return {"type": "message", "id": new_id("msg_"), "role": "assistant", "status": status, "content": parts}


def _text(text: str, annotations: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": annotations or [], "logprobs": []}


def _call(call: Call) -> dict[str, Any]:
    return {
        "type": "function_call",
        "id": new_id("fc_"),
        "call_id": new_id("call_"),
        "name": call.name,
        "arguments": call.text,
        "status": "completed",
    }


def _annotation(annotation: dict[str, Any]) -> dict[str, Any]:
    """The classic API nests an annotation's fields under its type; a script may say it either way."""
    nested = annotation.get(annotation["type"]) if annotation["type"] in _NESTED else None
    if not isinstance(nested, dict):
        return annotation
    kept = {name: annotation[name] for name in ("type", "start_index", "end_index") if name in annotation}
    if annotation["type"] == "file_citation":
        kept |= {"index": annotation.get("start_index", 0), "filename": ""}
    return kept | nested


def _item(place: int, item: dict[str, Any]) -> Iterator[Told]:
    where = {"item_id": item["id"], "output_index": place}
    empty = {"message": {"content": []}, "function_call": {"arguments": ""}, "image_generation_call": {"result": None}}
    begun = item | {"status": "in_progress"} | empty.get(item["type"], {})
    yield Told({"type": "response.output_item.added", "output_index": place, "item": begun})
    match item["type"]:
        case "message":
            for index, part in enumerate(item["content"]):
                yield from _part(where | {"content_index": index}, part)
        case "function_call":
            arguments = item["arguments"]
            yield Told({"type": "response.function_call_arguments.delta", **where, "delta": arguments}, late=True)
            yield Told({"type": "response.function_call_arguments.done", **where, "arguments": arguments})
        case "image_generation_call":
            for phase in ("in_progress", "generating", "completed"):
                yield Told({"type": f"response.image_generation_call.{phase}", **where}, late=phase == "generating")
        case _:
            pass
    yield Told({"type": "response.output_item.done", "output_index": place, "item": item}, item=item)


def _part(where: dict[str, Any], part: dict[str, Any]) -> Iterator[Told]:
    refusal = part["type"] == "refusal"
    field, kind = ("refusal", "response.refusal") if refusal else ("text", "response.output_text")
    more: dict[str, Any] = {} if refusal else {"logprobs": []}
    begun = part | {field: ""} | ({} if refusal else {"annotations": []})
    yield Told({"type": "response.content_part.added", **where, "part": begun})
    for piece in PIECE.findall(part[field]):
        yield Told({"type": f"{kind}.delta", **where, "delta": piece, **more}, late=True)
    for index, annotation in enumerate(part.get("annotations", ())):
        told = {"type": "response.output_text.annotation.added", **where}
        yield Told(told | {"annotation_index": index, "annotation": annotation})
    yield Told({"type": f"{kind}.done", **where, field: part[field], **more})
    yield Told({"type": "response.content_part.done", **where, "part": part})
