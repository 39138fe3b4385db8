"""A result of an MCP server's tool as words for the agent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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

WORDLESS = "the tool says that it failed, without a word of why"


def result_of(result: CallToolResult, asked: Sequence[str] = ()) -> object:
    """What the toolbox makes the output of: text, data where there is no text, None where there is neither.

    `asked`: what the server asked the person meanwhile; the agent is told.

    Raises:
        ToolFailed: the tool says that it failed, with its words.
    """
    parts = [words for block in result.content for words in _words(block)]
    notes = [f'[The tool asked the person: "{one}". Nobody was asked; the answer was no.]' for one in asked]
    if result.is_error:
        raise ToolFailed("\n".join([*parts, *notes]).strip() or WORDLESS)
    parts += notes
    if result.structured_content is not None and not any(_is_text(block) for block in result.content):
        return result.structured_content if not parts else {"result": result.structured_content, "also": parts}
    return "\n".join(parts) if parts else None


def _is_text(block: ContentBlock) -> bool:
    return isinstance(block, TextContent) or (
        isinstance(block, EmbeddedResource) and isinstance(block.resource, TextResourceContents)
    )


def _words(block: ContentBlock) -> Iterator[str]:
    match block:
        case TextContent(text=text):
            yield text
        case ImageContent(data=data, mime_type=kind):
            yield f"[an image ({kind}, {_size(data)}), which cannot be shown]"
        case AudioContent(data=data, mime_type=kind):
            yield f"[a sound ({kind}, {_size(data)}), which cannot be played]"
        case ResourceLink(uri=uri, name=name, description=description):
            yield f"[a link: {name}, {uri}]" + (f" {description}" if description else "")
        case EmbeddedResource(resource=TextResourceContents(uri=uri, text=text)):
            yield f"[{uri}]\n{text}"
        case EmbeddedResource(resource=resource):
            blob: str = getattr(resource, "blob", "")
            kind = resource.mime_type or "of no known type"
            yield f"[a file ({kind}, {_size(blob)}), which cannot be shown: {resource.uri}]"


def _size(base64: str) -> str:
    size = len(base64.rstrip("=")) * 3 // 4
    return f"{size} bytes" if size < 1024 else f"{round(size / 1024)} KB"
