"""The bot as its users start it: what it says, what it survives, and what it answers to a wrong set-up."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.processes import LOG, command, environment, served

ROOT = Path(__file__).parent.parent


@pytest.mark.invariant("I1")
@pytest.mark.invariant("I4")
async def test_killed_and_started_again_it_goes_on_in_the_same_thread(tmp_path: Path):
    async with served(tmp_path, fresh=True) as bot:
        await bot.say("What's the current time in Tokyo and calculate 25 * 47?")
        state = await bot.shows("1175")
        assert "Asia/Tokyo" in str(state)
        await bot.say("remember my code is 2208")
        await bot.shows("I'll remember: my code is 2208")
        await bot.say("rehearse wait 1")
        bot.kill()
        thread = state["thread"]["id"]
    async with served(tmp_path) as bot:
        state = await bot.shows("I waited, as rehearsed.")
        assert state["thread"]["id"] == thread
        await bot.say("what is my code?")
        await bot.shows("You told me: my code is 2208")
        await bot.say("start over")
        await bot.shows("new conversation")
        await bot.say("good morning")
        assert (await bot.shows("rehearsal agent"))["thread"]["id"] != thread
        await bot.say("undo")
        await bot.shows("earlier conversation")
        assert (await bot.state())["thread"]["id"] == thread
        assert await bot.stop() == 0


async def test_inbox_show_tells_what_became_of_a_message(tmp_path: Path):
    async with served(tmp_path) as bot:
        told = await bot.say("calculate 25 * 47")
        await bot.shows("1175")
        code, out, _ = await command(tmp_path, "inbox", "show", told["reference"], fresh=True)
        assert code == 0
        for words in (told["reference"], "done answered", "run_", "calculate", "delivered"):
            assert words in out
    code, _, err = await command(tmp_path, "inbox", "show", "ZZZZ-ZZ")
    assert (code, "No message has the reference" in err) == (2, True)
    code, _, err = await command(tmp_path, "inbox", "show", "what?")
    assert (code, "looks like 7F3K-2Q" in err) == (2, True)


async def test_a_port_in_use_is_named(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = await command(tmp_path, "serve", fresh=True, PORT=str(port))
    assert code == 2
    assert f"Port {port} is in use" in err
    assert "Traceback" not in err


async def test_two_bots_on_one_sqlite_file_are_refused(tmp_path: Path):
    async with served(tmp_path):
        code, _, err = await command(tmp_path, "serve")
    assert code == 2
    assert "already runs on" in err


async def test_a_database_that_cannot_be_written_is_named(tmp_path: Path):
    code, _, err = await command(tmp_path, "serve", DATABASE_URL=f"sqlite+aiosqlite:///{tmp_path}/no/bot.db")
    assert code == 2
    assert f"{tmp_path}/no/bot.db cannot be written" in err
    assert "Traceback" not in err


async def test_every_problem_of_the_settings_is_told_at_once(tmp_path: Path):
    wrong = {"PORT": "70000", "HOST": "0.0.0.0", "AGENT_BACKEND": "foundry-classic"}
    code, _, err = await command(tmp_path, "serve", **wrong)
    assert code == 2
    assert all(name in err for name in ("PORT", "HOST", "PROJECT_ENDPOINT", "AGENT_ID"))
    assert "Traceback" not in err


async def test_a_tool_file_that_does_not_import_is_named_and_skipped(tmp_path: Path):
    folder = tmp_path / "my_tools"
    folder.mkdir()
    (folder / "broken.py").write_text("import nothing_like_it\n")
    (folder / "dice.py").write_text(
        "from adapters import tool\n\n@tool\ndef roll(sides: int = 6) -> int:\n"
        '    """Roll one die."""\n    return sides\n'
    )
    code, out, _ = await command(tmp_path, "tools", "list", fresh=True, TOOLS_DIR=str(folder))
    assert code == 0
    assert "my_tools/broken.py" in out
    assert "ModuleNotFoundError at line 1" in out
    assert "Roll one die." in out
    async with served(tmp_path, TOOLS_DIR=str(folder)) as bot:
        await bot.say("use roll sides=20")
        await bot.shows("roll: 20")
        await bot.say("tools")
        await bot.shows("Not loaded: my_tools/broken.py")


async def test_chat_answers_what_is_piped_into_it(tmp_path: Path):
    code, out, err = await command(tmp_path, "chat", given="calculate 25 * 47\n", fresh=True)
    assert (code, "1175" in out) == (0, True), err
    async with served(tmp_path) as bot:
        await bot.say("remember my code is 2208")
        await bot.shows("I'll remember")
        port = bot.address.rsplit(":", 1)[1]
        code, out, err = await command(tmp_path, "chat", given="what is my code?\n", PORT=port)
        assert (code, "2208" in out) == (0, True), err


async def test_ctrl_c_leaves_the_chat_as_exit_does(tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "chat"),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"calculate 25 * 47\n")
    async with asyncio.timeout(60):
        while b"1175" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (process.returncode, b"Traceback" in out + err) == (0, False), err


async def test_a_mistake_in_chat_is_an_exit_code(tmp_path: Path):
    code, out, err = await command(tmp_path, "chat", "--person", "bob", given="hello\n", fresh=True)
    assert (code, "person must be alex or sam" in out) == (2, True), err


async def test_a_setting_that_is_none_is_said_in_words_and_in_the_log(tmp_path: Path):
    async with served(tmp_path, AGENT_BACKND="foundry") as bot:
        assert bot.process.stdout is not None
        async with asyncio.timeout(10):
            said = (await bot.process.stdout.readline()).decode().strip()
    assert said == "settings: AGENT_BACKND is set, and is no setting. If AGENT_BACKEND was meant, write it so."
    assert said in (tmp_path / LOG).read_text()


async def test_a_python_without_the_packages_is_told_where_they_are(tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-S", "-m", "bot", cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.decode().startswith("This Python has none of Threadkeeper's packages. `make run` makes .venv")
    assert b"Traceback" not in err
