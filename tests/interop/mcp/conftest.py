"""Collected by tests/interop/mcp/run alone, which installs the servers."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("THREADKEEPER_MCP_SERVERS") else ["test_*.py"]
