"""A function's signature as the agent sees it: a JSON schema, and the check of what the agent sends."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import ErrorDetails, SchemaError

from adapters.context import ToolContext
from adapters.contract import BadArguments, NotATool
from bot.types import Json, JsonObject

_SHOWN_PROBLEMS = 5
_SHOWN_NAME = 60


class _Schema(GenerateJsonSchema):
    # A default that is no JSON is simply not told to the agent; a warning would be noise at every start.
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


class Signature:
    """The parameters of one function: what the agent fills, and where the context goes."""

    def __init__(self, function: Callable[..., object], descriptions: Mapping[str, str]) -> None:
        """Read the signature.

        Raises:
            NotATool: a parameter cannot be filled by name, has no type, or one that has no JSON form.
        """
        self._contexts: list[str] = []
        self._fields: dict[str, str] = {}
        fields: dict[str, Any] = {}
        for parameter in _parameters(function):
            if _is_context(parameter.annotation):
                self._contexts.append(parameter.name)
                continue
            # The field has a name of our own: a parameter may be called `json`, `_x` or `model_config`.
            field = f"p{len(fields)}"
            fields[field] = _field(parameter, descriptions.get(parameter.name))
            self._fields[field] = parameter.name
        self._model, self.schema = _model(fields)
        self._never_null = frozenset(
            self._fields[name]
            for name, info in self._model.model_fields.items()
            if not info.is_required() and not _takes_null(info.annotation)
        )

    @property
    def names(self) -> frozenset[str]:
        """Every parameter, those for the context too."""
        return frozenset((*self._fields.values(), *self._contexts))

    def bind(self, arguments: Mapping[str, Json], context: ToolContext) -> dict[str, object]:
        """The keyword arguments to call the function with. What the agent left out keeps its default.

        Raises:
            BadArguments: naming each argument and what was expected of it.
        """
        checked = self._checked(arguments)
        bound: dict[str, object] = {self._fields[name]: getattr(checked, name) for name in checked.model_fields_set}
        return bound | dict.fromkeys(self._contexts, context)

    def complete(self, arguments: Mapping[str, Json]) -> dict[str, object]:
        """The arguments as the function would see them, with its defaults.

        Raises:
            BadArguments: naming each argument and what was expected of it.
        """
        checked = self._checked(arguments)
        return {name: getattr(checked, field) for field, name in self._fields.items()}

    def _checked(self, arguments: Mapping[str, Json]) -> BaseModel:
        # Models that learned strict mode send null for what they leave out.
        given = {k: v for k, v in arguments.items() if not (v is None and k in self._never_null)}
        try:
            return self._model.model_validate(given)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            raise BadArguments(self._explain(problems)) from None

    def _explain(self, problems: list[ErrorDetails]) -> str:
        known = ", ".join(self._fields.values()) or "none"
        lines: list[str] = []
        for problem in problems[:_SHOWN_PROBLEMS]:
            where = _path(problem["loc"])
            if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
                lines.append(f"{where}: there is no such argument; the arguments are: {known}")
            else:
                lines.append(f"{where}: {problem['msg']}")
        if len(problems) > _SHOWN_PROBLEMS:
            lines.append(f"and {len(problems) - _SHOWN_PROBLEMS} more")
        return "; ".join(lines)


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        signature = inspect.signature(function, eval_str=True)
    except NameError as error:
        raise NotATool(f"the type {error.name} of a parameter cannot be found at run time") from None
    except (AttributeError, TypeError, ValueError, SyntaxError):
        raise NotATool("its signature cannot be read") from None
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise NotATool(f"parameter {parameter.name} cannot be filled by name")
        if parameter.annotation is parameter.empty:
            raise NotATool(f"parameter {parameter.name} has no type")
        if isinstance(parameter.annotation, str):
            raise NotATool(f"parameter {parameter.name} has a type in quotes, where none are needed; remove them")
    return list(signature.parameters.values())


def _is_context(annotation: object) -> bool:
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return ToolContext in get_args(annotation)
    return annotation is ToolContext


def _holds_context(annotation: object) -> bool:
    return annotation is ToolContext or any(_holds_context(part) for part in get_args(annotation))


def _field(parameter: inspect.Parameter, description: str | None) -> tuple[Any, Any]:
    if _holds_context(parameter.annotation):
        raise NotATool("a ToolContext stands within another type, where the agent would fill it")
    options: dict[str, Any] = {"alias": parameter.name}
    if description:
        options["description"] = description
    if parameter.default is not parameter.empty:
        options["default"] = parameter.default
    try:
        TypeAdapter(parameter.annotation)
    except (PydanticUserError, SchemaError, NameError, TypeError) as error:
        if isinstance(error, PydanticUserError) and error.code == "typed-dict-version":
            raise NotATool(f"parameter {parameter.name}: take TypedDict from typing_extensions, not typing") from None
        raise NotATool(f"parameter {parameter.name} has a type that cannot be told in JSON") from None
    return parameter.annotation, Field(**options)


def _model(fields: dict[str, Any]) -> tuple[type[BaseModel], JsonObject]:
    config = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=False)
    model = create_model("Arguments", __config__=config, **fields)
    try:
        schema = model.model_json_schema(schema_generator=_Schema)
    except PydanticUserError:
        raise NotATool("a parameter has a type that cannot be told in JSON") from None
    if any(name.endswith(ToolContext.__name__) for name in schema.get("$defs", ())):
        raise NotATool("a ToolContext stands within another type, where the agent would fill it")
    schema = cast("JsonObject", _untitled(schema))
    return model, {"type": "object", "properties": {}, **schema}


def _untitled(schema: Json) -> Json:
    """The schema without the titles pydantic adds: they repeat the names, and some services count them."""
    if isinstance(schema, list):
        return [_untitled(item) for item in cast("list[Json]", schema)]
    if not isinstance(schema, dict):
        return schema
    plain: JsonObject = {}
    for key, value in cast("JsonObject", schema).items():
        if key in ("properties", "$defs"):  # its keys are names, of which one may be "title"
            plain[key] = {name: _untitled(part) for name, part in value.items()}
        elif key in ("default", "const", "enum", "examples"):
            plain[key] = value
        elif key != "title":
            plain[key] = _untitled(value)
    return plain


def _takes_null(annotation: Any) -> bool:
    try:
        TypeAdapter[object](annotation).validate_python(None)
    except ValidationError:
        return False
    return True


def _path(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    path = path or "an argument"  # whose name is no Unicode
    return path if len(path) <= _SHOWN_NAME else path[:_SHOWN_NAME] + "…"
