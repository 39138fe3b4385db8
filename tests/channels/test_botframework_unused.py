"""What Teams sends and we do not use: acknowledged with 200, kept nowhere, counted. See docs/teams.md."""

from __future__ import annotations

from typing import Any

import pytest

from bot.events import ActivityIgnored
from tests.teams import group_message, installed, invoke, message
from tests.teams.activities import ANN, BOT
from tests.teams.rig import Rig

URL = "https://smba.trafficmanager.net/emea/"


def event(kind: str, **changes: Any) -> dict[str, Any]:
    return message(URL, None, type=kind, id="f:event", **changes)


def channel_event(name: str) -> dict[str, Any]:
    return event("conversationUpdate", channelData={"tenant": {"id": "t"}, "eventType": name})


UNUSED: dict[str, tuple[dict[str, Any], str]] = {
    "who joins": (event("conversationUpdate", membersAdded=[dict(ANN)]), "conversationUpdate"),
    "the bot itself joins": (event("conversationUpdate", membersAdded=[dict(BOT)]), "conversationUpdate"),
    "who leaves": (event("conversationUpdate", membersRemoved=[dict(ANN)]), "conversationUpdate"),
    "a new channel": (channel_event("channelCreated"), "conversationUpdate"),
    "a channel's name": (channel_event("channelRenamed"), "conversationUpdate"),
    "a team's name": (channel_event("teamRenamed"), "conversationUpdate"),
    "an archived team": (channel_event("teamArchived"), "conversationUpdate"),
    "the app's update": (installed(URL, "add-upgrade"), "installationUpdate"),
    "the app's removal": (installed(URL, "remove"), "installationUpdate"),
    "the removal before an update": (installed(URL, "remove-upgrade"), "installationUpdate"),
    "a reaction": (event("messageReaction", reactionsAdded=[{"type": "like"}], replyToId="17"), "messageReaction"),
    "a reaction taken back": (event("messageReaction", reactionsRemoved=[{"type": "like"}]), "messageReaction"),
    "a receipt": (
        event("event", name="application/vnd.microsoft.readReceipt", value={"id": "1"}),
        "event",
    ),
    "a meeting's beginning": (event("event", name="application/vnd.microsoft.meetingStart", value={}), "event"),
    "a meeting's end": (event("event", name="application/vnd.microsoft.meetingEnd", value={}), "event"),
    "who types": (event("typing"), "typing"),
    "a trace": (event("trace", name="x"), "trace"),
    "an ended conversation": (event("endOfConversation", code="completedSuccessfully"), "endOfConversation"),
    "a command": (event("command", name="application/vnd.microsoft.x"), "command"),
    "a change of nothing known": (event("messageUpdate", value="x"), "messageUpdate"),
    "what one person of a group alone sees": (group_message(URL, recipient=BOT | {"isTargeted": True}), "targeted"),
    "the same, edited": (
        group_message(
            URL,
            type="messageUpdate",
            channelData={"tenant": {"id": "t"}, "eventType": "editMessage"},
            recipient=BOT | {"isTargeted": True},
        ),
        "targeted",
    ),
    "another bot": (message(URL, **{"from": {"id": "28:other", "name": "Other"}}), "own"),
    "people among themselves": (group_message(URL, "lunch?", entities=[]), "not mentioned"),
    "what is still to come": (event("brandNew", value={"some": ["thing"]}), "brandNew"),
}


@pytest.mark.parametrize("what", list(UNUSED))
async def test_it_is_acknowledged_left_and_counted(rig: Rig, what: str) -> None:
    activity, kind = UNUSED[what]
    assert await rig.post(activity | {"serviceUrl": rig.url}) == (200, None)
    assert rig.accepted == []
    assert rig.connector.deliveries == []
    assert rig.events == [ActivityIgnored(reference="", lane="", channel="msteams", kind=kind)]


@pytest.mark.parametrize(
    "name",
    [
        "signin/verifyState",
        "signin/tokenExchange",
        "composeExtension/query",
        "composeExtension/fetchTask",
        "config/fetch",
        "tab/fetch",
        "suggestedActions/submit",
        "actionableMessage/executeAction",
        "application/search",
        "brandNew",
    ],
)
async def test_features_that_the_app_has_not_are_501(rig: Rig, name: str) -> None:
    status, said = await rig.post(invoke(rig.url, name, {"some": "thing"}))
    assert (status, set(said)) == (501, {"error"})
    assert rig.accepted == []


def test_the_app_does_not_ask_for_targeted_messages() -> None:
    """Those who ask for them must answer in private, which the SDK cannot."""
    manifest = pytest.importorskip("infra.teams.manifest")
    assert not any("argeted" in str(key) for key in manifest._bot("11111111-2222-3333-4444-555555555555"))
