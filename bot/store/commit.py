"""Group commit: writes that arrive while a transaction is being committed share the next one.

One commit costs a flush to disk; sharing it multiplies the writes a second and costs nothing at light load.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from bot.errors import ThreadkeeperError
from bot.store.writers import Writer

T = TypeVar("T")
Operation = Callable[[sa.Connection], T]

MOST_IN_ONE = 64


class GroupCommit:
    """Runs write operations one after the other in shared transactions.

    An operation that raises a `ThreadkeeperError` must not have written before it: the others are committed all the
    same. Any other failure rolls the shared transaction back, and each operation is then tried alone, so that the
    failure reaches only the caller it belongs to. Operations must therefore have no effect but on the database.
    They are plain functions, which may run in another thread.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._pending: deque[tuple[Operation[Any], asyncio.Future[Any]]] = deque()
        self._flusher: asyncio.Task[None] | None = None

    async def write(self, operation: Operation[T]) -> T:
        """Run it and return its result once it is committed."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending.append((operation, done))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush(), name="group-commit")
        return await done

    async def close(self) -> None:
        """Wait for what was begun."""
        while self._flusher is not None:
            await asyncio.wait([self._flusher])
        await self._writer.close()

    async def _flush(self) -> None:
        try:
            while self._pending:
                batch = [self._pending.popleft() for _ in range(min(len(self._pending), MOST_IN_ONE))]
                await self._commit(batch)
        finally:
            self._flusher = None

    async def _commit(self, batch: list[tuple[Operation[Any], asyncio.Future[Any]]]) -> None:
        operations = [operation for operation, _ in batch]
        outcomes: list[tuple[bool, Any]] = []
        try:
            outcomes = await self._writer.run(lambda connection: _outcomes(operations, connection))
        except Exception as error:
            if len(batch) == 1:
                outcomes = [(False, error)]
            else:
                for one in batch:
                    await self._commit([one])
                return
        for (_, done), (worked, value) in zip(batch, outcomes, strict=True):
            if done.done():  # its caller was cancelled; the write stands
                continue
            if worked:
                done.set_result(value)
            else:
                done.set_exception(value)


def _outcomes(operations: Sequence[Operation[Any]], connection: sa.Connection) -> list[tuple[bool, Any]]:
    """What each came to: its result, or its refusal."""
    outcomes: list[tuple[bool, Any]] = []
    for operation in operations:
        try:
            outcomes.append((True, operation(connection)))
        except ThreadkeeperError as refusal:
            outcomes.append((False, refusal))
    return outcomes
