"""Finding tools: files, a folder of one's own, installed packages; and what cannot be used, named."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from adapters.discovery import Loaded, load
from tests.contracts.toolbox import CALLER, SECRET, call
from tests.packages import Install, installer

ROLL = '''
from adapters import tool

@tool
def roll(sides: int = 6) -> int:
    """Roll one die."""
    return sides
'''


@pytest.fixture(autouse=True)
def _forget_modules(monkeypatch: pytest.MonkeyPatch):
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("threadkeeper_extra_tools_", "acme_")):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mytools"
    made.mkdir()
    return made


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(dedent(text))


def named(name: str) -> str:
    """A file with one tool of this name."""
    return f'from adapters import tool\n\n@tool\ndef {name}() -> str:\n    """Say it."""\n    return "{name}"\n'


def names(loaded: Loaded) -> list[str]:
    """What is offered beside our own tools."""
    return [spec.name for spec in loaded.toolbox.specs() if not spec.source.startswith("tools/")]


# -- files --------------------------------------------------------------------------------------------------


async def test_our_own_tools_are_found_and_answer():
    loaded = load()
    sources = {spec.name: spec.source for spec in loaded.toolbox.specs()}
    assert (sources["calculate"], sources["current_time"]) == ("tools/calculator.py", "tools/clock.py")
    assert list(sources) == sorted(sources)
    assert loaded.problems == []
    async with loaded.toolbox as toolbox:
        assert (await toolbox.call(call("calculate", expression="6 * 7"), CALLER)).output == "42"
        assert "(UTC+09:00)" in (await toolbox.call(call("current_time", place="Tokyo"), CALLER)).output
        nowhere = await toolbox.call(call("current_time", place="Nowhere at all"), CALLER)
        assert (nowhere.error, nowhere.output[:23]) == ("failed", "I know no time zone for")


async def test_a_file_in_a_folder_of_one_s_own_is_a_tool(folder: Path):
    write(folder, dice=ROLL)
    loaded = load(folder)
    assert loaded.problems == []
    assert [spec.name for spec in loaded.toolbox.specs() if spec.source == "mytools/dice.py"] == ["roll"]
    assert (await loaded.toolbox.call(call("roll", sides=8), CALLER)).output == "8"


@pytest.mark.parametrize(
    "context", ["context: ToolContext", "context: ToolContext | None = None", "*, context: ToolContext"]
)
async def test_postponed_annotations_are_read(folder: Path, context: str):
    write(
        folder,
        who=f'''
        from __future__ import annotations
        from dataclasses import dataclass
        from adapters import ToolContext, tool

        @dataclass
        class Point:
            x: int

        @tool
        def who(point: Point, {context}) -> str:
            """Say who asks."""
            return f"{{context.person.name}} at {{point.x}}"
        ''',
    )
    loaded = load(folder)
    assert loaded.problems == []
    spec = next(spec for spec in loaded.toolbox.specs() if spec.name == "who")
    assert list(spec.parameters["properties"]) == ["point"]
    assert (await loaded.toolbox.call(call("who", point={"x": 1}), CALLER)).output == "Ada at 1"


def test_a_private_file_is_no_tool_and_other_files_are_none_either(folder: Path):
    write(folder, _private=named("hidden"), __init__="raise RuntimeError", dice=ROLL)
    (folder / "notes.txt").write_text("def (")
    loaded = load(folder)
    assert (names(loaded), loaded.problems) == (["roll"], [])


@pytest.mark.parametrize("name", ["test_dice", "dice_test", "conftest"])
def test_a_test_beside_the_tools_is_no_tool(folder: Path, name: str):
    write(folder, dice=ROLL, **{name: "from dice import roll\n\ndef test_roll():\n    assert roll(6) == 6\n"})
    loaded = load(folder)
    assert (names(loaded), loaded.problems) == (["roll"], [])


def test_a_file_in_which_nothing_is_marked_is_named_and_a_helper_is_not(folder: Path):
    plain = "def roll() -> int:\n    return 4\n"
    write(folder, nomark=plain, _helper=plain, settings="SIDES = 6\n", dice=ROLL)
    loaded = load(folder)
    assert names(loaded) == ["roll"]
    assert loaded.problems == [
        "mytools/nomark.py: it has no tool; mark a function with @tool, or begin the file's name with _"
    ]


def test_a_tool_that_is_imported_or_has_a_second_name_is_one_tool(folder: Path):
    write(
        folder,
        dice=ROLL + "\nthrow = roll\n",
        other="from tools.clock import current_time\nfrom adapters import tool\n",
    )
    loaded = load(folder)
    assert (names(loaded), loaded.problems) == (["roll"], [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import os\ndef broken(:\n", "SyntaxError at line 2: invalid syntax"),
        ("x = 1\n  y = 2\n", "IndentationError at line 2: unexpected indent"),
        ("\nimport no_such_module_of_anyone\n", "ModuleNotFoundError at line 2: No module named"),
        ("from adapters import nothing\n", "ImportError at line 1: cannot import name 'nothing'"),
        ("\n\nnope\n", "NameError at line 3: name 'nope' is not defined"),
        ("def f():\n    raise OSError('hunter2')\nf()\n", "OSError at line 2"),
        ("import sys\nsys.exit('hunter2')\n", "SystemExit at line 2"),
        ("from adapters import tool\ntool(timeout=0)\n", "ValueError at line 2"),
        ("import json\njson.loads('{')\n", "JSONDecodeError at line 2"),
        ("x = '\\xff\0'\n", "Error"),
    ],
)
def test_a_broken_file_is_named_with_its_line_and_the_others_load(folder: Path, text: str, problem: str):
    write(folder, a_first=named("first"), z_last=named("last"))
    (folder / "broken.py").write_text(text)
    loaded = load(folder)
    assert names(loaded) == ["first", "last"]
    (told,) = loaded.problems
    assert told.startswith("mytools/broken.py: ")
    assert problem in told
    assert "\n" not in told
    assert SECRET not in told
    assert str(folder) not in told
    assert not [name for name in sys.modules if name.rpartition(".")[2] == "broken"]


def test_a_folder_that_is_named_from_here_tells_lines_too(folder: Path, monkeypatch: pytest.MonkeyPatch):
    write(folder, broken="\nnope\n", dice=ROLL)
    monkeypatch.chdir(folder.parent)
    loaded = load(Path("mytools"))
    assert names(loaded) == ["roll"]
    assert loaded.problems == ["mytools/broken.py: NameError at line 2: name 'nope' is not defined"]
    monkeypatch.chdir(folder)
    assert load(Path()).problems == loaded.problems


def test_a_function_that_is_no_tool_is_named_and_the_others_of_its_file_load(folder: Path):
    write(
        folder,
        mixed='''
        from __future__ import annotations
        import os
        from adapters import tool

        class Odd:
            @classmethod
            def __get_pydantic_core_schema__(cls, source, handler):
                raise LookupError("hunter2")

        class Proxy:
            def __getattr__(self, name):
                raise RuntimeError("hunter2")

        lazy = Proxy()

        @tool
        def many(*args: int) -> str:
            """Take many."""

        @tool(name="two words")
        def spaced() -> str:
            """Be spaced."""

        @tool
        def lost(x: os.nothing) -> str:
            """Lose it."""

        @tool
        def odd(x: Odd) -> str:
            """Be odd."""

        @tool
        def fine() -> str:
            """Be fine."""
        ''',
    )
    loaded = load(folder)
    assert names(loaded) == ["fine"]
    assert loaded.problems == [
        "mytools/mixed.py: many is no tool: parameter args cannot be filled by name",
        "mytools/mixed.py: spaced is no tool: its name must be 1 to 64 letters, digits, _ or -",
        "mytools/mixed.py: lost is no tool: its signature cannot be read",
        "mytools/mixed.py: odd is no tool: LookupError while reading its signature",
    ]


def test_of_two_tools_with_one_name_neither_is_offered_and_both_are_named(folder: Path):
    write(folder, a=named("same"), b=named("same"), c=named("calculate"), d=named("other"))
    loaded = load(folder)
    assert names(loaded) == ["other"]
    assert "calculate" not in [spec.name for spec in loaded.toolbox.specs()]
    first, second = sorted(loaded.problems)
    assert first.startswith("calculate is left out: tools/calculator.py and mytools/c.py")
    assert second.startswith("same is left out: mytools/a.py and mytools/b.py")


def test_a_folder_that_is_our_own_is_read_once():
    loaded = load(Path(__file__).parent.parent / "tools")
    assert (names(loaded), loaded.problems) == ([], [])
    assert len(loaded.toolbox.specs()) == len(load().toolbox.specs())


def test_the_order_is_fixed_and_loading_again_finds_the_same(folder: Path):
    write(folder, z=named("alpha"), a=named("zeta"), m=named("mu"))
    assert names(load(folder)) == names(load(folder)) == ["alpha", "mu", "zeta"]


def test_loading_has_no_effect_of_its_own(folder: Path):
    write(folder, dice=ROLL)
    environment, threads, paths = dict(os.environ), threading.enumerate(), list(sys.path)
    load(folder)
    assert (dict(os.environ), threading.enumerate(), sys.path) == (environment, threads, paths)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["mytools"]


# -- installed packages -------------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    return installer(tmp_path, monkeypatch)


PLAIN = '''
def weather(city: str, days: int = 1) -> str:
    """Tell the weather.

    Args:
        city: Where.
    """
    return f"{city}: rain for {days}"

def helper(city: str) -> str:
    """Not meant for agents."""
    return city
'''


async def test_a_function_of_a_package_that_imports_nothing_of_ours(install: Install):
    install("acme", {"forecast": "acme_weather:weather"}, acme_weather=PLAIN)
    loaded = load()
    assert (names(loaded), loaded.problems) == (["forecast"], [])
    spec = next(spec for spec in loaded.toolbox.specs() if spec.name == "forecast")
    assert spec.source == "package acme, entry point forecast"
    assert spec.parameters["properties"]["city"]["description"] == "Where."
    output = await loaded.toolbox.call(call("forecast", city="Oslo", days=2), CALLER)
    assert output.output == "Oslo: rain for 2"


def test_a_module_offers_what_it_lists(install: Install):
    install("acme", {"all": "acme_listed"}, acme_listed=f'__all__ = ["weather", "CITY"]\nCITY = "Oslo"\n{PLAIN}')
    loaded = load()
    assert (names(loaded), loaded.problems) == (["weather"], [])


def test_a_module_offers_what_it_marks(install: Install):
    install("acme", {"all": "acme_marked"}, acme_marked=f'__all__ = ["helper"]\n{PLAIN}\n{ROLL}')
    loaded = load()
    assert (names(loaded), loaded.problems) == (["roll"], [])


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("acme_none", "it has no tools; mark functions with @tool, or list them in __all__"),
        ("acme_none:VALUE", "it is neither a function nor a module"),
        ("acme_none:missing", "AttributeError: module 'acme_none' has no attribute 'missing'"),
        ("acme_nowhere", "ModuleNotFoundError: No module named 'acme_nowhere'"),
        ("acme_raises", "OSError"),
        ("acme_exits:run", "SystemExit"),
        ("acme_none:many", "point is no tool: parameter values cannot be filled by name"),
        ("acme_none:silent", "point is no tool: it has no docstring"),
        ("not an object reference", "AttributeError"),
    ],
)
def test_an_entry_point_that_cannot_be_used_is_named_and_the_others_load(install: Install, value: str, problem: str):
    install(
        "acme",
        {"point": value, "weather": "acme_fine:weather"},
        acme_fine=PLAIN,
        acme_none='VALUE = 1\n\ndef many(*values: int):\n    """Take."""\n\ndef silent(): ...\n',
        acme_raises=f"raise OSError('{SECRET}')\n",
        acme_exits="raise SystemExit(1)\n",
    )
    loaded = load()
    assert names(loaded) == ["weather"]
    (told,) = loaded.problems
    assert told.startswith(f"package acme, entry point point: {problem}")
    assert SECRET not in told


def test_two_packages_with_one_name_are_both_named_in_a_fixed_order(install: Install):
    install("alpha", {"weather": "acme_weather:weather"})
    install("beta", {"weather": "acme_weather:weather"}, acme_weather=PLAIN)
    loaded = load()
    assert names(loaded) == []
    (told,) = loaded.problems
    assert told.startswith(
        "weather is left out: package alpha, entry point weather and package beta, entry point weather each have"
    )


# -- documents ----------------------------------------------------------------------------------------------

DOCUMENT = '{"openapi": "3.1.0", "paths": {"/x": {"get": {"operationId": "look", "summary": "Look."}}}}'
CHOSEN = 'address = "https://api.example.com"\noperations = ["look"]\n'


def put(folder: Path, **files: str) -> None:
    """Files by name, with `__` for the dot."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.mark.parametrize("kind", ["json", "yaml", "yml"])
