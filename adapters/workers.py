"""Threads for functions that block. A call that nobody waits for any more keeps its thread, so these are counted."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future

from adapters.contract import ToolBusy

AT_ONCE = 64
"""Twice what one tool may have, so that a slow one leaves threads for the others."""
LOST_PER_TOOL = 4


class Workers:
    """At most `at_once` awaited calls run at a time; `lost_per_tool` abandoned ones of a tool make it busy.

    The threads are daemons of our own: those of a ThreadPoolExecutor are joined when the interpreter exits,
    so one function that hangs would keep the process from ending.
    """

    def __init__(self, at_once: int = AT_ONCE, lost_per_tool: int = LOST_PER_TOOL) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._lost_per_tool = lost_per_tool
        self._lost: Counter[str] = Counter()
        self._lock = threading.Lock()

    async def run(self, name: str, function: Callable[[], object]) -> object:
        """Run it in a thread, with this task's context variables.

        Raises:
            ToolBusy: earlier calls of this name were given up on and have not returned.
            Exception: whatever the function raised.
        """
        self._check(name)
        async with self._slots:
            self._check(name)  # again: those whose slot this was may just have been given up on
            job = _Job(contextvars.copy_context(), function)
            threading.Thread(target=job.run, name=f"tool {name}", daemon=True).start()
            try:
                value, error = await asyncio.wrap_future(job.outcome)
            except asyncio.CancelledError:
                self._give_up(name, job)
                raise
        if isinstance(error, Exception):
            raise error
        if error is not None:  # SystemExit and its like must not reach the event loop
            raise RuntimeError(type(error).__name__) from error
        return value

    def _check(self, name: str) -> None:
        with self._lock:
            lost = self._lost.get(name, 0)
        if lost >= self._lost_per_tool:
            raise ToolBusy(f"it is busy, {lost} earlier calls have not come back. Say so; try later.")

    def _give_up(self, name: str, job: _Job) -> None:
        with self._lock:
            self._lost[name] += 1

        def returned(_: object) -> None:
            with self._lock:
                self._lost[name] -= 1
                if not self._lost[name]:
                    del self._lost[name]

        job.ended.add_done_callback(returned)


class _Job:
    """One call. Its outcome is a pair, because a future refuses to carry a StopIteration."""

    def __init__(self, context: contextvars.Context, function: Callable[[], object]) -> None:
        self.outcome: Future[tuple[object, BaseException | None]] = Future()
        self.ended: Future[None] = Future()
        self._context = context
        self._function = function
        self.outcome.set_running_or_notify_cancel()  # so that giving up does not cancel it

    def run(self) -> None:
        try:
            result = self._context.run(self._function), None
        except BaseException as error:  # noqa: BLE001, RUF100 - it is handed to the one who waits
            result = None, error
        self.ended.set_result(None)
        self.outcome.set_result(result)
