"""python -m bot: serve, chat, inbox, threads, tools, usage."""

from __future__ import annotations

import typer

from bot.cli import chat, inbox, serve, threads, tools, usage

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.command()(serve.serve)
app.command()(chat.chat)
app.command()(usage.usage)
app.add_typer(inbox.app, name="inbox")
app.add_typer(threads.app, name="threads")
app.add_typer(tools.app, name="tools")

if __name__ == "__main__":
    app()
