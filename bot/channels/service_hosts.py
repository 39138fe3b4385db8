"""Where the bot's token may go. Asked when an activity arrives and again before every request."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from bot.settings import is_loopback


class ServiceHosts:
    """An allow-list of host names; `*.name` stands for every name below it.

    The SDK dropped its list (`trust_service_url` does nothing) and sends the token to any address that a stored
    reference names. `loopback` also lets this machine in, over http and on any port; `only_loopback` nothing else.
    """

    def __init__(self, names: Sequence[str], *, loopback: bool = False, only_loopback: bool = False) -> None:
        self._exact = frozenset(name.lower() for name in names if not name.startswith("*."))
        self._below = tuple(name[1:].lower() for name in names if name.startswith("*."))
        self._loopback = loopback or only_loopback
        self._only_loopback = only_loopback

    def permits(self, url: str) -> bool:
        """Whether a request may be made to this address."""
        if any(c.isspace() or c == "\\" or not c.isprintable() for c in url):
            return False  # parsers disagree about these, and what is asked here must be what is called
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.username is not None or parts.password is not None or parts.fragment:
            return False
        if self._loopback and parts.scheme in ("http", "https") and is_loopback(host):
            return True
        if self._only_loopback or parts.scheme != "https" or port is not None or _is_address(host):
            return False
        return host in self._exact or host.endswith(self._below)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
