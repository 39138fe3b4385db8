"""Answers that grow in a chat of Teams, by the service's rules, and what a person then sees in the chat.

https://learn.microsoft.com/microsoftteams/platform/bots/streaming-ux
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.teams.cards import ADAPTIVE

LIFETIME = 120.0
PERSONAL = "a:"
"""How the ids of one-to-one chats begin."""
Activity = dict[str, Any]

NOT_ALLOWED = "Content stream is not allowed"
COMPLETED = "Content stream is not allowed on an already completed streamed message"
EXPIRED = "Content stream finished due to exceeded streaming time."
STOPPED = "Content stream was canceled by user"
CHANGED = "Request streamed content should contain the previously streamed content"


@dataclass
class Shown:
    """One entry of a chat. `state`: message, informative, streaming, stopped."""

    id: str
    text: str
    state: str = "message"
    sequence: int = 0
    began: float = 0.0
    card: Activity | None = None


def refused(status: int, code: str, message: str = "") -> web.Response:
    return web.json_response({"error": {"code": code, "message": message}}, status=status)


def stream_info(activity: Activity) -> Activity | None:
    """The entity that makes an activity part of a stream."""
    found = [e for e in activity.get("entities", ()) if str(e.get("type")).lower() == "streaminfo"]
    return found[0] if found else None


def _content(activity: Activity) -> tuple[str, Activity | None]:
    """The words of a message; of a card those that stand in its place, and the card."""
    cards = [one["content"] for one in activity.get("attachments") or () if one["contentType"] == ADAPTIVE]
    return (cards[0]["fallbackText"], cards[0]) if cards else (activity.get("text", ""), None)


class FakeChats:
    """What stands in each conversation. `quota`: more than one request of a stream in a second is refused."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.quota = True
        self.keeps = False
        """Nothing can be deleted."""
        self.keeps_with = 403
        self.stop_sentence = STOPPED
        self._now = now
        self._shown: dict[str, list[Shown]] = {}
        self._asked: dict[str, float] = {}

    def shown(self, conversation: str) -> list[tuple[str, str]]:
        """State and text of every entry, oldest first."""
        return [(one.state, one.text) for one in self._shown.get(conversation, ())]

    def ids(self, conversation: str) -> list[str]:
        """The ids of those entries."""
        return [one.id for one in self._shown.get(conversation, ())]

    def cards(self, conversation: str) -> list[tuple[str, Activity]]:
        """Id and content of every card, oldest first."""
        return [(one.id, one.card) for one in self._shown.get(conversation, ()) if one.card is not None]

    def stop(self, conversation: str) -> None:
        """The person presses Stop."""
        stream = self._open(conversation)
        assert stream is not None, "there is no Stop button"
        stream.state = "stopped"

    def complete(self, conversation: str) -> None:
        """The service takes the stream for completed."""
        stream = self._open(conversation)
        assert stream is not None
        stream.state = "message"

    def judged(
        self, method: str, conversation: str, activity_id: str | None, activity: Activity, new_id: str
    ) -> web.Response:
        """The service's answer."""
        if method in ("PUT", "DELETE"):
            return self._changed(method, conversation, activity_id or "", activity)
        info = stream_info(activity)
        if info is not None:
            return self._streamed(conversation, activity_id, activity, info, new_id)
        if activity.get("type") == "message":
            words, card = _content(activity)
            self._shown.setdefault(conversation, []).append(Shown(new_id, words, card=card))
        return web.json_response({"id": new_id}, status=201)

    def _changed(self, method: str, conversation: str, activity_id: str, activity: Activity) -> web.Response:
        shown = self._shown.get(conversation, [])
        found = next((one for one in shown if one.id == activity_id), None)
        if found is None:
            return refused(404, "ActivityNotFoundInConversation")
        if found.state == "stopped" or (found.state != "message" and self._now() - found.began < LIFETIME):
            return refused(403, "ContentStreamNotAllowed", NOT_ALLOWED)
        if method == "DELETE":
            if self.keeps:
                return refused(self.keeps_with, "MessageDeletionDisabled")
            shown.remove(found)
            return web.Response(status=200)
        words, card = _content(activity)
        if stream_info(activity) is not None or not words or activity.get("id", activity_id) != activity_id:
            return refused(400, "BadRequest")
        found.text, found.state, found.card = words, "message", card
        return web.json_response({"id": activity_id})

    def _open(self, conversation: str) -> Shown | None:
        living = (one for one in self._shown.get(conversation, ()) if one.state in ("informative", "streaming"))
        return next((one for one in living if self._now() - one.began < LIFETIME), None)

    def _streamed(
        self, conversation: str, activity_id: str | None, activity: Activity, info: Activity, new_id: str
    ) -> web.Response:
        if activity_id is not None or set(info) - {"type", "streamId", "streamType", "streamSequence"}:
            return refused(400, "BadRequest", "not a streaming activity")
        if not activity.get("text"):
            return refused(400, "BadRequest", "Start streaming activities should include text")
        if self.quota and self._now() - self._asked.get(conversation, -1.0) < 1.0:
            return refused(429, "", "API calls quota exceeded")
        self._asked[conversation] = self._now()
        if "streamId" not in info:
            return self._begun(conversation, activity, info, new_id)
        shown = next((one for one in self._shown.get(conversation, ()) if one.id == info["streamId"]), None)
        if shown is None:
            return refused(400, "BadRequest", "unknown stream")
        return self._gone_on(shown, activity, info)

    def _begun(self, conversation: str, activity: Activity, info: Activity, new_id: str) -> web.Response:
        kind = info.get("streamType", "streaming")
        if activity["type"] != "typing" or info.get("streamSequence") != 1 or kind == "final":
            return refused(400, "BadRequest", "not the beginning of a stream")
        if activity.get("conversation", {}).get("conversationType") != "personal":
            return refused(405, "MethodNotAllowed")  # as Microsoft's own client answers
        if not conversation.startswith(PERSONAL) or self._open(conversation) is not None:
            return refused(403, "ContentStreamNotAllowed", NOT_ALLOWED)
        if kind == "informative" and len(activity["text"]) > 1000:
            return refused(400, "BadRequest", "too long")
        begun = Shown(new_id, activity["text"], kind, 1, self._now())
        self._shown.setdefault(conversation, []).append(begun)
        return web.json_response({"id": new_id}, status=201)

    def _gone_on(self, shown: Shown, activity: Activity, info: Activity) -> web.Response:
        final = info.get("streamType") == "final"
        sequence = info.get("streamSequence")
        if final is not (activity["type"] == "message") or final is not (sequence is None):
            return refused(400, "BadRequest", "only the final message has no sequence")
        sentence = ""
        if shown.state == "stopped":
            sentence = self.stop_sentence
        elif shown.state == "message":
            sentence = COMPLETED
        elif self._now() - shown.began >= LIFETIME:
            sentence = EXPIRED
        elif shown.state == "streaming" and not activity["text"].startswith(shown.text):
            sentence = CHANGED
        if sentence:
            return refused(403, "ContentStreamNotAllowed", sentence)
        if not final and sequence <= shown.sequence:
            return refused(202, "ContentStreamSequenceOrderPreConditionFailed", "PreCondition failed exception.")
        if info.get("streamType") == "informative" and shown.state == "streaming":
            return refused(400, "BadRequest", "informative after content")
        shown.text = activity["text"]
        shown.state = "message" if final else info.get("streamType", "streaming")
        shown.sequence = sequence or shown.sequence
        return web.json_response({}, status=202)
