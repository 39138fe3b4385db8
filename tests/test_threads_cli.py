"""`python -m bot threads`, beside a running bot and without one."""

from __future__ import annotations

import json
from pathlib import Path

from tests.processes import command, served
from tests.test_forgetting import holding


async def test_beside_a_running_bot(tmp_path: Path):
    async with served(tmp_path) as bot:
        await bot.say("remember my code is swordfish")
        thread = (await bot.shows("I'll remember: my code is swordfish"))["thread"]["id"]
        code, out, err = await command(tmp_path, "threads", "list", fresh=True)
        assert (code, "Alex" in out, "personal" in out, thread in out) == (0, True, True, True), err
        code, out, err = await command(tmp_path, "threads", "export", "alex", "--to", "alex.json")
        assert code == 0, err
        told = json.loads((tmp_path / "alex.json").read_text())
        (exported,) = told["conversations"][0]["threads"]
        assert exported["messages"][0] == {"role": "user", "text": "remember my code is swordfish"}
        code, out, err = await command(tmp_path, "threads", "export", "Alex", "--markdown")
        assert (code, "**Alex:** remember my code is swordfish" in out) == (0, True), err
        code, out, err = await command(tmp_path, "threads", "reset", "Alex")
        assert (code, "1 conversation of Alex" in out) == (0, True), err
        await bot.say("good morning")
        state = await bot.shows("An admin started our conversation over")
        assert state["thread"]["id"] != thread
        code, out, err = await command(tmp_path, "threads", "show", "alex")
        assert (code, "start over" in out, "first" in out, thread in out) == (0, True, True, True), err
        code, out, err = await command(tmp_path, "threads", "forget", "alex", given="n\n")
        assert code == 1, err
        code, out, err = await command(tmp_path, "threads", "forget", "alex", "--yes", "--all")
        assert (code, "deleted" in out) == (0, True), err
        assert await bot.stop() == 0
    assert holding(tmp_path, "swordfish") == ["alex.json"]
    code, out, err = await command(tmp_path, "threads", "show", "alex")
    assert (code, "Nobody called alex has spoken" in err) == (2, True)
