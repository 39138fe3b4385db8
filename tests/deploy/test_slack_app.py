"""The Slack app's manifest: its addresses, its events and the scopes that they need, and that the bot reads them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.channels.slack_activities import Said, read
from bot.types import ConversationKind

SLACK = Path(__file__).parents[2] / "infra" / "slack"
APP: dict[str, Any] = yaml.safe_load((SLACK / "manifest.yaml").read_text(encoding="utf-8"))
EVENTS: list[str] = APP["settings"]["event_subscriptions"]["bot_events"]

SCOPE_OF = {
    "app_mention": "app_mentions:read",
    "message.im": "im:history",
    "message.mpim": "mpim:history",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
}
"""https://docs.slack.dev/reference/events"""
KINDS = {
    "message.im": ("im", "D1", ConversationKind.PERSONAL),
    "message.mpim": ("mpim", "G1", ConversationKind.GROUP),
    "message.channels": ("channel", "C1", ConversationKind.CHANNEL),
    "message.groups": ("group", "G2", ConversationKind.GROUP),
}
"""How an event's envelope names its place, and what the bot takes it for."""


def test_the_addresses_are_azure_bot_services() -> None:
    settings = APP["settings"]
    assert APP["oauth_config"]["redirect_urls"] == ["https://slack.botframework.com"]
    assert settings["event_subscriptions"]["request_url"] == "https://slack.botframework.com/api/Events/BOT_HANDLE"
    assert settings["interactivity"] == {
        "is_enabled": True,
        "request_url": "https://slack.botframework.com/api/Actions",
    }
    assert settings["socket_mode_enabled"] is False


def test_the_scopes_are_those_that_the_events_need_and_writing() -> None:
    assert set(APP["oauth_config"]["scopes"]["bot"]) == {SCOPE_OF[event] for event in EVENTS} | {"chat:write"}
    assert "user" not in APP["oauth_config"]["scopes"]


@pytest.mark.parametrize("event", EVENTS)
def test_the_bot_reads_each_event_where_it_is_meant(event: str) -> None:
    place, channel, kind = KINDS[event]

    def said(text: str) -> Said | str:
        envelope = {
            "team_id": "T1",
            "authorizations": [{"is_bot": True, "user_id": "UBOT"}],
            "event": {
                "type": event.split(".")[0],
                "channel_type": place,
                "channel": channel,
                "user": "U1",
                "text": text,
                "ts": "1.2",
            },
        }
        return read({"channelData": {"SlackMessage": envelope}}, personal=False)

    mentioned = said("<@UBOT> hello")
    assert isinstance(mentioned, Said)
    assert (mentioned.kind, mentioned.text) == (kind, "hello")
    assert isinstance(said("hello"), Said) is (kind is ConversationKind.PERSONAL)


def test_the_texts_keep_slacks_limits() -> None:
    shown = APP["display_information"]
    assert len(shown["name"]) <= 35
    assert len(shown["description"]) <= 140
    assert 175 <= len(shown["long_description"]) <= 4000
    assert re.fullmatch(r"#[0-9a-f]{6}", shown["background_color"])
    assert "can be wrong" in shown["long_description"].lower()
    assert APP["features"]["app_home"]["messages_tab_read_only_enabled"] is False


def test_the_steps_name_what_is_to_be_replaced() -> None:
    steps = (SLACK / "README.md").read_text(encoding="utf-8")
    assert "s/BOT_HANDLE/" in steps
    assert (SLACK / "manifest.yaml").read_text(encoding="utf-8").count("BOT_HANDLE\n") == 1
