"""What people sent along, on its way to the agent: fetched where the channel left it, else named.

Nothing here fails the turn: the words are answered all the same, with a note of what did not get through.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bot.errors import DeliveryRefused, OperatorError, ServiceUnavailable, TooLarge
from bot.lease import Turn
from bot.pictures import picture_in
from bot.ports import Channel
from bot.types import Attachment, File, Message, Takes

TOGETHER_BYTES = 20 * 1024 * 1024
"""Of what is fetched for one turn: it is held in memory, and many turns run at once."""
TOGETHER_SECONDS = 60.0
GIVEN = "text:given"
"""The saved step with the names of what an earlier life of the turn had in hand when it asked the agent."""


@dataclass(slots=True)
class Brought:
    """What can be given to the agent, and the names of the rest: not taken by it, or not to be had."""

    files: list[File] = field(default_factory=list[File])
    refused: list[str] = field(default_factory=list[str])
    missing: list[str] = field(default_factory=list[str])


async def brought(turn: Turn, messages: Sequence[Message], takes: Takes, channel: Channel) -> Brought:
    """All attachments of the messages, sorted by what became of them. Type and size are seen before and after.

    Raises:
        Interrupted, LostLease: the turn must not go on.
    """
    found = Brought()
    until = asyncio.get_running_loop().time() + TOGETHER_SECONDS
    for message in messages:
        for one in message.attachments:
            await _bring(turn, message, one, takes, channel, found, until)
    given = [file.name for file in found.files]
    run = turn.saved("run")
    if run and run.get("run"):  # the agent has what an earlier life gave it, also where it is gone by now
        found.missing = [name for name in found.missing if name not in (turn.saved(GIVEN) or ())]
    elif given:
        turn.note(GIVEN, given)
    return found


async def _bring(
    turn: Turn, message: Message, one: Attachment, takes: Takes, channel: Channel, found: Brought, until: float
) -> None:
    fetched = sum(len(file.data) for file in found.files)
    most = min(takes.size, TOGETHER_BYTES - fetched)
    if not takes.fits(one) or (not one.data and one.size > most):
        return found.refused.append(one.name)
    try:
        if one.data:
            data = b64decode(one.data)
        else:
            async with asyncio.timeout_at(until):
                data = await turn.race(channel.fetch(message.address, one, most))
    except TooLarge:
        return found.refused.append(one.name)
    except (DeliveryRefused, ServiceUnavailable, OperatorError, TimeoutError):
        return found.missing.append(one.name)
    kind = _type_of(one, data)
    if takes.fits(replace(one, content_type=kind, size=one.size if one.data else len(data))):
        found.files.append(File(one.name, kind, data))
    else:
        found.refused.append(one.name)


def _type_of(one: Attachment, data: bytes) -> str:
    """Of a picture by what it is, for Teams calls each one `image/*`; of all else as it was declared."""
    picture = picture_in(data) if one.content_type.lower().startswith("image/") and not one.data else None
    if picture is not None:
        return picture.content_type
    return "application/octet-stream" if one.content_type.endswith("/*") else one.content_type
