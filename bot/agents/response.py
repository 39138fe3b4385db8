"""A response of the new Foundry API, written and read: our nouns as its JSON, and its JSON as our nouns.

In what comes back everything may be missing; in what is asked nothing may be that the agent's definition holds.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Sequence

from bot.agents.citations import Cited, Note, cited, remote_file
from bot.agents.failures import CONTENT_FILTER, Refused, code_of, wait_in
from bot.agents.fields import mapping, mappings, position
from bot.types import (
    Ask,
    Citation,
    File,
    Finished,
    JsonObject,
    NeedsTools,
    RemoteFile,
    Reply,
    RunMark,
    Said,
    Step,
    Stopped,
    Takes,
    ToolCall,
    ToolOutput,
    Usage,
    Working,
)

RUNNING = frozenset({"queued", "in_progress"})
TAKES = Takes(
    frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf", "text/*", "application/json"}),
    10 * 1024 * 1024,
)
CANCELLED_OUTPUT = "The call was cancelled before it was answered."

_LOCKED = "conversation_locked"
_UNANSWERED = re.compile(r"No tool output found for function call", re.IGNORECASE)


# -- what is asked ------------------------------------------------------------------------------------------


def message(ask: Ask) -> JsonObject:
    """The person's message, with the files that came along."""
    content: list[JsonObject] = [{"type": "input_text", "text": ask.text}] if ask.text else []
    content += [_part(file) for file in ask.files]
    return {"type": "message", "role": "user", "content": content}


def _part(file: File) -> JsonObject:
    kind = file.content_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind == "application/json":
        return {"type": "input_text", "text": f"{file.name}:\n\n{file.data.decode('utf-8', 'replace')}"}
    url = f"data:{kind};base64,{b64encode(file.data).decode()}"
    if kind.startswith("image/"):
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    return {"type": "input_file", "filename": file.name, "file_data": url}


