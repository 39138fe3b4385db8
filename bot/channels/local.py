"""The local channel: two people and a group on this machine, spoken to over HTTP and server-sent events.

There is no sign-in: who can reach the port is believed. It is mounted in local mode only, behind the guard of
`bot.web.app`. The chat page and the terminal use the same addresses. In the group every message is meant for the
bot; there is no mention to begin with. Files of answers are kept in memory, 32 MB of them: see `local_files.Shelf`.
"""

from __future__ import annotations

import contextlib
import secrets
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial

from aiohttp import web

from bot.channels.local_files import RASTER, Shelf, clean_name, type_of
from bot.channels.local_places import PEOPLE, PERSONAL, TEAM, Place, all_places
from bot.channels.local_posts import approval_of, attachments_of, json_object, message_id, text_of
from bot.channels.stream import Happened, Listener, Stream, without_repeats
from bot.errors import BadRequest, DeliveryRefused, OperatorError, ServiceUnavailable
from bot.events import (
    ControlApplied,
    Event,
    LeaseLost,
    RunEnded,
    RunLooked,
    RunStarted,
    ThreadOpened,
    ToolEnded,
    ToolStarted,
    TurnEnded,
    TurnReleased,
    TurnStarted,
)
from bot.ports import Accept, Beside, Clock, Show, View
from bot.reply import SOURCES
from bot.texts import Texts
from bot.types import (
    Asked,
    Attachment,
    File,
    Json,
    JsonObject,
    Message,
    Part,
    reference_of,
    without_none,
)

_WORDS = {"requires_action": "calling tools", "needstools": "calling tools"}


def _question(asked: Asked) -> JsonObject:
    """For the page, which needs no more than to know which button decides what."""
    return {"approval": asked.approval, "tool": asked.tool, "asker": asked.asker, "outcome": asked.outcome}


