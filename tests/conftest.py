"""What holds for every test: Hypothesis' profile, what is made once, and the last lines, which say what was skipped
and its cure.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Generator

import httpcore2
import pytest
from hypothesis import settings

from tests import long_forms
from tests.databases import copied_tables, database_url, empty_database_url, postgresql

__all__ = ["copied_tables", "database_url", "empty_database_url", "postgresql"]

# No deadline: what is slow on a busy machine is not wrong. In CI the same examples each time: what fails there
# is the change's.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# Each HTTP client reads the machine's authorities anew, 30 ms of work; here they are the same for all.
httpcore2.default_ssl_context = functools.cache(httpcore2.default_ssl_context)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`make test` leaves out what is `long`."""
    long_forms.mark(items)


CURES = {"Chromium": "apt-get install chromium", "PostgreSQL": "apt-get install postgresql"}
"""For a reason that names the thing but not how to get it."""


def skip_line(reason: str, count: int) -> str:
    """Such as '2 skipped: no Chromium (cure: apt-get install chromium)'."""
    reason = reason.removeprefix("Skipped: ").strip()
    cure = next((cure for thing, cure in CURES.items() if thing in reason), None)
    known = cure is None or cure in reason
    return f"{count} skipped: {reason}" + ("" if known else f" (cure: {cure})")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """After pytest's own closing line, so that nothing stands below what was skipped."""
    yield
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker of pytest-xdist
        return
    reasons = Counter(
        report.longrepr[2] for report in reporter.stats.get("skipped", []) if isinstance(report.longrepr, tuple)
    )
    for reason, count in sorted(reasons.items()):
        reporter.write_line(skip_line(reason, count), yellow=True)
