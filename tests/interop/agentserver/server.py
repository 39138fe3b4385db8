"""Microsoft's server package with a scripted model behind it. Runs in an environment of its own: see `run`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from azure.ai.agentserver.responses import (
    InMemoryResponseProvider,
    ResponseContext,
    ResponseEventStream,
    ResponsesAgentServerHost,
)

from tests.foundry.events import PIECE
from tests.foundry.models import default
from tests.foundry.project import Item
from tests.foundry.reading import look
from tests.foundry.sight import Answer, Calls

PREFIX = "/api/projects/p/openai/v1"
TOOLS = [{"type": "function", "name": name, "parameters": {}} for name in ("weather", "stock")]
SETTINGS: dict[str, Any] = {"tools": TOOLS, "tool_choice": "auto", "instructions": ""}
_PAUSE = 0.01
"""Seconds between two pieces, so that there is something to read along."""

host = ResponsesAgentServerHost(prefix=PREFIX, store=InMemoryResponseProvider())


@host.response_handler
async def handler(request: Any, context: ResponseContext, cancelled: asyncio.Event) -> AsyncIterator[Any]:
    stream = ResponseEventStream(response_id=context.response_id, request=request)
    yield stream.emit_created()
    yield stream.emit_in_progress()
    read = [*await context.get_history(), *await context.get_input_items()]
    sight = look([_item(one) for one in read], SETTINGS)
    asked = " ".join(sight.asked)
    if asked == "hold on":
        await cancelled.wait()
        return
    if asked == "fail":
        yield stream.emit_failed(code="rate_limit_exceeded", message="Rate limit is exceeded. Try again in 22 seconds.")
        return
    act = default(sight)
    match act:
        case Calls():
            for number, call in enumerate(act.calls):
                call_id = f"call_{context.response_id[-20:]}_{number}"
                for event in stream.output_item_function_call(call.name, call_id, call.text):
                    yield event
        case Answer():
            for event in _said(stream, act.text):
                yield event
                await asyncio.sleep(_PAUSE)
        case _:
            raise ValueError(f"not played here: {act}")
    yield stream.emit_completed(
        usage={
            "input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 10,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 110,
        }
    )


def _said(stream: ResponseEventStream, text: str) -> Iterator[Any]:
    message = stream.add_output_item_message()
    yield message.emit_added()
    part = message.add_text_content()
    yield part.emit_added()
    for piece in PIECE.findall(text):
        yield part.emit_delta(piece)
    yield part.emit_text_done(text)
    yield part.emit_done()
    yield message.emit_done()


def _item(given: Mapping[str, Any]) -> Item:
    """An item as the scripted models read it."""
    content = {"id": "item", **dict(given)}
    if isinstance(content.get("content"), str):
        content["content"] = [{"type": "input_text", "text": content["content"]}]
    return Item(content)


if __name__ == "__main__":
    host.run("127.0.0.1", int(sys.argv[1]))
