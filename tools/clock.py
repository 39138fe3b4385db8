"""The time, anywhere."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from zoneinfo import ZoneInfo, available_timezones

from adapters import ToolContext, ToolFailed, tool

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
    "england": "Europe/London",
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
_COUNTRIES = {"usa": "united states", "united states of america": "united states", "america": "united states"}
_FIXED = "Etc/GMT"
_SHOWN = 8
LONGEST = 60


@tool
def current_time(context: ToolContext, place: str = "") -> str:
    """Tell the current date and time where the person is, or in another place.

    Args:
        place: A large city, a country or a time zone, such as Tokyo, Japan, Europe/Paris, UTC or UTC+2. Empty: where
            the person is, as far as that is known, else UTC.
    """
    return time_in(place if place.strip() else _own(context.time_zone), datetime.now(UTC))


def _own(time_zone: str) -> str:
    """What the channel gives, if it is one that we know."""
    return time_zone if _plain(time_zone[:LONGEST]) in _zones() else "UTC"


def time_in(place: str, now: datetime) -> str:
    """The words for a moment in a place.

    Raises:
        ToolFailed: no such place, with the ones that look like it; or a country of several times, with its zones.
    """
    zone = _zone(place, now)
    local = now.astimezone(ZoneInfo(zone))
    named = "" if zone.startswith(_FIXED) else f"in {zone} "
    return f"{local:%H:%M} on {local:%A}, {local.day} {local:%B %Y} {named}(UTC{_offset(local)})"


def _zone(place: str, now: datetime) -> str:
    wanted = _plain(place[:LONGEST])
    found = _zones().get(wanted) or _zones().get(wanted.split(",")[0].strip())
    if found:
        return found
    if within := _countries().get(_COUNTRIES.get(wanted, wanted)):
        return _only(within, now, place)
    similar = difflib.get_close_matches(wanted, _zones(), n=3, cutoff=0.6)
    hint = f" Did you mean {', '.join(dict.fromkeys(_zones()[name] for name in similar))}?" if similar else ""
    raise ToolFailed(f"I know no time zone for {place[:LONGEST]!r}.{hint} Ask for a larger city nearby.")


def _only(zones: Sequence[str], now: datetime, place: str) -> str:
    """The zone of a country, where it is the same time in all of it."""
    times = {now.astimezone(ZoneInfo(zone)).utcoffset(): zone for zone in reversed(zones)}
    if len(times) == 1:
        return zones[0]
    shown = ", ".join(list(times.values())[::-1][:_SHOWN])
    raise ToolFailed(f"There are several times in {place[:LONGEST]!r}: {shown}. Ask for one of them, or for a city.")


@cache
def _countries() -> dict[str, list[str]]:
    """The zones of each country by its name, the most important first, as the time zone database has them."""
    names = {row[0]: row[1] for row in _table("iso3166.tab")}
    found: dict[str, list[str]] = {}
    for code, _, zone, *_ in _table("zone.tab"):
        name = _plain(names[code])
        found.setdefault(name, []).append(zone)
    for name in [name for name in found if name.endswith(")")]:
        first, last = name.removesuffix(")").split(" (", 1)
        found.setdefault(f"{last} {first}", found[name])  # Korea (South)
    return found


def _table(name: str) -> Iterator[list[str]]:
    text = resources.files("tzdata.zoneinfo").joinpath(name).read_text(encoding="utf-8")
    return (line.split("\t") for line in text.splitlines() if re.match("[A-Z]", line))


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
