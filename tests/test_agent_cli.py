"""`python -m bot agent`, and a `serve` that asks the service first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
import typer

from adapters.toolbox import Toolbox
from bot.cli import agent as cli
from bot.cli.serve import check_tools
from bot.errors import OperatorError, ServiceUnavailable
from tests.foundry import Fault, FoundryServer
from tests.processes import command, served


@pytest_asyncio.fixture
async def server() -> AsyncIterator[FoundryServer]:
    async with FoundryServer() as server:
        yield server


def environment(server: FoundryServer, backend: str = "foundry") -> dict[str, str]:
    named = {"AGENT_NAME": "keeper", "MODEL_DEPLOYMENT_NAME": "gpt-4o"}
    return {"AGENT_BACKEND": backend, "PROJECT_ENDPOINT": server.endpoint, **named}


async def agent(
    folder: Path, server: FoundryServer, *words: str, backend: str = "foundry", fresh: bool = False
) -> tuple[int, str, str]:
    return await command(folder, "agent", *words, fresh=fresh, **environment(server, backend))


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


@pytest.fixture
def here(
    tmp_path: Path, server: FoundryServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Coroutine[Any, Any, None]], Awaitable[tuple[int, str]]]:
    """Runs the work of a command in this process, in the folder: exit code and output. Starting one takes seconds."""
    monkeypatch.chdir(tmp_path)
    for name, value in environment(server).items():
        monkeypatch.setenv(name, value)

    async def run(work: Coroutine[Any, Any, None]) -> tuple[int, str]:
        code = 0
        try:
            await work
        except typer.Exit as ended:
            code = ended.exit_code
        return code, capsys.readouterr().out

    return run


async def test_from_nothing_to_differences(here: Any, tmp_path: Path, server: FoundryServer) -> None:
    write(tmp_path / "agent.toml", 'instructions = "Be kind."\n')
    assert (await here(cli._show()))[1].startswith("There is no agent keeper yet: python -m bot agent push makes it.\n")
    code, out = await here(cli._diff())
    assert (code, out.startswith("There is no agent keeper yet.\n+ model\n    +gpt-4o\n+ instructions\n")) == (1, True)
    changes = "+ model, + instructions, + tool calculate, + tool current_time, + tool search_earlier"
    assert await here(cli._push(True)) == (0, f"Would make the agent keeper: {changes}\n")
    assert "keeper" not in server.project.agents
    assert await agent(tmp_path, server, "push") == (0, f"Version 1 of keeper made: {changes}\n", "")
    for dry_run in (False, True):
        assert await here(cli._push(dry_run)) == (0, "Nothing to do: version 1 is in step.\n")
    assert await here(cli._diff()) == (0, "No differences: keeper, version 1.\n")
    assert not (tmp_path / "bot.db").exists()

    server.project.agents["keeper"].latest.definition["tools"][0]["description"] = "Another."
    write(tmp_path / "agent.toml", 'instructions = "Be brief."\n')
    code, out = await here(cli._show())
    assert (code, out.startswith("keeper: version 1, model gpt-4o\nInstructions: Be kind.\n")) == (0, True)
    assert [line.split()[1:4] for line in out.splitlines() if "│" in line] == [
        ["calculate", "│", "differs:"],
        ["current_time", "│", "in"],
        ["search_earlier", "│", "in"],
    ]
    changes = "~ instructions, ~ tool calculate"
    assert await here(cli._push(True)) == (0, f"Would change keeper (version 1): {changes}\n")
    code, out, err = await agent(tmp_path, server, "diff")
    assert (code, err) == (1, "")
    assert "~ instructions\n    @@ -1 +1 @@\n    -Be kind.\n    +Be brief.\n~ tool calculate\n" in out
    assert '    -  "description": "Another.",' in out
    assert await here(cli._push(False)) == (0, f"Version 2 of keeper made: {changes}\n")


async def test_a_classic_agent_is_made_and_changed(
    here: Any, tmp_path: Path, server: FoundryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_BACKEND", "foundry-classic")
    code, out, err = await agent(tmp_path, server, "push", backend="foundry-classic")
    (assistant,) = server.state.assistants.values()
    assert (code, out.startswith(f"Agent {assistant.id} made: + model, + instructions, + tool ")) == (0, True), err
    assistant.settings["tools"].append({"type": "function", "function": {"name": "old", "parameters": {}}})
    assert await here(cli._push(False)) == (0, f"Agent {assistant.id} changed: - tool old\n")
    code, out = await here(cli._show())
    assert (code, out.startswith(f"keeper: agent {assistant.id}, model gpt-4o\n")) == (0, True)


@pytest.mark.parametrize("words", [("show",), ("diff",), ("push", "--dry-run")])
async def test_the_rehearsal_agent_has_nothing_to_push(words: tuple[str, ...], tmp_path: Path) -> None:
    said = "AGENT_BACKEND=rehearsal keeps no agent at a service: there is nothing to push.\n"
    assert await command(tmp_path, "agent", *words) == (0, said, "")


async def test_failures_are_told_without_a_trace(tmp_path: Path, server: FoundryServer) -> None:
    server.inject(Fault("permission_denied"))
    code, out, err = await agent(tmp_path, server, "show", fresh=True)
    assert (code, out, "Foundry User" in err, "Traceback" in err) == (2, "", True, False)
    await server.stop()
    code, out, err = await agent(tmp_path, server, "diff")
    assert (code, out, "PROJECT_ENDPOINT" in err, "Traceback" in err) == (2, "", True, False)
    write(tmp_path / "agent.toml", 'modle = "gpt"\ntop_p = 2\n')
    code, out, err = await agent(tmp_path, server, "push")
    assert (code, out) == (2, "")
    assert "agent.toml: modle is not known: is model meant?" in err
    assert "agent.toml: top_p must be a number" in err


async def test_serve_refuses_an_agent_that_does_not_know_its_tools(tmp_path: Path, server: FoundryServer) -> None:
    server.add_agent("keeper")
    code, out, err = await command(tmp_path, "serve", **environment(server))
    (line,) = [line for line in err.splitlines() if not line.startswith("{")]
    lacks = "the agent keeper lacks the tools calculate, current_time, search_earlier"
    assert (code, out, line) == (2, "", f"Not started: {lacks}; run: python -m bot agent push")
    code, out, err = await agent(tmp_path, server, "push")
    assert code == 0, err
    async with served(tmp_path, **environment(server)) as bot:
        assert "Agent: foundry." in bot.greeting[-1]
        assert await bot.stop() == 0


async def test_serve_starts_while_the_service_is_down(tmp_path: Path, server: FoundryServer) -> None:
    await server.stop()
    async with served(tmp_path, **environment(server)) as bot:
        assert await bot.stop() == 0


class Keeper:
    """An agent that cannot say whether it knows the tools."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    async def mismatch(self, tools: object) -> list[str]:
        raise self.failure


@pytest.mark.parametrize(
    "failure", [ServiceUnavailable("No answer."), OperatorError("There is no token.", "Sign in: az login.")]
)
async def test_what_is_not_known_is_a_warning(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    bot: Any = SimpleNamespace(agent=Keeper(failure), toolbox=Toolbox([]))
    await check_tools(bot)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(failure) in record.getMessage()
