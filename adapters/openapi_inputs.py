"""The inputs of an operation as one flat list of arguments: parameters, and the fields of the body."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import cast

from adapters.contract import BadArguments
from adapters.openapi_check import Misfit, conform
from adapters.openapi_document import BadDocument, Document, Operation, listed, part, text
from adapters.openapi_schema import Converter, described
from bot.types import Json, JsonObject

PLACES = ("path", "query", "header", "cookie", "body")
"""Of two inputs with one name, the one whose place stands earlier here keeps it; the other gets its place before it."""

FORM = "application/x-www-form-urlencoded"
_SIZES = ((8, 1_500), (6, 800), (5, 400), (4, 250), (3, 150), (2, 100))
"""Depths and nodes, tried until the schema is small enough for an agent that has a hundred of them."""
MOST_SCHEMA = 16_000
_MOST_NAME = 64
_NOT_INPUTS = frozenset({"accept", "content-type", "authorization"})
"""Header parameters that OpenAPI says to ignore: https://spec.openapis.org/oas/v3.1.1.html#fixed-fields-for-use-with-schema"""
_NOT_OURS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "cookie", "upgrade", "te", "trailer"}
)
_STYLES = {"path": "simple", "query": "form", "header": "simple", "cookie": "form", "body": "form"}


@dataclass(frozen=True, slots=True)
class Input:
    """One argument, and where its value goes. `whole`: it is the whole body. `as_json`: it is sent as JSON text."""

    argument: str
    place: str
    name: str
    required: bool
    schema: JsonObject
    style: str = ""
    explode: bool = True
    as_json: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Inputs:
    """All arguments of an operation. `media_type` of the body, empty where there is none."""

    fields: tuple[Input, ...]
    media_type: str = ""
    body_required: bool = False
    hidden: Mapping[str, Json] = field(default_factory=dict[str, Json])
    within: Mapping[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    """Fields of arguments that the agent fills less these."""

    def schema(self) -> JsonObject:
        """What the agent is told, in the form that services take."""
        shown = [one for one in self.fields if one.argument not in self.hidden]
        made: JsonObject = {"type": "object", "properties": {one.argument: self._shown(one) for one in shown}}
        if required := [one.argument for one in shown if one.required]:
            made["required"] = required
        return {**made, "additionalProperties": False}

    def _shown(self, one: Input) -> JsonObject:
        ours = self.within.get(one.argument)
        if ours is None:
            return one.schema
        properties = {name: schema for name, schema in part(one.schema, "properties").items() if name not in ours}
        required = [name for name in listed(one.schema.get("required")) if name not in ours]
        return {**one.schema, "properties": properties, "required": required}

    def bind(self, arguments: Mapping[str, Json]) -> list[tuple[Input, Json]]:
        """Each value with its place, the hidden ones too. What was left out is not there.

        Raises:
            BadArguments: naming what does not fit.
        """
        known = {one.argument: one for one in self.fields if one.argument not in self.hidden}
        if wrong := [name for name in arguments if name not in known]:
            shown = wrong[0][:_MOST_NAME]
            raise BadArguments(f"{shown}: there is no such argument; the arguments are: {', '.join(known) or 'none'}")
        bound: list[tuple[Input, Json]] = []
        for one in self.fields:
            value = self.hidden.get(one.argument, arguments.get(one.argument))
            given = one.argument in self.hidden or one.argument in arguments
            if one.argument in self.within and (value is None or isinstance(value, dict)):
                value, given = {**(cast("JsonObject", value) or {}), **self.within[one.argument]}, True
            if not given or (value is None and not one.required and not _takes_null(one.schema)):
                # Models that learned strict mode send null for what they leave out.
                if one.required:
                    raise BadArguments(f"{one.argument}: it is missing")
                continue
            try:
                bound.append((one, conform(one.schema, value, one.argument)))
            except Misfit as misfit:
                raise BadArguments(str(misfit)) from None
        return bound


def inputs_of(document: Document, operation: Operation, known: frozenset[tuple[str, str]] = frozenset()) -> Inputs:
    """The inputs of an operation, told no deeper than fits.

    Args:
        document: Where it stands.
        operation: Whose they are.
        known: Places and names of what is filled without the agent, such as a key.

    Raises:
        BadDocument: an input that has no form here, or a reference that leads nowhere.
    """
    for depth, nodes in _SIZES[:-1]:
        made = _inputs(document, operation, known, Converter(document, depth, nodes))
        if len(json.dumps(made.schema(), ensure_ascii=False).encode("utf-8", "replace")) <= MOST_SCHEMA:
            return made
    return _inputs(document, operation, known, Converter(document, *_SIZES[-1]))


def _inputs(document: Document, operation: Operation, known: frozenset[tuple[str, str]], to: Converter) -> Inputs:
    found = [one for one in _parameters(document, operation, to) if (one.place, one.name.lower()) not in known]
    body = document.followed(operation.raw.get("requestBody"))
    media_type, content = _media(body)
    needed = body.get("required") is True
    if media_type:
        found += _body(content, media_type, to, needed)
    elif needed:
        forms = ", ".join(part(body, "content")) or "nothing"
        raise BadDocument(f"its body is {forms[:100]}, which is not supported")
    found.sort(key=lambda one: PLACES.index(one.place))
    return Inputs(tuple(_named(found)), media_type, needed)


def _parameters(document: Document, operation: Operation, to: Converter) -> list[Input]:
    raw: dict[tuple[str, str], JsonObject] = {}
    for value in (*listed(operation.shared.get("parameters")), *listed(operation.raw.get("parameters"))):
        parameter = document.followed(value)
        place, name = text(parameter.get("in")), parameter.get("name")
        if isinstance(name, str) and name:
            raw[place, name] = parameter
    made: list[Input] = []
    for (place, name), parameter in raw.items():
        if place == "header" and name.lower() in _NOT_INPUTS:
            continue
        if place not in PLACES[:4]:
            raise BadDocument(f"its parameter {name[:_MOST_NAME]} is in {place or 'no place'}, which is not supported")
        if place == "header" and (name.lower() in _NOT_OURS or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name)):
            raise BadDocument(f"its header {name[:_MOST_NAME]!r} is not one that a tool may set")
        made.append(_parameter(place, name, parameter, to))
    named = {one.name for one in made if one.place == "path"}
    if lost := [name for name in re.findall(r"{([^{}]+)}", operation.path) if name not in named]:
        raise BadDocument(f"its path has {{{lost[0]}}}, of which it says nothing")
    return made


