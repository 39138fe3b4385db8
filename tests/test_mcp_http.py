"""MCP servers over streamable HTTP: the same tools, and the ways in which a server elsewhere fails."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from adapters import Adapter
from adapters.mcp import McpAdapter
from adapters.mcp_file import ServerFile, read
from adapters.testing import AdapterContract
from adapters.toolbox import Toolbox
from tests.contracts.toolbox import CALLER, SECRET, ToolboxContract, call
from tests.mcp_servers.fronts import Forgetful, elsewhere, fronted, garbled, nonsense
from tests.mcp_servers.running import QUICK, boxed, free_port, packaged, served, until, written

HANGS = {"hangs": {"timeout": 0.3}}


def at(folder: Path, port: int, **keys: object) -> ServerFile:
    return packaged(folder, "far", url=f"http://127.0.0.1:{port}/mcp", **keys)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port() -> AsyncIterator[int]:
    """The package's own server, for all the tests that leave it as it is."""
    port = free_port()
    async with served(port):
        yield port


class TestOverHttp(ToolboxContract):
    """Over a server elsewhere."""

    @pytest_asyncio.fixture
    async def toolbox(self, tmp_path: Path, port: int) -> AsyncIterator[Toolbox]:
        async with boxed(at(tmp_path, port, prefix="", tool=HANGS)) as (toolbox, _):
            yield toolbox


class TestTheContract(AdapterContract):
    """As it is published."""

    works = ("echo", {"text": "hello"})
    refused = ("echo", {"text": 7})
    breaks = ("breaks", {})
    hangs = ("hangs", {})
    untold = SECRET

    @pytest.fixture(autouse=True)
    def _at_the_server(self, tmp_path: Path, port: int) -> None:
        self.file = at(tmp_path, port, prefix="", tool=HANGS)

    @asynccontextmanager
    async def adapter(self) -> AsyncIterator[Adapter]:
        yield McpAdapter([self.file])


async def test_ten_calls_at_once_are_each_answered_under_their_own_id(tmp_path: Path, port: int):
    async with boxed(at(tmp_path, port)) as (toolbox, _):
        calls = [call("far_echo", text=str(number)) for number in range(10)]
        outputs = await asyncio.gather(*(toolbox.call(each, CALLER) for each in calls))
        assert [(one.call_id, one.output) for one in outputs] == [(one.id, str(n)) for n, one in enumerate(calls)]


async def test_who_gives_up_waiting_cancels_the_call_at_the_server(tmp_path: Path, port: int):
    async with boxed(at(tmp_path, port, tool=HANGS)) as (toolbox, _):
        before = (await toolbox.call(call("far_cancelled"), CALLER)).output.count("hangs")
        assert (await toolbox.call(call("far_hangs"), CALLER)).error == "timeout"
        async with asyncio.timeout(10):
            while (await toolbox.call(call("far_cancelled"), CALLER)).output.count("hangs") == before:
                await asyncio.sleep(0.01)


async def test_what_its_file_names_is_sent_along(tmp_path: Path, port: int):
    variables = {**os.environ, "ACME_KEY": "k-1"}
    file = written(tmp_path, "far", url=f"http://127.0.0.1:{port}/mcp", headers={"X-Api-Key": "ACME_KEY"})
    async with boxed(read(file, "x", variables)) as (toolbox, _):
        assert (await toolbox.call(call("far_header"), CALLER)).output == "k-1"


@pytest.mark.invariant("I13")
async def test_a_wrong_token_is_named_by_its_variable_s_place_and_the_right_one_lets_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    port = free_port()
    file = written(tmp_path, "far", url=f"http://127.0.0.1:{port}/mcp", auth={"type": "bearer", "env": "FAR_TOKEN"})
    async with served(port, "--token"):
        async with boxed(read(file, "far", {"FAR_TOKEN": SECRET})) as (_, adapter):
            (problem,) = adapter.problems()
            assert problem.startswith(
                "far: it answers with HTTP 401: check the variables that its auth and headers name"
            )
        async with boxed(read(file, "far", {"FAR_TOKEN": "letmein"})) as (toolbox, adapter):
            assert not adapter.problems()
            assert (await toolbox.call(call("far_echo", text="in"), CALLER)).output == "in"
    assert SECRET not in caplog.text
    assert "letmein" not in caplog.text


async def test_one_that_is_not_there_is_named_and_its_tools_appear_when_it_comes(tmp_path: Path):
    port = free_port()
    async with boxed(at(tmp_path, port)) as (toolbox, adapter):
        assert toolbox.specs() == []
        assert "far.mcp.toml: it cannot be reached" in adapter.problems()[0]
        async with served(port):
            await until("there", lambda: not adapter.problems())
            assert (await toolbox.call(call("far_echo", text="now"), CALLER)).output == "now"
            hanging = asyncio.create_task(toolbox.call(call("far_hangs"), CALLER))
            assert (await toolbox.call(call("far_echo", text="and"), CALLER)).output == "and"
        output = await hanging  # it was killed
        assert output.error == "failed"
        assert "result unknown" in output.output
        await until("named", adapter.problems)
        async with asyncio.timeout(5):
            away = await toolbox.call(call("far_echo", text="gone"), CALLER)
        assert "is not running now" in away.output
        async with served(port):
            await until("back", lambda: not adapter.problems())
            assert (await toolbox.call(call("far_echo", text="back"), CALLER)).output == "back"


async def test_a_changed_list_is_seen(tmp_path: Path):
    port = free_port()
    async with served(port), boxed(at(tmp_path, port)) as (toolbox, _):
        await toolbox.call(call("far_grows"), CALLER)
        await until("the change", lambda: "far_added" in [spec.name for spec in toolbox.specs()])


@pytest.mark.invariant("I9")
async def test_a_session_that_the_server_forgot_is_begun_anew_within_the_call(tmp_path: Path):
    server = Forgetful()
    port = free_port()
    async with fronted(port, server.answer), boxed(at(tmp_path, port)) as (toolbox, _):
        assert (await toolbox.call(call("far_count"), CALLER)).output == "1"
        server.forget()
        outputs = await asyncio.gather(*(toolbox.call(call("far_count"), CALLER) for _ in range(3)))
        assert sorted(one.output for one in outputs) == ["2", "3", "4"]
        assert server.begun == 2


@pytest.mark.parametrize("answer", [nonsense, garbled, elsewhere])
async def test_what_is_no_server_is_named_and_quoted_nowhere(
    tmp_path: Path, answer: object, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    port = free_port()
    async with fronted(port, answer), boxed(at(tmp_path, port), pace=replace(QUICK, first=5.0)) as (toolbox, adapter):
        assert toolbox.specs() == []
        assert "it does not speak MCP" in adapter.problems()[0] or "HTTP 307" in adapter.problems()[0]
    assert SECRET not in caplog.text
