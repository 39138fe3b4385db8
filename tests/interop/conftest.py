"""Collected by `make interop` alone: it needs a network namespace and Microsoft's client."""

import os

collect_ignore = [] if os.environ.get("THREADKEEPER_INTEROP") else ["test_playground.py"]
