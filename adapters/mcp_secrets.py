"""What must not stand in a server's file: secrets. Names of environment variables stand there in their place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
"""A variable's name. In capitals: what is written otherwise is more often a password than a variable."""

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_FLAG = re.compile(r"--?[\w-]*(?:api-?key|token|passw(?:or)?d|secret|bearer|credential)s?", re.IGNORECASE)
_QUERY = re.compile(r"api[_-]?key|key|token|access_token|secret|sig(nature)?|password|code", re.IGNORECASE)
_KNOWN = re.compile(
    r"\b(?:sk|pk|rk)[-_]\w|\bgh[a-z]_\w|\bgithub_pat_|\bglpat-|\bxox[a-z]-|\bAKIA[A-Z0-9]|\beyJ[\w-]{8}|\bAIza\w|\bhf_\w"
    r"|\bbearer\s|-----BEGIN|://[^/@\s]*:[^/@\s]+@",
    re.IGNORECASE,
)
_LONG = re.compile(r"[A-Za-z0-9+_=-]{32,}")


class Unset(Exception):
    """A variable that is named is not set, or what stands there is no name. The text names no value."""


def looks_secret(text: str) -> bool:
    """Whether it has the form of a key, a token or an address with a password in it."""
    bare = _REFERENCE.sub("", text)
    random = [run for run in _LONG.findall(bare) if re.search(r"\d", run) and re.search(r"[A-Za-z]", run)]
    return bool(_KNOWN.search(bare) or random)


def value_of(name: object, variables: Mapping[str, str]) -> str:
    """The value of the variable.

    Raises:
        Unset: it has none, or `name` is no variable's name.
    """
    if not isinstance(name, str) or not (name in variables or _NAME.fullmatch(name)) or looks_secret(name):
        raise Unset("wants the name of an environment variable, in capitals, and never the value itself")
    if not variables.get(name):
        raise Unset(f"names the environment variable {name}, which is not set: set it there or in .env")
    return variables[name]


def filled(arguments: Sequence[str], variables: Mapping[str, str]) -> tuple[str, ...]:
    """The arguments of a command, with `${NAME}` replaced by the variable's value.

    Raises:
        Unset: a variable is not set, or a secret stands there.
    """
    for before, argument in zip(("", *arguments), arguments, strict=False):
        flag, equals, value = argument.partition("=")
        given = value if equals and _FLAG.fullmatch(flag) else argument if _FLAG.fullmatch(before) else ""
        open_secret = bool(given) and not given.startswith("-") and not _REFERENCE.search(given)
        if open_secret or looks_secret(argument):
            raise Unset("holds what looks like a secret: write ${NAME} there, and set the environment variable NAME")
    return tuple(_REFERENCE.sub(lambda found: value_of(found[1], variables), argument) for argument in arguments)


def secret_in(url: str) -> bool:
    """Whether an address holds a password, a key or a token."""
    parts = urlsplit(url)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    return "@" in parts.netloc or looks_secret(url) or any(_QUERY.fullmatch(name) for name, _ in asked)
