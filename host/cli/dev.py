"""`tenure dev`: a whole host in this process, serving one project that is rebuilt whenever a file of it is saved.

The host is the real one, on the project's own `.tenure/dev`, so what an actor stored is there the next time. It is
used with its own operator key and leaves the manifest alone: `func_id` belongs to the host the project ships to.

A build or a deploy that fails is shown, and the version before goes on serving. Builds run in a thread, one at a
time; saves made during one are seen after it, together.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import DefaultFilter, awatch

from host import server
from host.cli import building, project, shipping
from host.cli.client import AdminClient, AdminError, Json
from host.cli.console import CliError, say, size
from host.cli.project import STATE_FOLDER, Project
from host.cli.settings import Settings
from host.config import DEFAULT_ADMIN, ServeConfig
from host.model.address import Address
from host.model.errors import TenureError
from host.telemetry import log

FOLLOW_S = 60.0
"""How long the log is waited for at once."""

if TYPE_CHECKING:
    from host.control import Control


def run(folder: Path, listen: Address) -> None:
    """Run the project around `folder` until SIGINT or SIGTERM. Raises CliError when the host cannot be started."""
    work = project.load(folder)
    building.find_sdk(work.root)  # said now, not as the first of many build errors
    config = ServeConfig(work.root / STATE_FOLDER / "dev", listen, DEFAULT_ADMIN._replace(port=0))
    log.configure(level="warn")  # the terminal is for the project; what the host does well goes without saying
    try:
        asyncio.run(_develop(work, config))
    except TenureError as error:
        raise CliError(error.detail) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            hint = "Stop what listens there, or take a free port: --listen 127.0.0.1:0."
            raise CliError(f"{listen} is in use.", hint) from None
        raise CliError(str(error)) from None


async def _develop(work: Project, config: ServeConfig) -> None:
    stop = asyncio.Event()
    async with server.running(config) as host:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        control = host.control
        client = AdminClient(Settings(control.admin_url, control.operator_key, "dev", Path()))
        session = _Session(work.root, client, lambda function: _follow(control, function["id"]))
        await session.deploy()
        say("Watching for changes. Ctrl-C stops.", to=sys.stderr)
        async for _changes in awatch(work.root, watch_filter=_Sources(), stop_event=stop):
            await session.deploy()
        session.close()
    say("Stopped. What the actors stored is kept in .tenure/dev.", to=sys.stderr)


class _Sources(DefaultFilter):
    """Every file a person may have saved: not what npm, git, editors or `tenure` itself write."""

    ignore_dirs = (*DefaultFilter.ignore_dirs, STATE_FOLDER)


class _Session:
    """Builds and deploys the project again and again, following the log of the function it is."""

    def __init__(self, root: Path, client: AdminClient, follow: Callable[[Json], Callable[[], None]]) -> None:
        self._root = root
        self._client = client
        self._follow = follow
        self._unfollow: Callable[[], None] | None = None
        self._function_id = ""
        self._serves = False

    async def deploy(self) -> None:
        """Build and deploy what is on disk now. A mistake of the project is shown, never raised."""
        began = time.monotonic()
        say("Building…", to=sys.stderr)
        try:
            work = await asyncio.to_thread(project.load, self._root)
            built = await asyncio.to_thread(building.build, work)
            function = await asyncio.to_thread(self._function, work)
            self._listen(function)
            await asyncio.to_thread(self._ship, work, built, function["id"])
        except CliError as error:
            error.show()
            if self._serves:
                say("The version before goes on serving.", to=sys.stderr)
            return
        self._serves = True
        took = time.monotonic() - began
        say(f"{time.strftime('%H:%M:%S')} {function['name']} {size(built.byte_count)} deployed in {took:.1f} s")
        say(f"→ {function['url']}")

    def close(self) -> None:
        self._client.close()
        if self._unfollow is not None:
            self._unfollow()

    def _listen(self, function: Json) -> None:
        """Follow the log before the first deploy, so that the first request's lines are shown."""
        if function["id"] == self._function_id:
            return
        if self._unfollow is not None:
            self._unfollow()
        self._function_id = function["id"]
        self._unfollow = self._follow(function)

    def _function(self, work: Project) -> Json:
        """The project's function on this host, found by name: the manifest's id is another host's."""
        try:
            return self._client.function(work.function_name)
        except AdminError as error:
            if error.status != 404:
                raise
        return self._client.create_function(work.function_name, bool(work.manifest.actors))

    def _ship(self, work: Project, built: building.Built, function_id: str) -> None:
        bundle = building.write_bundle(work, built, function_id)
        version = self._client.upload(function_id, bundle, lambda _count: None)
        version = shipping.wait(self._client, function_id, version, lambda _text: None)
        for warning in version.get("warnings") or ():
            say(f"Warning: {warning}", to=sys.stderr)


def _follow(control: Control, function_id: str) -> Callable[[], None]:
    """Show what the function logs from now on; returns what ends that. Invocations have no line here."""
    journal = control.observed.journal
    follower = journal.follow(function_id, "dev", lambda line: bool(line["type"] != "invocation"))

    async def show() -> None:
        try:
            while True:
                for line in await control.stacks.shown(function_id, await follower.take(FOLLOW_S)):
                    _show(line)
        finally:
            journal.leave(function_id, "dev", follower)

    showing = asyncio.get_running_loop().create_task(show())

    def leave() -> None:
        showing.cancel()

    return leave


def _show(line: Json) -> None:
    clock = time.strftime("%H:%M:%S", time.localtime(line["time"] / 1000))
    with contextlib.suppress(OSError):  # a terminal that went away is no reason to stop serving
        say(f"{clock} {line['level']:<5} {line['instance']}: {line['text']}")
