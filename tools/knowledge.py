"""The organisation's own documents, of the folder KNOWLEDGE_DIR: passages with their file, heading and page."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from adapters import Adapter, BadArguments, Caller, ToolCall, ToolFailed, ToolSpec
from tools.library.index import Hit, Index
from tools.library.indexing import PAUSE, Indexing

NAME = "search_knowledge"
USUAL, MOST = 5, 10
LONGEST_QUERY = 1_000
MOST_BYTES = 14 * 1024
"""Of the passages together; more than 16 KB would be cut by the toolbox."""
FIRST_LOOK = 5.0
"""Seconds for which a search waits when the folder has never been read to its end."""

DESCRIPTION = (
    "Search the organisation's own documents. Gives the passages that fit best, each with its file, page and headings. "
    "Answer from what they say, and cite each that you use by its source in brackets, such as [handbook.pdf, page 12]. "
    "Search again with other words when they do not answer; if nothing does, say so."
)
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {
            "type": "string",
            "description": "The words that matter, in the documents' language. Put in quotes what stands together.",
        },
        "most": {
            "type": "integer",
            "minimum": 1,
            "maximum": MOST,
            "default": USUAL,
            "description": "How many passages.",
        },
    },
    "required": ["query"],
    "additionalProperties": False,
}


def offered(variables: Mapping[str, str]) -> Sequence[Adapter]:
    """The search, where a folder is named."""
    folder = variables.get("KNOWLEDGE_DIR", "")
    return [Knowledge(Path(folder), index_file(variables))] if folder else []


def index_file(variables: Mapping[str, str]) -> Path:
    """Where the index is: as KNOWLEDGE_INDEX says, or beside the database, or here where that is on a server."""
    if named := variables.get("KNOWLEDGE_INDEX", ""):
        return Path(named)
    scheme, _, database = variables.get("DATABASE_URL", "").partition(":///")
    beside = Path(database.partition("?")[0]) if scheme.startswith("sqlite") and database else Path("threadkeeper.db")
    return beside.with_name(f"{beside.stem}.knowledge.db")


class Knowledge:
    """The folder's search. While it is entered, the folder is looked at in the background."""

    def __init__(self, folder: Path, file: Path, pause: float = PAUSE) -> None:
        self._folder = folder.absolute()
        self._index = Index(file.absolute())
        self._pause = pause
        self._indexing: Indexing | None = None

    def specs(self) -> Sequence[ToolSpec]:
        """The one tool there is."""
        return [ToolSpec(NAME, DESCRIPTION, _SCHEMA, timeout=30.0, source="tools/knowledge.py")]

    async def call(self, call: ToolCall, caller: Caller) -> str:
        """Search.

        Raises:
            BadArguments: there is no query, or `most` is no number that fits.
            ToolFailed: the index cannot be used.
        """
        query, most = _arguments(json.loads(call.arguments))
        return await asyncio.to_thread(self._searched, query, most)

    def _searched(self, query: str, most: int) -> str:
        try:
            if not self._index.whole() and self._indexing is not None:
                self._indexing.first_look.wait(FIRST_LOOK)
            hits = self._index.search(query, most)
            return told(query, hits, self._index.count(), self._state())
        except sqlite3.Error:
            raise ToolFailed(
                "The documents cannot be searched now. Say so; those who run this bot can mend it."
            ) from None

    def _state(self) -> str:
        """What those who search should know of the index."""
        if self._index.whole():
            return ""
        progress = self._indexing.progress if self._indexing is not None else None
        far = f": {progress.done} of {progress.files} files are read" if progress and progress.files else ""
        return f"The documents are still being read{far}. There may be more to find in some minutes."

    async def __aenter__(self) -> Self:
        self._indexing = Indexing(self._folder, self._index, pause=self._pause)
        self._indexing.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        indexing, self._indexing = self._indexing, None
        if indexing is not None:
            await asyncio.to_thread(indexing.stop)


def _arguments(given: Mapping[str, Any]) -> tuple[str, int]:
    query, most = given.get("query"), given.get("most")
    if not isinstance(query, str) or not query.strip():
        raise BadArguments("query: say what to look for, in words")
    if len(query) > LONGEST_QUERY:
        raise BadArguments(f"query: at most {LONGEST_QUERY} characters; the words that matter are enough")
    most = USUAL if most is None else most
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST:
        raise BadArguments(f"most: a whole number from 1 to {MOST}")
    if unknown := set(given) - set(_SCHEMA["properties"]):
        raise BadArguments(f"{min(unknown)[:60]}: there is no such argument; the arguments are: query, most")
    return query, most


def told(query: str, hits: Sequence[Hit], files: int, state: str = "") -> str:
    """What the agent is told of what was found."""
    if not hits:
        nothing = (
            f"No passage in {files} files holds any of these words. Try others, or those of the documents' language."
        )
        return " ".join(filter(None, [nothing, state]))
    parts = [state] if state else []
    size = 0
    for hit in hits:
        part = f"[{source(hit)}]\n{hit.passage.body}"
        size += len(part.encode("utf-8", "replace"))
        if size > MOST_BYTES and hit is not hits[0]:
            break
        parts.append(part)
    return "\n\n".join(parts)


def source(hit: Hit) -> str:
    """A passage's place in words: the file, its page, and the headings that it stands below."""
    page = f"page {hit.passage.page}" if hit.passage.page else ""
    return ", ".join(filter(None, [hit.path, page, hit.passage.heading]))
