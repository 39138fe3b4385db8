"""Everything that a set-up can have wrong: each part looked at for itself, side by side, and nothing changed."""

from __future__ import annotations

import asyncio
import difflib
import importlib
import logging
import re
import tempfile
from collections import ChainMap
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from bot import findings, retirement
from bot.bootstrap import find_tools
from bot.errors import ThreadkeeperError
from bot.findings import Finding
from bot.ports import Clock
from bot.settings import DEFAULT_SERVICE_HOSTS, SERVICE_HOSTS, Settings
from bot.types import ToolSpec

log = logging.getLogger("threadkeeper.checks")

SETTINGS = "settings"
LISTS = "allow-lists"
BACKEND = "agent backend"
DATABASE = "database"
SERVICE = "agent service"
CREDENTIAL = "agent credential"
AGENT = "agent"
KNOWN_TOOLS = "agent's tools"
TOOLS = "tools"
BOT = "bot credential"
IDS = "app ids"
KEYS = "signing keys"
PUBLIC = "public address"
CLOCK = "clock"

SECONDS = 10.0
SLOW_SECONDS = 30.0
"""For what may start a process, or has a model read all its tools first."""

_ALIKE = 0.87
_SLACK_TEAM = re.compile(r"[TE][A-Z0-9]{6,}")
_HOST = re.compile(r"(?:\*\.)?(?:[a-z0-9-]+\.)+[a-z0-9-]+", re.IGNORECASE)
_BROAD = 2
"""`*.` before a name of fewer parts covers what anybody can register."""

Look = Callable[[], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True)
class _Check:
    """`after` are those that have to work first; `cure` is for a failure that names none."""

    subject: str
    look: Look
    cure: str
    after: tuple[str, ...] = ()
    slow: bool = False


async def look(settings: Settings, clock: Clock, public: str = "") -> list[Finding]:
    """Look at everything. `public` is the https address under which Teams is to reach the bot.

    Whatever goes wrong is a finding; nothing is raised.
    """
    return await _Looking(settings, clock, public).findings()


def of_settings(settings: Settings, now: float) -> list[Finding]:
    """What the settings alone tell: asks nobody, so that a start can say it. `now` in seconds since the epoch."""
    return [*_misspelt(), *_lists(settings), *_ending(settings.agent_backend, now)]


# -- what needs nobody --------------------------------------------------------------------------------------


def _misspelt() -> list[Finding]:
    names = [name.upper() for name in Settings.model_fields]
    found: list[Finding] = []
    there: Mapping[str, str] = importlib.import_module("adapters.variables").variables()
    for given in sorted(there):
        alike = difflib.get_close_matches(given, names, 1, _ALIKE)
        if alike and given not in names:
            words = f"{given} is set, and is no setting."
            found.append(Finding(SETTINGS, "note", words, f"If {alike[0]} was meant, write it so."))
    return found


def _lists(settings: Settings) -> list[Finding]:
    wrong = [] if settings.local else [*_hosts(settings), *_tenants(settings)]
    wrong += [
        Finding(
            LISTS,
            "problem",
            f"ADMINS names {admin}, an address.",
            "Name people by their Entra object id or Slack user id; whoever is refused an admin word is told theirs.",
        )
        for admin in settings.admins
        if "@" in admin
    ]
    if wrong or settings.local:
        return wrong or [Finding(LISTS, "ok", "Local mode: this machine alone may speak to the bot.")]
    words = f"The token goes to {', '.join(settings.service_hosts)}; the listed tenants may speak."
    return [Finding(LISTS, "ok", words)]


