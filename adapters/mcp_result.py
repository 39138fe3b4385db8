"""A result of an MCP server's tool as words for the agent."""

from __future__ import annotations

import mimetypes
from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from adapters.marks import ToolFailed
from adapters.output import Result
from bot.types import File

WORDLESS = "the tool says that it failed, without a word of why"


def result_of(result: CallToolResult, asked: Sequence[str] = ()) -> object:
    """What the toolbox makes the output of: text, data where there is no text, None where there is neither.

    Images, sounds and files are for the person; the agent is told of them in words, since it cannot be shown them.
    `asked`: notes on what the server asked the person meanwhile; the agent is told.

    Raises:
        ToolFailed: the tool says that it failed, with its words.
    """
    files: list[File] = []
    parts = [words for block in result.content for words in _words(block, files)]
    notes = [f"[{note}]" for note in asked]
    if result.is_error:
        raise ToolFailed("\n".join([*parts, *notes]).strip() or WORDLESS)
    parts += notes
    value: object = "\n".join(parts) if parts else None
    if result.structured_content is not None and not any(_is_text(block) for block in result.content):
        value = result.structured_content if not parts else {"result": result.structured_content, "also": parts}
    return Result(value, files) if files else value


def _is_text(block: ContentBlock) -> bool:
    return isinstance(block, TextContent) or (
        isinstance(block, EmbeddedResource) and isinstance(block.resource, TextResourceContents)
    )


def _words(block: ContentBlock, files: list[File]) -> Iterator[str]:
    match block:
        case TextContent(text=text):
            yield text
        case ImageContent(data=data, mime_type=kind):
            yield from _kept(files, "image", kind, data)
        case AudioContent(data=data, mime_type=kind):
            yield from _kept(files, "sound", kind, data)
        case ResourceLink(uri=uri, name=name, description=description):
            yield f"[a link: {name}, {uri}]" + (f" {description}" if description else "")
        case EmbeddedResource(resource=TextResourceContents(uri=uri, text=text)):
            yield f"[{uri}]\n{text}"
        case EmbeddedResource(resource=resource):
            blob: str = getattr(resource, "blob", "")
            name = PurePosixPath(urlsplit(str(resource.uri)).path).name
            yield from _kept(files, "file", resource.mime_type or "application/octet-stream", blob, name)


def _kept(files: list[File], what: str, kind: str, base64: str, name: str = "") -> Iterator[str]:
    """Keep it for the person; a word where it cannot be read."""
    try:
        data = b64decode(base64, validate=True)
    except ValueError:
        yield f"[{what} ({kind}) that cannot be read]"
        return
    suffix = mimetypes.guess_extension(kind.partition(";")[0].strip()) or ""
    files.append(File(name or f"{what}-{len(files) + 1}{suffix}", kind, data))
