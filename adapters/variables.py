"""The variables that a tool's document names in the place of secrets: those of the environment, else of `.env`."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values

ENV_FILE = Path(".env")


def variables(env_file: Path = ENV_FILE) -> Mapping[str, str]:
    """Every variable that is set. `.env` is read as the bot's own settings are: what is set goes before it."""
    kept = dotenv_values(env_file) if env_file.is_file() else {}
    return ChainMap(os.environ, {name: value for name, value in kept.items() if value})
