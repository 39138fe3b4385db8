# pyright: basic, reportArgumentType=false
"""Teams, and Slack through Azure Bot Service: the Bot Framework channel.

The one module that imports the Bot Framework SDK, which is checked less strictly because the SDK has no types.
The stock `CloudAdapter` sends; what we put in is its documented seams: a `BotFrameworkAuthentication` whose
connector clients are kept (stock: a client, a token and a TCP connection for every turn), and an msrest sender over
one aiohttp session (stock: `requests` in a pool of six threads). Inbound does without the SDK: gate.py, activities.py.

`deliveryMode: expectReplies` is not supported: such a message is answered through the connector like any other. (An
answer that takes minutes and survives a crash cannot be the body of the request that asked.)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from botbuilder.core import TurnContext
from botbuilder.core.teams import TeamsInfo
from botbuilder.integration.aiohttp import CloudAdapter
from botbuilder.schema import (
    Activity,
    ChannelAccount,
    ConversationAccount,
    ConversationReference,
)
from botbuilder.schema import Attachment as SentAttachment
from botframework.connector import AsyncBfPipeline, BotFrameworkConnectorConfiguration
from botframework.connector.aio import ConnectorClient
from botframework.connector.auth import (
    AuthenticateRequestResult,
    BotFrameworkAuthentication,
    ClaimsIdentity,
    ConnectorFactory,
)
from cachetools import LRUCache
from msrest.pipeline import AsyncHTTPSender, Request, Response, SansIOHTTPPolicy
from msrest.universal_http.async_abc import AsyncClientResponse

from bot.channels.activities import EMULATOR, SLACK, TEAMS
from bot.channels.bot_token import bot_token
from bot.channels.cloud import CLOUDS, Cloud, Session
from bot.channels.connector import SEND_TIMEOUT, Connector, Taken, on_behalf_of
from bot.channels.endpoint import Endpoint
from bot.channels.fields import object_at, string_at
from bot.channels.gate import Gate
from bot.channels.invokes import Answer
from bot.channels.pace import Pace
from bot.channels.service_hosts import ServiceHosts
from bot.channels.signing_keys import SigningKeys
from bot.channels.teams_chat import TeamsChat, can_stream
from bot.channels.teams_files import Addresses, FileRequests, Files
from bot.channels.teams_messages import Messages
from bot.channels.teams_offers import Download, Offers, inline
from bot.channels.teams_streams import TeamsStreams
from bot.channels.typing_signal import LAST_WORD, TypingSignals
from bot.errors import DeliveryFailed
from bot.events import Emit
from bot.ports import Accept, Beside, Clock, FileOffers, Judge, Show
from bot.settings import Settings
from bot.texts import Texts
from bot.types import Attachment, File, JsonObject, Mails, Message, Part, RemoteFile

LIMITS = {TEAMS: 80_000, EMULATOR: 80_000, SLACK: 8_000}
"""Bytes of UTF-16. Teams refuses messages of about 100 KB and asks for 80; Slack for 4,000 characters."""
MAX_CLIENTS = 64


class _Answer(AsyncClientResponse):
    """What the connector answered, in msrest's form. Failures have been raised before."""

    def __init__(self, request: Any, taken: Taken) -> None:
        super().__init__(request, taken)
        self.status_code = taken.status
        self.headers = {"content-type": "application/json"}

    def body(self) -> bytes:
        return json.dumps(self.internal_response.body).encode()


