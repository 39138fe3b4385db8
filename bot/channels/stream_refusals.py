"""Why Teams refuses a part of an answer that grows, told by its sentences.

https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux#error-codes
"""

from __future__ import annotations

import re
from enum import StrEnum

from bot.channels.fields import object_at, string_at
from bot.errors import DeliveryRefused
from bot.types import JsonObject

_NOT_ALLOWED = "ContentStreamNotAllowed"
_OUT_OF_ORDER = "ContentStreamSequenceOrderPreConditionFailed"


class Why(StrEnum):
    """What the refusal means to us."""

    STOPPED = "the person stopped it"
    EXPIRED = "it took longer than two minutes"
    REFUSED = "it can go on no more"


class StreamRefused(DeliveryRefused):
    """This stream takes no more. The conversation takes messages as before."""

    def __init__(self, why: Why) -> None:
        super().__init__(f"The stream is refused: {why}.")
        self.why = why


def refusal(status: int, body: JsonObject) -> StreamRefused | None:
    """What an answer of the connector says of a stream; None where it says nothing of one.

    The sentences are only compared, never kept. The service spells "canceled" both ways, and it takes a part that
    came out of order with 202, and drops it.
    """
    error = object_at(body, "error")
    code = string_at(error, "code") or string_at(body, "code")
    if status == 202 and code == _OUT_OF_ORDER:
        return StreamRefused(Why.REFUSED)
    sentence = string_at(error, "message").lower()
    if status != 403 or (code != _NOT_ALLOWED and "stream" not in sentence):
        return None
    if re.search(r"cancell?ed by user", sentence):
        return StreamRefused(Why.STOPPED)
    if "exceeded streaming time" in sentence:
        return StreamRefused(Why.EXPIRED)
    return StreamRefused(Why.REFUSED)
