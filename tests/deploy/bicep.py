"""Bicep files as they are written: what each declares, what each refers to. There is no compiler here to ask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import tree_sitter
import tree_sitter_bicep

INFRA = Path(__file__).parents[2] / "infra"
_DECLARATIONS = {
    "parameter_declaration": "param",
    "variable_declaration": "var",
    "resource_declaration": "resource",
    "module_declaration": "module",
    "output_declaration": "output",
}

Node = tree_sitter.Node


@dataclass(slots=True)
class Declaration:
    """A parameter, variable, resource, module or output."""

    kind: str
    name: str
    node: Node
    decorators: dict[str, str]

    @property
    def target(self) -> str:
        """A resource's type, or a module's path."""
        return text(self.node.named_children[1]).strip("'")

    @property
    def optional(self) -> bool:
        """Of a parameter: it has a default."""
        return len(self.node.named_children) > 2

    @property
    def body(self) -> Node:
        """The object of a resource or module, also where it stands behind a condition."""
        return next(node for node in descendants(self.node) if node.type == "object")


@dataclass(slots=True)
class File:
    """One file."""

    path: Path
    root: Node
    declarations: list[Declaration] = field(default_factory=list[Declaration])

    def of(self, kind: str) -> dict[str, Declaration]:
        return {one.name: one for one in self.declarations if one.kind == kind}


@cache
def parsed(path: Path) -> File:
    """A file, read."""
    language = tree_sitter.Language(tree_sitter_bicep.language())
    root = tree_sitter.Parser(language).parse(path.read_bytes()).root_node
    file, waiting = File(path, root), dict[str, str]()
    for node in root.named_children:
        if node.type == "decorators":
            waiting = {text(call.named_children[0]): text(call) for call in each(node, "call_expression")}
        elif node.type in _DECLARATIONS:
            name = text(node.named_children[0])
            file.declarations.append(Declaration(_DECLARATIONS[node.type], name, node, waiting))
            waiting = {}
    return file


def files() -> list[File]:
    """main.bicep and every module."""
    return [parsed(path) for path in (INFRA / "main.bicep", *sorted((INFRA / "modules").glob("*.bicep")))]


def text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()


def descendants(node: Node) -> Iterator[Node]:
    for child in node.children:
        yield child
        yield from descendants(child)


def each(node: Node, kind: str) -> list[Node]:
    return [one for one in descendants(node) if one.type == kind]


def properties(body: Node) -> dict[str, Node]:
    """An object's own properties: name to value."""
    return {
        text(one.named_children[0]).strip("'"): one.named_children[-1]
        for one in body.named_children
        if one.type == "object_property"
    }


def referred(node: Node) -> set[str]:
    """The names that an expression refers to, less those that a lambda binds and the functions that it calls."""
    if node.type == "lambda_expression":
        bound, inner = node.named_children[0], node.named_children[-1]
        return referred(inner) - {text(name) for name in [bound, *each(bound, "identifier")]}
    if node.type == "identifier":
        return {text(node)}
    skipped = 1 if node.type in ("object_property", "call_expression") and is_name(node.named_children[0]) else 0
    return {name for child in node.named_children[skipped:] for name in referred(child)}


def is_name(node: Node) -> bool:
    return node.type == "identifier"


def members(node: Node) -> set[str]:
    """Each chain of dots in it, such as `app.outputs.address`."""
    return {text(one) for one in each(node, "member_expression")}
