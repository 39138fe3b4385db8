"""A message of the classic service, written and read: a person's words and files, an agent's words, sources and files.

In what comes back everything may be missing: the service leaves out fields that its SDK calls required.
"""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from bot.agents.citations import Cited, Note, cited, remote_file
from bot.agents.failures import CONTENT_FILTER
from bot.agents.fields import mapping, mappings, position
from bot.types import Ask, Citation, File, JsonObject, RemoteFile, Reply, Said, Stopped, Takes

SEARCH, CODE = "file_search", "code_interpreter"
MOST_BYTES = 20 * 1024 * 1024
_OFFICE = "application/vnd.openxmlformats-officedocument"
_EXTENSIONS = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/xml": ".xml",
    "application/csv": ".csv",
    "application/json": ".json",
    "application/msword": ".doc",
    "application/pdf": ".pdf",
    "application/xml": ".xml",
    f"{_OFFICE}.presentationml.presentation": ".pptx",
    f"{_OFFICE}.spreadsheetml.sheet": ".xlsx",
    f"{_OFFICE}.wordprocessingml.document": ".docx",
}
TAKES = Takes(frozenset({*_EXTENSIONS, "text/*"}), MOST_BYTES)

# The service goes by a file's extension, and each tool has a list of its own. Data is computed with, not searched.
_SEARCHED = re.compile(r"\.(c|cpp|cs|css|docx?|go|html|java|js|md|pdf|php|pptx|py|rb|sh|tex|ts|txt)")
_COMPUTED = re.compile(r"\.(c|cpp|css|csv|docx|html|java|js|json|md|pdf|php|pptx|py|rb|tex|ts|txt|xlsx|xml)")
_NAME_IN_MARK = re.compile(r"【[^【】†]*†([^【】]+)】")
_QUOTE_AS_TITLE = 60


# -- what is asked ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """The files of an ask as they lie at the service: pictures to be seen, and the rest with the tools that read it."""

    images: tuple[str, ...] = ()
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()


def message_of(ask: Ask, given: Given, marks: dict[str, str]) -> JsonObject:
    """The person's message, to be added with the run."""
    # A message of nothing but attachments would be refused as empty.
    words = ask.text or ("" if given.images else ", ".join(file.name for file in ask.files))
    content: list[JsonObject] = [{"type": "text", "text": words}] if words else []
    content += [{"type": "image_file", "image_file": {"file_id": one, "detail": "auto"}} for one in given.images]
    body: JsonObject = {"role": "user", "content": content if given.images else words, "metadata": marks}
    if given.others:
        body["attachments"] = [
            {"file_id": one, "tools": [{"type": kind} for kind in kinds]} for one, kinds in given.others
        ]
    return body


def is_image(file: File) -> bool:
    """Whether the model sees it, rather than reads it with a tool."""
    return _kind(file).startswith("image/")


def upload_name(file: File) -> str:
    """The file's name with an extension that the service knows, in the small letters that it insists on."""
    path = PurePosixPath(file.name.replace("\\", "/").rpartition("/")[2] or "file")
    suffix, by_type = path.suffix.lower(), _EXTENSIONS.get(_kind(file), ".txt")
    if is_image(file):
        known = suffix == by_type or mimetypes.guess_type(path.name)[0] == _kind(file)
    else:
        known = bool(_SEARCHED.fullmatch(suffix) or _COMPUTED.fullmatch(suffix))
    return f"{path.stem}{suffix}" if known else f"{path.name}{by_type}"


def tools_for(file: File) -> tuple[str, ...]:
    """The service's own tools that can read this file; none for a picture."""
    suffix = PurePosixPath(upload_name(file)).suffix
    known = ((SEARCH, _SEARCHED), (CODE, _COMPUTED))
    return () if is_image(file) else tuple(tool for tool, names in known if names.fullmatch(suffix))


def _kind(file: File) -> str:
    return file.content_type.partition(";")[0].strip().lower()


# -- what comes back ----------------------------------------------------------------------------------------


