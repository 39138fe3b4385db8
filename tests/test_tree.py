"""Who may import whom, and how long a module or a function may be. What is forbidden here fails with its reason."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.long_forms import LONG

ROOT = Path(__file__).parent.parent

ORDER: list[set[str]] = [
    {"types", "texts", "pictures"},
    {"errors"},
    {"findings"},
    {"events"},  # below the inbox, which emits them: docs/decisions/0002-events-below-the-inbox.md
    {"ports"},
    {"lease"},  # the turn in hand
    {"past", "progress", "roles"},  # what a tool is lent
    {"callers", "approvals"},
    {"rounds", "reply", "offers_below", "attached"},
    {"inbox", "threads", "runs", "forgetting", "acquaintance"},
    {"commands", "feedback"},
    {"admin", "say"},
    {"turn"},
    # nothing on a message's path reads the environment, the log or the real time
    {"settings", "telemetry", "metrics", "clock"},
    {"backends"},  # loads agents by name
    {"bootstrap"},
    {"desk", "published", "moving", "retirement"},  # the commands beside a running bot
    {"checks"},
    {"__main__"},
]
"""The files of bot/, lowest first. A file imports only files of lower rows."""

NARROWER = {
    "settings": {"errors"},
    "telemetry": {"events"},
    "metrics": {"errors", "events", "ports", "types"},
    "clock": set[str](),
}
"""Files that stand high in the order but need little."""

NOUNS = {"types", "texts", "errors", "events", "ports", "reply", "settings", "pictures", "findings"}
FOLDERS = {
    "types": set[str](),
    "ports": {"types"},
    "agents": NOUNS,
    "channels": NOUNS,
    "store": NOUNS,
    "web": NOUNS,
    "cli": NOUNS
    | {"telemetry", "clock", "backends", "bootstrap", "desk", "published", "moving", "retirement", "say"}
    | {"checks"},
}
"""The folders of bot/ and the files that they import: nouns and questions, never what asks. cli stands above all."""

ACROSS = {
    "bot.__main__": {"bot.cli"}
    | {f"bot.cli.{name}" for name in ("serve", "chat", "agent", "feedback", "inbox", "migrate", "threads", "tools")}
    | {"bot.cli.check", "bot.cli.say", "bot.cli.usage"},
    "bot.cli.chat": {"bot.channels.terminal"},  # the command is this channel
    "bot.cli.tool_call": {"adapters.notes"},  # what it calls goes into the audit too
    "bot.cli.tool_check": {"adapters.variables"},  # which secrets are there
}
"""Imports of a folder from outside it. bootstrap loads folders by name, so that only the chosen ones cost."""

THIRD_PARTY: dict[str, set[str]] = {
    "anyio": {"adapters/mcp_process.py", "adapters/mcp_server.py"},  # what mcp is built on
    "aiohttp": {"bot/channels/", "bot/agents/", "bot/web/", "bot/cli/serve.py", "adapters/http_guard.py"}
    | {"adapters/context.py", "adapters/session.py"},
    "alembic": {"bot/store/"},
    "azure.ai.agents": {
        "bot/agents/foundry_classic.py",
        "bot/agents/definition.py",  # types its client, as the next ones do
        "bot/agents/classic_files.py",
        "bot/agents/classic_stream.py",
        "bot/agents/classic_threads.py",
        "bot/agents/classic_definition.py",
    },
    "azure.ai.projects": {"bot/agents/foundry.py", "bot/agents/foundry_definition.py", "bot/agents/project.py"},
    "azure.core": {"bot/agents/", "bot/channels/bot_token.py", "bot/store/entra.py"},
    "azure.identity": {"bot/agents/azure.py", "bot/channels/bot_token.py", "bot/store/entra.py"},
    "botbuilder": {
        "bot/channels/botframework.py",
        "bot/channels/teams_chat.py",
        "bot/channels/teams_entities.py",
        "bot/channels/teams_messages.py",
    },
    "botframework": {"bot/channels/botframework.py"},
    "cachetools": {"bot/channels/botframework.py", "bot/channels/pace.py", "bot/agents/"},
    "cryptography": {"bot/channels/certificate.py", "bot/channels/signing_keys.py"},
    "jwt": {"bot/channels/gate.py", "bot/channels/signing_keys.py"},
    "mcp": {
        "adapters/mcp_process.py",
        "adapters/mcp_questions.py",
        "adapters/mcp_result.py",
        "adapters/mcp_server.py",
        "adapters/mcp_tool.py",
        "adapters/mcp_transport.py",
        "adapters/mcp_troubles.py",
    },
    "msrest": {"bot/channels/botframework.py"},
    "dotenv": {"adapters/variables.py"},
    "httpx2": {  # the HTTP client of openai and of mcp
        "bot/agents/openai_requests.py",
        "adapters/mcp_transport.py",
        "adapters/mcp_troubles.py",
    },
    "jsonschema": {"adapters/mcp_tool.py"},
    "openai": {"bot/agents/"},
    "prometheus_client": {"bot/metrics.py"},
    "pypdf": {"tools/library/pdf_file.py"},
    "pydantic": {"bot/settings.py", "adapters/"},
    "pydantic_core": {"adapters/"},  # the half of pydantic that validates
    "pydantic_settings": {"bot/settings.py"},
    "referencing": {"adapters/mcp_tool.py"},  # where jsonschema looks references up
    "rich": {"bot/cli/", "bot/channels/screen.py", "bot/channels/terminal.py"},
    "sqlalchemy": {"bot/store/"},
    "typer": {"bot/__main__.py", "bot/cli/"},
    "yaml": {"adapters/openapi_document.py"},
    # aiohttp's addresses
    "yarl": {"bot/channels/connector.py", "bot/channels/teams_files.py", "adapters/http_guard.py"},
}
"""Where each package may be imported: files, or folders with a slash at the end. All others nowhere."""

BY_NAME = {
    "bot/backends.py": "imports the agents that are in use alone: all of them cost seconds and 160 MB",
    "bot/bootstrap.py": "imports the channels in use alone: all of them cost seconds and 160 MB",
    "bot/published.py": "the same, of the chosen agent's definition",
    "bot/checks.py": "looks at the parts that are in use alone",
    "adapters/discovery.py": "finds tools by their files' names",
}
"""Where modules are imported by name, at run time."""

LONG_MODULES = {
    "bot/inbox.py": "which turn runs, where and how long: its loops share one state",
    "bot/runs.py": "one run from its start to its end, whatever happens between",
    "bot/bootstrap.py": "everything is joined in one place",
    "bot/settings.py": "the environment, all of it",
    "bot/store/tables.py": "the tables, all of them",
    "bot/texts.py": "what the bot says, all of it",
    "bot/turn.py": "the path of a message, to be read in one piece",
    "bot/agents/rehearsal.py": "a whole agent service: its rules, its faults and its runs",
    "bot/channels/botframework.py": "the one module that may import the SDK",
    "tools/calculator.py": "a small language in one piece: its words, its grammar, its numbers",
}
LONG_FUNCTIONS = {
    "adapters/marks.py:tool": "an option of a tool a line, and what it means",
    "bot/channels/botframework.py:__init__": "the channel's parts are joined in one place",
    "bot/bootstrap.py:open_bot": "everything is joined in one place, a line each",
    "bot/store/migrations/versions/0001_the_first_tables.py:upgrade": "a list of tables",
    "bot/store/migrations/versions/0002_people_and_forgetting.py:upgrade": "a list of tables",
    "bot/threads.py:current": "41 lines: the rollover, in the order that keeps it safe",
}
MODULE_LINES, FUNCTION_LINES = 300, 40


def files() -> list[Path]:
    return sorted(
        file
        for package in ("bot", "adapters", "tools")
        for file in (ROOT / package).rglob("*.py")
        if "__pycache__" not in file.parts
    )


def path_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def module_of(file: Path) -> str:
    return path_of(file).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def modules() -> dict[str, Path]:
    return {module_of(file): file for file in files()}


def imports(file: Path) -> set[str]:
    """Every module the file imports. `from package import module` is an import of the module."""
    found: set[str] = set()
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path_of(file)}:{node.lineno}: write the whole name, not a relative one"
            assert node.module is not None
            below = {f"{node.module}.{name.name}" for name in node.names} & set(modules())
            names = {f"{node.module}.{name.name}" for name in node.names} - below
            found |= below | ({node.module} if names else set())
    return found


def ours(file: Path) -> set[str]:
    return {name for name in imports(file) if name.split(".")[0] in ("bot", "adapters", "tools", "tests")}


def foreign(file: Path) -> set[str]:
    return {name for name in imports(file) - ours(file) if name.split(".")[0] not in sys.stdlib_module_names}


def each(pattern: str) -> pytest.MarkDecorator:
    found = [file for file in files() if file.match(str(ROOT / pattern))]
    return pytest.mark.parametrize("file", found, ids=path_of)


def level(name: str) -> int:
    for number, row in enumerate(ORDER):
        if name in row:
            return number
    raise AssertionError(f"bot/{name}.py stands in no row of ORDER: say what it may import, and who may import it")


def allowed(places: set[str], path: str) -> bool:
    return any(path.startswith(place) if place.endswith("/") else path == place for place in places)


def below(module: str) -> set[str]:
    """The files of bot/ that this one may import."""
    own = level(module)
    lower = {name for row in ORDER[:own] for name in row}
    return lower & NARROWER[module] if module in NARROWER else lower


@each("bot/*.py")
def test_a_file_of_bot_imports_only_what_stands_below_it(file: Path) -> None:
    if file.stem == "__init__":
        assert imports(file) == set()
        return
    permitted = {f"bot.{name}" for name in below(file.stem)}
    assert ours(file) - permitted - ACROSS.get(module_of(file), set()) == set()


@pytest.mark.parametrize("folder", sorted(FOLDERS))
def test_a_folder_imports_the_nouns_and_ports_and_itself(folder: str) -> None:
    permitted = {f"bot.{name}" for name in FOLDERS[folder]}
    wrong = {
        (path_of(file), name)
        for file in files()
        if path_of(file).startswith(f"bot/{folder}/")
        for name in ours(file) - ACROSS.get(module_of(file), set())
        if name not in permitted and not f"{name}.".startswith(f"bot.{folder}.")
    }
    assert wrong == set()


@pytest.mark.parametrize("face", ["types", "ports"])
def test_nouns_and_questions_are_imported_by_their_face(face: str) -> None:
    """So that a name may move from one of its files to another."""
    inside = {file for file in files() if path_of(file).startswith(f"bot/{face}/")}
    assert {(path_of(file), name) for file in files() for name in ours(file) if name.startswith(f"bot.{face}.")} == {
        (path_of(file), name) for file in inside for name in ours(file) if name.startswith(f"bot.{face}.")
    }


def test_there_are_no_other_folders() -> None:
    inside = {tuple(module.split(".")) for module in modules() if module.count(".") > 1}
    assert {way[1] for way in inside if way[0] == "bot"} == set(FOLDERS)
    assert {way[:2] for way in inside if way[0] != "bot"} == {("tools", "library")}


@each("adapters/*.py")
def test_adapters_know_the_nouns_and_the_failures_alone(file: Path) -> None:
    assert {name for name in ours(file) if not name.startswith("adapters")} <= {"bot.types", "bot.errors"}


@each("tools/*.py")
def test_tools_know_the_public_face_of_adapters_alone(file: Path) -> None:
    library = {name for name in modules() if name.startswith("tools.library.")}
    assert ours(file) <= {"adapters"} | library
    assert foreign(file) == set()


@each("tools/library/*.py")
def test_the_library_knows_itself_alone(file: Path) -> None:
    assert {name for name in ours(file) if not name.startswith("tools.library.")} == set()


def test_what_reads_strangers_files_is_never_in_the_bot() -> None:
    """It runs in a process of its own, whose memory and time are bounded."""
    inside = {"tools.knowledge"}
    for _ in modules():
        inside |= {name for module in inside & set(modules()) for name in ours(modules()[module])}
    reading = {f"tools.library.{name}" for name in ("child", "reader", "pdf_file", "word_file", "html_file", "plain")}
    assert reading & inside == set()


@pytest.mark.parametrize("file", files(), ids=path_of)
def test_a_package_is_imported_in_its_place_alone(file: Path) -> None:
    for name in foreign(file):
        package = next((known for known in THIRD_PARTY if f"{name}.".startswith(f"{known}.")), None)
        assert package is not None, f"{name} has no place in THIRD_PARTY"
        assert allowed(THIRD_PARTY[package], path_of(file)), f"{name} belongs to {sorted(THIRD_PARTY[package])}"


def test_there_are_no_cycles() -> None:
    ends: set[str] = set()

    def walk(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way[way.index(module) :], module])
        if module not in ends and module in modules():
            for name in ours(modules()[module]):
                walk(name, (*way, module))
            ends.add(module)

    for module in modules():
        walk(module, ())


def inner_imports(tree: ast.AST) -> Iterator[ast.AST]:
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from (node for node in ast.walk(function) if isinstance(node, (ast.Import, ast.ImportFrom)))


def imports_by_name(tree: ast.AST) -> bool:
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return not called.isdisjoint({"importlib.import_module", "import_module", "__import__"})


@pytest.mark.parametrize("file", files(), ids=path_of)
def test_imports_stand_at_the_top(file: Path) -> None:
    assert [ast.unparse(node) for node in inner_imports(tree_of(file))] == []


def test_modules_are_imported_by_name_where_there_is_a_reason() -> None:
    assert {path_of(file) for file in files() if imports_by_name(tree_of(file))} == set(BY_NAME)


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def test_a_long_module_has_a_reason() -> None:
    long = {path_of(file) for file in files() if len(file.read_text(encoding="utf-8").splitlines()) > MODULE_LINES}
    assert long - set(LONG_MODULES) == set(), f"over {MODULE_LINES} lines"


def test_a_long_function_has_a_reason() -> None:
    long = {
        f"{path_of(file)}:{node.name}"
        for file in files()
        for node in ast.walk(tree_of(file))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and lines(node) > FUNCTION_LINES
    }
    assert long - set(LONG_FUNCTIONS) == set(), f"over {FUNCTION_LINES} lines"


def test_no_list_here_names_what_is_not_there() -> None:
    paths = {path_of(file) for file in files()}
    listed = {*LONG_MODULES, *BY_NAME, *(name.split(":")[0] for name in LONG_FUNCTIONS)}
    listed |= {place for places in THIRD_PARTY.values() for place in places if not place.endswith("/")}
    listed |= {f"bot/{name}.py" for row in ORDER for name in row} - {f"bot/{name}.py" for name in FOLDERS}
    assert listed - paths == set()


def test_what_make_test_leaves_out_is_there() -> None:
    assert [path for path in LONG if not (ROOT / path).exists()] == []
