"""What happens to the host while it is loaded: deploys and rollbacks, bells, and one worker that is killed.

Only the worker of the last slot is killed: whatever the control process and the other workers leak adds up to the end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.kit.admin import Admin, Shipped
from tests.kit.bundles import component_of, manifest_text, zip_of
from tests.kit.process import HostProcess
from tests.kit.until import wait_until
from tools.crash.traffic import Auditor, Connection, Site

DEPLOY_EVERY_S, ROLLBACK_AFTER_S = 40.0, 10.0
KILL_EVERY_S = 60.0
BELL_EVERY_S = 0.25
BELL_IN_MS = 2_000
BELLS_LATE_S = 20.0
_GONE = (OSError, asyncio.IncompleteReadError, TimeoutError)


@dataclass
class Events:
    """What was done so far. `bells` are those that were acknowledged; `killed_at` is of the monotonic clock."""

    deploys: int = 0
    rollbacks: int = 0
    killed_at: list[float] = field(default_factory=list)
    bells: list[str] = field(default_factory=list)
    bells_refused: int = 0


class Happenings:
    """Until `stop`. `project` is the function that is deployed again and again."""

    def __init__(self, host: HostProcess, project: Path, shipped: Shipped, ledger: Shipped) -> None:
        self.done = Events()
        self._host, self._project, self._shipped = host, project, shipped
        self._site = Site(host.port, ledger.host, 1)
        self._tasks = [asyncio.ensure_future(work) for work in (self._deploy(), self._kill(), self._ring())]

    async def stop(self) -> None:
        """Raises what went wrong."""
        for task in self._tasks:
            task.cancel()
        for end in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                raise end

    async def unrung(self) -> list[str]:
        """Bells that were acknowledged and never rang: those that are due have some time left for it."""
        connection = await Connection.open(self._site)
        auditor = Auditor(connection)
        silent = []
        for bell in self.done.bells:
            try:
                await wait_until(partial(auditor.rung, bell), bell, BELLS_LATE_S)
            except AssertionError:
                silent.append(bell)
        connection.close()
        return silent

    async def _deploy(self) -> None:
        """A new version, and back to the first."""
        component = (await asyncio.to_thread(component_of, self._project)).read_bytes()
        text = manifest_text(self._project)
        text += f'\n[edge_compute]\nfunc_id = "{self._shipped.id}"\nfunc_name = "{self._shipped.name}"\n'
        async with self._host.admin() as admin:
            while True:
                await asyncio.sleep(DEPLOY_EVERY_S - ROLLBACK_AFTER_S)
                manifest = f'{text}\n[env_vars]\nRELEASE = "{self.done.deploys}"\n'
                bundle = zip_of({"tenure.toml": manifest.encode(), "component.wasm": component})
                await admin.deploy(self._shipped.id, bundle)
                self.done.deploys += 1
                await asyncio.sleep(ROLLBACK_AFTER_S)
                await self._roll_back(admin)

    async def _roll_back(self, admin: Admin) -> None:
        first = {"version": self._shipped.version["number"]}
        (await admin.http.post(f"/v1/functions/{self._shipped.id}/deployments", json=first)).raise_for_status()
        self.done.rollbacks += 1

    async def _kill(self) -> None:
        while True:
            await asyncio.sleep(KILL_EVERY_S)
            workers = await asyncio.to_thread(self._host.workers)
            os.kill(workers[max(workers)], signal.SIGKILL)
            self.done.killed_at.append(time.monotonic())

    async def _ring(self) -> None:
        """Set bells, a new one each time."""
        number = 0
        while True:
            try:
                connection = await Connection.open(self._site)
                while True:
                    await asyncio.sleep(BELL_EVERY_S)
                    number += 1
                    status, _ = await connection.ask("POST", f"/bells/soak-{number}?in={BELL_IN_MS}")
                    if status == 200:
                        self.done.bells.append(f"soak-{number}")
                    else:
                        self.done.bells_refused += 1
            except _GONE:
                self.done.bells_refused += 1
