"""Collected by tests/interop/agentserver/run alone, which sets up Microsoft's server."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("THREADKEEPER_AGENTSERVER") else ["test_*.py"]
