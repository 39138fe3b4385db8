"""What the service says of the files that a message brings along."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from .errors import ServiceError, invalid
from .state import State

_SEARCHED = re.compile(r"\.(c|cpp|cs|css|docx?|go|html|java|js|json|md|pdf|php|pptx|py|rb|sh|tex|ts|txt)")
"""What file search reads (Microsoft's table of the tool); an extension in capitals is refused too."""
_COMPUTED = re.compile(
    r"\.(c|cpp|css|csv|docx|gif|html|java|jpe?g|js|json|md|pdf|php|png|pptx|py|rb|tar|tex|ts|txt|xlsx|xml|zip)"
)
"""What the code interpreter reads, likewise."""
_READ = {"file_search": _SEARCHED, "code_interpreter": _COMPUTED}
_SEEN = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp"})


def check_files(state: State, content: list[dict[str, Any]], attachments: list[Any], param: str) -> None:
    """Refuse a file that is not there, or that a tool cannot read."""
    for part in content:
        if part["type"] == "image_file":
            name = _named(state, part["image_file"]["file_id"], param)
            if PurePosixPath(name).suffix.lower() not in _SEEN:
                raise invalid(f"The file {name} is not a supported image.", param=param)
    for attachment in attachments:
        name = _named(state, attachment.get("file_id", ""), param)
        tools = [tool.get("type") for tool in attachment.get("tools") or []]
        if not tools:
            raise invalid("Missing required parameter: 'tools'.", param=param, code="missing_required_parameter")
        for tool in tools:
            if tool not in _READ:
                raise invalid(f"Invalid value: '{tool}'.", param=param, code="invalid_value")
            if not _READ[tool].fullmatch(suffix := PurePosixPath(name).suffix):
                raise invalid(f"Files with extensions [{suffix}] are not supported for {tool}.", param=param)


def _named(state: State, file_id: str, param: str) -> str:
    try:
        return state.file(file_id).filename
    except ServiceError:
        raise invalid(f"No file found with id '{file_id}'.", param=param) from None