def note(words: str) -> JsonObject:
    """Words of ours to the model."""
    return {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": words}]}


def entry(said: Said) -> JsonObject:
    """An entry of a thread that is carried into another one."""
    kind = "input_text" if said.role == "user" else "output_text"
    return {"type": "message", "role": said.role, "content": [{"type": kind, "text": said.text}]}


def output(given: ToolOutput) -> JsonObject:
    """What a tool said."""
    return {"type": "function_call_output", "call_id": given.call_id, "output": given.output}


def metadata(mark: RunMark) -> dict[str, str]:
    """The mark, within the service's limits."""
    return {key[:64]: value[:512] for key, value in mark.metadata().items()}


def is_marked(item: JsonObject, mark: RunMark) -> bool:
    """Whether a response is this turn's and this attempt's."""
    kept, ours = mapping(item.get("metadata")), metadata(mark)
    return all(kept.get(name) == ours[name] for name in ("turn", "attempt"))


# -- what comes back ----------------------------------------------------------------------------------------


def step_of(response: JsonObject) -> Step:
    """How the response stands."""
    status = str(response.get("status") or "unknown")
    if status in ("completed", "incomplete"):
        return _ended(response, status)
    if status == "failed":
        return _failed(response)
    if status == "cancelled":
        return Stopped(status)
    return Working(status)


def _ended(response: JsonObject, status: str) -> Step:
    items = list(mappings(response.get("output")))
    reason = str(mapping(response.get("incomplete_details")).get("reason") or "")
    if reason == CONTENT_FILTER:
        return Stopped(status, CONTENT_FILTER)
    if status == "completed" and (calls := calls_of(items)):
        return NeedsTools(calls)
    conversation = mapping(response.get("conversation")).get("id")
    reply = reply_of(items, str(conversation or ""))
    if not reply.text and not reply.files:
        return Stopped(status, reason or "no_text")
    return Finished(Reply(reply.text, status == "incomplete", reply.citations, reply.files), usage_of(response))


def _failed(response: JsonObject) -> Stopped:
    error = mapping(response.get("error"))
    words = str(error.get("message") or "")
    return Stopped("failed", code_of(str(error.get("code") or ""), words) or "server_error", wait_in(words))


def calls_of(items: Iterable[JsonObject]) -> tuple[ToolCall, ...]:
    """The calls among these items."""
    return tuple(
        ToolCall(str(item.get("call_id") or ""), str(item.get("name") or ""), str(item.get("arguments") or ""))
        for item in items
        if item.get("type") == "function_call"
    )


def reply_of(items: Iterable[JsonObject], conversation: str = "") -> Reply:
    """What these items say to the person, in one text."""
    texts: list[str] = []
    citations: list[Citation] = []
    files: list[RemoteFile] = []
    for item in items:
        if item.get("type") == "image_generation_call" and item.get("result"):
            form = str(item.get("output_format") or "png")
            files.append(RemoteFile(str(item.get("id")), f"image.{form}", f"image/{form}", conversation))
        if item.get("type") != "message" or item.get("role") != "assistant":
            continue
        for part in _parts(item.get("content")):
            found = _part_said(part, len(citations) + 1)
            texts.append(found.text)
            citations += found.citations
            files += found.files
    return Reply("\n\n".join(text for text in texts if text), False, tuple(citations), tuple(dict.fromkeys(files)))


def _part_said(part: JsonObject, first: int) -> Cited:
    if part.get("type") == "refusal":
        return Cited(str(part.get("refusal") or ""))
    notes = [note for note in map(_note, mappings(part.get("annotations"))) if note is not None]
    return cited(str(part.get("text") or ""), notes, first)


def _note(annotation: JsonObject) -> Note | None:
    kind, start, end = (
        annotation.get("type"),
        position(annotation.get("start_index")),
        position(annotation.get("end_index")),
    )
    title = str(annotation.get("title") or annotation.get("filename") or "")
    if kind == "url_citation":
        return Note(start, end, title=title, url=str(annotation.get("url") or ""))
    file_id = str(annotation.get("file_id") or "")
    if kind in ("container_file_citation", "file_path") and file_id:
        return Note(start, end, file=remote_file(file_id, title, str(annotation.get("container_id") or "")))
    if kind == "file_citation":
        index = position(annotation.get("index"))
        return Note(index, index, title=title or file_id, quote=str(annotation.get("quote") or ""))
    return None


def usage_of(response: JsonObject) -> Usage:
    """What this response cost."""
    tokens = mapping(response.get("usage"))
    prompt = int(tokens.get("input_tokens") or 0)
    return Usage(prompt, int(tokens.get("output_tokens") or 0), prompt)


def said(item: JsonObject) -> Said | None:
    """A message as an entry of the history; None where it is none of the two sides'."""
    role = item.get("role")
    if item.get("type") != "message" or role not in ("user", "assistant"):
        return None
    if role == "assistant":
        # Without its sources: in another thread a [1] would stand for nothing.
        bare: list[JsonObject] = [{**part, "annotations": []} for part in _parts(item.get("content"))]
        words = reply_of([{**item, "content": bare}]).text
    else:
        words = "\n\n".join(str(part.get("text") or "") for part in _parts(item.get("content")) if part.get("text"))
    return Said(role, words) if words else None


# -- items of a conversation --------------------------------------------------------------------------------


def made_by(item: JsonObject) -> str:
    """The id of the response that an item came from; empty where it does not say."""
    return str(mapping(item.get("created_by")).get("response_id") or item.get("response_id") or "")


def made_after(newest_first: Iterable[JsonObject], run_id: str) -> str:
    """The last response that left items behind those of this one; empty where none did."""
    last = next((made_by(item) for item in newest_first if made_by(item)), "")
    return last if last != run_id else ""


def answered(items: Iterable[JsonObject]) -> set[str]:
    """The calls to which there is an output."""
    return {str(item.get("call_id")) for item in items if item.get("type") == "function_call_output"}


def unanswered(newest_first: Sequence[JsonObject]) -> list[JsonObject]:
    """The calls at the end of a conversation that nobody has answered, oldest first."""
    done = answered(newest_first)
    open_calls = [item for item in newest_first if item.get("type") == "function_call"]
    return [call for call in reversed(open_calls) if str(call.get("call_id")) not in done]


def holds(newest_first: Sequence[JsonObject], ask: Ask) -> bool:
    """Whether the ask's message is the last that was said, and nothing has been answered to it."""
    for item in newest_first:
        if item.get("type") != "message":
            continue
        if item.get("role") == "assistant":
            return False
        if item.get("role") == "user":
            return _outline(item) == _outline(message(ask))
    return False


def _outline(item: JsonObject) -> list[str]:
    """The texts of a message, and an empty one for each part that is none."""
    return [str(part.get("text") or "") for part in _parts(item.get("content"))]


# -- what a refusal means -----------------------------------------------------------------------------------


def is_locked(refused: Refused) -> bool:
    """Whether another response of the conversation runs, or waits for its calls to be answered."""
    return refused.status == 400 and (refused.code == _LOCKED or _UNANSWERED.search(refused.words) is not None)


def is_about(refused: Refused, word: str) -> bool:
    """Whether a parameter is what the service does not take."""
    return refused.status == 400 and word in f"{refused.words} {refused.param}".lower()


def _parts(content: object) -> list[JsonObject]:
    """The parts of a message; a text stands for one part with that text."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else mappings(content)