class _Sender(AsyncHTTPSender):
    """msrest's requests, made by our connector."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    async def __aexit__(self, *_exc: object) -> None:
        """The session is not ours to close."""

    async def send(self, request: Request, **_config: Any) -> Response:
        made = request.http_request
        taken = await self._connector.request(made.method, made.url, made.headers, made.data)
        return Response(request, _Answer(made, taken))


class _Clients(ConnectorFactory):
    """One connector client per service address, kept."""

    def __init__(self, connector: Connector) -> None:
        self._sender = _Sender(connector)
        self.kept: LRUCache[str, ConnectorClient] = LRUCache(MAX_CLIENTS)

    async def create(self, service_url: str, *_audience: str) -> ConnectorClient:
        client = self.kept.get(service_url)
        if client is None:
            # the connector adds the token, after it has checked the host: nothing to sign here
            config = BotFrameworkConnectorConfiguration(
                SansIOHTTPPolicy(), service_url, pipeline_type=AsyncBfPipeline, sender=self._sender
            )
            client = self.kept[service_url] = ConnectorClient(None, custom_configuration=config)
        return client


class _Outbound(BotFrameworkAuthentication):
    """The adapter's way to connector clients. It verifies nothing: requests are verified before, by the gate."""

    def __init__(self, clients: _Clients) -> None:
        self._clients = clients

    async def authenticate_request(self, *_request: object) -> AuthenticateRequestResult:
        raise PermissionError("Requests are verified by the gate.")

    async def authenticate_streaming_request(self, *_request: object) -> AuthenticateRequestResult:
        raise PermissionError("Streaming connections are not offered.")

    def create_connector_factory(self, *_claims: ClaimsIdentity) -> ConnectorFactory:
        return self._clients

    async def create_user_token_client(self, *_claims: ClaimsIdentity) -> None:
        """None: nobody signs in. The stock one costs 38 % of a turn's CPU and another token."""


