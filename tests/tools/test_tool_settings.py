"""What the settings of the shipped tools take, and what the tools are told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot import settings as environment
from bot.bootstrap import find_tools
from bot.errors import SettingsError
from bot.settings import Settings

GITHUB = {"tickets": "github", "tickets_address": "https://api.github.com/repos/a/b", "tickets_token": "t"}
MODEL = {"agent_backend": "chat-completions", "openai_base_url": "http://127.0.0.1:1/v1", "model_deployment_name": "m"}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def problems(**values: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        environment.load(env_file=None, **values)
    return caught.value.problems


def names(**values: Any) -> set[str]:
    tools, found = find_tools(environment.load(env_file=None, **values))
    assert list(found) == []
    return {spec.name for spec in tools.specs()}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"tickets": "somewhere"}, "TICKETS is somewhere: give "),
        (GITHUB | {"tickets_token": ""}, "TICKETS_TOKEN is not set: TICKETS=github needs it, such as a token."),
        (GITHUB | {"tickets": "jira", "tickets_project": "X"}, "TICKETS_USER is not set: TICKETS=jira needs it"),
        ({"knowledge_dir": "no/such"}, "KNOWLEDGE_DIR: no/such is not a folder; make it, or unset KNOWLEDGE_DIR."),
        ({"knowledge_index": "no/such/k.db"}, "KNOWLEDGE_INDEX: no/such/k.db must be a file (it is made) in a folder"),
    ],
)
def test_what_cannot_be_is_named_with_its_cure(values: dict[str, str], said: str):
    assert [problem[: len(said)] for problem in problems(**values)] == [said]


def test_a_help_desk_is_there_for_the_rehearsal_or_where_it_is_asked_for():
    assert "create_ticket" in names()
    assert "create_ticket" not in names(tickets="off")
    assert "create_ticket" not in names(**MODEL)
    assert "create_ticket" in names(**MODEL, tickets="records")
    assert "list_ticket_comments" in names(**MODEL, **GITHUB)


def test_a_folder_of_documents_is_searched(tmp_path: Path):
    assert "search_knowledge" not in names()
    assert "search_knowledge" in names(knowledge_dir=tmp_path)


def test_settings_go_before_the_environment(monkeypatch: pytest.MonkeyPatch):
    """A bot that is told to have none has none, whatever else is set."""
    loaded = environment.load(env_file=None, tickets="off")
    monkeypatch.setenv("TICKETS", "records")
    tools, _ = find_tools(loaded)
    assert "create_ticket" not in {spec.name for spec in tools.specs()}
