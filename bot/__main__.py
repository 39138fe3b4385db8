"""python -m bot: serve, chat, check, agent, feedback, inbox, migrate, say, threads, tools, usage."""

from __future__ import annotations

import sys
from importlib.util import find_spec

if find_spec("typer") is None:
    sys.exit("This Python has none of Threadkeeper's packages. `make run` makes .venv; then: .venv/bin/python -m bot")

import typer

from bot.cli import agent, chat, check, feedback, inbox, migrate, say, serve, threads, tools, usage

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.command()(serve.serve)
app.command()(chat.chat)
app.command()(check.check)
app.command()(usage.usage)
app.command()(say.say)
app.command()(migrate.migrate)
app.add_typer(agent.app, name="agent")
app.add_typer(feedback.app, name="feedback")
app.add_typer(inbox.app, name="inbox")
app.add_typer(threads.app, name="threads")
app.add_typer(tools.app, name="tools")

if __name__ == "__main__":
    app()
