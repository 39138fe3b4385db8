"""The Teams app's manifest under Microsoft's own rules, the npm package @microsoft/app-manifest."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from bot.types import JsonObject
from infra.teams.manifest import VERSION
from tests.deploy.contoso import made

HERE = Path(__file__).parent
SCHEMAS = HERE / "node_modules" / "@microsoft" / "app-manifest" / "build" / "json-schemas" / "teams"

FAULTS: dict[str, JsonObject] = {
    "a name that is too long": {"name": {"short": "x" * 31}},
    "an id that is none": {"id": "threadkeeper"},
    "no publisher": {"developer": {}},
    "two bots": {"bots": made()["bots"] * 2},
    "a word that no schema knows": {"commands": []},
    "a version of the schema that was not released": {"$schema": made()["$schema"].replace(VERSION, "9.99")},
}
SOUND = {
    "plain": made(),
    "all messages": made(teams_receive_all=True),
    "longest names": made(bot_name="x" * 30, support_contact="helpdesk@contoso.example", retention_days=0),
}


@cache
def verdicts() -> dict[str, list[str]]:
    """Of all of them, by one process."""
    node = shutil.which("node")
    assert node is not None
    asked = SOUND | {name: made() | fault for name, fault in FAULTS.items()}
    done = subprocess.run(
        [node, str(HERE / "check.cjs")],
        input=json.dumps(list(asked.values())),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return dict(zip(asked, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", SOUND)
def test_our_manifest_passes_microsofts_rules(name: str) -> None:
    assert verdicts()[name] == []


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str) -> None:
    assert verdicts()[name] != []


def test_ours_is_the_newest_schema_that_is_released() -> None:
    released = {folder.name.removeprefix("v") for folder in SCHEMAS.iterdir() if folder.name[1:2].isdigit()}
    assert max(released, key=lambda version: [int(part) for part in version.split(".")]) == VERSION
