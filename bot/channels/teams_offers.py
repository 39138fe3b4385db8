"""Files of the agent's in Teams: small pictures are shown; any other file is offered, and brought once it is wanted.

A bot may put a file into somebody's OneDrive only after they said yes to a card, in their own chat. The card may be
answered at another replica or after a restart, so where the file lies is stored; its content is fetched again. The
address to bring it to comes with the yes, is pre-signed, and is used at once and kept nowhere.
https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Protocol

from bot.channels.fields import object_at, string_at
from bot.channels.invokes import Answer
from bot.channels.local_files import clean_name
from bot.channels.teams_files import FileRequests
from bot.errors import DeliveryRefused, OperatorError, RequestRefused, ServiceUnavailable
from bot.events import Emit, Unexpected
from bot.pictures import picture_in
from bot.ports import FileOffers
from bot.texts import Texts
from bot.types import File, FileOffer, JsonObject, Message, Part, RemoteFile

CONSENT = "application/vnd.microsoft.teams.card.file.consent"
INFO = "application/vnd.microsoft.teams.card.file.info"
INVOKE = "fileConsent/invoke"

INLINE_BYTES, INLINE_PIXELS = 1024 * 1024, 1024
INLINE = ("image/png", "image/jpeg", "image/gif")
"""What a message shows: no larger, and nothing that moves."""

OFFERED_SECONDS = 86_400.0
IN_HAND_SECONDS = 180.0
"""Longer than fetching and bringing a file may take; a yes that comes again meanwhile has no effect."""
ANSWER_WITHIN = 8.0
"""Teams waits 10 to 15 s for the answer; the bringing goes on behind it."""

Download = Callable[[RemoteFile], Awaitable[bytes]]


class Poster(Protocol):
    """The chat in which somebody said yes or no."""

    async def post(self, address: JsonObject, part: Part) -> str:
        """A message of words."""
        ...

    async def attach(self, address: JsonObject, attachment: JsonObject, *, by_agent: bool) -> str:
        """A message that is one attachment: with text beside it the service makes two, and gives no id."""
        ...

    async def remove(self, address: JsonObject, delivered: str) -> None:
        """Take a message away."""
        ...


def inline(file: File) -> JsonObject | None:
    """The picture as a message shows it; None for all else."""
    picture = picture_in(file.data)
    if picture is None or picture.content_type not in INLINE or picture.moves or len(file.data) > INLINE_BYTES:
        return None
    if not 0 < max(picture.width, picture.height) <= INLINE_PIXELS:
        return None
    data = f"data:{picture.content_type};base64,{b64encode(file.data).decode()}"
    return {"contentType": picture.content_type, "contentUrl": data, "name": clean_name(file.name)}


def _personal(address: JsonObject) -> bool:
    place = object_at(address, "conversation")
    return string_at(place, "conversationType").lower() == "personal" and not place.get("isGroup")


class Offers:
    """Offers files, and brings those that are wanted."""

    def __init__(
        self, offers: FileOffers | None, download: Download | None, requests: FileRequests, texts: Texts, emit: Emit
    ) -> None:
        self._offers = offers
        self._download = download
        self._requests = requests
        self._texts = texts
        self._emit = emit
        self._bringing: set[asyncio.Task[None]] = set()

    async def card(self, address: JsonObject, file: File, remote: RemoteFile | None) -> JsonObject | None:
        """The card that asks; None where no file can be brought: in groups, and where it does not lie anywhere.

        Raises:
            ServiceUnavailable: the offer could not be stored.
        """
        if self._offers is None or remote is None or not file.data or not _personal(address):
            return None  # of a file without a byte no range can be brought
        user, place = object_at(address, "user"), object_at(address, "conversation")
        offer = FileOffer(
            id=secrets.token_urlsafe(18),
            channel=string_at(address, "channelId"),
            tenant=string_at(address, "tenant"),
            person=string_at(user, "aadObjectId") or string_at(user, "id"),
            conversation=string_at(place, "id"),
            file=remote,
        )
        await self._offers.offer(offer, OFFERED_SECONDS)
        context: JsonObject = {"offer": offer.id}
        content = {"description": self._texts.file_offered(), "sizeInBytes": len(file.data)}
        content |= {"acceptContext": context, "declineContext": context}
        return {"contentType": CONSENT, "name": clean_name(file.name), "content": content}

    async def answer(self, said: Message, value: JsonObject, card: str, chat: Poster) -> Answer:
        """What a yes or no does. It is done by the answer where that is soon; `card` is the card's own message.

        Raises:
            ServiceUnavailable: nothing was done; Teams tells the person to try again.
        """
        offer = await self._theirs(said, string_at(object_at(value, "context"), "offer"))
        accepted = string_at(value, "action") == "accept"
        if offer is None:
            return Answer(200, {})  # brought already, or just now, or a day too late
        if not accepted:
            await self._offered.close(offer.id)
            await _quietly(chat.remove(said.address, card))
            return Answer(200, {})
        task = asyncio.create_task(self._bring(offer, said, object_at(value, "uploadInfo"), card, chat))
        self._bringing.add(task)
        task.add_done_callback(self._bringing.discard)
        await asyncio.wait({task}, timeout=ANSWER_WITHIN)
        return Answer(200, {})

    @property
    def _offered(self) -> FileOffers:
        assert self._offers is not None
        return self._offers

    async def _theirs(self, said: Message, number: str) -> FileOffer | None:
        """What a client sends need not be its own: the offer must be this person's, made in this chat."""
        offer = await self._offers.take(number, IN_HAND_SECONDS) if self._offers is not None and number else None
        if offer is None:
            return None
        place = said.conversation
        if (offer.channel, offer.tenant, offer.person, offer.conversation) == (
            place.channel,
            place.tenant,
            said.person.id,
            place.id,
        ):
            return offer
        await self._offered.give_back(offer.id)
        return None

    async def _bring(self, offer: FileOffer, said: Message, upload: JsonObject, card: str, chat: Poster) -> None:
        name = offer.file.name
        try:
            try:
                assert self._download is not None
                data = await self._download(offer.file)
                await self._requests.put(string_at(upload, "uploadUrl"), data)
            except RequestRefused:
                await self._offered.close(offer.id)
                await chat.post(said.address, Part(self._texts.file_gone(name)))
            except (ServiceUnavailable, OperatorError, DeliveryRefused):
                await self._offered.give_back(offer.id)
                await chat.post(said.address, Part(self._texts.file_not_brought(name)))
            else:
                await self._offered.close(offer.id)
                await chat.attach(said.address, _info(upload, name), by_agent=False)
                await _quietly(chat.remove(said.address, card))
        except (ServiceUnavailable, OperatorError, DeliveryRefused):
            return  # it could not be said; an offer that is still in hand comes free by itself
        except Exception as error:
            self._emit(Unexpected("", "", "file consent", type(error).__name__))

    async def close(self) -> None:
        """Leave what is being brought: the offer comes free, and the person may say yes again."""
        for task in self._bringing:
            task.cancel()
        await asyncio.gather(*self._bringing, return_exceptions=True)


def _info(upload: JsonObject, name: str) -> JsonObject:
    return {
        "contentType": INFO,
        "contentUrl": string_at(upload, "contentUrl"),
        "name": clean_name(string_at(upload, "name") or name),
        "content": {"uniqueId": string_at(upload, "uniqueId"), "fileType": string_at(upload, "fileType")},
    }


async def _quietly(removal: Awaitable[None]) -> None:
    """A card that stays is no harm: it says nothing that is not so, and has no effect any more."""
    try:
        await removal
    except (ServiceUnavailable, OperatorError, DeliveryRefused):
        return
