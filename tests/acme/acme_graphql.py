"""An adapter as another package would bring it: the fields of a GraphQL service as tools.

It imports nothing of the bot but its public face. Queries may be repeated; people are asked about mutations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from adapters import BadArguments, Caller, NotCalled, ToolCall, ToolFailed, ToolSpec

KINDS = {"String": "string", "ID": "string", "Int": "integer", "Float": "number", "Boolean": "boolean"}
PYTHON: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
FIELDS = "fields { name description args { name description type { kind name ofType { kind name } } } }"
SCHEMA = f"{{ __schema {{ queryType {{ {FIELDS} }} mutationType {{ {FIELDS} }} }} }}"


class GraphQL:
    """The service at ACME_GRAPHQL_URL."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._url = environ.get("ACME_GRAPHQL_URL", "")
        if not self._url:
            raise LookupError("ACME_GRAPHQL_URL must be set")
        self._timeout = float(environ.get("ACME_GRAPHQL_TIMEOUT", "30"))
        self._fields: dict[str, tuple[str, dict[str, Any], ToolSpec]] = {}
        self._http: aiohttp.ClientSession | None = None

    def specs(self) -> list[ToolSpec]:
        return [spec for _, _, spec in self._fields.values()]

    async def call(self, call: ToolCall, caller: Caller) -> object:
        kind, field, spec = self._fields[call.name]
        given = json.loads(call.arguments)
        self._check(given, spec)
        kinds = {arg["name"]: _written(arg["type"]) for arg in field["args"]}
        declared = ", ".join(f"${name}: {kinds[name]}" for name in given)
        passed = ", ".join(f"{name}: ${name}" for name in given)
        asked = f"{kind}{f'({declared})' if declared else ''} {{ {call.name}{f'({passed})' if passed else ''} }}"
        answer = await self._ask(asked, given)
        if "errors" in answer:
            told = [error for error in answer["errors"] if error.get("extensions", {}).get("code") == "BAD_USER_INPUT"]
            if told:
                raise ToolFailed("; ".join(error["message"] for error in told))
            raise RuntimeError(answer["errors"][0]["message"])
        return answer["data"][call.name]

    def _check(self, given: Mapping[str, Any], spec: ToolSpec) -> None:
        known = spec.parameters["properties"]
        for name, value in given.items():
            if name not in known:
                raise BadArguments(f"{name}: there is no such argument; the arguments are: {', '.join(known)}")
            if not isinstance(value, PYTHON[known[name]["type"]]):
                raise BadArguments(f"{name}: must be of type {known[name]['type']}")
        for name in spec.parameters["required"]:
            if name not in given:
                raise BadArguments(f"{name}: is missing")

    async def _ask(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        assert self._http is not None
        try:
            async with self._http.post(self._url, json={"query": query, "variables": variables}) as answer:
                return await answer.json()
        except aiohttp.ClientConnectorError:
            raise NotCalled("the service cannot be reached. Say so; try again later.") from None

    async def __aenter__(self) -> GraphQL:
        self._http = aiohttp.ClientSession()
        try:
            schema = (await self._ask(SCHEMA, {}))["data"]["__schema"]
        except BaseException:
            await self._http.close()
            raise
        for kind in ("query", "mutation"):
            for field in (schema.get(f"{kind}Type") or {"fields": []})["fields"]:
                self._fields[field["name"]] = kind, field, self._spec(kind, field)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._http is not None:
            await self._http.close()

    def _spec(self, kind: str, field: dict[str, Any]) -> ToolSpec:
        properties = {
            arg["name"]: {"type": KINDS[_named(arg["type"])], "description": arg["description"] or arg["name"]}
            for arg in field["args"]
        }
        required = [arg["name"] for arg in field["args"] if arg["type"]["kind"] == "NON_NULL"]
        changes = kind == "mutation"
        return ToolSpec(
            name=field["name"],
            description=field["description"],
            parameters={"type": "object", "properties": properties, "required": required},
            timeout=self._timeout,
            once=changes,
            approve=changes,
        )


def _named(type_: dict[str, Any]) -> str:
    return (type_["ofType"] or type_)["name"]


def _written(type_: dict[str, Any]) -> str:
    return _named(type_) + ("!" if type_["kind"] == "NON_NULL" else "")
