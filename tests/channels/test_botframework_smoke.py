from bot.types import Part
from tests.channels.conftest import Rig
from tests.teams import message


async def test_smoke(rig: Rig) -> None:
    address = await rig.address(message(rig.url))
    assert await rig.teams.send(address, Part("hi **you**", by_agent=True, buttons=("a", "b"))) == "delivered-1"
    print(rig.connector.deliveries, rig.accepted)
    await rig.teams.update(address, "delivered-1", Part("again"))
    print(rig.connector.deliveries[-1])
