# pyright: basic, reportArgumentType=false
"""A part of an answer as the message that its platform gets: words with what stands beside them, or a card."""

from __future__ import annotations

from botbuilder.schema import Activity, Attachment, CardAction, SuggestedActions

from bot.channels import teams_cards
from bot.channels.activities import SLACK, TEAMS
from bot.channels.fields import object_at, string_at
from bot.channels.teams_chat import can_stream
from bot.channels.teams_entities import FEEDBACK, AiMessage
from bot.channels.teams_text import dialect
from bot.settings import Settings
from bot.texts import Texts
from bot.types import Control, JsonObject, Part

MAX_BUTTONS = 3
"""Suggested actions that Teams shows. It takes none where there are attachments.

https://learn.microsoft.com/microsoftteams/platform/bots/how-to/conversations/suggested-actions
"""


class Messages:
    """Makes the messages of one platform."""

    def __init__(self, platform: str, settings: Settings, texts: Texts) -> None:
        self._platform = platform
        self._texts = texts
        self._sensitivity = settings.teams_sensitivity_label
        self._format = "extendedmarkdown" if settings.teams_markdown == "extended" else "markdown"

    def dialect(self, text: str) -> str:
        """The text as Teams shows it; on Slack as it is."""
        return text if self._platform == SLACK else dialect(text, extended=self._format == "extendedmarkdown")

    def made(self, address: JsonObject, part: Part) -> Activity:
        """The message. On Slack it is words alone: neither the label nor buttons come through to it."""
        if self._platform == SLACK:
            return Activity(type="message", text=part.text, text_format="markdown")
        card = self._card(part) if self._platform == TEAMS else None
        if card is not None:
            return self._shown(card)
        # a text that grows has not been through the dialect; one that has been is not changed again
        activity = Activity(type="message", text=self.dialect(part.text), text_format=self._format)
        if part.by_agent:
            activity.entities = [AiMessage(activity.text, part.citations, self._sensitivity)]
            activity.channel_data = dict(FEEDBACK)
        words = self._words_to_say(address, part)
        if words:
            actions = [CardAction(type="imBack", title=title, value=said) for said, title in words[:MAX_BUTTONS]]
            to = string_at(object_at(address, "user"), "id")
            activity.suggested_actions = SuggestedActions(actions=actions, to=[to] if to else [])
        return activity

    def _card(self, part: Part) -> JsonObject | None:
        """The card, where buttons come with the words. An agent's words are none: cards show less Markdown."""
        if part.asks is not None:
            return teams_cards.question(part.asks, self._texts)
        if part.controls and not part.by_agent:
            return teams_cards.with_controls(part.text, part.controls, self._texts)
        return None

    def _shown(self, card: JsonObject) -> Activity:
        """Without words beside it: of those and a card the service makes two messages, and gives the id of none."""
        attachment = Attachment(content_type=teams_cards.ADAPTIVE, content=card)
        return Activity(type="message", attachments=[attachment], summary=card["fallbackText"])

    def _words_to_say(self, address: JsonObject, part: Part) -> list[tuple[str, str]]:
        """What may be said next, with the buttons' titles. They vanish with the next message, so not in groups."""
        if self._platform == TEAMS:
            return [(word, word) for word in part.buttons] if can_stream(address) else []
        # the Emulator shows no card whose buttons come back
        asked = part.asks is not None and not part.asks.outcome
        controls = (Control.APPROVE, Control.DECLINE) if asked else part.controls
        pressed = [(control.replace("_", " "), self._texts.control(control)) for control in controls]
        return [*pressed, *((word, word) for word in part.buttons)]
