"""What is said to a person: words, sources, files, questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.types.controls import Control
from bot.types.messages import File


@dataclass(frozen=True, slots=True)
class Citation:
    """A source that the answer names. `mark` is how it stands in the text, such as [1]; `url` may be empty."""

    mark: str
    title: str
    url: str = ""
    quote: str = ""


TOOLS = "our tools"
"""The container of files that tools of ours made: they lie in our own store."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file or an image that the agent made, where it lies: `id` at the service, in `container` where there is one."""

    id: str
    name: str
    content_type: str
    container: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """The agent's answer. `cut` says that the service ended it early, at a token limit."""

    text: str
    cut: bool = False
    citations: tuple[Citation, ...] = ()
    files: tuple[RemoteFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person is asked before a tool is called.

    `arguments` are as they may be shown. `outcome` stands in the place of the buttons once it is decided.
    """

    approval: str
    tool: str
    arguments: Mapping[str, str]
    asker: str
    outcome: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One delivery of an answer. `by_agent` marks words of the AI, which channels must label.

    `buttons` are words that the person may say next; `controls` may be pressed for as long as the message stands.
    `asks`: the text is a question, and a channel with buttons shows it as one that Approve or Decline answers.
    """

    text: str
    by_agent: bool = False
    buttons: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    asks: Asked | None = None
    citations: tuple[Citation, ...] = ()
    file: File | None = None
    remote: RemoteFile | None = None
    """Where the file lies, for a channel that can bring it only later."""
