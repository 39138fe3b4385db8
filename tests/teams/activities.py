"""Activities as the platforms send them."""

from __future__ import annotations

from typing import Any

APP_ID = "11111111-2222-3333-4444-555555555555"
TENANT = "aaaaaaaa-0000-0000-0000-000000000001"
BOT = {"id": f"28:{APP_ID}", "name": "Help Bot"}
ANN = {"id": "29:1ann", "name": "Ann", "aadObjectId": "0ann-object-id"}
SLACK_TOKEN = "xoxb-live-token"
Activity = dict[str, Any]


def message(service_url: str, text: str | None = "hello", **changes: Any) -> Activity:
    """What Ann types to the bot alone."""
    activity: Activity = {
        "type": "message",
        "id": "1700000000001",
        "timestamp": "2026-11-21T04:00:00.1234567Z",
        "localTimestamp": "2026-11-21T05:00:00.1234567+01:00",
        "localTimezone": "Europe/Berlin",
        "serviceUrl": service_url,
        "channelId": "msteams",
        "from": dict(ANN),
        "recipient": dict(BOT),
        "conversation": {"conversationType": "personal", "tenantId": TENANT, "id": "a:1personal"},
        "textFormat": "plain",
        "locale": "de-DE",
        "text": text,
        "entities": [{"type": "clientInfo", "locale": "de-DE", "country": "DE", "platform": "Windows"}],
        "channelData": {"tenant": {"id": TENANT}},
    }
    if text is None:
        del activity["text"]
    return activity | changes


def mention(text: str = "<at>Help Bot</at>", of: dict[str, Any] = BOT) -> Activity:
    """A mention entity."""
    return {"type": "mention", "mentioned": dict(of), "text": text}


def group_message(
    service_url: str, text: str = "<at>Help Bot</at>&nbsp;hello", *mentions: Activity, **changes: Any
) -> Activity:
    """What Ann says where others read along."""
    conversation = {"conversationType": "groupChat", "isGroup": True, "tenantId": TENANT, "id": "19:group@thread.v2"}
    entities = list(mentions or (mention(),))
    return message(service_url, text, **({"conversation": conversation, "entities": entities} | changes))


def installed(service_url: str, action: str = "add", **changes: Any) -> Activity:
    """Somebody installs the app."""
    activity = message(service_url, None, type="installationUpdate", id="f:install", action=action)
    return activity | changes


def invoke(service_url: str, name: str, value: Any = None) -> Activity:
    """A request that the client waits for."""
    return message(service_url, None, type="invoke", id="f:invoke", name=name, value=value)


def abs_slack(service_url: str, text: str = "hello", *, channel: str = "D1", **event: Any) -> Activity:
    """What comes from Slack through Azure Bot Service, live token and all."""
    kind = {"D": "im", "G": "mpim", "C": "channel"}[channel[0]]
    said = {
        "type": "message",
        "user": "U1",
        "team": "T1",
        "channel": channel,
        "channel_type": kind,
        "text": text,
        "ts": "1700000000.000100",
    }
    envelope = {
        "team_id": "T1",
        "event_id": "Ev1",
        "authorizations": [{"team_id": "T1", "user_id": "U0BOT", "is_bot": True}],
        "event": said | event,
    }
    return {
        "type": "message",
        "id": "abs-activity-id",
        "timestamp": "2026-11-21T04:00:00Z",
        "serviceUrl": service_url,
        "channelId": "slack",
        "from": {"id": "U1:T1", "name": "ann"},
        "recipient": {"id": "B1:T1", "name": "helpbot"},
        "conversation": {"id": f"B1:T1:{channel}", "isGroup": channel[0] != "D"},
        "text": text,
        "channelData": {"SlackMessage": envelope, "ApiToken": SLACK_TOKEN},
    }
