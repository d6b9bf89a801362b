"""Getting a bundle to serve: register the function, upload, and wait for what the host makes of it.

A failed ship changes nothing that serves; the host keeps the failed version with its reasons, which are shown here.
"""

from __future__ import annotations

import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

from host.cli import console, project
from host.cli.client import AdminClient, AdminError, Json
from host.cli.console import CliError
from host.cli.project import Project

POLL_S = 0.1
DEPLOY_TIMEOUT_S = 300.0


def ensure_registered(client: AdminClient, work: Project) -> Json:
    """The project's function on the host, registered first when the project has none yet (its manifest gets the id)."""
    if work.function_id:
        try:
            return client.function(work.function_id)
        except AdminError as error:
            if error.status != 404:
                raise
            raise CliError(
                f"The host at {client.endpoint} has no function {work.function_id} ('{work.function_name}').",
                f"If this is another host than before, remove func_id from {work.path.name} and ship again.",
            ) from None
    function = _adopt(client, work) if work.lost_id else None
    if function is None:
        function = register(client, work.function_name, actor=bool(work.manifest.actors))
        console.say(f"  registered '{function['name']}' ({function['id']})", to=sys.stderr)
    project.write_function(work.path, function["id"], function["name"])
    return function


def register(client: AdminClient, name: str, actor: bool) -> Json:
    """Create a function on the host. A name that is taken is an error that says how to ship to the one there is."""
    try:
        return client.create_function(name, actor)
    except AdminError as error:
        if error.status != 409:
            raise
        raise CliError(
            error.message,
            f"Choose another name, or ship to it: `tenure inspect {name}` shows its id, which goes into the "
            "manifest as func_id under [edge_compute].",
        ) from None


def _adopt(client: AdminClient, work: Project) -> Json | None:
    """The function of the project's name: a pasted manifest has lost its id, and the name is what is left of it."""
    try:
        return client.function(work.function_name)
    except AdminError as error:
        if error.status != 404:
            raise
        return None


def ship(client: AdminClient, function_id: str, bundle: Path, *, deploy: bool = True) -> Json:
    """Upload a bundle and wait until it serves or, without `deploy`, until it can. Returns the version; raises CliError
    with every reason if refused.
    """
    with console.transfer("Uploading", bundle.stat().st_size) as sent:
        version = client.upload(function_id, bundle, sent, deploy=deploy)
    with console.step("Deploying" if deploy else "Compiling") as tell:
        version = wait(client, function_id, version, tell)
        tell(f"version {version['number']}")
    for warning in version.get("warnings") or ():
        console.warn(str(warning))
    return version


def wait(client: AdminClient, function_id: str, version: Json, tell: Callable[[str], None]) -> Json:
    """Ask for the version until it is deploy_ok. Raises CliError when it is deploy_failed or takes too long."""
    deadline = time.monotonic() + DEPLOY_TIMEOUT_S
    while version["status"] == "compiling":
        if time.monotonic() > deadline:
            raise CliError(
                f"The host is still compiling version {version['number']}.",
                "It may yet serve: look with `tenure inspect`.",
            )
        tell(f"version {version['number']}, compiling")
        time.sleep(POLL_S)
        version = client.version(function_id, version["number"])
    if version["status"] != "deploy_ok":
        reasons = [_reason(error) for error in version.get("errors") or ["The host gave no reason."]]
        raise CliError(f"Version {version['number']} was not deployed; what served before still serves.", more=reasons)
    return version


def check_bundle(path: Path) -> None:
    """A quick look before the upload, so that a wrong file costs no upload. The host checks everything itself."""
    if not path.is_file():
        raise CliError(f"There is no file {path}.")
    if not zipfile.is_zipfile(path):
        raise CliError(
            f"{path} is not a zip.", "A bundle is a zip of tenure.toml and component.wasm; `tenure build` makes it."
        )


def _reason(error: object) -> str:
    return str(error.get("detail") or error) if isinstance(error, dict) else str(error)
