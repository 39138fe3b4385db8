"""Tickets at GitHub and Jira: what is sent, as their published documents have it, and what the agent is told."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from adapters.discovery import load
from adapters.openapi import OpenApiAdapter, read_pair
from adapters.openapi_keep import fields_of, kept
from adapters.openapi_options import BadOptions, NotOffered, read_options
from adapters.toolbox import Toolbox
from bot.types import ToolCall
from tests.contracts.toolbox import CALLER, SECRET, call
from tests.openapi_service import Handler, Service, says, serving
from tools.tickets import offered

TOOLS = Path(__file__).parent.parent.parent / "tools"
PUBLISHED = Path(__file__).parent.parent / "documents" / "github.openapi.json"
NAMES = {"github": "github_issues", "jira": "jira_issues"}


def variables(kind: str, address: str) -> dict[str, str]:
    return {
        "TICKETS": kind,
        "TICKETS_ADDRESS": address,
        "TICKETS_TOKEN": SECRET,
        "TICKETS_USER": "ada@example.com",
        "TICKETS_PROJECT": "HELP",
    }


@asynccontextmanager
async def desk(kind: str, tmp_path: Path, *answers: Handler) -> AsyncIterator[tuple[Toolbox, Service]]:
    """The shipped pair over a double, which alone may be on this machine."""
    document = TOOLS / f"{NAMES[kind]}.openapi.json"
    options = tmp_path / f"{NAMES[kind]}.openapi.toml"
    options.write_text("allow_private = true\n" + (TOOLS / options.name).read_text())
    async with serving(*answers) as service:
        environ = variables(
            kind, f"{service.address}/repos/acme/help" if kind == "github" else f"{service.address}/rest/api/2"
        )
        found = read_pair(document, options, document.name, environ)
        assert found.problems == []
        async with Toolbox([OpenApiAdapter(found.tools, found.options, environ)]) as tools:
            yield tools, service


async def told(tools: Toolbox, name: str, **given: Any) -> str:
    output = await tools.call(call(name, **given), CALLER)
    assert SECRET not in output.output
    return output.output


USER = {"login": "ada", "id": 1, "avatar_url": "https://x.example/1", "site_admin": False}
ISSUE = {
    "number": 118,
    "title": "The printer smokes",
    "state": "open",
    "body": "On floor 3.",
    "user": USER,
    "labels": [{"id": 1, "name": "hardware", "color": "f00"}],
    "assignees": [],
    "comments": 1,
    "html_url": "https://github.com/acme/help/issues/118",
    "reactions": {"total_count": 0},
    "updated_at": "2026-11-01T00:00:00Z",
}


async def test_github_is_asked_as_it_says(tmp_path: Path):
    answers = [
        says([ISSUE], link='<https://api.github.com/repositories/1/issues?state=open&page=2>; rel="next"'),
        says(ISSUE, status=201),
        says(ISSUE),
        says(ISSUE | {"state": "closed", "state_reason": "completed"}),
        says([{"body": "Which one?", "user": USER, "created_at": "2026-11-02T00:00:00Z", "id": 7}]),
        says(
            {"body": "The old one.", "html_url": "https://github.com/acme/help/issues/118#c", "user": USER}, status=201
        ),
    ]
    async with desk("github", tmp_path, *answers) as (tools, service):
        listed = await told(tools, "list_tickets", state="open", labels="hardware")
        await told(tools, "create_ticket", title="The printer smokes", body="For Ada.", labels=["hardware"])
        shown = await told(tools, "show_ticket", issue_number=118)
        changed = await told(tools, "change_ticket", issue_number="118", state="closed", state_reason="completed")
        comments = await told(tools, "list_ticket_comments", issue_number=118)
        await told(tools, "comment_ticket", issue_number=118, body="The old one.")
    assert service.targets == [
        "GET /repos/acme/help/issues?state=open&labels=hardware",
        "POST /repos/acme/help/issues",
        "GET /repos/acme/help/issues/118",
        "PATCH /repos/acme/help/issues/118",
        "GET /repos/acme/help/issues/118/comments",
        "POST /repos/acme/help/issues/118/comments",
    ]
    assert {one.headers["Authorization"] for one in service.asked} == {f"Bearer {SECRET}"}
    assert [json.loads(one.body) for one in service.asked if one.body] == [
        {"title": "The printer smokes", "body": "For Ada.", "labels": ["hardware"]},
        {"state": "closed", "state_reason": "completed"},
        {"body": "The old one."},
    ]
    assert listed.startswith("[There is more: call again with state=open, page=2.]\n")
    assert "avatar_url" not in listed + shown + comments
    assert json.loads(shown)["user"] == {"login": "ada"}
    assert json.loads(changed)["state"] == "closed"
    assert json.loads(comments) == [
        {"body": "Which one?", "user": {"login": "ada"}, "created_at": "2026-11-02T00:00:00Z"}
    ]


FIELDS = {"summary": "Smoke", "status": {"name": "Open", "id": "1", "iconUrl": "x"}, "priority": {"name": "High"}}


async def test_jira_is_asked_as_it_says(tmp_path: Path):
    author = {"displayName": "Ada", "avatarUrls": {"48x48": "x"}}
    comment = {"comments": [{"body": "Which one?", "created": "2026", "author": author}], "total": 1}
    answers = [
        says(
            {
                "issues": [{"id": "1", "self": "x", "key": "HELP-1", "fields": FIELDS}],
                "nextPageToken": "abc",
                "isLast": False,
            }
        ),
        says({"id": "1", "key": "HELP-2", "self": "x"}, status=201),
        says({"key": "HELP-1", "fields": FIELDS | {"comment": comment}}),
        says({"id": "5", "body": "The old one.", "author": author}, status=201),
        says({"expand": "x", "transitions": [{"id": "31", "name": "Done", "to": {"name": "Done", "iconUrl": "x"}}]}),
        says(status=204),
    ]
    async with desk("jira", tmp_path, *answers) as (tools, service):
        listed = await told(tools, "list_tickets", jql='project = "HELP"')
        made = await told(tools, "create_ticket", fields={"summary": "Smoke", "description": "For Ada."})
        shown = await told(tools, "show_ticket", issueIdOrKey="HELP-1")
        await told(tools, "comment_ticket", issueIdOrKey="HELP-1", body="The old one.")
        states = await told(tools, "list_ticket_states", issueIdOrKey="HELP-1")
        done = await told(tools, "change_ticket", issueIdOrKey="HELP-1", transition={"id": "31"})
    search = "fields=summary%2Cstatus%2Cpriority%2Cupdated%2Creporter"
    assert service.targets[0].startswith("GET /rest/api/2/search/jql?jql=project%20%3D%20%22HELP%22&")
    assert search in service.targets[0].replace(",", "%2C")
    assert service.targets[1:2] + service.targets[3:] == [
        "POST /rest/api/2/issue",
        "POST /rest/api/2/issue/HELP-1/comment",
        "GET /rest/api/2/issue/HELP-1/transitions",
        "POST /rest/api/2/issue/HELP-1/transitions",
    ]
    basic = base64.b64encode(f"ada@example.com:{SECRET}".encode()).decode()
    assert {one.headers["Authorization"] for one in service.asked} == {f"Basic {basic}"}
    assert [json.loads(one.body) for one in service.asked if one.body] == [
        {
            "fields": {
                "summary": "Smoke",
                "description": "For Ada.",
                "project": {"key": "HELP"},
                "issuetype": {"name": "Task"},
            }
        },
        {"body": "The old one."},
        {"transition": {"id": "31"}},
    ]
    assert "nextPageToken" in listed.partition("\n")[0]
    assert "iconUrl" not in listed + shown + states
    assert json.loads(made) == {"key": "HELP-2"}
    assert json.loads(shown)["fields"]["comment"]["comments"][0]["author"] == {"displayName": "Ada"}
    assert json.loads(states) == {"transitions": [{"id": "31", "name": "Done", "to": {"name": "Done"}}]}
    assert done == "Done (204 No Content); there is no result."


async def test_what_is_filled_for_the_agent_is_not_told_and_not_overruled(tmp_path: Path):
    async with desk("jira", tmp_path, says({"key": "HELP-2"}, status=201)) as (tools, service):
        spec = next(one for one in tools.specs() if one.name == "create_ticket")
        assert sorted(spec.parameters["properties"]["fields"]["properties"]) == [
            "description",
            "labels",
            "priority",
            "summary",
        ]
        assert spec.parameters["properties"]["fields"]["required"] == ["summary"]
        await told(tools, "create_ticket", fields={"summary": "x", "project": {"key": "OTHER"}})
        assert json.loads(service.asked[0].body)["fields"]["project"] == {"key": "HELP"}
        assert "fields.summary: it is missing" in await told(tools, "create_ticket", fields={})
        assert len(service.asked) == 1


@pytest.mark.parametrize("kind", ["github", "jira"])
def test_it_is_the_same_tool_wherever_the_tickets_are(kind: str):
    loaded = load(environ={}, settings=variables(kind, "https://example.com/x"))
    assert list(loaded.problems) == []
    specs = {spec.name: spec for spec in loaded.toolbox.specs() if NAMES[kind] in spec.source}
    own = {str(getattr(one, "__name__", "")) for one in offered({"TICKETS": "records"})}
    assert own <= set(specs)
    changing = {"create_ticket", "comment_ticket", "change_ticket"}
    assert {name for name, spec in specs.items() if spec.once and spec.approve} == changing


@pytest.mark.parametrize("kind", ["records", "off", ""])
def test_a_document_that_is_not_asked_for_is_not_offered_and_not_missed(kind: str):
    loaded = load(environ={}, settings={"TICKETS": kind})
    assert list(loaded.problems) == []
    assert not [spec for spec in loaded.toolbox.specs() if "openapi" in spec.source]


def test_what_is_missing_is_named():
    loaded = load(environ={}, settings={"TICKETS": "github", "TICKETS_TOKEN": SECRET})
    said = "address names the environment variable TICKETS_ADDRESS, which is not set: set it there or in .env"
    assert list(loaded.problems) == [f"tools/github_issues.openapi.toml: {said}"]


def test_the_reduced_document_says_nothing_that_github_s_does_not():
    """Each operation, parameter and field stands in the published document, with the same choices."""
    published = json.loads(PUBLISHED.read_text())
    ours = json.loads((TOOLS / "github_issues.openapi.json").read_text())
    for path, operations in ours["paths"].items():
        theirs = published["paths"].get("/repos/{owner}/{repo}" + path)
        if theirs is None:
            assert path.endswith("/comments")  # left out of the excerpt that the tests have
            continue
        for method, operation in operations.items():
            named = {one["name"]: one for one in (followed(published, each) for each in theirs[method]["parameters"])}
            for one in operation.get("parameters", []):
                assert one["in"] == named[one["name"]]["in"]
                assert one["schema"].get("enum") == named[one["name"]]["schema"].get("enum")
            assert fields(operation).keys() <= fields(theirs[method]).keys()
            for name, schema in fields(operation).items():
                assert schema.get("enum") == fields(theirs[method])[name].get("enum")


def followed(document: Any, value: Any) -> Any:
    for step in value.get("$ref", "").split("/")[1:]:
        document = document[step]
    return document if "$ref" in value else value


def fields(operation: Any) -> Mapping[str, Any]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return content.get("schema", {}).get("properties", {})


# -- what the file can say ------------------------------------------------------------------------------------


def test_only_the_fields_that_are_named_are_kept():
    value = [{"a": 1, "b": {"c": 2, "d": [{"e": 3, "f": 4}]}, "g": None}, "text"]
    assert kept(value, fields_of(["b.d.e", "g", "no.such"])) == [{"b": {"d": [{"e": 3}]}, "g": None}, "text"]
    assert kept(value, fields_of(["b", "b.c"])) == [{"b": {"c": 2, "d": [{"e": 3, "f": 4}]}}, "text"]
    assert kept(value, {}) == value


TOML = 'address = "https://${WHERE}.example.com"\noperations = ["x"]\n'


def test_variables_are_filled_in_but_never_where_secrets_are_named():
    options = read_options(
        TOML + 'operation.x.hidden = { a = ["${WHERE}"] }\n[auth]\ntype = "bearer"\nenv = "K"', {"WHERE": "crm"}
    )
    assert (options.address, options.operation["x"].hidden) == ("https://crm.example.com", {"a": ["crm"]})
    with pytest.raises(BadOptions, match="address names the environment variable WHERE, which is not set"):
        read_options(TOML, {"WHERE": ""})
    with pytest.raises(BadOptions, match="never stands in this file"):
        read_options(TOML + '[auth]\ntype = "bearer"\nenv = "${K}"', {"WHERE": "crm", "K": SECRET})


def test_a_file_may_ask_for_variables():
    for environ, there in (({"A": "1"}, True), ({"A": "2"}, False), ({}, False)):
        if there:
            assert read_options('only = { A = "1" }\naddress = "https://x.example"', environ).only == {"A": "1"}
        else:
            with pytest.raises(NotOffered):
                read_options('only = { A = "1" }\naddress = "https://x.example"', environ)


def test_hidden_parts_that_there_are_not_are_named(tmp_path: Path):
    options = tmp_path / "a.openapi.toml"
    text = (TOOLS / "jira_issues.openapi.toml").read_text().replace("fields.issuetype", "fields.isuetype")
    options.write_text(text)
    with pytest.raises(BadOptions, match=r"fields\.isuetype is not known: the nearest is fields\.issuetype"):
        read_pair(TOOLS / "jira_issues.openapi.json", options, "a", variables("jira", "https://x.example"))


async def test_an_unknown_tool_is_not_guessed(tmp_path: Path):
    async with desk("github", tmp_path, says({})) as (tools, service):
        output = await tools.call(ToolCall("c", "delete_ticket", "{}"), CALLER)
        assert (output.error, service.asked) == ("unknown_tool", [])
