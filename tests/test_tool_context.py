"""What a tool is lent, through the whole bot: records, what was said before, progress, roles, files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters import File, Result, ToolContext, tool
from adapters.function import FunctionAdapter, FunctionTool
from adapters.toolbox import Toolbox
from bot.errors import RequestRefused, SettingsError
from bot.progress import LONGEST, Progress, shown
from bot.threads import ThreadLimits
from bot.types import JsonObject, Part, RemoteFile
from tests.world import GRACE, FastClock, RecordingChannel, open_world, settings_for

CSV = b"a;b\n1;2\n"


def boxed(*functions: Callable[..., object]) -> Any:
    return Toolbox([FunctionAdapter([FunctionTool(function) for function in functions], environ={})])


@tool
async def note(context: ToolContext, text: str) -> str:
    """Keep a note, for the organisation and for oneself."""
    await context.records.put("notes", context.person.id, text)
    await context.own.put("notes", "mine", text)
    return "kept"


@tool
async def notes(context: ToolContext) -> str:
    """Read the notes."""
    ours = [f"{one.key}: {one.value}" for one in await context.records.list("notes")]
    return f"{'; '.join(ours)} | {await context.own.get('notes', 'mine')}"


@tool
async def before(context: ToolContext) -> list[str]:
    """Tell what was said before."""
    return [f"{one.role[0]}: {one.text}" for one in await context.earlier()]


# -- records ------------------------------------------------------------------------------------------------


@pytest.mark.invariant("I10")
async def test_records_outlast_a_restart_and_each_person_has_their_own(tmp_path: Path):
    async with open_world(tmp_path, toolbox=boxed(note, notes)) as world:
        assert await world.ask("use note text=apples") == "note: kept"
        assert await world.ask("use note text=pears", person=GRACE) == "note: kept"
    async with open_world(tmp_path, toolbox=boxed(note, notes)) as world:
        assert await world.ask("use notes") == "notes: ada: apples; grace: pears | apples"
        assert await world.ask("use notes", person=GRACE) == "notes: ada: apples; grace: pears | pears"


async def test_who_is_forgotten_leaves_what_is_the_organisation_s(tmp_path: Path):
    async with open_world(tmp_path, toolbox=boxed(note, notes)) as world:
        await world.ask("use note text=apples")
        await world.ask("use note text=pears", person=GRACE)
        await world.ask("forget me now")
        assert await world.ask("use notes") == "notes: ada: apples; grace: pears | None"
        assert await world.ask("use notes", person=GRACE) == "notes: ada: apples; grace: pears | pears"


async def test_what_is_one_s_own_goes_with_a_person_who_has_long_been_silent(tmp_path: Path):
    async with open_world(tmp_path, toolbox=boxed(note, notes), retention_days=40) as world:
        await world.ask("use note text=apples")
        world.clock.advance(41 * 86_400)
        await world.bot.forgetting.sweep()
        assert await world.ask("use notes") == "notes: ada: apples | None"


# -- what was said before -----------------------------------------------------------------------------------


@pytest.mark.invariant("I10")
async def test_earlier_threads_are_read_back_to_the_last_start_over(tmp_path: Path):
    limits = ThreadLimits(messages=4)
    async with open_world(tmp_path, toolbox=boxed(before), threads=limits) as world:
        await world.ask("the first secret")
        await world.ask("start over")
        await world.ask("my dog is called Rex")
        await world.ask("good morning")
        await world.ask("good evening", person=GRACE)
        said = await world.ask("use before")
        assert "Rex" in said
        assert said.index("good morning") < said.index("Rex")  # the newest first
        for other in ("secret", "evening", "use before"):
            assert other not in said
        await world.ask("start over")
        assert await world.ask("use before") == "before: []"


async def test_what_was_carried_into_the_next_thread_is_told_once(tmp_path: Path):
    async with open_world(tmp_path, toolbox=boxed(before), threads=ThreadLimits(messages=4)) as world:
        await world.ask("my dog is called Rex")
        for number in range(4):
            await world.ask(f"good morning number {number}")
        assert (await world.ask("use before")).count("u: my dog is called Rex") == 1


# -- progress -----------------------------------------------------------------------------------------------


class ProgressChannel(RecordingChannel):
    """A channel that shows progress."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[tuple[str, str]] = []
        self.seen = asyncio.Event()

    def progress(self, address: JsonObject, words: str) -> None:
        self.words.append((address["to"], words))
        self.seen.set()


async def test_a_word_of_progress_shows_in_the_chat(tmp_path: Path):
    channel = ProgressChannel()

    @tool
    async def slow(context: ToolContext) -> str:
        """Work."""
        await asyncio.to_thread(context.progress, "Reading  3 of\n10")
        await channel.seen.wait()
        return "read"

    async with open_world(tmp_path, toolbox=boxed(slow), channel=channel) as world:
        assert await world.ask("use slow") == "slow: read"
    assert channel.words == [("chat-ada", "Reading 3 of 10")]


