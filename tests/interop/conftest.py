"""Collected by tests/interop/run alone, which makes the network namespace that these tests need."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("THREADKEEPER_INTEROP") else ["test_*.py"]