def reply_of(run: JsonObject, messages: Sequence[JsonObject], names: Mapping[str, str]) -> Reply | Stopped:
    """What a run that is over said, in one text; why it said nothing, if so. `names` are of files, by their ids."""
    status = str(run.get("status"))
    reasons = [_reason(run), *(_reason(message) for message in messages)]
    if CONTENT_FILTER in reasons:
        return Stopped(status, CONTENT_FILTER)
    texts: list[str] = []
    citations: list[Citation] = []
    files: list[RemoteFile] = []
    for part in _parts_of_agent(messages):
        found = _part_said(part, len(citations) + 1, names)
        texts.append(found.text)
        citations += found.citations
        files += found.files
    text = "\n\n".join(text for text in texts if text)
    if not text and not files:
        return Stopped(status, next((reason for reason in reasons if reason), "no_text"))
    cut = status == "incomplete" or "max_tokens" in reasons
    return Reply(text, cut, tuple(citations), tuple(dict.fromkeys(files)))


def files_to_name(messages: Sequence[JsonObject]) -> list[str]:
    """The ids of files that the agent's messages refer to without saying their names."""
    ids = [_file_id(part, "image_file") for part in _parts_of_agent(messages)]
    for part in _parts_of_agent(messages):
        for annotation in mappings(mapping(part.get("text")).get("annotations")):
            ids.append(_file_id(annotation, "file_citation"))
            if "/" not in str(annotation.get("text") or ""):
                ids.append(_file_id(annotation, "file_path"))
    return [found for found in dict.fromkeys(ids) if found]


def files_in(message: JsonObject) -> list[str]:
    """The ids of the files that belong to this message: what came along with it, and what was made for it."""
    ids = [str(attachment.get("file_id") or "") for attachment in mappings(message.get("attachments"))]
    for part in mappings(message.get("content")):
        ids.append(_file_id(part, "image_file"))
        annotations = mappings(mapping(part.get("text")).get("annotations"))
        ids += [_file_id(annotation, "file_path") for annotation in annotations]
    return [found for found in dict.fromkeys(ids) if found]


def said(message: JsonObject) -> Said:
    """A message as an entry of the history: an agent's words without marks, a person's as they were."""
    parts = mappings(message.get("content"))
    if message.get("role") == "assistant":
        return Said("assistant", _joined(cited(_words(part), ()).text for part in parts))
    return Said("user", _joined(_words(part).strip() for part in parts))


def _parts_of_agent(messages: Sequence[JsonObject]) -> list[JsonObject]:
    ours = [message for message in messages if message.get("role") == "assistant"]
    return [part for message in ours for part in mappings(message.get("content"))]


def _part_said(part: JsonObject, first: int, names: Mapping[str, str]) -> Cited:
    if file_id := _file_id(part, "image_file"):
        return Cited("", files=(remote_file(file_id, names.get(file_id, ""), fallback="image/png"),))
    annotations = mappings(mapping(part.get("text")).get("annotations"))
    notes = [note for note in (_note(annotation, names) for annotation in annotations) if note is not None]
    return cited(_words(part), notes, first)


def _note(annotation: JsonObject, names: Mapping[str, str]) -> Note | None:
    start, end = position(annotation.get("start_index")), position(annotation.get("end_index"))
    words = str(annotation.get("text") or "")
    if source := mapping(annotation.get("url_citation")):
        return Note(start, end, words, str(source.get("title") or ""), str(source.get("url") or ""))
    if file_id := _file_id(annotation, "file_path"):
        name = words.rpartition("/")[2] or names.get(file_id, "")
        return Note(start, end, words, file=remote_file(file_id, name))
    if source := mapping(annotation.get("file_citation")):
        file_id, quote = str(source.get("file_id") or ""), str(source.get("quote") or "")
        return Note(start, end, words, _title(words, names.get(file_id, ""), quote, file_id), quote=quote)
    return None


def _title(words: str, name: str, quote: str, file_id: str) -> str:
    in_mark = _NAME_IN_MARK.fullmatch(words)
    if not name and in_mark and in_mark[1] != "source":
        name = in_mark[1]
    return name or quote[:_QUOTE_AS_TITLE].strip() or file_id


def _file_id(item: JsonObject, kind: str) -> str:
    return str(mapping(item.get(kind)).get("file_id") or "")


def _words(part: JsonObject) -> str:
    if part.get("type") == "refusal":
        return str(part.get("refusal") or "")
    return str(mapping(part.get("text")).get("value") or "")


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(text for text in texts if text)


def _reason(item: JsonObject) -> str:
    return str(mapping(item.get("incomplete_details")).get("reason") or "")
