"""Collected by tests/interop/appmanifest/run alone, which installs the package with Microsoft's rules."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("THREADKEEPER_APPMANIFEST") else ["test_*.py"]
