"""`NAME.mcp.toml`: what may stand there, and that a secret may not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.mcp_file import BadFile, ServerFile, ToolOptions, read
from adapters.variables import variables
from tests.mcp_servers.running import written

SET = {"ACME_TOKEN": "v-1", "ACME_KEY": "v-2", "lower": "v-3", "EMPTY": "", "BROKEN": "a\nb"}


def taken(folder: Path, name: str = "acme", **keys: object) -> ServerFile:
    return read(written(folder, name, **keys), "tools/acme.mcp.toml", SET)


def problems(folder: Path, **keys: object) -> list[str]:
    with pytest.raises(BadFile) as caught:
        taken(folder, **keys)
    return caught.value.problems


def test_a_command_with_all_its_keys(tmp_path: Path):
    file = taken(
        tmp_path,
        command="uvx",
        args=["server", "--db", "postgres://app:${ACME_TOKEN}@db/x"],
        env={"TOKEN": "ACME_TOKEN"},
        tools=["a", "b"],
        timeout=5,
        prefix="acme2",
        tool={"a": {"once": False, "timeout": 2.5}, "b": {"hidden": True}, "c": {"approve": True}},
    )
    assert (file.command, file.args, file.env) == (
        "uvx",
        ("server", "--db", "postgres://app:v-1@db/x"),
        {"TOKEN": "v-1"},
    )
    assert (file.folder, file.tools, file.timeout, file.prefix) == (tmp_path, {"a", "b"}, 5.0, "acme2")
    assert file.options == {
        "a": ToolOptions(once=False, timeout=2.5),
        "b": ToolOptions(hidden=True),
        "c": ToolOptions(approve=True),
    }
    assert "v-1" not in repr(file)


def test_an_address_with_all_its_keys(tmp_path: Path):
    file = taken(tmp_path, url="https://acme.example/mcp", auth={"env": "ACME_TOKEN"}, headers={"X-Key": "ACME_KEY"})
    assert file.headers == {"Authorization": "Bearer v-1", "X-Key": "v-2"}
    assert (file.tools, file.timeout, file.prefix) == (None, 30.0, "acme")
    assert "v-1" not in repr(file)
    assert taken(tmp_path, url="https://acme.example/mcp", auth={"type": "bearer", "env": "lower"}).headers


@pytest.mark.parametrize(("name", "prefix"), [("git.hub", "git_hub"), ("a b", "a_b"), ("x" * 40, "x" * 32)])
def test_the_prefix_is_the_file_s_name(tmp_path: Path, name: str, prefix: str):
    assert taken(tmp_path, name, command="x").prefix == prefix


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:3000/mcp", "http://localhost/mcp", "http://[::1]:8/mcp", "https://10.0.0.8/mcp"]
)
def test_this_machine_may_be_asked_without_encryption(tmp_path: Path, url: str):
    assert taken(tmp_path, url=url).url == url


def test_a_private_network_may_be_where_it_is_said(tmp_path: Path):
    (problem,) = problems(tmp_path, url="http://mcp.internal:8000/mcp")
    assert "use https, or set allow_private = true" in problem
    assert taken(tmp_path, url="http://mcp.internal:8000/mcp", allow_private=True).url


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "it needs either command"),
        ({"command": "x", "url": "https://a.example"}, "and not both"),
        ({"command": "x", "headers": {}}, "headers does not go with command"),
        ({"url": "https://a.example", "args": []}, "args does not go with url"),
        ({"comand": "x"}, "comand is not known: the nearest is command"),
        ({"command": "x", "zzz": 1}, "zzz is not known: the keys are command, args"),
        ({"command": "x", "tool": {"a": {"onse": True}}}, "tool.a: onse is not known: the nearest is once"),
        ({"command": "x", "tool": {"a": 1}}, "tool.a: it must be a table"),
        ({"command": "x", "tool": {"a": {"once": "yes"}}}, "tool.a: once must be true or false"),
        ({"command": ["x"]}, "command must be a text"),
        ({"command": "x", "args": "y"}, "args must be a list"),
        ({"command": "x", "tools": [1]}, "tools must be a list"),
        ({"command": "x", "timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"command": "x", "timeout": True}, "timeout must be a number"),
        ({"command": "x", "timeout": 3601}, "at most 3600"),
        ({"command": "x", "prefix": "a b"}, "prefix must be"),
        ({"url": "ftp://a.example"}, "url must be an address"),
        ({"url": "https://"}, "url must be an address"),
        ({"url": "https://[/"}, "url must be an address"),
        ({"url": "http://a.example", "allow_private": "yes"}, "allow_private must be true or false"),
        ({"url": "https://a.example", "auth": {}}, "auth: env is missing"),
        ({"url": "https://a.example", "auth": {"type": "basic", "env": "ACME_KEY"}}, 'auth: type must be "bearer"'),
        ({"url": "https://a.example", "headers": {"a b": "ACME_KEY"}}, "headers has a name that is none"),
        (
            {"url": "https://a.example", "auth": {"env": "ACME_KEY"}, "headers": {"authorization": "ACME_KEY"}},
            "are one header",
        ),
        ({"command": "x", "env": ["UNSET_ONE"]}, "env names the environment variable UNSET_ONE, which is not set"),
        ({"command": "x", "env": ["EMPTY"]}, "names the environment variable EMPTY, which is not set"),
        ({"command": "x", "env": ["BROKEN"]}, "line breaks"),
        ({"command": "x", "args": ["${UNSET_ONE}"]}, "args names the environment variable UNSET_ONE"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, keys: dict[str, object], problem: str):
    assert any(problem in told for told in problems(tmp_path, **keys))


def test_every_problem_is_named_at_once(tmp_path: Path):
    told = problems(tmp_path, comand="x", timeout=0, env=["UNSET_ONE", "UNSET_TWO"])
    assert len(told) == 5


@pytest.mark.invariant("I13")
@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abc",
        "ghp_1234",
        "GHP_1234",
        "xoxb-1-2",
        "eyJhbGciOiJIUzI1NiJ9.e30.x",
        "AKIAIOSFODNN7EXAMPLE",
        "hunter2",
    ],
)
@pytest.mark.parametrize(
    "place",
    [
        lambda secret: {"command": "x", "env": {"TOKEN": secret}},
        lambda secret: {"command": "x", "env": [secret]},
        lambda secret: {"command": "x", "args": ["--token", secret]},
        lambda secret: {"command": "x", "args": [f"--api-key={secret}"]},
        lambda secret: {"command": "x", "args": [f"postgres://app:{secret}@db/x"]},
        lambda secret: {"url": "https://a.example", "headers": {"X-Key": secret}},
        lambda secret: {"url": "https://a.example", "auth": {"env": secret}},
        lambda secret: {"url": "https://a.example", "auth": {"type": "bearer", "token": secret}},
        lambda secret: {"url": f"https://a.example/mcp?key={secret}"},
        lambda secret: {"url": f"https://me:{secret}@a.example/mcp"},
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(tmp_path: Path, secret: str, place: object):
    assert callable(place)
    told = problems(tmp_path, **place(secret))
    assert told
    assert secret not in "".join(told)


@pytest.mark.invariant("I13")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=8).filter(lambda v: v.upper() != v)
)
def test_no_value_is_ever_repeated(tmp_path: Path, value: str):
    for keys in ({"command": "x", "env": {"TOKEN": value}}, {"url": "https://a.example", "headers": {"X-Key": value}}):
        assert value not in "".join(problems(tmp_path, **keys))


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"command = 'hunter2", "it is no TOML (at "), (b"\xff\xfe\x00", "it is no"), (None, "it cannot be read")],
)
def test_a_file_that_is_none_is_named_without_a_word_of_it(tmp_path: Path, content: bytes | None, problem: str):
    file = tmp_path / "x.mcp.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadFile) as caught:
        read(file, "x", SET)
    assert str(caught.value).startswith(problem)
    assert "hunter2" not in str(caught.value)


def test_variables_are_those_of_the_environment_else_of_the_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACME_A", "set")
    (tmp_path / ".env").write_text("ACME_A=kept\nACME_B=kept too\nACME_C=\n")
    found = variables(tmp_path / ".env")
    assert (found["ACME_A"], found["ACME_B"], found.get("ACME_C")) == ("set", "kept too", None)
    assert "ACME_B" not in variables(tmp_path / "none")