def _parameter(place: str, name: str, parameter: JsonObject, to: Converter) -> Input:
    contents = list(part(parameter, "content").values())
    schema = to.convert(part(contents[0]).get("schema") if contents else parameter.get("schema"))
    if told := described(parameter):
        schema = {**schema, "description": told}
    style = text(parameter.get("style")) or _STYLES[place]
    explode = parameter.get("explode")
    required = place == "path" or parameter.get("required") is True
    return Input(
        argument=name,
        place=place,
        name=name,
        required=required,
        schema=schema,
        style=style,
        explode=explode if isinstance(explode, bool) else style in ("form", "deepObject"),
        as_json=bool(contents),
    )


def _media(body: JsonObject) -> tuple[str, JsonObject]:
    """The form in which a body is sent: JSON where the service takes it, else a form, else plain text."""
    content = part(body, "content")
    plain = {name.partition(";")[0].strip().lower(): part(value) for name, value in content.items()}
    for wanted in (
        "application/json",
        *(n for n in plain if n.endswith("+json")),
        "*/*",
        "application/*",
        FORM,
        "text/plain",
    ):
        if wanted in plain:
            return "application/json" if "*" in wanted else wanted, plain[wanted]
    return "", {}


def _body(content: JsonObject, media_type: str, to: Converter, needed: bool) -> list[Input]:
    raw = to.merged(content.get("schema"))
    properties = part(raw, "properties")
    if media_type == "text/plain" or not properties:
        schema = {"type": "string"} if media_type == "text/plain" else to.convert(content.get("schema"))
        return [Input("body", "body", "body", needed, schema, whole=True)]
    whole = to.convert(content.get("schema"))
    required = listed(whole.get("required")) if needed else []
    made: list[Input] = []
    for name, schema in part(whole, "properties").items():
        encoding = part(content, "encoding", name)
        style = text(encoding.get("style")) or "form"
        explode = encoding.get("explode")
        made.append(
            Input(
                argument=name,
                place="body",
                name=name,
                required=name in required,
                schema=cast("JsonObject", schema),
                style=style,
                explode=explode if isinstance(explode, bool) else style in ("form", "deepObject"),
            )
        )
    return made


def _named(found: list[Input]) -> list[Input]:
    """Each with an argument of its own, of the characters and the length that services take."""
    taken: set[str] = set()
    made: list[Input] = []
    for one in found:
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", one.name).strip("_.")[:_MOST_NAME] or one.place
        if name in taken:
            name = f"{one.place}_{name}"[:_MOST_NAME]
        number = 2
        while name in taken:
            name = f"{name[: _MOST_NAME - 4]}_{number}"
            number += 1
        taken.add(name)
        made.append(replace(one, argument=name))
    return made


def _takes_null(schema: JsonObject) -> bool:
    kinds = schema.get("type")
    if kinds is None and not schema.get("anyOf"):
        return "enum" not in schema
    return (
        kinds == "null" or "null" in listed(kinds) or any(_takes_null(part(one)) for one in listed(schema.get("anyOf")))
    )
