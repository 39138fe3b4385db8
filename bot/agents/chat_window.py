"""What of a conversation fits into a model's window. Messages are as the endpoint takes them; nothing here asks it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from bot.types import JsonObject

MESSAGE_TOKENS = 4
"""What a message costs beside its words."""
IMAGE_TOKENS = 1_000
"""About what services count for an image, whose bytes say nothing about it."""
BYTES_A_TOKEN = 4
"""In UTF-8, so that scripts with few characters a token are not taken for cheap."""


def tokens_of(text: str) -> int:
    """An estimate, where only the model's own tokenizer knows."""
    return len(text.encode("utf-8", "replace")) // BYTES_A_TOKEN + 1


def weight(message: JsonObject) -> int:
    """An estimate of a message's tokens."""
    tokens = MESSAGE_TOKENS
    content = message.get("content")
    if isinstance(content, str):
        tokens += tokens_of(content)
    for part in cast(list[JsonObject], content) if isinstance(content, list) else []:
        tokens += tokens_of(str(part.get("text") or "")) if part.get("type") == "text" else IMAGE_TOKENS
    for call in cast(list[JsonObject], message.get("tool_calls") or []):
        tokens += tokens_of(json.dumps(call["function"], ensure_ascii=False))
    return tokens


def weight_of(messages: Sequence[JsonObject], tools: Sequence[JsonObject] = ()) -> int:
    """An estimate of a request's tokens."""
    offered = tokens_of(json.dumps(tools, ensure_ascii=False)) if tools else 0
    return offered + sum(weight(message) for message in messages)


def whole(messages: Sequence[JsonObject], missing: str) -> list[JsonObject]:
    """The messages with exactly one output behind each call: endpoints refuse a conversation without.

    A call without its output gets `missing` as one, an output without its call goes.
    """
    kept: list[JsonObject] = []
    open_calls: dict[str, None] = {}

    def close() -> None:
        kept.extend({"role": "tool", "tool_call_id": call, "content": missing} for call in open_calls)
        open_calls.clear()

    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] in open_calls:
                del open_calls[message["tool_call_id"]]
                kept.append(message)
            continue
        close()
        kept.append(message)
        open_calls.update((call["id"], None) for call in message.get("tool_calls") or ())
    close()
    return kept


def trimmed(messages: Sequence[JsonObject], room: float, head: int = 1) -> list[JsonObject]:
    """The newest of the messages, in so many estimated tokens.

    The first `head` (the system's, and a summary), the newest of the user and the last block always stay, even where
    that is more. A block is a message, or one with calls and their outputs: it stays or goes as one. What stays begins
    with the user's words, for some models take nothing else.
    """
    blocks = _blocks(messages)
    newest = max((i for i, block in enumerate(blocks) if block[0]["role"] == "user"), default=0)
    total = weight_of(messages)
    gone: set[int] = set()
    for index, block in enumerate(blocks):
        if index < head:
            continue
        may_begin = block[0]["role"] == "user" or index >= newest or not gone
        if total <= room and may_begin:
            break
        if index not in (newest, len(blocks) - 1):
            gone.add(index)
            total -= weight_of(block)
    return [message for index, block in enumerate(blocks) if index not in gone for message in block]


def _blocks(messages: Sequence[JsonObject]) -> list[list[JsonObject]]:
    blocks: list[list[JsonObject]] = []
    for message in messages:
        if message["role"] == "tool" and blocks:
            blocks[-1].append(message)
        else:
            blocks.append([message])
    return blocks


def images_in(messages: Sequence[JsonObject]) -> bool:
    """Whether any of them shows an image."""
    return any(isinstance(message.get("content"), list) for message in messages)


def without_images(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """The same in words alone."""
    return [message | {"content": _words(message.get("content"))} for message in messages]


def _words(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    parts = cast(list[JsonObject], content)
    return "\n\n".join(str(part["text"]) for part in parts if part.get("type") == "text")