async def test_a_document_with_its_toml_is_tools(folder: Path, kind: str):
    put(folder, **{f"crm__openapi__{kind}": DOCUMENT, "crm__openapi__toml": CHOSEN})
    loaded = load(folder)
    assert (names(loaded), loaded.problems) == (["look"], [])
    (spec,) = [spec for spec in loaded.toolbox.specs() if spec.name == "look"]
    assert spec.source == f"mytools/crm.openapi.{kind}, GET /x"
    async with loaded.toolbox as toolbox:
        assert (await toolbox.call(call("look", more=1), CALLER)).error == "bad_arguments"


def test_a_document_that_cannot_be_used_is_named_and_the_others_load(folder: Path):
    put(
        folder,
        alone__openapi__json=DOCUMENT,
        bad__openapi__json="{",
        bad__openapi__toml=CHOSEN,
        crm__openapi__json=DOCUMENT,
        crm__openapi__toml=CHOSEN + "tmeout = 5\n",
        fine__openapi__json=DOCUMENT,
        fine__openapi__toml=CHOSEN,
        lost__openapi__toml=CHOSEN,
        two__openapi__json=DOCUMENT,
        two__openapi__yaml=DOCUMENT,
        two__openapi__toml=CHOSEN,
        _draft__openapi__json=DOCUMENT,
        secret__openapi__json=DOCUMENT,
        secret__openapi__toml=CHOSEN + '[auth]\ntype = "bearer"\nenv = "CRM_TOKEN"\n',
    )
    write(folder, dice=ROLL)
    loaded = load(folder, {})
    assert names(loaded) == ["look", "roll"]
    assert loaded.problems == [
        "mytools/alone.openapi.json: there is no alone.openapi.toml beside it; docs/tools.md says what it holds",
        "mytools/bad.openapi.json: it is no JSON at line 1",
        "mytools/crm.openapi.toml: tmeout is not known: the nearest is timeout",
        "mytools/lost.openapi.toml: there is no lost.openapi.yaml or .json beside it",
        "mytools/secret.openapi.toml: auth: CRM_TOKEN must be set in the environment or in .env, without line breaks",
        "mytools/two.openapi.json: there is also two.openapi.yaml; remove one",
    ]
    assert names(load(folder, {"CRM_TOKEN": "x"})) == ["roll"]  # as two documents have the tool then