def _hosts(settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    for host in settings.service_hosts:
        if not _HOST.fullmatch(host):
            words, cure = (
                f"ALLOWED_SERVICE_HOSTS has {host}, which is no host.",
                "Write a name alone: no https://, port, path.",
            )
            found.append(Finding(LISTS, "problem", words, cure))
        elif host.startswith("*.") and host.count(".") < _BROAD:
            words = f"ALLOWED_SERVICE_HOSTS has {host}: the bot's token would go to whoever has a name there."
            found.append(Finding(LISTS, "problem", words, "Name the hosts of the Bot Framework and of your own alone."))
    needed = [host for host in SERVICE_HOSTS[settings.microsoft_cloud] if host not in settings.service_hosts]
    if needed and not found:
        words = f"ALLOWED_SERVICE_HOSTS lacks {', '.join(needed)}: what comes from there is refused."
        whole = ",".join(settings.service_hosts if settings.service_hosts != DEFAULT_SERVICE_HOSTS else ())
        cure = f"Unset it, or add them: {','.join(filter(None, (whole, *needed)))}"
        found.append(Finding(LISTS, "problem", words, cure))
    return found


def _tenants(settings: Settings) -> list[Finding]:
    tenants, own = settings.allowed_tenants, settings.microsoft_app_tenant_id
    if not tenants:  # a bot's type keeps nobody out: its app's signInAudience does, and that may change
        words = "ALLOWED_TENANTS is empty: every organisation may speak to the bot that its app's registration lets in."
        return [Finding(LISTS, "note", words, "Set it to the ids of the tenants, and of Slack teams (T...), that may.")]
    strange = [tenant for tenant in tenants if not _is_id(tenant) and not _SLACK_TEAM.fullmatch(tenant)]
    if strange:
        words = f"ALLOWED_TENANTS has {', '.join(strange)}: no message carries such a name."
        return [Finding(LISTS, "problem", words, "Write the tenant's id (a GUID), or the Slack team's (T...).")]
    slack = any(_SLACK_TEAM.fullmatch(tenant) for tenant in tenants)
    if not slack and settings.microsoft_app_type != "MultiTenant" and _is_id(own) and own not in tenants:
        words = f"ALLOWED_TENANTS lacks the bot's own tenant {own}: its people are refused."
        return [Finding(LISTS, "problem", words, "Add MICROSOFT_APP_TENANT_ID's value to ALLOWED_TENANTS.")]
    return []


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def _ending(backend: str, now: float) -> list[Finding]:
    days = retirement.remaining(backend, now)
    if days is None:
        return []
    ends = retirement.ENDS[backend]
    words = f"{backend} ends in {days} days, on {ends}." if days >= 0 else f"{backend} ended on {ends}."
    cure = "Set AGENT_BACKEND=foundry; python -m bot migrate moves every conversation."
    return [Finding(BACKEND, "note" if days >= 0 else "problem", words, cure)]


# -- what is asked ------------------------------------------------------------------------------------------


class _Looking:
    """One look at everything. Whoever needs another's result awaits its task; all others go side by side."""

    def __init__(self, settings: Settings, clock: Clock, public: str) -> None:
        self._settings = settings
        self._clock = clock
        self._public = public
        self._specs: Sequence[ToolSpec] = ()
        self._tasks: dict[str, asyncio.Task[list[Finding]]] = {}

    async def findings(self) -> list[Finding]:
        for check in (*self._inner(), *self._outer()):
            self._tasks[check.subject] = asyncio.create_task(self._run(check), name=check.subject)
        own = [*of_settings(self._settings, self._clock.now())]
        asked = [finding for task in self._tasks.values() for finding in await task]
        offsets = [finding.offset for finding in asked if finding.offset is not None]
        if not any(finding.subject == SETTINGS for finding in (*own, *asked)):
            own.insert(0, Finding(SETTINGS, "ok", "They can be used."))
        return [*own, *asked, findings.clock(CLOCK, offsets)]

    def _inner(self) -> list[_Check]:
        network = "Check that the network lets the bot reach it, then look again."
        backend = "Look again in a while; if it stays so, check the address and what stands before the service."
        return [
            _Check(SETTINGS, self._file, ""),
            _Check(DATABASE, self._database, "Check DATABASE_URL, and that the server runs and can be reached."),
            _Check(TOOLS, self._tools, "See python -m bot tools list: a tool's file or server takes too long."),
            _Check(SERVICE, self._service, network),
            _Check(CREDENTIAL, self._credential, network, slow=True),
            _Check(AGENT, self._agent, backend, (SETTINGS, SERVICE, CREDENTIAL), slow=True),
        ]

    def _outer(self) -> list[_Check]:
        found: list[_Check] = []
        if not self._settings.local:
            login = "Check that the network lets the bot reach Microsoft's sign-in, then look again."
            found.append(_Check(BOT, self._bot, login, slow=True))
            found.append(_Check(KEYS, self._keys, login))
        if self._public or not self._settings.local:
            found.append(_Check(PUBLIC, self._address, "Check the address, its DNS and its ingress."))
        return found

    async def _run(self, check: _Check) -> list[Finding]:
        for name in check.after:
            if any(finding.standing in ("problem", "not checked") for finding in await self._tasks[name]):
                return [Finding(check.subject, "not checked", f"The {name} must be right first.")]
        seconds = SLOW_SECONDS if check.slow else SECONDS
        try:
            async with asyncio.timeout(seconds):
                return await check.look()
        except ThreadkeeperError as error:
            return [findings.failed(check.subject, error, check.cure)]
        except TimeoutError:
            return [Finding(check.subject, "problem", f"No answer within {seconds:g} s.", check.cure)]
        except Exception as error:  # its words may quote an address with a password
            log.debug("%s could not be checked: %s", check.subject, type(error).__name__)
            return [
                Finding(check.subject, "problem", f"It could not be looked at ({type(error).__name__}).", check.cure)
            ]

    async def _file(self) -> list[Finding]:
        if self._settings.agent_backend == "rehearsal":
            return []
        found: Finding | None = importlib.import_module("bot.agents.inspection").file(SETTINGS, self._settings)
        return [found] if found is not None else []

    async def _database(self) -> list[Finding]:
        settings = self._settings
        password = None
        if settings.database_auth == "entra":
            password = importlib.import_module("bot.store.entra").EntraPassword(settings.microsoft_cloud)
        inspect = importlib.import_module("bot.store.inspection").inspect
        return [await inspect(DATABASE, settings.database_url, password)]

    async def _tools(self) -> list[Finding]:
        with tempfile.TemporaryDirectory() as folder:
            # opened, they begin to index the documents: elsewhere, for nothing is changed here
            apart = self._settings.model_copy(update={"knowledge_index": Path(folder) / "index.db"})
            toolbox, problems = find_tools(apart)
            async with toolbox:  # some of them are known only to a server, which is asked
                self._specs = list(toolbox.specs())
                told = [str(problem) for problem in problems]
        there = ChainMap(self._settings.for_tools, importlib.import_module("adapters.variables").variables())
        for spec in self._specs:
            told += [
                f"{spec.source}: {spec.name} does not work yet: {name} must be set in the environment or in .env"
                for name in spec.secrets
                if not there.get(name) and not any(name in line and spec.name in line for line in told)
            ]
        if not told:
            return [Finding(TOOLS, "ok", f"{len(self._specs)} can be called.")]
        return [Finding(TOOLS, "problem", f"{line}.", _mending(line)) for line in told]

    async def _service(self) -> list[Finding]:
        address, setting = importlib.import_module("bot.agents.inspection").address(self._settings)
        if not address:
            return []
        return [await importlib.import_module("bot.web.probe").door(SERVICE, address, setting)]

    async def _credential(self) -> list[Finding]:
        if self._settings.agent_backend == "rehearsal":
            return []
        return [await importlib.import_module("bot.agents.inspection").credential(CREDENTIAL, self._settings)]

    async def _agent(self) -> list[Finding]:
        await self._tasks[TOOLS]
        agent = importlib.import_module("bot.agents.inspection").agent
        return await agent(AGENT, KNOWN_TOOLS, self._settings, self._specs, self._clock)

    async def _bot(self) -> list[Finding]:
        return await importlib.import_module("bot.channels.identity").identity(BOT, IDS, self._settings, self._clock)

    async def _keys(self) -> list[Finding]:
        address = importlib.import_module("bot.channels.identity").keys_address(self._settings)
        return [await importlib.import_module("bot.web.probe").door(KEYS, address, "MICROSOFT_CLOUD")]

    async def _address(self) -> list[Finding]:
        if not self._public:
            return [Finding(PUBLIC, "not checked", "No address was given.", "Add --public https://YOUR-HOST.")]
        return [await importlib.import_module("bot.web.probe").public(PUBLIC, self._public)]


def _mending(line: str) -> str:
    if line.endswith("must be set in the environment or in .env"):
        return "Set it: a line NAME=value in .env will do."
    return "Mend it, or take the file away; python -m bot tools check tells more."