async def settled() -> None:
    """What was put into the loop has run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_of_many_words_the_last_are_shown_and_no_more_than_one_a_second():
    clock, shown = FastClock(), list[str]()
    progress = Progress(shown.append, clock)
    for number in range(1_000):
        progress(f"at {number}")
    await settled()
    assert shown == ["at 999"]
    progress("later")
    await settled()
    assert shown == ["at 999"]  # its second is not over


async def test_words_that_cannot_be_shown_disturb_nobody():
    def fails(words: str) -> None:
        raise OSError(words)

    progress = Progress(fails, FastClock())
    for words in ("", "\0", "\ud800", None, 7, "x" * 10_000):
        progress(words)  # type: ignore[arg-type]
    await settled()


def test_a_line_is_cut():
    assert len(shown("word " * 1_000)) <= LONGEST
    assert shown("a\x1b[31m\u202eb") == "a[31mb"


# -- roles --------------------------------------------------------------------------------------------------


async def test_people_are_told_of_what_they_may_use(tmp_path: Path):
    @tool(roles=["hr"])
    def salaries() -> str:
        """Tell the salaries."""
        return "a lot"

    @tool(roles=["admin"], approve=True)
    def purge() -> str:
        """Purge all."""
        return "gone"

    @tool(hidden=True)
    def plumbing() -> str:
        """Do what nobody need know."""
        return "done"

    roles = {"tool_roles": "hr=grace,x; sales=ada", "admins": ("grace",)}
    async with open_world(tmp_path, toolbox=boxed(salaries, purge, plumbing, note), **roles) as world:
        listed = await world.ask("tools"), await world.ask("tools", person=GRACE)
        assert [[name in one for name in ("salaries", "purge", "plumbing", "note")] for one in listed] == [
            [False, False, False, True],
            [True, True, False, True],
        ]
        assert "people with the role hr" in await world.ask("use salaries")
        assert "people with the role admin" in await world.ask("use purge")  # and nobody is asked about it
        assert await world.ask("use salaries", person=GRACE) == "salaries: a lot"
        assert await world.ask("use plumbing") == "plumbing: done"


@pytest.mark.parametrize("wrong", ["hr", "hr=", "=ada", "hr=ada;hr=grace", "admin=ada"])
def test_roles_that_are_none_are_refused(tmp_path: Path, wrong: str):
    with pytest.raises(SettingsError, match="TOOL_ROLES"):
        settings_for(tmp_path, tool_roles=wrong)


# -- files --------------------------------------------------------------------------------------------------


@tool
def report(rows: int = 1) -> Result:
    """Make a report."""
    return Result(f"{rows} rows", [File("report.csv", "text/csv", CSV)])


def showing() -> RecordingChannel:
    channel = RecordingChannel()
    channel.shows = frozenset({"files"})
    return channel


async def test_a_tool_s_file_comes_beside_the_answer(tmp_path: Path):
    async with open_world(tmp_path, toolbox=boxed(report), channel=showing()) as world:
        said = await world.ask("use report rows=2")
        assert "2 rows" in said
        assert "report.csv" in said
        await world.answers(2)
        assert world.channel.sent[1][1].file == File("report.csv", "text/csv", CSV)
        await world.ask("good morning")  # the next answer has none
        assert len(world.channel.sent) == 3


class Stuck(RecordingChannel):
    """A channel that takes nothing, and does not say so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def send(self, address: JsonObject, part: Part) -> str:
        self.asked.set()
        return await asyncio.Event().wait() or ""  # type: ignore[return-value]


@pytest.mark.invariant("I4")
async def test_a_file_outlasts_a_crash_between_the_call_and_the_delivery(tmp_path: Path):
    calls: list[str] = []

    @tool(once=True)
    def draw() -> File:
        """Draw."""
        calls.append("draw")
        return File("chart.png", "", CSV)

    stuck = Stuck()
    stuck.shows = frozenset({"files"})
    async with open_world(tmp_path, toolbox=boxed(draw), channel=stuck, grace=0.0) as world:
        await world.say("use draw")
        await asyncio.wait_for(stuck.asked.wait(), 10)
    async with open_world(tmp_path, toolbox=boxed(draw), channel=showing()) as world:
        await world.answers(2)
        assert world.channel.sent[1][1].file == File("chart.png", "image/png", CSV)
    assert calls == ["draw"]


async def test_where_files_cannot_be_shown_they_are_named(tmp_path: Path):
    async with open_world(tmp_path, toolbox=boxed(report)) as world:
        assert "report.csv" in (await world.ask("use report")).split("\n\n", 1)[1]
        assert len(world.channel.sent) == 1


async def test_a_file_is_had_again_while_a_person_decides_about_it_and_is_let_go_of_then(tmp_path: Path):
    async with open_world(tmp_path, toolbox=boxed(report), channel=showing()) as world:
        await world.ask("use report")
        await world.answers(2)
        remote = world.channel.sent[1][1].remote
        assert isinstance(remote, RemoteFile)
        assert await world.bot.store.tool_files.content(remote) == CSV
        world.clock.advance(3 * 86_400)
        await world.bot.store.records.sweep(1e9, 1e9)
        with pytest.raises(RequestRefused, match="gone"):
            await world.bot.store.tool_files.content(remote)


async def test_a_file_goes_with_the_person(tmp_path: Path):
    async with open_world(tmp_path, toolbox=boxed(report), channel=showing()) as world:
        await world.ask("use report")
        await world.answers(2)
        remote = world.channel.sent[1][1].remote
        assert remote is not None
        await world.ask("forget me now")
        with pytest.raises(RequestRefused, match="gone"):
            await world.bot.store.tool_files.content(remote)


# -- at the same time ---------------------------------------------------------------------------------------


@pytest.mark.invariant("I9")
async def test_ten_calls_of_one_tool_in_one_round_run_together_and_each_has_its_own_output(tmp_path: Path):
    ten = asyncio.Barrier(10)
    keys: list[str] = []

    @tool(timeout=10, once=True)
    async def meet(number: int, context: ToolContext) -> int:
        """Wait for nine others."""
        keys.append(context.key)
        await ten.wait()
        return number

    async with open_world(tmp_path, toolbox=boxed(meet)) as world:
        said = await world.ask(" and ".join(f"use meet number={number}" for number in range(10)))
        assert said == "\n".join(f"meet: {number}" for number in range(10))
        rows = await world.bot.store.tool_calls.rows(1)
        assert len({row.call_id for row in rows}) == len(set(keys)) == 10
        assert {row.round for row in rows} == {1}
