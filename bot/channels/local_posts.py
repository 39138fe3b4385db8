"""What the local page and the terminal post, checked field by field."""

from __future__ import annotations

import json
import re
import uuid
from base64 import b64decode, b64encode
from typing import cast

from aiohttp import web

from bot.channels.local_files import clean_name, type_of
from bot.errors import BadRequest
from bot.types import Attachment, Json, JsonObject, storable

TEXT_LIMIT = 100_000
MOST_FILES = 4
FILES_BYTES = 5 * 1024 * 1024
BODY_BYTES = 8 * 1024 * 1024
"""Room for the files in base64, a third larger than they are, and for the text."""

_MESSAGE_ID = re.compile(r"[A-Za-z0-9-]{8,64}")
_APPROVAL = re.compile(r"[A-Za-z0-9_-]{1,200}")
_TOO_LARGE = f"The files of a message may have {FILES_BYTES >> 20} MB together"


async def json_object(request: web.Request) -> JsonObject:
    """The body. It is read here since it may be larger than the application lets other routes be.

    Raises:
        BadRequest: it is too large, or no JSON object.
    """
    if (request.content_length or 0) > BODY_BYTES:
        raise BadRequest(413, f"{_TOO_LARGE}; this message is larger.")
    read = bytearray()
    async for chunk in request.content.iter_any():
        read += chunk
        if len(read) > BODY_BYTES:
            raise BadRequest(413, f"{_TOO_LARGE}; this message is larger.")
    try:
        body: Json = json.loads(read)
    except (ValueError, RecursionError):
        raise BadRequest(400, "The body is not JSON.") from None
    if not isinstance(body, dict):
        raise BadRequest(400, "The body must be a JSON object.")
    return cast(JsonObject, body)


def message_id(body: JsonObject) -> str:
    """The message's own id, or a new one.

    Raises:
        BadRequest: it is no id.
    """
    given = body.get("id")
    if given is None:
        return uuid.uuid4().hex
    if not isinstance(given, str) or not _MESSAGE_ID.fullmatch(given):
        raise BadRequest(400, "id must be 8 to 64 letters, digits and dashes, such as a UUID.")
    return given


def text_of(body: JsonObject) -> str:
    """What was said.

    Raises:
        BadRequest: it is no text, or too long.
    """
    text = body.get("text")
    if not isinstance(text, str):
        raise BadRequest(400, "text must be a string.")
    if len(text) > TEXT_LIMIT:
        raise BadRequest(413, f"text may have {TEXT_LIMIT} characters; this one has {len(text)}.")
    return storable(text)


def approval_of(body: JsonObject) -> str:
    """The approval whose button was pressed; empty where none was.

    Raises:
        BadRequest: it is no id.
    """
    given = body.get("decides")
    if given is None:
        return ""
    if not isinstance(given, str) or not _APPROVAL.fullmatch(given):
        raise BadRequest(400, "decides must be the id of an approval.")
    return given


def attachments_of(body: JsonObject) -> tuple[Attachment, ...]:
    """What was sent along.

    Raises:
        BadRequest: it is not as it must be, or too much.
    """
    given: Json = body.get("attachments")
    if given is None:
        return ()
    if not isinstance(given, list):
        raise BadRequest(400, "attachments must be a list.")
    entries = cast(list[Json], given)
    if len(entries) > MOST_FILES:
        raise BadRequest(400, f"A message may have {MOST_FILES} files; this one has {len(entries)}.")
    found = tuple(_attachment(entry) for entry in entries)
    total = sum(one.size for one in found)
    if total > FILES_BYTES:
        raise BadRequest(413, f"{_TOO_LARGE}; these have {total / (1 << 20):.1f} MB.")
    return found


def _attachment(entry: Json) -> Attachment:
    if not isinstance(entry, dict):
        raise BadRequest(400, "Each attachment must be an object with name, content_type and data.")
    fields = cast(JsonObject, entry)
    name, kind, data = fields.get("name"), fields.get("content_type", ""), fields.get("data")
    if not isinstance(name, str) or not isinstance(kind, str) or not isinstance(data, str):
        raise BadRequest(400, "name, content_type and data of an attachment must be strings.")
    name = clean_name(name)
    try:
        content = b64decode(data, validate=True)
    except ValueError:
        raise BadRequest(400, f"The data of {name} is not base64.") from None
    if not content:
        raise BadRequest(400, f"{name} is empty.")
    return Attachment(name, type_of(name, kind), len(content), b64encode(content).decode())
