"""python -m infra.teams build: the app package for Microsoft Teams."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from bot import settings as environment
from bot.errors import SettingsError
from infra.teams.manifest import Publisher, manifest
from infra.teams.package import package

ROOT = Path(__file__).parent.parent.parent
OUT = Path("build/threadkeeper-teams.zip")

NOT_READ: dict[str, Any] = {
    "microsoft_app_type": "UserAssignedMSI",
    "microsoft_app_tenant_id": "any",
    "microsoft_app_certificate": None,
    "agent_backend": "rehearsal",
    "database_auth": "password",
}
"""What a package does not depend on: who builds it needs neither the bot's secrets nor its agent."""

app = typer.Typer(add_completion=False, help="The Teams app of this bot.")


@app.callback()
def teams() -> None:
    """The Teams app of this bot."""


@app.command()
def build(
    developer: Annotated[str, typer.Option(envvar="TEAMS_DEVELOPER", help="Your organisation's name.")] = "",
    website: Annotated[str, typer.Option(envvar="TEAMS_WEBSITE", help="https: about the app or its support.")] = "",
    privacy: Annotated[str, typer.Option(envvar="TEAMS_PRIVACY", help="https: what is kept of people's words.")] = "",
    terms: Annotated[str, typer.Option(envvar="TEAMS_TERMS", help="https: the terms of use.")] = "",
    domain: Annotated[
        list[str] | None, typer.Option(help="A host that answers may link to in Teams; repeatable.")
    ] = None,
    app_id: Annotated[str, typer.Option(help="In the place of MICROSOFT_APP_ID.")] = "",
    version: Annotated[str, typer.Option(help="The package's version; higher at each upload.")] = "",
    out: Annotated[Path, typer.Option(help="Where the zip goes.")] = OUT,
) -> None:
    """Make the app package: MICROSOFT_APP_ID, BOT_NAME and the like are read from the environment or .env."""
    named: dict[str, Any] = {"microsoft_app_id": app_id} if app_id else {}
    number = version or own_version()
    try:
        settings = environment.load(**NOT_READ, **named)
        publisher = Publisher(developer, website, privacy, terms)
        made = package(manifest(settings, publisher, number, tuple(domain or ())))
    except SettingsError as error:
        typer.echo("The app package cannot be made:", err=True)
        for problem in error.problems:
            typer.echo(f"  - {problem}", err=True)
        raise typer.Exit(2) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(made)
    where = "in Teams (Apps, Manage your apps, Upload an app), or in the Teams admin center"
    typer.echo(f"{out}, version {number}: upload it {where}.")


def own_version() -> str:
    """Threadkeeper's own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


if __name__ == "__main__":
    app()
