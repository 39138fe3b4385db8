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

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from botbuilder.core import TurnContext
from botbuilder.integration.aiohttp import CloudAdapter
from botbuilder.schema import (
    Activity,
    CardAction,
    ChannelAccount,
    ConversationAccount,
    ConversationReference,
    Entity,
    SuggestedActions,
)
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
from bot.channels.cloud import Cloud, Session
from bot.channels.connector import SEND_TIMEOUT, Connector, Taken
from bot.channels.endpoint import Endpoint
from bot.channels.fields import object_at, string_at
from bot.channels.gate import Gate
from bot.channels.service_hosts import ServiceHosts
from bot.channels.signing_keys import SigningKeys
from bot.channels.typing_signal import TypingSignals
from bot.errors import DeliveryRefused
from bot.events import Emit
from bot.ports import Accept, Beside, Clock, Show
from bot.settings import Settings
from bot.types import JsonObject, Part

LIMITS = {TEAMS: 80_000, EMULATOR: 80_000, SLACK: 8_000}
"""Bytes of UTF-16. Teams refuses messages of about 100 KB and asks for 80; Slack for 4,000 characters."""
MAX_BUTTONS = 3
MAX_CLIENTS = 64


class AiMessage(Entity):
    """The label that the Store demands on an agent's words. The stock `Entity` loses every key but `type`.

    https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bot-messages-ai-generated-content
    """

    _attribute_map = {  # noqa: RUF012 (the SDK's serialiser reads it)
        "type": {"key": "type", "type": "str"},
        "at_type": {"key": "@type", "type": "str"},
        "at_context": {"key": "@context", "type": "str"},
        "additional_type": {"key": "additionalType", "type": "[str]"},
    }

    def __init__(self) -> None:
        super().__init__(type="https://schema.org/Message")
        self.at_type = "Message"
        self.at_context = "https://schema.org"
        self.additional_type = ["AIGeneratedContent"]


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
        self, name: str, settings: Settings, gate: Gate, adapter: CloudAdapter, *, clock: Clock, emit: Emit
    ) -> None:
        self._name = name
        self._gate = gate
        self._adapter = adapter
        self._claims = adapter.create_claims_identity(settings.microsoft_app_id)
        self._typing = TypingSignals(clock, emit)

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
        """Seconds after which a send has failed."""
        return SEND_TIMEOUT

    @property
    def shows(self) -> frozenset[Beside]:
        """Text only: sources and files are named in it."""
        return frozenset()

    @asynccontextmanager
    async def working(self, address: JsonObject) -> AsyncGenerator[Show | None]:
        """Typing, from now until the answer is sent or the block ends.

        Not on Slack: Azure Bot Service does not pass it on (a status is a call of Slack's own API).
        """
        if self._name == SLACK:
            yield None
            return
        async with self._typing.shown(_who(address), lambda: self._show_typing(address)):
            yield None

    async def send(self, address: JsonObject, part: Part) -> str:
        """Show it; the delivery's id, empty where the platform gives none.

        Raises:
            DeliveryFailed, DeliveryRefused, OperatorError: see connector.py.
        """
        await self._typing.end(_who(address))
        taken = await self._in_turn(address, lambda turn: turn.send_activity(self._activity(address, part)))
        return taken.id or "" if taken else ""

    async def update(self, address: JsonObject, delivered: str, part: Part) -> None:
        """Show it in place of an earlier delivery.

        Raises:
            DeliveryFailed, DeliveryRefused, OperatorError: see connector.py.
        """
        if not delivered:
            raise DeliveryRefused("The platform gave that delivery no id.")
        await self._typing.end(_who(address))
        activity = self._activity(address, part)
        activity.id = delivered
        await self._in_turn(address, lambda turn: turn.update_activity(activity))

    async def _show_typing(self, address: JsonObject) -> None:
        await self._in_turn(address, lambda turn: turn.send_activity(Activity(type="typing")))

    def _activity(self, address: JsonObject, part: Part) -> Activity:
        activity = Activity(type="message", text=part.text, text_format="markdown")
        if self._name == SLACK:
            return activity  # neither the label nor buttons come through to Slack
        if part.by_agent:
            activity.entities = [AiMessage()]
        if part.buttons:
            actions = [CardAction(type="imBack", title=b, value=b) for b in part.buttons[:MAX_BUTTONS]]
            to = string_at(object_at(address, "user"), "id")
            activity.suggested_actions = SuggestedActions(actions=actions, to=[to] if to else [])
        return activity

    async def _in_turn(self, address: JsonObject, act: Callable[[TurnContext], Awaitable[Any]]) -> Any:
        """Continue the stored conversation, once it is clear that it is still one of ours."""
        self._gate.check_address(address, self._name)
        reference = _reference(address)
        outcome: list[Any] = []

        async def logic(turn: TurnContext) -> None:
            # continue_conversation makes up an id, and answers would be replies to that
            turn.activity.id = reference.activity_id
            outcome.append(await act(turn))

        await self._adapter.continue_conversation_with_claims(self._claims, reference, "", logic)
        return outcome[0] if outcome else None


class BotFramework:
    """The endpoint and its channels, with the sessions and keys that they share. Use as a context, or close."""

    def __init__(self, settings: Settings, cloud: Cloud, *, accept: Accept, emit: Emit, clock: Clock) -> None:
        self._session = Session()
        hosts = ServiceHosts(settings.allowed_service_hosts, loopback=cloud.loopback, only_loopback=settings.local)
        self._keys = SigningKeys(self._session.get, cloud.metadata_url, clock)
        gate = Gate(settings, self._keys, hosts, cloud.issuer)
        self._endpoint = Endpoint(gate, settings.microsoft_app_id, accept=accept, emit=emit)
        self._token = None if settings.local else bot_token(settings, cloud, clock)
        self._clients = _Clients(Connector(self._session.get, hosts, self._token, clock))
        adapter = CloudAdapter(_Outbound(self._clients))
        names = (TEAMS, SLACK, EMULATOR) if settings.local else (TEAMS, SLACK)
        self._channels = {
            name: BotFrameworkChannel(name, settings, gate, adapter, clock=clock, emit=emit) for name in names
        }

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
        await self._keys.close()
        if self._token is not None:
            await self._token.close()
        await self._session.close()


def create(settings: Settings, *, accept: Accept, emit: Emit, clock: Clock, cloud: Cloud | None = None) -> BotFramework:
    """The Bot Framework channel as the settings describe it."""
    return BotFramework(settings, cloud or Cloud(), accept=accept, emit=emit, clock=clock)


def _who(address: JsonObject) -> tuple[str, str]:
    return string_at(object_at(address, "conversation"), "id"), string_at(object_at(address, "user"), "id")


def _reference(address: JsonObject) -> ConversationReference:
    conversation, bot, user = (object_at(address, key) for key in ("conversation", "bot", "user"))
    return ConversationReference(
        activity_id=string_at(address, "activityId") or None,
        bot=ChannelAccount(id=string_at(bot, "id"), name=string_at(bot, "name") or None),
        user=ChannelAccount(id=string_at(user, "id"), name=string_at(user, "name") or None),
        conversation=ConversationAccount(id=string_at(conversation, "id")),
        channel_id=string_at(address, "channelId"),
        locale=string_at(address, "locale") or None,
        service_url=string_at(address, "serviceUrl"),
    )
