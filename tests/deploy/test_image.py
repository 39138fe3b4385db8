"""The image and the composition, as far as they can be seen without a container engine.

`make image-check` takes the image's steps and runs what they make.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import yaml
from aiohttp import web

from bot.bootstrap import GRACE
from bot.settings import Settings
from bot.web.app import create_app
from tests.deploy.dockerfile import ROOT, Stage, check_of, is_sent, stages

BUILD, FINAL = stages()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text(encoding="utf-8"))
BOT: dict[str, Any] = COMPOSE["services"]["bot"]
KNOWN = {name.upper() for name in Settings.model_fields}


# -- the image ------------------------------------------------------------------------------------------------------


def test_two_stages_and_the_second_runs_nothing() -> None:
    assert (BUILD.name, FINAL.name) == ("build", "")
    assert BUILD.base == FINAL.base == "python:3.11-slim", "the version that the tests run on"
    assert FINAL.all("RUN") == []
    assert [step.words for step in FINAL.all("COPY")] == [
        ["--from=build", "/opt/venv", "/opt/venv"],
        ["--from=build", "/app", "/app"],
    ]


def test_nothing_of_the_build_is_left() -> None:
    runs = " ".join(step.rest for step in BUILD.all("RUN"))
    assert "pip uninstall --yes --quiet pip" in runs
    assert "rm requirements.txt" in runs
    assert "requirements-dev" not in runs


def test_it_runs_as_a_user_without_a_name_and_writes_no_bytecode() -> None:
    (user,) = FINAL.all("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user.rest)
    assert FINAL.environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert FINAL.steps.index(user) > max(FINAL.steps.index(step) for step in FINAL.all("COPY"))
    assert any("compileall" in step.rest for step in BUILD.all("RUN"))


def test_it_starts_the_bot_on_its_port() -> None:
    (command,) = FINAL.all("CMD")
    assert command.words == ["python", "-m", "bot", "serve"]
    environment = FINAL.environment()
    assert set(environment) - {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"} <= KNOWN
    assert environment["PORT"] == FINAL.all("EXPOSE")[0].rest == str(Settings.model_fields["port"].default)


@pytest.mark.parametrize("stage", [BUILD], ids=["build"])
def test_what_is_copied_is_there_and_sent(stage: Stage) -> None:
    sources = [source for step in stage.all("COPY") for source in step.words[:-1]]
    assert set(sources) == {"requirements.txt", "agent.toml", "bot", "adapters", "tools"}
    for source in sources:
        assert (ROOT / source).exists()
        assert is_sent(source)


@pytest.mark.parametrize(
    "path",
    [".env", ".git/config", "bot/.env", "threadkeeper.db", "bot/x.db", "tests/world.py", ".venv/bin/python",
     "bot/__pycache__/turn.cpython-311.pyc", "infra/Dockerfile", "requirements-dev.txt"],
)  # fmt: skip
def test_what_is_no_part_of_the_bot_is_not_sent(path: str) -> None:
    assert not is_sent(path)


def test_every_file_of_the_bot_is_sent() -> None:
    ours = [path for part in ("bot", "adapters", "tools") for path in (ROOT / part).rglob("*") if path.is_file()]
    held = {path.relative_to(ROOT).as_posix() for path in ours if path.suffix != ".pyc"}
    assert {path for path in held if not is_sent(path)} == set()


@pytest.fixture
async def port() -> AsyncGenerator[int]:
    """Where the bot's own application answers."""

    async def ready() -> list[str]:
        return []

    runner = web.AppRunner(create_app(routes=[], ready=ready, page=False), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def test_the_health_check_tells_a_bot_that_runs_from_one_that_does_not(port: int) -> None:
    assert await _healthy(port)
    assert not await _healthy(1)


async def _healthy(port: int) -> bool:
    name, *arguments = check_of(FINAL)
    assert name == "python"
    runs = {"PATH": os.environ["PATH"], "PORT": str(port)}
    asked = await asyncio.create_subprocess_exec(sys.executable, "-I", *arguments, env=runs, stderr=subprocess.DEVNULL)
    return await asked.wait() == 0


# -- the composition --------------------------------------------------------------------------------------------------


def test_the_bot_gets_variables_that_it_reads() -> None:
    assert set(BOT["environment"]) <= KNOWN
    assert BOT["env_file"] == [{"path": "../.env", "required": True}]
    assert str(BOT["environment"]["PORT"]) == FINAL.environment()["PORT"]


def test_two_replicas_share_a_postgresql() -> None:
    assert BOT["deploy"]["replicas"] == 2
    url = BOT["environment"]["DATABASE_URL"]
    database = COMPOSE["services"]["database"]["environment"]
    shown = (
        f"postgresql+asyncpg://{database['POSTGRES_USER']}:${{POSTGRES_PASSWORD}}@database/{database['POSTGRES_DB']}"
    )
    assert url == shown
    assert database["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
    assert BOT["depends_on"]["database"]["condition"] == "service_healthy"
    assert COMPOSE["services"]["database"]["healthcheck"]["test"][1] == "pg_isready"


def test_the_bot_may_do_little_and_has_time_to_end() -> None:
    assert BOT["read_only"] is True
    assert BOT["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in BOT["security_opt"]
    assert "ports" not in BOT, "only the proxy is reached from outside"
    assert int(BOT["stop_grace_period"].removesuffix("s")) > GRACE + 5
    source = (ROOT / "infra" / "modules" / "app.bicep").read_text(encoding="utf-8")
    assert int(re.findall(r"terminationGracePeriodSeconds: (\d+)", source)[0]) > GRACE + 5


def test_the_build_and_what_is_mounted_are_there() -> None:
    folder = ROOT / "infra"
    assert (folder / BOT["build"]["context"]).resolve() == ROOT
    assert (ROOT / BOT["build"]["dockerfile"]).is_file()
    mounted = [one.split(":")[0] for service in COMPOSE["services"].values() for one in service.get("volumes", [])]
    assert {one for one in mounted if one.startswith(".")} == {"./Caddyfile"}
    assert {one for one in mounted if not one.startswith(".")} == set(COMPOSE["volumes"])


def test_the_proxy_lets_through_what_others_may_ask_and_finds_the_bot() -> None:
    proxy = (ROOT / "infra" / "Caddyfile").read_text(encoding="utf-8")
    assert re.findall(r"@bot path (.*)", proxy) == ["/api/messages /api/say"]
    assert "respond 404" in proxy
    assert re.findall(r"name (\w+)", proxy) == ["bot"]
    assert re.findall(r"port (\d+)", proxy) == [FINAL.environment()["PORT"]]
    assert "{$PUBLIC_HOST}" in proxy
    assert "PUBLIC_HOST" in COMPOSE["services"]["proxy"]["environment"]
