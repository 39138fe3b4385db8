"""What is secret in arguments is shown and kept nowhere."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.masking import DEEPEST, MASK, masked, masked_text, secret_name

SECRET = "zq-7f3k-hunter2"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    "name",
    [
        *("password", "dbPassword", "x-api-key", "APIKey", "accessToken", "access_token", "Authorization", "jwt"),
        *("connectionString", "client_secret", "ssh_private_key", "accountKey", "passwd", "otp", "cardPin"),
        *("session_cookie", "credentials"),
    ],
)
def test_a_name_of_a_secret(name: str):
    assert secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "token_count", "key", "keyboard", "page", "primary_key", "compass", "pin_message", "title"),
        *("secretary", "author", "17", ""),
    ],
)
def test_a_name_that_only_looks_like_one(name: str):
    assert not secret_name(name)


@pytest.mark.invariant("I13")
@pytest.mark.parametrize(
    "schema",
    [
        {"writeOnly": True},
        {"type": "string", "format": "password"},
        {"anyOf": [{"type": "null"}, {"writeOnly": True}]},
        {"allOf": [{"oneOf": [{"format": "password"}]}]},
        {"$ref": "#/$defs/Secret"},
        {"$ref": "#/$defs/Way"},
        {"if": {}, "then": {"writeOnly": True}},
    ],
    ids=json.dumps,
)
def test_what_the_schema_says_is_secret(schema: dict[str, Any]):
    whole = {
        "type": "object",
        "properties": {"it": schema, "list": {"items": schema}, "deep": {"properties": {"it": schema}}},
        "additionalProperties": schema,
        "$defs": {"Secret": {"writeOnly": True}, "Way": {"anyOf": [{"$ref": "#/$defs/Secret"}]}},
    }
    given = {"it": SECRET, "list": [SECRET, 4711], "deep": {"it": SECRET, "too": "open"}, "more": {"any": SECRET}}
    shown = masked(given, whole)
    assert shown == {"it": MASK, "list": [MASK, MASK], "deep": {"it": MASK, "too": "open"}, "more": MASK}
    assert given["it"] == SECRET


@pytest.mark.invariant("I13")
def test_what_a_name_says_is_secret_at_any_depth():
    given = {
        "login": {"user": "ada", "password": SECRET, "more": [{"apiKey": {"inner": SECRET}}]},
        "headers": [{"name": "Authorization", "value": SECRET}, {"name": "Accept", "value": "text/html"}],
        "token": 4711,
        "secret": True,
        "pin": None,
    }
    assert masked(given, {"type": "object"}) == {
        "login": {"user": "ada", "password": MASK, "more": [{"apiKey": MASK}]},
        "headers": [{"name": "Authorization", "value": MASK}, {"name": "Accept", "value": "text/html"}],
        "token": MASK,
        "secret": True,
        "pin": None,
    }


@pytest.mark.invariant("I13")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("use Bearer abc123def now", f"use Bearer {MASK} now"),
        ("https://ada:hunter2@example.com/x", f"https://{MASK}@example.com/x"),
        ("https://a.example/f?sv=1&sig=AbC%2B&x=1", f"https://a.example/f?sv=1&sig={MASK}&x=1"),
        ("https://a.example/f?X-Amz-Signature=00ff", f"https://a.example/f?X-Amz-Signature={MASK}"),
        ("AccountName=a;AccountKey=Zm9vYmFy==;Suffix=x", f"AccountName=a;AccountKey={MASK};Suffix=x"),
        ('{"password": "hunter2", "user": "ada"}', f'{{"password": "{MASK}", "user": "ada"}}'),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.sig it is", f"{MASK} it is"),
        ("key sk-proj-abc123def456", f"key {MASK}"),
        ("ghp_abcdefgh12345678", MASK),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----.", f"{MASK}."),
        ("the basic plan, a bearer bond, scikit sk-learn, password please", None),
    ],
)
def test_what_has_the_form_of_a_secret_within_text(text: str, shown: str | None):
    assert masked_text(text) == (text if shown is None else shown)
    assert masked({"note": text}, {}) == {"note": text if shown is None else shown}


def test_what_lies_too_deep_is_masked():
    value: Any = "the bottom"
    for _ in range(DEEPEST + 5):
        value = [value]
    assert "the bottom" not in json.dumps(masked({"a": value}, {}))


@given(st.dictionaries(st.text(), JSON, max_size=4), st.dictionaries(st.text(), JSON, max_size=4))
def test_any_arguments_under_any_schema(arguments: dict[str, Any], schema: dict[str, Any]):
    before = repr(arguments)
    shown = masked(arguments, schema)
    assert repr(arguments) == before
    assert list(shown) == list(arguments)
    json.dumps(shown)


@given(JSON)
def test_any_schema_of_a_field(schema: Any):
    whole = {"properties": {"a": schema}, "$defs": schema, "items": schema, "anyOf": schema, "$ref": "#/properties/a"}
    assert set(masked({"a": {"b": [1]}, "password": SECRET}, whole)) == {"a", "password"}
    assert SECRET not in repr(masked({"a": {"password": SECRET}}, whole))
