"""The egress process: the one that connects to the outside for all workers. It has no file of the host's.

It is forked and confined like a worker, with other needs: it may make connections, and reads what resolving names and
checking certificates takes. Its listening socket belongs to the control process, which starts another when this ends.
When nobody has a link to it any more, as after the end of a host that was killed, it ends itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from host.bindings.egress import EGRESS, Egress
from host.bindings.ports import Fetching
from host.cluster.kinds import Kind
from host.cluster.peer import listen
from host.confine.process import Confined, Needs, confine
from host.gateway.listen import new_event_loop
from host.supervisor.asking import Desk
from host.telemetry import log

GRACE_S = 10.0
LOOK_S = 2.0
ALONE_LOOKS_MAX = 10
"""Looks in a row without a link after which it ends."""

NAME_FILES = tuple(
    Path("/etc", name)
    for name in ("resolv.conf", "hosts", "nsswitch.conf", "host.conf", "gai.conf", "services", "protocols")
)
CERTIFICATES = (Path("/etc/ssl"), Path("/etc/pki"), Path("/usr/share/ca-certificates"))

_log = log.get("egress")


class EgressProcess:
    """One that fetches with `fetcher`."""

    def __init__(self, fetcher: Fetching, confined: Confined) -> None:
        self._egress = Egress(fetcher)
        self._confined = confined
        self._names = _identities()
        self._over = asyncio.Event()

    async def run(self, sock: socket.socket) -> None:
        """Until SIGTERM, or until nobody is there."""
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            desk = Desk({Kind.STATUS: self._status})
            stack.push_async_callback(desk.close)
            stack.push_async_callback(self._egress.close)
            handlers = {**self._egress.handlers, **desk.handlers}
            listener = await listen(sock, EGRESS, handlers, on_lost=self._egress.lost)
            stack.callback(listener.close)
            loop.add_signal_handler(signal.SIGTERM, self._over.set)
            alone = 0
            while not self._over.is_set() and alone < ALONE_LOOKS_MAX and self._names == _identities():
                alone = 0 if listener.links else alone + 1
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._over.wait()
                except TimeoutError:
                    continue
            listener.stop()
            await self._egress.retire(listener.links, GRACE_S)

    async def _status(self, _question: object) -> dict[str, Any]:
        return {"pid": os.getpid(), "under_way": self._egress.under_way, "confined": self._confined.to_json()}


def _identities() -> list[tuple[int, int] | None]:
    """Which files say how names are resolved. When others take their place, only a new process may read those."""
    found: list[tuple[int, int] | None] = []
    for path in NAME_FILES:
        try:
            status = path.stat()
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return found


def run(spec: dict[str, Any], descriptors: list[int]) -> None:
    """In a new process. `permitted` of the spec are networks in text, as `ServeConfig.outbound_permitted`.

    Raises ConfineError.
    """
    from host.bindings.fetching import Fetcher  # workers are there sooner when the nursery has not imported it

    sock = socket.socket(fileno=descriptors[0])
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)  # the last: which addresses this machine has
    needs = Needs(read=(*NAME_FILES, *CERTIFICATES), families=families, connects=True)
    fetcher = Fetcher(tuple(ip_network(name) for name in spec["permitted"]))
    process = EgressProcess(fetcher, confine(needs, spec["confine"]))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(process.run(sock))
