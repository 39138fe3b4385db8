"""OpenAPI documents as tools: `name.openapi.yaml` (or .yml, .json), and `name.openapi.toml` beside it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.contract import arguments_of
from adapters.http_guard import Guarded
from adapters.openapi_answer import Reading
from adapters.openapi_auth import Signer, unset
from adapters.openapi_call import IDEMPOTENT, Errand, Pause, Service
from adapters.openapi_check import Misfit, conform
from adapters.openapi_document import BadDocument, Document, Operation, part, read_document, text
from adapters.openapi_inputs import Inputs, inputs_of
from adapters.openapi_keep import fields_of
from adapters.openapi_options import BadOptions, OperationOptions, Options, read_options, unknown
from adapters.openapi_request import compose
from adapters.openapi_schema import shortened
from bot.types import Caller, ToolCall, ToolSpec

SUFFIXES = (".openapi.json", ".openapi.yaml", ".openapi.yml")
OPTIONS = ".openapi.toml"
MOST_TOOLS = 128
"""The tools that an agent service takes, all together."""
MOST_BYTES = 64 * 1024 * 1024
MOST_DESCRIPTION = 1000
_SHOWN = 12
_MOST_NAME = 64
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_KEYED = frozenset({"POST", "PATCH"})


@dataclass(frozen=True, slots=True)
class OpenApiTool:
    """One operation, ready to be called."""

    spec: ToolSpec
    operation: Operation
    inputs: Inputs
    address: str
    reading: Reading
    keyed: bool = False

    def errand(self, call: ToolCall, caller: Caller) -> Errand:
        """What a call is to do.

        Raises:
            BadArguments: the arguments do not fit.
        """
        bound = self.inputs.bind(arguments_of(call))
        request = compose(self.address, self.operation.method, self.operation.path, self.inputs, bound)
        if self.keyed:
            request = replace(request, headers={**request.headers, "Idempotency-Key": _key(caller.key)})
        again = self.operation.method in IDEMPOTENT and not self.spec.once
        return Errand(self.spec.name, request, again, caller.reference, self.reading)


class OpenApiAdapter:
    """The operations of one document, answered for by the service it describes."""

    def __init__(
        self, tools: Sequence[OpenApiTool], options: Options, environ: Mapping[str, str], pause: Pause = asyncio.sleep
    ) -> None:
        self._tools = {tool.spec.name: tool for tool in tools}
        private = options.allow_private
        self._http = Guarded(options.address, private=private)
        self._signer = Signer(options.auth, environ, private=private)
        self._service = Service(self._http, self._signer, pause)
        self._entered = AsyncExitStack()

    def specs(self) -> Sequence[ToolSpec]:
        """The tools, as the agent is told of them."""
        return [tool.spec for tool in self._tools.values()]

    def asks(self, call: ToolCall) -> bool:
        """See `adapters.contract.Asks`."""
        tool = self._tools[call.name]
        tool.inputs.bind(arguments_of(call))
        return tool.spec.approve

    async def call(self, call: ToolCall, caller: Caller) -> str:
        """Call the service.

        Raises:
            NotCalled: the arguments do not fit, or the service cannot be reached.
            ToolFailed: the service said no, or broke off.
        """
        return await self._service.run(self._tools[call.name].errand(call, caller))

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._http)
            await stack.enter_async_context(self._signer)
            self._entered = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._entered.aclose()


@dataclass(slots=True)
class Described:
    """What one document came to."""

    options: Options
    tools: list[OpenApiTool] = field(default_factory=list[OpenApiTool])
    problems: list[str] = field(default_factory=list[str])


def read_pair(document: Path, options: Path, source: str, environ: Mapping[str, str]) -> Described:
    """Read a document and its toml; the tools that were chosen.

    Args:
        document: The document's file.
        options: The toml beside it.
        source: What the document is called where a person reads it.
        environ: Where secrets are.

    Raises:
        NotOffered: the toml says that its tools are not to be offered here.
        BadDocument: the document cannot be used.
        BadOptions: the toml cannot.
    """
    try:
        chosen = read_options(options.read_text(encoding="utf-8"), environ)
        if document.stat().st_size > MOST_BYTES:
            raise BadDocument(f"it is larger than {MOST_BYTES >> 20} MB")
        read = read_document(document.read_bytes(), is_json=document.suffix == ".json")
    except (OSError, UnicodeDecodeError):
        raise BadDocument("it or its toml cannot be read") from None
    if lacking := unset(chosen.auth, environ):
        raise BadOptions(
            [f"auth: {' and '.join(lacking)} must be set in the environment or in .env, without line breaks"]
        )
    operations, problems = _chosen(read, chosen)
    made = Described(chosen, problems=problems)
    for operation, its in operations:
        fills = Signer(chosen.auth, environ).fills | _keyed(chosen, its, operation)
        try:
            made.tools.append(_tool(read, operation, chosen, its, source, inputs_of(read, operation, fills)))
        except BadDocument as error:
            made.problems.append(f"{operation.id or operation.address} is no tool: {error}")
    return made


def _chosen(document: Document, options: Options) -> tuple[list[tuple[Operation, OperationOptions]], list[str]]:
    """The operations that the toml names, in the document's order, and a line for each name that fits none."""
    if not options.operations:
        raise BadOptions([f"operations names none; there are {_there_are(document)}"])
    by_name: dict[str, list[Operation]] = {}
    for one in document.operations:
        for name in dict.fromkeys((one.id, one.address, *one.tags)):
            by_name.setdefault(name, []).append(one)
    known = [name for name in by_name if name]
    problems = [f"operations: {name} {unknown(name, known)}" for name in options.operations if name not in by_name]
    wanted = {id(one) for name in options.operations for one in by_name.get(name, [])}
    found = [one for one in document.operations if id(one) in wanted]
    if len(found) > MOST_TOOLS:
        raise BadOptions([f"operations names {len(found)}, and an agent takes at most {MOST_TOOLS} tools: name fewer"])
    names = {name: one for one in found for name in (one.address, one.id) if name}
    if wrong := [name for name in options.operation if name not in names]:
        raise BadOptions([f"operation.{name} {unknown(name, list(names))}" for name in wrong])
    told = {id(names[name]): its for name, its in options.operation.items()}
    return [(one, told.get(id(one), OperationOptions())) for one in found], problems


