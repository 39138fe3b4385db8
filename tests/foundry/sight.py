"""What a model is shown, and what it may do. It knows nothing else: no ids, no clock, no other thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Tokens spent on one step."""

    prompt: int
    completion: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt + other.prompt, self.completion + other.completion)

    def body(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_token_details": {"cached_tokens": 0},
        }


@dataclass(frozen=True)
class Call:
    """A wish to have a function called. `raw` sends text that is not JSON, as models sometimes do."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    raw: str | None = None

    @property
    def text(self) -> str:
        return json.dumps(dict(self.arguments), ensure_ascii=False) if self.raw is None else self.raw

    def body(self, call_id: str) -> dict[str, Any]:
        return {"id": call_id, "type": "function", "function": {"name": self.name, "arguments": self.text}}


@dataclass(frozen=True)
class Calls:
    """One round of function calls, to be answered together. `text` is said before them (new API only)."""

    calls: Sequence[Call]
    usage: Usage | None = None
    text: str | None = None


@dataclass(frozen=True)
class Answer:
    """The run's last word. An empty text is no message, where there are `items`."""

    text: str
    usage: Usage | None = None
    annotations: Sequence[dict[str, Any]] = ()
    items: Sequence[dict[str, Any]] = ()
    """Items before the message, such as `picture(...)` or a web_search_call (new API only)."""
    refused: bool = False
    """The text is a refusal."""
    parts: Sequence[dict[str, Any]] = ()
    """Parts of the message before its text, such as `image(...)` (classic API only)."""


@dataclass(frozen=True)
class Failure:
    """The run fails: most rate limits of the real service arrive so, not as a 429."""

    code: str = "server_error"
    message: str = "Sorry, something went wrong."
    text: str | None = None
    """What had been written before (new API only; it does not reach the conversation)."""


@dataclass(frozen=True)
class Incomplete:
    """The run is cut off, with what had been written so far."""

    reason: str = "max_completion_tokens"
    text: str | None = None


def image(file_id: str) -> dict[str, Any]:
    """A part of a message that code of the model has drawn, for `Answer.parts`."""
    return {"type": "image_file", "image_file": {"file_id": file_id}}


def picture(base64: str, **more: Any) -> dict[str, Any]:
    """An item of the image tool, for `Answer.items`."""
    return {"type": "image_generation_call", "result": base64, "output_format": "png", **more}


Act = Calls | Answer | Failure | Incomplete


@dataclass(frozen=True)
class Output:
    """A call of this run, with what came back."""

    call_id: str
    call: Call
    output: str


OPENING = -1


@dataclass(frozen=True)
class Said:
    """One message of the thread.

    Messages of one `batch` came between the same two runs, so they were said together; OPENING: with the thread.
    """

    role: str
    text: str
    metadata: Mapping[str, str]
    batch: int = 0


@dataclass(frozen=True)
class Sight:
    """Everything a model sees when its turn comes."""

    instructions: str
    messages: Sequence[Said]
    rounds: Sequence[Sequence[Output]]
    """This run's answered calls, round by round."""
    tools: Sequence[Mapping[str, Any]]
    """The functions on offer: name, description, parameters."""

    @property
    def outputs(self) -> list[Output]:
        return [output for outputs in self.rounds for output in outputs]

    @property
    def asked(self) -> list[str]:
        """What the user said for this run; nothing left from a failed one, nor what the thread was opened with."""
        said = [message for message in self.messages if message.role == "user"]
        latest = max((message.batch for message in said), default=OPENING)
        texts = [message.text for message in said if message.batch == latest]
        return texts[-1:] if latest == OPENING else texts

    def usage(self, written: str) -> Usage:
        """A token for every four characters, so that long threads cost more than short ones."""
        read = len(self.instructions) + sum(len(said.text) for said in self.messages)
        read += sum(len(output.call.text) + len(output.output) for output in self.outputs)
        return Usage(read // 4 + 1, len(written) // 4 + 1)


Model = Callable[[Sight], Act]
