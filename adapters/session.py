"""The one HTTP session that tools share."""

from __future__ import annotations

import aiohttp

SECONDS = 60.0
"""For one request, where a tool names no time of its own. Its own `timeout` ends it too."""
CONNECT_SECONDS = 10.0


class Session:
    """Made when a tool first asks for it, closed with the adapter that holds it."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def __call__(self) -> aiohttp.ClientSession:
        """The session.

        Raises:
            RuntimeError: it is asked for in a thread, where it cannot be used.
        """
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=SECONDS, connect=CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),  # what a service remembers of one person is not another's
            )
        return self._session

    async def close(self) -> None:
        """Close it, where there is one."""
        if self._session is not None:
            await self._session.close()
