"""Files on the local page: names made harmless, and the shelf from which the files of answers are served."""

from __future__ import annotations

import mimetypes
import re
import secrets
import unicodedata
from urllib.parse import quote

from aiohttp import web

from bot.types import File

SHELF_BYTES = 32 * 1024 * 1024
SHELF_FILES = 500
NAME_CHARACTERS = 120

RASTER = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""What is shown in the page. SVG and HTML can carry scripts: like all else they are only ever downloaded."""

_ANY = "application/octet-stream"
_OFFICE = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "md": "text/markdown",
}
"""Not in Python's own table: the machine's need not have them."""
_TYPE = re.compile(r"[a-z0-9][\w!#$&^.+-]{0,63}/[a-z0-9][\w!#$&^.+-]{0,63}", re.ASCII)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Shelf:
    """Files that answers brought, in memory alone: at most 32 MB and 500 files, beyond which the oldest are let go.

    A restart lets go of all. Who has the address has the file; the addresses cannot be guessed.
    """

    def __init__(self) -> None:
        self._files: dict[str, File] = {}  # the oldest first
        self._bytes = 0

    def put(self, file: File) -> str:
        """Keep it; the address at which it is served. One that is larger than the shelf is gone at once."""
        key = secrets.token_urlsafe(18)
        if len(file.data) <= SHELF_BYTES:
            self._files[key] = file
            self._bytes += len(file.data)
        while self._bytes > SHELF_BYTES or len(self._files) > SHELF_FILES:
            self._bytes -= len(self._files.pop(next(iter(self._files))).data)
        return f"/local/files/{key}"

    def routes(self) -> list[web.RouteDef]:
        """Where the files are served."""
        return [web.get("/local/files/{key}", self._get)]

    async def _get(self, request: web.Request) -> web.Response:
        file = self._files.get(request.match_info["key"])
        if file is None:
            raise web.HTTPNotFound(reason="This file is kept no more: a restart or newer files let go of it.")
        kind = type_of(file.name, file.content_type)
        headers = {**_HEADERS, "Content-Type": kind}
        if kind not in RASTER:
            named = quote(clean_name(file.name), safe="")
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{named}"
        return web.Response(body=file.data, headers=headers)


def type_of(name: str, declared: str) -> str:
    """The content type as it is declared, else as the name tells it."""
    kind = declared.partition(";")[0].strip().lower()
    if kind == _ANY or not _TYPE.fullmatch(kind):
        ending = name.rpartition(".")[2].lower()
        kind = _OFFICE.get(ending) or mimetypes.guess_type(name)[0] or _ANY
    return kind


def clean_name(name: str) -> str:
    """A file's name without its path, and without what is not seen, such as characters that turn its direction."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    seen = " ".join("".join(one for one in last if unicodedata.category(one)[0] != "C").split())
    if not seen.strip("."):
        return "file"
    stem, dot, ending = seen.rpartition(".")
    if len(seen) <= NAME_CHARACTERS or not stem or len(ending) > 16:
        return seen[:NAME_CHARACTERS]
    return stem[: NAME_CHARACTERS - len(ending) - 1] + dot + ending
