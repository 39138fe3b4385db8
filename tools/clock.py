"""The time, anywhere."""

from __future__ import annotations

import difflib
import unicodedata
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from adapters import ToolFailed, tool

# places that have no zone of their own name
ALIASES = {
    "bangalore": "Asia/Kolkata",
    "barcelona": "Europe/Madrid",
    "beijing": "Asia/Shanghai",
    "bern": "Europe/Zurich",
    "boston": "America/New_York",
    "cest": "Europe/Paris",
    "china": "Asia/Shanghai",
    "delhi": "Asia/Kolkata",
    "edinburgh": "Europe/London",
    "edt": "America/New_York",
    "france": "Europe/Paris",
    "frankfurt": "Europe/Berlin",
    "geneva": "Europe/Zurich",
    "germany": "Europe/Berlin",
    "hamburg": "Europe/Berlin",
    "hanoi": "Asia/Ho_Chi_Minh",
    "india": "Asia/Kolkata",
    "kyoto": "Asia/Tokyo",
    "miami": "America/New_York",
    "milan": "Europe/Rome",
    "mumbai": "Asia/Kolkata",
    "munich": "Europe/Berlin",
    "new delhi": "Asia/Kolkata",
    "ny": "America/New_York",
    "nyc": "America/New_York",
    "osaka": "Asia/Tokyo",
    "pdt": "America/Los_Angeles",
    "philadelphia": "America/New_York",
    "pst": "America/Los_Angeles",
    "rio de janeiro": "America/Sao_Paulo",
    "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles",
    "uk": "Europe/London",
    "washington": "America/New_York",
    "washington d.c.": "America/New_York",
    "washington dc": "America/New_York",
}
_FIXED = "Etc/GMT"
LONGEST = 60


@tool
def current_time(place: str = "UTC") -> str:
    """Tell the current date and time in a place.

    Args:
        place: A large city or a time zone, such as Tokyo, Europe/Paris, UTC or UTC+2.
    """
    return time_in(place, datetime.now(UTC))


def time_in(place: str, now: datetime) -> str:
    """The words for a moment in a place.

    Raises:
        ToolFailed: no such place; with the ones that look like it.
    """
    zone = _zone(place)
    local = now.astimezone(ZoneInfo(zone))
    named = "" if zone.startswith(_FIXED) else f"in {zone} "
    return f"{local:%H:%M} on {local:%A}, {local.day} {local:%B %Y} {named}(UTC{_offset(local)})"


def _zone(place: str) -> str:
    wanted = _plain(place[:LONGEST])
    found = _zones().get(wanted) or _zones().get(wanted.split(",")[0].strip())
    if found:
        return found
    similar = difflib.get_close_matches(wanted, _zones(), n=3, cutoff=0.6)
    hint = f" Did you mean {', '.join(dict.fromkeys(_zones()[name] for name in similar))}?" if similar else ""
    raise ToolFailed(f"I know no time zone for {place[:LONGEST]!r}.{hint} Ask for a larger city nearby.")


@cache
def _zones() -> dict[str, str]:
    """Every zone by its name, by its last part, the fixed offsets, and the aliases."""
    zones: dict[str, str] = {}
    for zone in sorted(available_timezones()):
        zones.setdefault(_plain(zone.rsplit("/", 1)[-1]), zone)
    zones |= {_plain(zone): zone for zone in available_timezones()}
    for hours in range(-12, 15):  # the sign in the zone's name is POSIX's: Etc/GMT-2 is two hours ahead
        zones |= dict.fromkeys([f"utc{hours:+}", f"gmt{hours:+}"], f"{_FIXED}{-hours:+}" if hours else "UTC")
    return zones | ALIASES


def _plain(name: str) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return " ".join(bare.replace("_", " ").split()).casefold()


def _offset(local: datetime) -> str:
    minutes = (local.utcoffset() or timedelta()) // timedelta(minutes=1)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
