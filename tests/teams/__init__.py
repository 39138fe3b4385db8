"""Teams on loopback: the Bot Framework's keys and tokens, Entra ID, and the connector. They record; tests assert."""

from tests.teams.activities import APP_ID, TENANT, abs_slack, group_message, installed, invoke, message
from tests.teams.clock import HeldClock
from tests.teams.connector import Delivery, FakeConnector
from tests.teams.entra import FakeEntra
from tests.teams.issuer import FakeIssuer

__all__ = [
    "APP_ID",
    "TENANT",
    "Delivery",
    "FakeConnector",
    "FakeEntra",
    "FakeIssuer",
    "HeldClock",
    "abs_slack",
    "group_message",
    "installed",
    "invoke",
    "message",
]
