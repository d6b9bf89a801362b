"""Request bodies that hold little memory, and are read to their end so that the client gets to read the reply.

Quart takes in a body as fast as it comes, whether or not anybody reads it; `CountedBody` keeps at most the limit of it.
A server that answers and closes while the client is still sending makes the client's system throw the answer away: the
client sees a broken connection instead of "too large". So `drain` reads on for a while, keeping nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import cast

from quart import Request, request
from quart.wrappers.request import Body

DRAIN_S_MAX = 10.0
DRAIN_IDLE_S_MAX = 1.0
"""A client that sends nothing for this long is not waited for."""
DRAIN_FACTOR = 4
"""A body of more than this many times the limit is cut off."""


class CountedBody(Body):
    """`received` counts all bytes that came; of a body over `limit` only the newest piece is kept."""

    def __init__(self, expected_content_length: int | None, max_content_length: int | None) -> None:
        super().__init__(None, None)
        self.limit = max_content_length or 0
        self.received = 0

    def append(self, data: bytes) -> None:
        self.received += len(data)
        if self.received > self.limit:
            self.clear()
        super().append(data)

    @property
    def too_large(self) -> bool:
        return self.received > self.limit


class AdminRequest(Request):
    body_class = CountedBody


def body() -> CountedBody:
    """The running request's."""
    return cast(CountedBody, request.body)


async def drain() -> None:
    """Read what the client is still sending, within bounds. Returns at once when the body is complete."""
    coming = body()
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S_MAX):
            while coming.received <= coming.limit * DRAIN_FACTOR:
                try:
                    async with asyncio.timeout(DRAIN_IDLE_S_MAX):
                        await anext(coming)
                except StopAsyncIteration:
                    return
