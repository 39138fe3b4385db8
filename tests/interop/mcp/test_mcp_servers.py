"""Servers as they are published: listed, a tool called, and ended."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from adapters.mcp_file import ServerFile, read
from tests.contracts.toolbox import CALLER, call
from tests.interop.servers import started
from tests.mcp_servers.running import boxed, until, written

HERE = Path(os.environ["THREADKEEPER_MCP_SERVERS"])
EVERYTHING = HERE / "node_modules" / "@modelcontextprotocol" / "server-everything" / "dist" / "index.js"
node = shutil.which("node")
needs_node = pytest.mark.skipif(
    node is None or not EVERYTHING.exists(),
    reason="no Node.js, or no package from npm (cure: apt-get install nodejs npm)",
)


def python(folder: Path, name: str, *args: str, **keys: object) -> ServerFile:
    command = str(HERE / ".venv" / "bin" / f"mcp-server-{name}")
    return read(written(folder, name, command=command, args=list(args), **keys), f"tools/{name}.mcp.toml", {})


def committed(repository: Path) -> Path:
    """A new repository with one commit."""
    repository.mkdir()
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for words in (["init", "-q", "-b", "main"], ["commit", "-q", "--allow-empty", "-m", "The first one"]):
        subprocess.run(["git", *author, *words], cwd=repository, check=True)
    return repository


async def test_the_time_of_mcp_server_time(tmp_path: Path):
    async with boxed(python(tmp_path, "time", "--local-timezone=UTC")) as (toolbox, adapter):
        specs = {spec.name: spec for spec in toolbox.specs()}
        assert sorted(specs) == ["time_convert_time", "time_get_current_time"]
        assert not specs["time_convert_time"].once
        asked = call("time_convert_time", source_timezone="UTC", time="16:30", target_timezone="Asia/Tokyo")
        output = await toolbox.call(asked, CALLER)
        assert output.error is None
        assert json.loads(output.output)["time_difference"] == "+9.0h"
        wrong = await toolbox.call(call("time_get_current_time", timezone="Nowhere/At_All"), CALLER)
        assert wrong.error == "failed"
        assert "Nowhere/At_All" in wrong.output
        assert (await toolbox.call(call("time_convert_time", time="16:30"), CALLER)).error == "bad_arguments"
        assert not adapter.problems()


async def test_a_repository_of_mcp_server_git(tmp_path: Path):
    repository = committed(tmp_path / "repository")
    file = python(
        tmp_path, "git", "--repository", str(repository), tools=["git_log", "git_status", "git_comit"], prefix=""
    )
    async with boxed(file) as (toolbox, adapter):
        assert [spec.name for spec in toolbox.specs()] == ["git_log", "git_status"]
        assert "The first one" in (await toolbox.call(call("git_log", repo_path=str(repository)), CALLER)).output
        assert adapter.problems() == ["tools/git.mcp.toml: the server has no tool git_comit: is git_commit meant?"]


@needs_node
async def test_everything_of_server_everything(tmp_path: Path):
    file = written(tmp_path, "all", command=str(node), args=[str(EVERYTHING)])
    async with boxed(read(file, "tools/all.mcp.toml", {})) as (toolbox, adapter):
        assert (await toolbox.call(call("all_echo", message="hello"), CALLER)).output == "Echo: hello"
        assert (await toolbox.call(call("all_get-sum", a=2, b=3), CALLER)).output == "The sum of 2 and 3 is 5."
        image = await toolbox.call(call("all_get-tiny-image"), CALLER)
        assert [file.name for file in image.files] == ["image-1.png"]
        asked = await toolbox.call(call("all_trigger-elicitation-request"), CALLER)
        assert asked.error is None
        assert "declined" in asked.output
        assert "the answer was no." in asked.output  # its form has more in it than yes and no
        assert not adapter.problems()


@needs_node
async def test_everything_over_http(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    file = written(tmp_path, "all", url=f"http://127.0.0.1:{port}/mcp")
    command = [str(node), str(EVERYTHING), "streamableHttp"]
    async with boxed(read(file, "tools/all.mcp.toml", {})) as (toolbox, adapter):
        assert "it cannot be reached" in adapter.problems()[0]
        async with started("everything", command, tmp_path, {"PORT": str(port)}):
            await until("there", lambda: not adapter.problems())
            assert (await toolbox.call(call("all_echo", message="hello"), CALLER)).output == "Echo: hello"
