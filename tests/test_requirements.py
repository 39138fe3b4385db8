"""What pyproject asks for is pinned, and used; what is used is asked for."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RUN: list[str] = PYPROJECT["project"]["dependencies"]
DEV: list[str] = PYPROJECT["dependency-groups"]["dev"]

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
OTHERS = {".venv", "node_modules"}
"""Folders with other people's code, made by `make interop`."""
MODULES = {
    "azure-ai-projects": "azure.ai.projects",
    "azure-ai-agents": "azure.ai.agents",
    "azure-core": "azure.core",
    "azure-identity": "azure.identity",
    "botbuilder-core": "botbuilder.core",
    "botbuilder-integration-aiohttp": "botbuilder.integration.aiohttp",
    "prometheus-client": "prometheus_client",
    "pydantic-settings": "pydantic_settings",
    "pyjwt": "jwt",
    "pyyaml": "yaml",
    "pytest-asyncio": "pytest_asyncio",
    "tree-sitter": "tree_sitter",
    "tree-sitter-bicep": "tree_sitter_bicep",
}
"""The module of a package, where it has another name."""

NOT_IMPORTED = {
    "aiosqlite": "SQLAlchemy loads it, from DATABASE_URL",
    "asyncpg": "SQLAlchemy loads it, from DATABASE_URL",
    "tzdata": "zoneinfo reads it, where the system has no time zones",
    "pyright": "make check runs it",
    "pytest-xdist": "make test runs it",
    "ruff": "make check runs it",
    "uv": "make requirements runs it",
}

BROUGHT_ALONG = {
    "anyio": "mcp",
    "botframework": "botbuilder-core",
    "cryptography": "pyjwt",  # its extra crypto
    "dotenv": "pydantic-settings",
    "jsonschema": "mcp",
    "msrest": "botbuilder-core",
    "pydantic_core": "pydantic",
    "referencing": "mcp",
    "yarl": "aiohttp",
}
"""Modules that come with a direct dependency, which speaks in their types."""


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def pins(file: str) -> dict[str, str]:
    """Package to version; every line that is neither a pin, nor a hash, nor a comment is an error."""
    found: dict[str, str] = {}
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        bare = line.split("#")[0].split(";")[0].rstrip("\\ ").strip()
        if bare and not HASH.fullmatch(bare):
            pin = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==([A-Za-z0-9.+!-]+)", bare)
            assert pin is not None, f"{file}: {line!r} is no exact pin"
            found[name_of(pin[1])] = pin[2]
    return found


@cache
def imported(*folders: str) -> set[str]:
    """Every module that the files of these folders import."""
    found: set[str] = set()
    for file in (file for folder in folders for file in (ROOT / folder).rglob("*.py") if not OTHERS & {*file.parts}):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def is_imported(package: str, *folders: str) -> bool:
    module = MODULES.get(package, package)
    return any(f"{name}.".startswith(f"{module}.") for name in imported(*folders))


@pytest.mark.parametrize(("file", "asked"), [("requirements.txt", RUN), ("requirements-dev.txt", [*RUN, *DEV])])
def test_what_is_asked_for_is_pinned(file: str, asked: list[str]) -> None:
    pinned = pins(file)
    assert {name_of(requirement) for requirement in asked} - set(pinned) == set()
    exact = {name_of(one): one.split("==")[1] for one in asked if "==" in one}
    assert {name: pinned[name] for name in exact} == exact


def test_the_tests_run_on_what_the_bot_runs_on() -> None:
    run, dev = pins("requirements.txt"), pins("requirements-dev.txt")
    assert {name: dev.get(name) for name in run} == run


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_a_requirement_says_what_and_not_from_where(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert "://" not in text
    options = (line.rstrip("\\ ").lstrip() for line in text.splitlines() if line.lstrip().startswith("-"))
    assert [one for one in options if not HASH.fullmatch(one)] == []


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_only_a_file_with_a_known_hash_is_installed(file: str) -> None:
    packages = re.split(r"^(?=[a-zA-Z0-9])", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(packages) == len(pins(file))
    assert [one.splitlines()[0] for one in packages if not HASH.search(one)] == []


@pytest.mark.parametrize("package", [name_of(one) for one in RUN])
def test_what_the_bot_asks_for_is_used(package: str) -> None:
    assert is_imported(package, "bot", "adapters", "tools") is (package not in NOT_IMPORTED)


@pytest.mark.parametrize("package", [name_of(one) for one in DEV])
def test_what_the_tests_ask_for_is_used(package: str) -> None:
    assert is_imported(package, "tests") or package in NOT_IMPORTED


def test_what_is_used_is_asked_for() -> None:
    known = {*sys.stdlib_module_names, "bot", "adapters", "tools", *BROUGHT_ALONG}
    known |= {MODULES.get(name_of(one), name_of(one)).split(".")[0] for one in RUN}
    assert {name.split(".")[0] for name in imported("bot", "adapters", "tools")} - known == set()
    assert set(BROUGHT_ALONG.values()) <= {name_of(one) for one in RUN}
