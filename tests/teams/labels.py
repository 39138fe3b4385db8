"""What Teams takes beside a message's words, and refuses with 400 where it is otherwise."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

LABEL = "https://schema.org/Message"
ROOT = {"@type": "Message", "@context": "https://schema.org", "additionalType": ["AIGeneratedContent"]}
LOOP = {"type": "default"}


def sound(activity: dict[str, Any]) -> bool:
    """One root entity at most, with at most 20 citations, each named in the text and within its limits."""
    roots = [entity for entity in activity.get("entities", ()) if entity.get("type") == LABEL]
    if len(roots) > 1 or activity.get("channelData", {}).get("feedbackLoop", LOOP) != LOOP:
        return False
    return all(_sound_root(root, activity.get("text", "")) for root in roots)


def _sound_root(root: dict[str, Any], text: str) -> bool:
    rest = {name: value for name, value in root.items() if name not in ("type", "citation", "usageInfo")}
    claims = root.get("citation", [None])
    positions = [claim["position"] for claim in claims if claim]
    return (
        rest == ROOT
        and 0 < len(claims) <= 20
        and len(set(positions)) == len(positions)
        and all(claim is None or _sound_claim(claim, text) for claim in claims)
        and set(root.get("usageInfo", {"@type", "@id"})) == {"@type", "@id"}
    )


def _sound_claim(claim: dict[str, Any], text: str) -> bool:
    appearance = claim["appearance"]
    keywords = appearance.get("keywords", [])
    return (
        claim["@type"] == "Claim"
        and f"[{claim['position']}]" in text
        and appearance["@type"] == "DigitalDocument"
        and 0 < _units(appearance["name"]) <= 80
        and 0 < _units(appearance["abstract"]) <= 160
        and len(keywords) <= 3
        and all(0 < _units(word) <= 28 for word in keywords)
        and urlsplit(appearance.get("url", "https://")).scheme in ("http", "https")
    )


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
