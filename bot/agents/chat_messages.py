"""What a model is given: a question with its files as entries of a thread, and entries as the messages of a request."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence

from bot.agents.chat_words import file_given, image_given
from bot.types import Ask, File, JsonObject, Kept, ToolSpec, storable


def question(ask: Ask, room: int) -> list[Kept]:
    """The entries of a question. Text files lie within its words, together at most `room` characters; images beside."""
    said = storable(ask.text)
    if not ask.files:
        return [Kept("user", said)]
    words, images = [said] if said else [], list[Kept]()
    for file in ask.files:
        name = storable(file.name)
        kind = file.content_type.partition(";")[0].strip().lower()
        if kind.startswith("image/"):
            url = f"data:{kind};base64,{b64encode(file.data).decode('ascii')}"
            images.append(Kept("file", name, {"type": "image_url", "image_url": {"url": url}}))
            words.append(image_given(name))
        else:
            text = _text(file)
            words.append(file_given(name, text[: max(room, 0)], cut=len(text) > room))
            room -= len(text)
    item: JsonObject = {"role": "user", "content": "\n\n".join(words)}
    return [Kept("user", said or f"({', '.join(storable(file.name) for file in ask.files)})", item), *images]


def _text(file: File) -> str:
    for encoding in ("utf-8-sig", "utf-16") if file.data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return storable(file.data.decode(encoding))
        except UnicodeDecodeError:
            continue
    return storable(file.data.decode("utf-8", "replace"))


def messages_of(entries: Sequence[Kept]) -> list[JsonObject]:
    """The messages of a thread, in its order.

    A question that a content filter stopped is left out, with all that followed it: it would stop every later one.
    """
    messages: list[JsonObject] = []
    for entry in entries:
        if entry.role == "filtered":
            while messages and messages.pop()["role"] != "user":
                continue
        elif entry.role == "file":
            _show(messages, entry.item)
        else:
            messages.append(entry.item or {"role": entry.role, "content": entry.text})
    return messages


def _show(messages: list[JsonObject], image: JsonObject) -> None:
    """Add an image to the message it came with; the message of one that is long past may not be there."""
    if not messages or messages[-1]["role"] != "user":
        return
    content: str | list[JsonObject] = messages[-1]["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    messages[-1] = {"role": "user", "content": [*parts, image]}


def system(*parts: str | None) -> JsonObject:
    """One message for all that the model is told: many chat templates take no second one of the system."""
    return {"role": "system", "content": "\n\n".join(part for part in parts if part)}


def function(tool: ToolSpec) -> JsonObject:
    """A tool as the endpoint is told of it."""
    described = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": described}
