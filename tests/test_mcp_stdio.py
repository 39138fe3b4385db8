"""MCP servers as processes: what they are asked, what they answer, and all the ways in which they fail."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from adapters.result import OUTPUT_LIMIT
from adapters.toolbox import Toolbox
from bot.types import Caller
from tests.contracts.toolbox import CALLER, PATIENCE, SECRET, ToolboxContract, call
from tests.mcp_servers.running import QUICK, boxed, notes, packaged, plain, until

HANGS = {"hangs": {"timeout": 0.3}}


class TestOfAProcess(ToolboxContract):
    """Over a server that is a process."""

    @pytest_asyncio.fixture
    async def toolbox(self, tmp_path: Path) -> AsyncIterator[Toolbox]:
        async with boxed(plain(tmp_path, prefix="", tool=HANGS)) as (toolbox, _):
            yield toolbox


def is_there(pid: int) -> bool:
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


# -- what is asked and answered -----------------------------------------------------------------------------


async def test_the_package_s_own_server_answers_over_its_pipes(tmp_path: Path):
    async with boxed(packaged(tmp_path)) as (toolbox, adapter):
        assert not adapter.problems()
        assert (await toolbox.call(call("packaged_echo", text="hi"), CALLER)).output == "hi"
        assert (await toolbox.call(call("packaged_key"), CALLER)).output == CALLER.key
        assert (await toolbox.call(call("packaged_grows"), CALLER)).output == "grown"
        await until("the new tool", lambda: "packaged_added" in [spec.name for spec in toolbox.specs()])
        assert (await toolbox.call(call("packaged_added"), CALLER)).output == "I am new."


@pytest.mark.invariant("I9")
async def test_ten_calls_at_once_are_each_answered_under_their_own_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MEET", "10")  # none of them is answered before all ten have come
    async with boxed(plain(tmp_path)) as (toolbox, _):
        calls = [call("plain_meets", number=number) for number in range(10)]
        outputs = await asyncio.gather(*(toolbox.call(each, CALLER) for each in calls))
    assert [(one.call_id, one.output) for one in outputs] == [(one.id, str(n)) for n, one in enumerate(calls)]


async def test_what_a_result_holds_is_told_in_words(tmp_path: Path):
    async with boxed(plain(tmp_path)) as (toolbox, _):
        shown = await toolbox.call(call("plain_shows"), CALLER)
        assert shown.output.splitlines() == [
            "Here:",
            "[note://1]",
            "a note",
            "[a link: More, https://example.com/more]",
            "[For the person, shown beside your answer: image-1.png (image/png, 12288 bytes), "
            "sound-2.wav (audio/x-wav, 3 bytes), report.pdf (application/pdf, 6 bytes)]",
        ]
        assert [(file.name, len(file.data)) for file in shown.files] == [
            ("image-1.png", 12288),
            ("sound-2.wav", 3),
            ("report.pdf", 6),
        ]
        assert (await toolbox.call(call("plain_data"), CALLER)).output == '{"open":3}'
        assert (await toolbox.call(call("plain_nothing"), CALLER)).output == "Done; there is no result."
        long = (await toolbox.call(call("plain_long"), CALLER)).output
        assert len(long.encode()) <= OUTPUT_LIMIT
        assert "[cut: the result has 100000 bytes" in long
        no = await toolbox.call(call("plain_says_no"), CALLER)
        assert (no.output, no.error) == ("Ticket 7 is closed.", "failed")


async def test_the_call_s_key_goes_along(tmp_path: Path):
    async with boxed(plain(tmp_path)) as (toolbox, _):
        for caller in (CALLER, replace(CALLER, repeated=True)):
            meta = json.loads((await toolbox.call(call("plain_meta"), caller)).output)
            assert meta == {"threadkeeper/idempotency-key": CALLER.key}


async def test_a_question_is_put_to_the_person_and_no_is_told(tmp_path: Path):
    heard: list[str] = []

    def answering(word: bool) -> Caller:
        async def ask(words: str) -> bool:
            heard.append(words)
            return word

        return replace(CALLER, ask=ask)

    async with boxed(plain(tmp_path)) as (toolbox, _):
        output = await toolbox.call(call("plain_asks"), answering(True))
        assert (output.output, output.error) == ("deleted: accept", None)
        said, note = (await toolbox.call(call("plain_asks"), answering(False))).output.splitlines()
        assert said == "deleted: decline"
        assert note == '[The tool asked the person: "Really delete everything?". They did not agree.]'
        assert [" ".join(one.split()) for one in heard] == ["Really delete everything?"] * 2
        said, note = (await toolbox.call(call("plain_asks_more"), answering(True))).output.splitlines()
        assert (said, len(heard)) == ("deleted: decline", 2)
        assert "It could not be put to them" in note
        assert (await toolbox.call(call("plain_samples"), CALLER)).output == "refused"
        assert "asked" not in (await toolbox.call(call("plain_echo", text="x"), CALLER)).output
    assert 'capabilities ["elicitation"]' in notes(tmp_path)


async def test_the_time_of_asking_is_not_the_tool_s(tmp_path: Path):
    async def ask(words: str) -> bool:
        await asyncio.sleep(1.3)
        return True

    async with boxed(plain(tmp_path, "timeout = 1.0")) as (toolbox, _):
        output = await toolbox.call(call("plain_asks"), replace(CALLER, ask=ask))
    assert (output.output, output.error) == ("deleted: accept", None)


@pytest.mark.invariant("I13")
async def test_a_server_sees_the_variables_that_its_file_names_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("ACME_TOKEN", "of acme")
    monkeypatch.setenv("MEET", "3")
    file = plain(tmp_path, env={"TOKEN": "ACME_TOKEN", "MEET": "MEET"})
    async with boxed(file) as (toolbox, _):
        asked = {name: call("plain_variable", key=name) for name in ("TOKEN", "ACME_TOKEN", "OPENAI_API_KEY", "PATH")}
        told = {name: (await toolbox.call(one, CALLER)).output for name, one in asked.items()}
    assert told == {"TOKEN": "of acme", "ACME_TOKEN": "unset", "OPENAI_API_KEY": "unset", "PATH": os.environ["PATH"]}
    assert "of acme" not in repr(file)


async def test_it_runs_in_the_folder_of_its_file(tmp_path: Path):
    async with boxed(plain(tmp_path / "mytools")):
        assert notes(tmp_path / "mytools")[0].endswith("in mytools")


# -- its list -----------------------------------------------------------------------------------------------


async def test_a_changed_list_is_seen_by_the_next_run_in_a_fixed_order(tmp_path: Path):
    async with boxed(plain(tmp_path)) as (toolbox, _):
        before = [spec.name for spec in toolbox.specs()]
        assert before == sorted(before)
        assert len(before) == 21  # of three pages
        await toolbox.call(call("plain_grows"), CALLER)
        await until("the change", lambda: "plain_added" in [spec.name for spec in toolbox.specs()])
        after = [spec.name for spec in toolbox.specs()]
        assert after == sorted({*before, "plain_added"} - {"plain_nothing"})
        assert (await toolbox.call(call("plain_added"), CALLER)).output == "I am new."
        assert (await toolbox.call(call("plain_nothing"), CALLER)).error == "unknown_tool"


async def test_the_list_is_asked_for_again_where_nothing_is_said_of_a_change(tmp_path: Path):
    async with boxed(plain(tmp_path), pace=replace(QUICK, refresh=0.05)):
        await until("another listing", lambda: notes(tmp_path).count("listed") >= 9)


async def test_a_tool_of_another_name_s_owner_is_left_out_and_named(tmp_path: Path):
    one, two = plain(tmp_path, name="one", prefix="same"), plain(tmp_path, name="two", prefix="same")
    async with boxed(one, two, taken=["same_echo"]) as (toolbox, adapter):
        specs = toolbox.specs()
        assert "same_echo" not in [spec.name for spec in specs]
        assert {spec.source for spec in specs} == {one.source}
        assert (
            f"{one.source}: same_echo is left out: another tool has that name; set another prefix" in adapter.problems()
        )
        assert (
            f"{two.source}: same_data is left out: {one.source} has that name; set another prefix" in adapter.problems()
        )


# -- what goes wrong ----------------------------------------------------------------------------------------


@pytest.mark.invariant("I9")
async def test_a_server_that_dies_in_a_call_is_one_output_and_is_started_again(tmp_path: Path):
    # A pace at which it stays away until it was looked at.
    async with boxed(plain(tmp_path), pace=replace(QUICK, first=1.0)) as (toolbox, adapter):
        hanging = asyncio.create_task(toolbox.call(call("plain_hangs"), CALLER))
        died = await toolbox.call(call("plain_dies"), CALLER)
        for output in (died, await hanging):
            assert output.error == "failed"
            assert "ended before it answered (7F3K-2Q); result unknown" in output.output
        names = [spec.name for spec in toolbox.specs()]
        began = time.monotonic()
        away = await toolbox.call(call("plain_echo", text="x"), CALLER)
        assert time.monotonic() - began < 0.5
        assert away.error == "failed"
        assert away.output.startswith("plain_echo was not called: its server, plain, is not running now.")
        assert names == [spec.name for spec in toolbox.specs()]
        await until("named", lambda: any("it ended" in problem for problem in adapter.problems()))
        await until("back", lambda: not adapter.problems())
        assert (await toolbox.call(call("plain_echo", text="again"), CALLER)).output == "again"
    assert len([line for line in notes(tmp_path) if line.startswith("started")]) == 2


@pytest.mark.invariant("I9")
async def test_a_call_that_hangs_ends_with_its_time_and_is_cancelled_at_the_server(tmp_path: Path):
    async with boxed(plain(tmp_path, tool=HANGS)) as (toolbox, adapter):
        assert (await toolbox.call(call("plain_hangs"), CALLER)).error == "timeout"
        await until("told so", lambda: "cancelled" in notes(tmp_path))
        assert (await toolbox.call(call("plain_echo", text="still"), CALLER)).output == "still"
        assert not adapter.problems()


@pytest.mark.invariant("I13")
async def test_what_it_writes_beside_the_protocol_neither_stops_it_nor_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    async with boxed(plain(tmp_path)) as (toolbox, _):
        assert (await toolbox.call(call("plain_floods"), CALLER)).output == "flooded"  # 4 MB of standard error
        assert (await toolbox.call(call("plain_babbles"), CALLER)).output == "babbled"
        await toolbox.call(call("plain_breaks"), CALLER)
        assert (await toolbox.call(call("plain_echo", text="still"), CALLER)).output == "still"
    assert "bytes to its standard error" in caplog.text
    assert "wrote a line that is no message" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("way", "problem"),
    [
        ("fails", "it ended as it was begun"),
        ("mute", "it gave no list of its tools within 0.5 s"),
        ("nonsense", "it gave no list of its tools within 0.5 s"),
    ],
)
@pytest.mark.invariant("I13")
async def test_one_that_does_not_begin_is_named_and_tried_again(
    tmp_path: Path, way: str, problem: str, caplog: pytest.LogCaptureFixture
):
    file = plain(tmp_path, way)
    async with boxed(file, pace=replace(QUICK, connect=0.5)) as (toolbox, adapter):
        assert toolbox.specs() == []
        (told,) = adapter.problems()
        assert told.startswith(f"{file.source}: {problem}")
        await until("tried again", lambda: len([line for line in notes(tmp_path) if line.startswith("started")]) > 1)
    assert caplog.text.count(problem) == 1  # said once, not at every try
    assert SECRET not in caplog.text


async def test_a_command_that_is_missing_is_named_and_its_tools_appear_when_it_comes(tmp_path: Path):
    late = tmp_path / "late"
    script = plain(tmp_path).args[0]
    file = plain(tmp_path, command=str(late), args=[script])
    async with boxed(file) as (toolbox, adapter):
        assert f"its command {late} was not found" in adapter.problems()[0]
        late.symlink_to(plain(tmp_path).command)
        await until("there", lambda: not adapter.problems())
        assert "plain_echo" in [spec.name for spec in toolbox.specs()]


async def test_a_slow_server_does_not_delay_the_start(tmp_path: Path):
    began = time.monotonic()
    async with boxed(plain(tmp_path, "mute"), plain(tmp_path, name="good"), start_seconds=1.0) as (toolbox, adapter):
        assert time.monotonic() - began < 5
        assert "good_echo" in [spec.name for spec in toolbox.specs()]
        assert adapter.problems() == [
            f"{tmp_path.name}/plain.mcp.toml: it is not there yet; its tools appear when it is"
        ]


async def test_between_two_tries_the_time_grows_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    slept: list[float] = []
    monkeypatch.setattr("adapters.mcp_server.random.uniform", lambda low, high: slept.append((low, high)) or 1.0)
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(delay: float) -> None:
        pauses.append(delay)
        await real(0)

    monkeypatch.setattr("adapters.mcp_server.anyio.sleep", sleep)
    file = plain(tmp_path, command=str(tmp_path / "nowhere"))
    async with boxed(file, pace=replace(QUICK, first=1.0, most=5.0)):
        await until("tries", lambda: len(pauses) >= 5)
    assert pauses[:5] == [1.0, 2.0, 4.0, 5.0, 5.0]
    assert set(slept) == {(0.5, 1.0)}


# -- the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["", "stays"])
async def test_nothing_of_a_server_is_left_after_the_end(tmp_path: Path, way: str):
    async with boxed(plain(tmp_path, way)) as (toolbox, _):
        pids = [int((await toolbox.call(call(f"plain_{name}"), CALLER)).output) for name in ("pid", "child")]
        assert all(is_there(pid) for pid in pids)
        hanging = asyncio.create_task(toolbox.call(call("plain_hangs"), CALLER))
        await asyncio.sleep(0)
    await hanging
    await until("ended", lambda: not any(is_there(pid) for pid in pids))


async def test_what_a_dead_server_started_is_ended_before_it_is_started_again(tmp_path: Path):
    async with boxed(plain(tmp_path)) as (toolbox, _):
        child = int((await toolbox.call(call("plain_child"), CALLER)).output)
        await toolbox.call(call("plain_dies"), CALLER)
        await until("back", lambda: len([one for one in notes(tmp_path) if one.startswith("started")]) > 1)
        assert not is_there(child)


@pytest.mark.parametrize("way", ["mute", "fails"])
async def test_the_end_does_not_wait_for_a_server_that_is_being_begun(tmp_path: Path, way: str):
    async with boxed(plain(tmp_path, way), start_seconds=0.1, pace=replace(QUICK, first=60.0, most=60.0, close=15.0)):
        await until("begun", lambda: notes(tmp_path))
        pid = int(notes(tmp_path)[0].split()[1])
        began = time.monotonic()
    assert time.monotonic() - began < PATIENCE / 2
    assert not is_there(pid)
