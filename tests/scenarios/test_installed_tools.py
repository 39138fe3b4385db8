"""Tools of installed packages that import nothing of ours, called from a chat, on each agent service."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from adapters.discovery import load
from tests.acme.service import graphql
from tests.packages import installer
from tests.scenarios.services import SERVICES, Conversations, Service, opened_service
from tests.world import open_world

WEATHER = '''
def forecast(city: str, days: int = 1) -> str:
    """Tell the weather.

    Args:
        city: Where.
        days: For how many days.
    """
    return f"{city}: rain for {days}"
'''
GRAPHQL = (Path(__file__).parent.parent / "acme" / "acme_graphql.py").read_text(encoding="utf-8")


@pytest.fixture(params=[*SERVICES, "rehearsal"])
async def service(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Service | None]:
    if request.param == "rehearsal":
        yield None
        return
    async with opened_service(request.param, tmp_path) as service:
        yield service


async def test_tools_of_other_packages_answer_in_a_chat(
    tmp_path: Path, service: Service | None, monkeypatch: pytest.MonkeyPatch
):
    install = installer(tmp_path, monkeypatch)
    install("weather", {"forecast": "other_weather:forecast"}, other_weather=WEATHER)
    install("acme", {"graphql": "acme_graphql:GraphQL"}, "threadkeeper.adapters", acme_graphql=GRAPHQL)
    async with graphql("") as api:
        loaded = load(environ={"ACME_GRAPHQL_URL": api.address})
        async with loaded.toolbox as toolbox:
            if isinstance(service, Conversations):  # this one must know them beforehand
                told = [{"name": spec.name, "description": spec.description} for spec in toolbox.specs()]
                tools = [
                    {"type": "function", **one, "parameters": spec.parameters}
                    for one, spec in zip(told, toolbox.specs(), strict=True)
                ]
                service.server.add_agent("keeper", tools=tools)
            overrides = service.overrides if service is not None else {}
            async with open_world(tmp_path, toolbox=toolbox, **overrides) as world:  # type: ignore[arg-type]
                said = await world.ask("use forecast city=Oslo days=2 and use echo text=hello")
                assert said == "forecast: Oslo: rain for 2\necho: hello"
    assert "adapters" not in WEATHER
    assert api.asked == [("echo", {"text": "hello"})]
