"""What people may use tools as."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bot.types import Person

ADMIN = "admin"
"""The role of those whom ADMINS names."""


class Roles:
    """Who has which role: the admins, and the groups of TOOL_ROLES."""

    def __init__(self, admins: Collection[str] = (), groups: Mapping[str, Collection[str]] | None = None) -> None:
        self._members = {**(groups or {}), ADMIN: admins}

    def of(self, person: Person) -> frozenset[str]:
        """The roles of a person, by their id."""
        return frozenset(role for role, members in self._members.items() if person.id in members)
