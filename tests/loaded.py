"""Loads what the bot's commands load, whichever it is; see `tests.forked`. `bot.__main__` itself is run by each."""

from __future__ import annotations

import gc
import importlib
import pkgutil

import aiosqlite  # noqa: F401
import sqlalchemy.dialects.postgresql.asyncpg  # noqa: F401

import adapters
import bot

for package in (bot, adapters):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.name.endswith("__main__") and ".migrations" not in found.name:
            importlib.import_module(found.name)
gc.freeze()  # so that the forks share it
