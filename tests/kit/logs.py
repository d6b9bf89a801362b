"""A function's log as a host in this process has it: with all that was noted so far."""

from __future__ import annotations

from host import server
from host.telemetry.segments import Entry


async def lines_of(host: server.Host, function_id: str, after: int = 0, *types: str) -> list[Entry]:
    """The lines numbered above `after`, of the given types or of all, the oldest first."""
    host.hand_on()
    journal = host.control.observed.journal
    page = await journal.read(function_id, after, lambda line: not types or line["type"] in types, 1_000_000)
    return page.entries
