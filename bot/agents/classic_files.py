"""Files at the classic service: what people send along is uploaded, what the agent makes is fetched."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from azure.ai.agents.aio import AgentsClient
from cachetools import TTLCache

from bot.agents.azure import Body, id_of, opened, request
from bot.agents.classic_message import MOST_BYTES, Given, is_image, tools_for, upload_name
from bot.agents.failures import Refused
from bot.agents.fields import mapping
from bot.errors import RequestRefused, ServiceUnavailable, ThreadkeeperError
from bot.ports import Clock
from bot.types import Ask, File, JsonObject

GET_SECONDS = 15.0
NAME_SECONDS = 5.0
"""A file's name is not worth more of a person's time than this."""
READY_LOOKS, READY_PAUSE = 20, 0.5

_KEPT, _KEPT_SECONDS = 10_000, 3_600.0
_UPLOADS, _UPLOADS_SECONDS = 1_000, 600.0
_UNREADY = frozenset({"uploaded", "pending", "running"})

_Upload = tuple[str, str, tuple[tuple[str, int], ...]]


class Files:
    """The files of one project, as far as threads refer to them."""

    def __init__(self, client: AgentsClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._image_purpose = "vision"
        self._names: TTLCache[str, str] = TTLCache(_KEPT, _KEPT_SECONDS)
        # A start that meets another run is made again: its files need not be uploaded again. A process that takes
        # the turn up uploads them anew; the message that names them is looked for first, so it stands there once.
        self._uploads: TTLCache[_Upload, Given] = TTLCache(_UPLOADS, _UPLOADS_SECONDS)
        self._held: TTLCache[str, frozenset[str]] = TTLCache(_KEPT, _KEPT_SECONDS)

    # -- in -------------------------------------------------------------------------------------------------

    async def given(self, ask: Ask, seconds: float) -> Given:
        """Upload the ask's files; they must be there before the message that names them.

        Raises:
            Refused: the service will not take one of them.
            ServiceUnavailable, ServiceBusy, OperatorError: not now.
        """
        upload = (ask.mark.turn, ask.mark.reference, tuple((file.name, len(file.data)) for file in ask.files))
        given = self._uploads.get(upload)
        if given is None:
            given = self._uploads[upload] = await self._uploaded(ask.files, seconds)
        return given

    async def _uploaded(self, files: Sequence[File], seconds: float) -> Given:
        try:
            async with asyncio.timeout(seconds):
                asked = (self._upload(file, seconds) for file in files)
                ended = await asyncio.gather(*asked, return_exceptions=True)
        except TimeoutError:
            raise ServiceUnavailable(f"The files could not be uploaded within {seconds:g} s.") from None
        ids: list[str] = []
        for end in ended:
            if isinstance(end, BaseException):
                raise end
            ids.append(end)
        images = [one for one, file in zip(ids, files, strict=True) if is_image(file)]
        others = [(one, tools_for(file)) for one, file in zip(ids, files, strict=True) if not is_image(file)]
        return Given(tuple(images), tuple(others))

    async def _upload(self, file: File, seconds: float) -> str:
        purpose = self._image_purpose if is_image(file) else "assistants"
        name = upload_name(file)
        body: JsonObject = {"purpose": purpose, "filename": name}
        try:
            # The name is sent as a field too: in the part's header only ASCII is safe.
            made = await request(
                self._client.files.upload, {**body, "file": (name, file.data, file.content_type)}, seconds=seconds
            )
        except Refused as refused:
            if purpose != "vision" or "purpose" not in f"{refused.words} {refused.param}".lower():
                raise
            self._image_purpose = "assistants"  # Microsoft's samples say so, its list of purposes says otherwise
            return await self._upload(file, seconds)
        return await self._ready(made.body)

    async def _ready(self, file: JsonObject) -> str:
        """Wait until the service has taken the file in; a service that never says so is believed to have."""
        file_id = id_of(file)
        for _ in range(READY_LOOKS):
            if file.get("status") not in _UNREADY:
                break
            await self._clock.sleep(READY_PAUSE)
            file = (await request(self._client.files.get, file_id, seconds=GET_SECONDS)).body
        return file_id

    # -- the tools that read them ---------------------------------------------------------------------------

    def opened(self, thread_id: str) -> None:
        """Note that this thread is new: nothing is attached to it."""
        self._held[thread_id] = frozenset()

    async def tools(self, thread_id: str, files: Sequence[File], own: Sequence[JsonObject]) -> list[JsonObject]:
        """The service's tools that read what is attached to the thread, and that the agent's `own` lack.

        What was attached once is asked about later, too. Whether a thread holds files is asked for once.
        """
        fresh = frozenset(kind for file in files for kind in tools_for(file))
        before = self._held.get(thread_id)
        if before is None:
            before = await self._asked(thread_id)
        if before is not None:
            self._held[thread_id] = before | fresh
        lacking = fresh.union(before or ()) - {tool.get("type") for tool in own}
        return [{"type": kind} for kind in sorted(lacking)]

    async def _asked(self, thread_id: str) -> frozenset[str] | None:
        """Which of its tools the thread itself holds files for; None where the service does not say."""
        try:
            thread = await request(self._client.threads.get, thread_id, seconds=NAME_SECONDS)
        except ThreadkeeperError:
            return None  # the run is asked for all the same, and tells what is wrong
        held = mapping(thread.body.get("tool_resources"))
        return frozenset(kind for kind in held if mapping(held.get(kind)))

    # -- out ------------------------------------------------------------------------------------------------

    async def names(self, ids: Sequence[str]) -> dict[str, str]:
        """The names of these files, as far as the service tells them."""
        unknown = [one for one in ids if one not in self._names]
        await asyncio.gather(*(self._name(one) for one in unknown))
        return {one: self._names.get(one, "") for one in ids}

    async def _name(self, file_id: str) -> None:
        try:
            file = await request(self._client.files.get, file_id, seconds=NAME_SECONDS)
        except Refused:
            self._names[file_id] = ""
        except ThreadkeeperError:
            return
        else:
            self._names[file_id] = str(file.body.get("filename") or "").replace("\\", "/").rpartition("/")[2]

    async def content(self, file_id: str, seconds: float) -> bytes:
        """The file's bytes.

        Raises:
            RequestRefused: it is gone, or too large.
            ServiceUnavailable, ServiceBusy, OperatorError: not now.
        """
        body = await opened(self._client.files.get_content, file_id, seconds=seconds)
        try:
            async with asyncio.timeout(seconds):
                return await _whole(body, seconds)
        except TimeoutError:
            raise ServiceUnavailable(f"The file did not come within {seconds:g} s.") from None
        finally:
            await body.close()

    async def delete(self, ids: Sequence[str], seconds: float) -> None:
        """Delete these; what the service refuses to delete, it does not have any more, or not for us."""
        for file_id in ids:
            with suppress(Refused):
                await request(self._client.files.delete, file_id, seconds=seconds)


async def _whole(body: Body, seconds: float) -> bytes:
    data = bytearray()
    while (piece := await body.next(seconds)) is not None:
        data += piece
        if len(data) > MOST_BYTES:
            raise RequestRefused("The file is too large.")
    return bytes(data)