class BotFrameworkChannel:
    """One platform behind the Bot Framework (the port `Channel`)."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        gate: Gate,
        adapter: CloudAdapter,
        files: Files,
        offers: Offers,
        *,
        accept: Accept,
        clock: Clock,
        emit: Emit,
        texts: Texts,
    ) -> None:
        self._name = name
        self._gate = gate
        self._files = files
        self._offers = offers
        self._texts = texts
        self._adapter = adapter
        self._messages = Messages(name, settings, texts)
        self._claims = adapter.create_claims_identity(settings.microsoft_app_id)
        self._accept = accept
        self._typing = TypingSignals(clock, emit)
        self._streams = TeamsStreams(clock, emit, texts, self.limit)

    @property
    def name(self) -> str:
        """As messages carry it."""
        return self._name

    @property
    def limit(self) -> int:
        """Bytes of UTF-16 in one delivery."""
        return LIMITS[self._name]

    @property
    def send_timeout(self) -> float:
        """Seconds after which a send has failed: with the typing signal that it lets arrive first."""
        return SEND_TIMEOUT + LAST_WORD

    @property
    def shows(self) -> frozenset[Beside]:
        """Teams shows sources beside the text, and files or their names; on Slack both are named in the text."""
        return frozenset() if self._name == SLACK else frozenset({"citations", "files"})

    def dialect(self, text: str) -> str:
        """The text as Teams shows it; on Slack as it is."""
        return self._messages.dialect(text)

    @asynccontextmanager
    async def working(self, address: JsonObject) -> AsyncGenerator[Show | None]:
        """Typing, from now until the answer is sent or the block ends; in a one-to-one chat of Teams the answer grows.

        Not on Slack: Azure Bot Service does not pass it on (a status is a call of Slack's own API).
        """
        if self._name == SLACK:
            yield None
        elif self._name == TEAMS and can_stream(address):
            async with self._streams.shown(_who(address), self._chat(address)) as show:
                yield show
        else:
            async with self._typing.shown(_who(address), self._chat(address).typing):
                yield None

    def progress(self, address: JsonObject, words: str) -> None:
        """See `ShowsProgress`: in a one-to-one chat of Teams, where the answer is to grow."""
        self._streams.progress(_who(address), words)

    async def send(self, address: JsonObject, part: Part) -> str:
        """Show it; the delivery's id, empty where the platform gives none. What grew there becomes this.

        Raises:
            DeliveryFailed, DeliveryRefused, OperatorError: see connector.py.
            Interrupted: the person stopped what grew.
        """
        await self._typing.end(_who(address))
        if part.file is not None:
            return await self._show_file(address, part.file, part.remote)
        try:
            async with asyncio.timeout(SEND_TIMEOUT):  # the end of a stream may take several requests
                return await self._streams.send(_who(address), self._chat(address), part)
        except TimeoutError:
            raise DeliveryFailed("the connector took too long", sent=True) from None

    async def update(self, address: JsonObject, delivered: str, part: Part) -> None:
        """Show it in place of an earlier delivery.

        Raises:
            DeliveryFailed, DeliveryRefused, OperatorError: see connector.py.
        """
        await self._typing.end(_who(address))
        await self._chat(address).replace(part, delivered)

    async def fetch(self, address: JsonObject, attachment: Attachment, most: int) -> bytes:
        """The content of what was sent along in Teams; never on Slack, whose files are had with a token of Slack's.

        Raises:
            ServiceUnavailable, OperatorError: not now.
            DeliveryRefused, TooLarge: never.
        """
        self._gate.check_address(address, self._name)
        return await self._files.fetch(attachment, most)

    async def mails(self, address: JsonObject) -> Mails:
        """See `KnowsMails`. Teams tells the members of a chat; Azure Bot Service has nothing of people on Slack.

        https://learn.microsoft.com/microsoftteams/platform/bots/how-to/get-teams-context

        Raises:
            DeliveryFailed, DeliveryRefused, OperatorError: see connector.py.
        """
        person = string_at(object_at(address, "user"), "id")
        if self._name != TEAMS or not person:
            return Mails()

        async def ask(turn: TurnContext) -> Any:
            turn.activity.channel_data = {}  # of no team; the SDK looks, and fails where there is nothing
            return await TeamsInfo.get_member(turn, person)

        member = await self._in_turn(address, ask)
        return Mails(member.email or "", member.user_principal_name or "")

    async def _show_file(self, address: JsonObject, file: File, remote: RemoteFile | None) -> str:
        """Show a picture, offer another file in a chat with one person, else name it."""
        attachment = inline(file)
        if attachment is None and self._name == TEAMS:
            attachment = await self._offers.card(address, file, remote)
        if attachment is None:
            return await self.post(address, Part(self._texts.files_made([file.name])))
        return await self.attach(address, attachment, by_agent=True)

    async def post(self, address: JsonObject, part: Part) -> str:
        """See `teams_offers.Poster.post`."""
        return await self._chat(address).post(part)

    async def attach(self, address: JsonObject, attachment: JsonObject, *, by_agent: bool) -> str:
        """See `teams_offers.Poster.attach`."""
        sent = SentAttachment(
            content_type=attachment["contentType"],
            content_url=attachment.get("contentUrl"),
            content=attachment.get("content"),
            name=attachment["name"],
        )
        labels = self._messages.made(address, Part("", by_agent=by_agent)).entities
        activity = Activity(type="message", attachments=[sent], entities=labels)
        taken = await self._in_turn(address, lambda turn: turn.send_activity(activity))
        return taken.id or "" if taken else ""

    async def remove(self, address: JsonObject, delivered: str) -> None:
        """See `teams_offers.Poster.remove`."""
        if delivered:
            await self._chat(address).remove(delivered)

    async def close(self) -> None:
        """Leave no answer growing."""
        await self._streams.close()

    def _chat(self, address: JsonObject) -> TeamsChat:
        return TeamsChat(address, self._in_turn, self._messages.made, self._accept)

    async def _in_turn(
        self, address: JsonObject, act: Callable[[TurnContext], Awaitable[Any]], *, reply: bool = True
    ) -> Any:
        """Continue the stored conversation, once it is clear that it is still one of ours."""
        self._gate.check_address(address, self._name)
        reference = _reference(address)
        outcome: list[Any] = []

        async def logic(turn: TurnContext) -> None:
            # continue_conversation makes up an id, and answers would be replies to that
            turn.activity.id = reference.activity_id if reply else ""
            outcome.append(await act(turn))

        with on_behalf_of(string_at(address, "tenant")):
            await self._adapter.continue_conversation_with_claims(self._claims, reference, "", logic)
        return outcome[0] if outcome else None


class BotFramework:
    """The endpoint and its channels, with the sessions and keys that they share. Use as a context, or close."""

    def __init__(
        self,
        settings: Settings,
        cloud: Cloud,
        *,
        accept: Accept,
        emit: Emit,
        clock: Clock,
        texts: Texts,
        judge: Judge | None,
        file_offers: FileOffers | None,
        download: Download | None,
    ) -> None:
        self._session = Session()
        hosts = ServiceHosts(settings.service_hosts, loopback=cloud.loopback, only_loopback=settings.local)
        self._keys = SigningKeys(self._session.get, cloud.metadata_url, clock)
        gate = Gate(settings, self._keys, hosts, cloud.issuer)
        self._token = None if settings.local else bot_token(settings, cloud, clock)
        near = ServiceHosts(settings.allowed_file_hosts, loopback=cloud.loopback, only_loopback=settings.local)
        addresses = Addresses(clock)
        requests = FileRequests(self._session.get, services=hosts, files=near, token=self._token)
        files = Files(addresses, requests)
        self._offers = offers = Offers(file_offers, download, requests, texts, emit)
        self._endpoint = Endpoint(
            gate,
            settings.microsoft_app_id,
            addresses,
            self._consented,
            accept=accept,
            emit=emit,
            texts=texts,
            receives_all=settings.teams_receive_all,
            judge=judge,
        )
        pace = Pace(clock, (), ()) if settings.local else Pace(clock)  # on this machine there is no such limit
        self._clients = _Clients(Connector(self._session.get, hosts, self._token, clock, pace))
        adapter = CloudAdapter(_Outbound(self._clients))
        names = (TEAMS, SLACK, EMULATOR) if settings.local else (TEAMS, SLACK)
        self._channels = {
            name: BotFrameworkChannel(
                name, settings, gate, adapter, files, offers, accept=accept, clock=clock, emit=emit, texts=texts
            )
            for name in names
        }

    async def _consented(self, said: Message, value: JsonObject, card: str) -> Answer:
        chat = self._channels.get(said.conversation.channel)
        if chat is None:
            return Answer(200, {})
        return await self._offers.answer(said, value, card, chat)

    def routes(self) -> list[web.RouteDef]:
        """POST /api/messages."""
        return self._endpoint.routes()

    def channels(self) -> Mapping[str, BotFrameworkChannel]:
        """The channels by the name that messages carry."""
        return self._channels

    async def __aenter__(self) -> BotFramework:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give back sessions, and end what is under way."""
        for channel in self._channels.values():
            await channel.close()
        await self._offers.close()
        await self._keys.close()
        if self._token is not None:
            await self._token.close()
        await self._session.close()


def create(
    settings: Settings,
    *,
    accept: Accept,
    emit: Emit,
    clock: Clock,
    cloud: Cloud | None = None,
    texts: Texts | None = None,
    judge: Judge | None = None,
    file_offers: FileOffers | None = None,
    download: Download | None = None,
) -> BotFramework:
    """The Bot Framework channel as the settings describe it.

    Without `judge`, feedback is answered and not kept; without `file_offers` and `download`, files are named alone.
    """
    return BotFramework(
        settings,
        cloud or CLOUDS[settings.microsoft_cloud],
        accept=accept,
        emit=emit,
        clock=clock,
        texts=texts or Texts(),
        judge=judge,
        file_offers=file_offers,
        download=download,
    )


def _who(address: JsonObject) -> tuple[str, str]:
    return string_at(object_at(address, "conversation"), "id"), string_at(object_at(address, "user"), "id")


def _reference(address: JsonObject) -> ConversationReference:
    conversation, bot, user = (object_at(address, key) for key in ("conversation", "bot", "user"))
    return ConversationReference(
        activity_id=string_at(address, "activityId") or None,
        bot=ChannelAccount(id=string_at(bot, "id"), name=string_at(bot, "name") or None),
        user=ChannelAccount(id=string_at(user, "id"), name=string_at(user, "name") or None),
        conversation=_place(conversation),
        channel_id=string_at(address, "channelId"),
        locale=string_at(address, "locale") or None,
        service_url=string_at(address, "serviceUrl"),
    )


def _place(conversation: JsonObject) -> ConversationAccount:
    """The conversation with its type: some clients let an answer grow only where it says that it is personal."""
    return ConversationAccount(
        id=string_at(conversation, "id"),
        conversation_type=string_at(conversation, "conversationType") or None,
        is_group=True if conversation.get("isGroup") is True else None,
    )
