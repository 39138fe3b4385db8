"""Lists, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .errors import invalid


class Listed(Protocol):
    """Anything with an id and a body."""

    @property
    def id(self) -> str: ...

    def body(self) -> dict[str, Any]: ...


def page(items: Sequence[Listed], query: Mapping[str, str]) -> dict[str, Any]:
    """One page of `items`, which stand oldest first; the newest comes first unless `order=asc`."""
    limit = _limit(query.get("limit"))
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid(
            f"Invalid value: '{order}'. Supported values are: 'asc' and 'desc'.",
            param="order",
            code="invalid_value",
        )
    listed = list(items) if order == "asc" else list(reversed(items))
    after, before = query.get("after"), query.get("before")
    if after:
        listed = listed[_place(listed, after, "after") + 1 :]
    if before:
        listed = listed[: _place(listed, before, "before")]
    # With only `before`, the page is the one that ends just above the cursor.
    chosen = listed[-limit:] if before and not after else listed[:limit]
    return {
        "object": "list",
        "data": [item.body() for item in chosen],
        "first_id": chosen[0].id if chosen else None,
        "last_id": chosen[-1].id if chosen else None,
        "has_more": len(listed) > len(chosen),
    }


def _limit(text: str | None) -> int:
    if text is None:
        return 20
    try:
        limit = int(text)
    except ValueError:
        raise invalid(
            "Invalid type for 'limit': expected an integer, but got a string instead.",
            param="limit",
            code="invalid_type",
        ) from None
    if not 1 <= limit <= 100:
        side, bound, sign = ("above maximum", 100, "<=") if limit > 100 else ("below minimum", 1, ">=")
        raise invalid(
            f"Invalid 'limit': integer {side} value. Expected a value {sign} {bound}, but got {limit} instead.",
            param="limit",
            code="integer_above_max_value" if limit > 100 else "integer_below_min_value",
        )
    return limit


def _place(listed: Sequence[Listed], cursor: str, param: str) -> int:
    for place, item in enumerate(listed):
        if item.id == cursor:
            return place
    raise invalid(f"Invalid '{param}': no object found with id '{cursor}'.", param=param)
