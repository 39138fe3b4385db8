"""Which tests `make test` leaves to `make check`: what it shows on one service, they show on every other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

LONG = {
    "tests/channels/test_botframework_fuzz.py": "test_botframework_activities.py reads wild activities too",
    "tests/deploy/": "what ships, held against the bot",
    "tests/scenarios/test_chat_endpoint.py": "the scenarios of test_classic.py on a model's endpoint",
    "tests/scenarios/test_errors.py": "twenty failures on three services; test_classic.py has each kind",
    "tests/scenarios/test_every_service.py": "the scenarios of test_classic.py on the other services",
    "tests/scenarios/test_installed_tools.py": "test_discovery.py finds installed packages",
    "tests/scenarios/test_killed_on_every_service.py": "test_crash.py, on every service",
    "tests/scenarios/test_moving.py": "from every service to every other; test_threads.py has the rule",
    "tests/scenarios/test_teams_growing.py": "tests/channels/test_teams_stream.py has the rules of what grows",
    "tests/store/test_plans.py": "how rows are found; the other tests of the store have what is written",
    "tests/test_agent_cli.py": "the command; tests/agents has what it compares and pushes",
    "tests/test_check.py": "forty seeded faults",
    "tests/test_crash_approvals.py": "test_crash.py, while a person is asked",
    "tests/test_docs.py": "the commands of every page",
    "tests/test_mcp_stdio.py": "test_mcp_http.py has the same contract",
    "tests/test_requirements.py": "what is pinned, and that it is used",
    "tests/test_threads_cli.py": "the command; test_admin.py has the acts",
    "tests/test_tools_cli.py": "the command; test_tool_schemas.py has what it checks",
    "tests/test_usage.py": "the command; test_metrics.py has what is counted",
    "tests/web/test_asks.py": "a browser; test_whole.py has the page's whole path",
    "tests/web/test_beside_text.py": "a browser",
    "tests/web/test_page.py": "a browser",
}
"""Files, or folders with a slash at the end, each with what stays behind in the short form."""


def mark(items: Sequence[pytest.Item]) -> None:
    """Mark the tests of these files as `long`."""
    for item in items:
        path = item.nodeid.partition("::")[0]
        if any(path == one or (one.endswith("/") and path.startswith(one)) for one in LONG):
            item.add_marker("long")