class LocalChannel:
    """The `Channel` of local mode, its HTTP side, and a listener of events.

    People and conversations are fixed, so everything it holds is bounded from the start.
    """

    name = "local"
    limit = 80 * 1024
    shows: frozenset[Beside] = frozenset({"files", "citations"})
    send_timeout = 1.0

    def __init__(
        self,
        accept: Accept,
        view: View,
        lane_of: Callable[[Message], str],
        clock: Clock,
        texts: Texts | None = None,
    ) -> None:
        self._accept = accept
        self._texts = texts or Texts()
        self._view = view
        self._lane_of = lane_of
        self._clock = clock
        self._places = all_places()
        self._closed = False
        self._shelf = Shelf()
        epoch = secrets.token_hex(4)
        ids = {place.conversation.id for place in self._places.values()}
        self._streams = {conversation: Stream(epoch, clock) for conversation in ids}
        self._lanes = {self._lane(place): self._stream(place) for place in self._places.values()}

    def routes(self) -> list[web.RouteDef]:
        """What the application serves for this channel."""
        return [
            web.get("/local/state", self._get_state),
            web.get("/local/events", self._get_events, allow_head=False),
            web.post("/local/messages", self._post_message),
            *self._shelf.routes(),
        ]

    async def close(self) -> None:
        """End every open event stream; without this a server that stops would wait for them."""
        self._closed = True
        for stream in self._streams.values():
            stream.listeners = {listener for listener in stream.listeners if listener.tell(None)}

    # -- the Channel port -----------------------------------------------------------------------------------

    def dialect(self, text: str) -> str:
        """As it is: the page shows Markdown."""
        return text

    @asynccontextmanager
    async def working(self, address: JsonObject) -> AsyncGenerator[Show | None]:
        """Show the typing indicator, and the answer as it grows, until the block ends."""
        stream = self._streams.get(str(address.get("conversation")))
        if stream is None:
            yield None
            return
        stream.working += 1
        if stream.working == 1:
            stream.publish("typing", on=True)
        draft = stream.growth.begin(str(address.get("person")))
        try:
            yield partial(stream.growth.show, draft)
        finally:
            stream.growth.end(draft)
            stream.working -= 1
            if not stream.working:
                stream.publish("typing", on=False)

    def progress(self, address: JsonObject, words: str) -> None:
        """See `ShowsProgress`: beside the typing indicator, as long as that is shown."""
        stream = self._streams.get(str(address.get("conversation")))
        if stream is not None and stream.working:
            stream.publish("typing", on=True, words=words)

    async def send(self, address: JsonObject, part: Part) -> str:
        """Show it; the id is unique over restarts."""
        delivered = uuid.uuid4().hex
        self._deliver("message", address, delivered, part)
        return delivered

    async def update(self, address: JsonObject, delivered: str, part: Part) -> None:
        """Show it in place of an earlier delivery, or as a new one where that is no longer shown."""
        self._deliver("update", address, delivered, part)

    async def fetch(self, address: JsonObject, attachment: Attachment, most: int) -> bytes:
        """Never: what comes here brings its content along."""
        raise DeliveryRefused("An attachment came without its content.")

    def _deliver(self, kind: str, address: JsonObject, delivered: str, part: Part) -> None:
        stream = self._streams.get(str(address.get("conversation")))
        if stream is None:
            raise DeliveryRefused("The local channel has no such conversation.")
        to = address.get("person")
        shown: JsonObject = {
            "text": part.text,
            "by_agent": part.by_agent,
            "buttons": list(part.buttons),
            "controls": [str(control) for control in part.controls] or None,
            "asks": _question(part.asks) if part.asks is not None else None,
            "citations": [asdict(one) for one in part.citations[:SOURCES]] or None,
            "file": self._shelved(part.file) if part.file is not None else None,
            # what grew and these, its final words, are one: the page shows them in one and the same moment
            "draft": stream.growth.settle(str(to)) if part.by_agent and kind == "message" else None,
        }
        stream.publish(kind, id=delivered, to=to, **without_none(shown))
        stream.growth.tell()

    def _shelved(self, file: File) -> JsonObject:
        kind = type_of(file.name, file.content_type)
        where = {"url": self._shelf.put(file), "inline": kind in RASTER}
        return {"name": clean_name(file.name), "content_type": kind, "size": len(file.data), **where}

    # -- the listener of events -----------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Show what happens in a lane of ours, as it happens."""
        stream = self._lanes.get(event.lane)
        if stream is None:
            return
        reference = event.reference
        match event:
            case TurnStarted():
                stream.run(reference, "started", attempt=event.attempt)
            case RunStarted():
                stream.run(reference, "found again" if event.adopted else "queued", run=event.run)
            case RunLooked():
                stream.run(reference, _WORDS.get(event.state, event.state), run=event.run)
            case RunEnded():
                tokens = {"prompt_tokens": event.prompt_tokens, "completion_tokens": event.completion_tokens}
                stream.run(reference, event.state, run=event.run, seconds=event.seconds, **tokens)
            case TurnReleased():
                stream.run(reference, "waiting", delay=event.delay, cure=event.cure)
            case LeaseLost():
                stream.run(reference, "taken over")
            case ToolStarted():
                stream.publish("tool", reference=reference, call=event.call, name=event.tool, state="started")
            case ToolEnded():
                ended = {"call": event.call, "seconds": event.seconds, "error": event.error}
                stream.publish("tool", reference=reference, name=event.tool, state="done", **ended)
            case ThreadOpened():
                opened = {"reason": event.reason, "carried": event.carried, "backend": event.backend}
                stream.publish("thread", reference=reference, id=event.thread, **opened)
            case ControlApplied():
                stream.publish("control", reference=reference, control=event.control, dropped=event.dropped)
            case TurnEnded():
                stream.publish("ended", reference=reference, outcome=event.ended, seconds=event.seconds)
            case _:  # the rest is for logs
                return

    # -- HTTP -----------------------------------------------------------------------------------------------

    async def _post_message(self, request: web.Request) -> web.Response:
        body = await json_object(request)
        place = self._place(body)
        message = place.message(message_id(body), text_of(body), attachments_of(body), approval_of(body))
        accepted = await self._accept(message)
        reference = reference_of(accepted.turn)
        if accepted.fresh and not message.decides:  # what was decided is shown in the question's place
            said = {"id": message.id, "person": place.person.id, "text": message.text}
            files = [{"name": one.name, "content_type": one.content_type} for one in message.attachments]
            self._stream(place).publish("said", reference=reference, **said, **({"files": files} if files else {}))
        came: JsonObject = {"reference": reference, "fresh": accepted.fresh}
        if message.decides and accepted.decision is not None:
            came["decision"] = accepted.decision
            came["told"] = self._texts.press_came_to(accepted.decision)
        return web.json_response(came, status=202)

    async def _get_state(self, request: web.Request) -> web.Response:
        place = self._place(request.query)
        stream = self._stream(place)
        try:
            seen = await self._view(self._lane(place))
        except OperatorError as error:
            seen = {"problem": f"{error.problem} {error.cure}"}
        except ServiceUnavailable:
            seen = {"problem": "The agent service isn't reachable; what was said before can't be shown."}
        shown: JsonObject = {
            "thread": None,
            "history": [],
            "running": None,
            "waiting": 0,
            "backend": "",
            **seen,
        }
        # The past is read after the view: what happened in between is in the past, and nothing is in neither.
        history, past = without_repeats(shown["history"], stream.past)
        shown["history"] = history
        shown["events"] = [{"id": one.id, "kind": one.kind, "data": one.data} for one in past]
        return web.json_response({**shown, "last": stream.last, "now": self._clock.now()})

    async def _get_events(self, request: web.Request) -> web.StreamResponse:
        stream = self._stream(self._place(request.query))
        if self._closed:
            raise web.HTTPServiceUnavailable(text="stopping")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        # EventSource sends Last-Event-ID when it reconnects by itself, but cannot on its first connection.
        after = request.headers.get("Last-Event-ID") or request.query.get("after")
        transport = request.transport
        listener = Listener(transport.abort if transport is not None else lambda: None)
        missed = stream.since(after) if after else []
        if missed is None:
            missed = [Happened(stream.last, "reset", {})]
        stream.listeners.add(listener)
        begin = b"retry: 1000\n\n" + b"".join(one.frame() for one in missed) + stream.growth.frame()
        try:
            with contextlib.suppress(ConnectionResetError):  # the reader left; it is told to nobody
                await response.write(begin)
                while not self._closed and (frame := await listener.next()) is not None:
                    await response.write(frame)
        finally:
            stream.listeners.discard(listener)
        return response

    def _place(self, names: Mapping[str, Json]) -> Place:
        person, conversation = names.get("person"), names.get("conversation")
        place = self._places.get((str(person), str(conversation)))
        if place is None:
            known = " or ".join(person.id for person in PEOPLE)
            raise BadRequest(400, f"person must be {known}, conversation {PERSONAL} or {TEAM}.")
        return place

    def _stream(self, place: Place) -> Stream:
        return self._streams[place.conversation.id]

    def _lane(self, place: Place) -> str:
        return self._lane_of(place.message("", ""))