def _there_are(document: Document) -> str:
    """What could be chosen, in one line: the tags where there are any, and the first operations."""
    tags = Counter(tag for one in document.operations for tag in one.tags)
    names = [one.id or one.address for one in document.operations]
    shown = ", ".join(names[:_SHOWN]) + ("…" if len(names) > _SHOWN else "")
    told = ", ".join(f"{tag} ({count})" for tag, count in tags.most_common(_SHOWN))
    return f"{len(names)} operations: {shown}" + (f"; tags: {told}" if told else "")


def _tool(
    document: Document, operation: Operation, options: Options, its: OperationOptions, source: str, inputs: Inputs
) -> OpenApiTool:
    if its.hidden:
        inputs = _hiding(inputs, its.hidden, operation)
    changes = operation.method in _CHANGES
    spec = ToolSpec(
        name=its.name or _name(operation),
        description=its.description or _description(document, operation),
        parameters=inputs.schema(),
        timeout=its.timeout or options.timeout,
        once=changes if its.once is None else its.once,
        approve=changes if its.approve is None else its.approve,
        source=f"{source}, {operation.address}",
    )
    return OpenApiTool(
        spec=spec,
        operation=operation,
        inputs=inputs,
        address=options.address,
        reading=Reading(
            {
                one.name: one.argument
                for one in inputs.fields
                if one.place == "query" and one.argument not in its.hidden
            },
            its.max_result or options.max_result,
            keep=fields_of(its.keep),
        ),
        keyed=bool(_keyed(options, its, operation)),
    )


def _keyed(options: Options, its: OperationOptions, operation: Operation) -> frozenset[tuple[str, str]]:
    """The header that we fill, where the service knows idempotency keys."""
    knows = options.idempotency if its.idempotency is None else its.idempotency
    return frozenset({("header", "idempotency-key")} if knows and operation.method in _KEYED else ())


def _hiding(inputs: Inputs, hidden: Mapping[str, object], operation: Operation) -> Inputs:
    fields = {one.argument: one for one in inputs.fields}
    where = f"operation.{operation.id or operation.address}.hidden"
    parts = {f"{one.argument}.{name}" for one in inputs.fields for name in part(one.schema, "properties")}
    if wrong := [name for name in hidden if name not in fields and name not in parts]:
        raise BadOptions([f"{where}.{name} {unknown(name, [*fields, *sorted(parts)])}" for name in wrong])
    whole = {name: value for name, value in hidden.items() if name in fields}
    within: dict[str, dict[str, object]] = {}
    for name in hidden.keys() - whole.keys():
        argument = max((one for one in fields if name.startswith(f"{one}.")), key=len)
        within.setdefault(argument, {})[name.removeprefix(f"{argument}.")] = hidden[name]
    try:
        json.dumps(hidden)  # TOML has dates
        made = {name: conform(fields[name].schema, value, name) for name, value in whole.items()}
        return replace(inputs, hidden=made, within=within)
    except (Misfit, TypeError, ValueError) as error:
        raise BadOptions([f"{where}: {error}" if isinstance(error, Misfit) else f"{where}: no JSON"]) from None


def _name(operation: Operation) -> str:
    """The operation's id, or its method and path, of the characters that services take."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", operation.id or f"{operation.method.lower()}{operation.path}").strip("_")
    if len(name) > _MOST_NAME:  # long ids tend to differ at their ends
        name = f"{name[: _MOST_NAME - 7]}_{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return name or operation.method.lower()


def _description(document: Document, operation: Operation) -> str:
    summary, more = text(operation.raw.get("summary")), text(operation.raw.get("description"))
    told = f"{summary.rstrip('.')}. {more}" if summary and more and more != summary else summary or more
    told = told or f"{operation.address} of {document.title}"
    old = "Deprecated. " if operation.raw.get("deprecated") is True else ""
    return old + shortened(told, MOST_DESCRIPTION - len(old))


def _key(key: str) -> str:
    """The key as a header takes it."""
    fits = 0 < len(key) <= 255 and key.isascii() and key.isprintable()
    return key if fits else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