def test_of_a_function_and_an_operation_with_one_name_neither_is_offered(folder: Path):
    put(folder, crm__openapi__json=DOCUMENT, crm__openapi__toml=CHOSEN)
    write(folder, look=named("look"))
    loaded = load(folder)
    assert names(loaded) == []
    (told,) = loaded.problems
    assert told.startswith("look is left out: mytools/look.py and mytools/crm.openapi.json, GET /x each have a tool")


def test_more_tools_than_an_agent_takes_are_said_to_be(folder: Path):
    own = len(load().toolbox.specs())
    text = "".join(named(f"t{number}").replace("from adapters import tool\n", "") for number in range(129 - own))
    (folder / "many.py").write_text("from adapters import tool\n" + text)
    assert load(folder).problems == ["there are 129 tools, and an agent takes at most 128: it may refuse them all"]


def test_a_tool_whose_secret_is_missing_is_named_and_offered_all_the_same(folder: Path):
    mark = '@tool(secrets=["CRM_TOKEN", "CRM_USER"])'
    write(folder, dice=ROLL.replace("@tool", mark))
    loaded = load(folder, {"CRM_USER": "ada"})
    assert loaded.problems == [
        "mytools/dice.py: roll does not work yet: CRM_TOKEN must be set in the environment or in .env"
    ]
    assert names(loaded) == ["roll"]
    assert load(folder, {"CRM_USER": "ada", "CRM_TOKEN": "x"}).problems == []


def test_what_a_docstring_describes_and_the_function_does_not_take_is_told(folder: Path):
    write(
        folder,
        greet='''
        from adapters import ToolContext, tool

        @tool
        def greet(name: str, context: ToolContext) -> str:
            """Greet somebody.

            Args:
                nmae: Whom.
                context: Who asks.
            """
            return name
        ''',
        dice=ROLL,
    )
    loaded = load(folder)
    assert loaded.problems == []
    assert loaded.toolbox.hints() == ["greet: its docstring describes nmae, which is no parameter"]


async def test_an_operation_that_changes_something_is_offered_and_asked_about(folder: Path):
    document = DOCUMENT.replace('"get"', '"post"')
    put(folder, crm__openapi__json=document, crm__openapi__toml=CHOSEN)
    loaded = load(folder)
    assert (names(loaded), loaded.problems) == (["look"], [])
    assert loaded.toolbox.approval(call("look")) == {}
    assert loaded.toolbox.approval(call("look", more=1)) is None  # it fails by itself
