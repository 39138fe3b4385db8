"""`python -m tests.foundry --port N [--tls CERT KEY]`: the local Foundry in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
from collections.abc import Sequence

from .clock import ManualClock, RealClock
from .models import MODELS
from .runner import Rules
from .server import FoundryServer


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.foundry", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"), help="serve https with this certificate")
    parser.add_argument("--model", choices=sorted(MODELS), default="default", help="the scripted model")
    parser.add_argument("--agent", default="asst_local", help="the id of the assistant that is there from the start")
    parser.add_argument("--agent-name", default="local", help="the name of the new API's agent that is there")
    parser.add_argument("--manual-clock", action="store_true", help="time moves by POST /_control/clock only")
    parser.add_argument("--queue", type=float, default=0.0, help="seconds a run waits in the queue")
    parser.add_argument("--work", type=float, default=0.0, help="seconds the model takes")
    return parser.parse_args(given)


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    tls = None
    if options.tls:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(*options.tls)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Windows has no signal handlers on the loop; there Ctrl-C raises KeyboardInterrupt.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopped.set)
    server = FoundryServer(
        model=MODELS[options.model],
        clock=ManualClock() if options.manual_clock else RealClock(),
        rules=Rules(queue=options.queue, work=options.work),
        port=options.port,
        tls=tls,
    )
    server.add_assistant(assistant_id=options.agent, name="local")
    server.add_agent(options.agent_name)
    async with server:
        print(f"PROJECT_ENDPOINT={server.endpoint}", flush=True)
        print(f"AGENT_ID={options.agent}", flush=True)
        print(f"AGENT_NAME={options.agent_name}", flush=True)
        await stopped.wait()


def main(given: Sequence[str] | None = None) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(_arguments(given)))


if __name__ == "__main__":
    main()
