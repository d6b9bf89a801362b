"""Commands about backups: `backup create`, `list` and `delete` ask the host; `verify` and `restore` work on the files
of a backup, on whatever machine they are.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from host.cli import console, exports, settings
from host.cli.client import AdminClient, Json
from host.cli.commands.actors import import_file
from host.cli.console import CliError, counted, say, say_json, say_table, size

if TYPE_CHECKING:
    from host.backup.archive import Manifest

KEEP_MAX = 1_000
_ASK_EVERY_S = 0.2
_TOLD_EVERY_BYTES = 16 << 20

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.group("backup")
def backup() -> None:
    """For the operator: backups of a whole host, made while it serves.

    \b
    tenure backup create --keep 7
    tenure backup verify /backups/20261123T130141Z-412
    tenure backup restore /backups/20261123T130141Z-412 --data restored
    """


@backup.command("create")
@click.option("--keep", type=click.IntRange(1, KEEP_MAX), help="Then remove all but the newest N.", metavar="N")
@json_option
def create(keep: int | None, as_json: bool) -> None:
    """Back up everything the host keeps, into its folder for backups (`tenure serve --backups`).

    \b
    tenure backup create
    tenure backup create --keep 7
    """
    client = AdminClient(settings.load())
    with console.step("Backing up") as tell:
        made = client.create_backup(keep)
        while made["state"] == "running":
            time.sleep(_ASK_EVERY_S)
            made = client.backup(made["id"])
            if made["size"] is not None:
                tell(f"{size(made['written'])} of {size(made['size'])}")
    if made["state"] != "complete":
        raise CliError(f"The backup failed: {made['error']}", "Nothing of it is kept. Try again.")
    if as_json:
        say_json(made)
        return
    say(f"✅ {made['id']} ({size(made['size'])}); calls waited {made['paused_ms']} ms for it.")
    say("The key of the secrets (DATA/secrets.key) is not in it: keep that apart.", to=sys.stderr)


@backup.command("list")
@json_option
def list_backups(as_json: bool) -> None:
    """List the host's backups, the oldest first.

    \b
    tenure backup list
    """
    found = AdminClient(settings.load()).backups()
    if as_json:
        say_json(found)
    elif not found:
        say("There is no backup. Make one with `tenure backup create`.", to=sys.stderr)
    else:
        say_table(["BACKUP", "CREATED", "STATE", "SIZE", "VERSION"], [_row(one) for one in found])
        for one in found:
            if one["error"]:
                console.warn(f"{one['id']}: {one['error']}")


@backup.command("delete")
@click.argument("backup_id", metavar="BACKUP")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(backup_id: str, yes: bool) -> None:
    """Delete a backup of the host, by its id.

    \b
    tenure backup delete 20261123T130141Z-412
    """
    client = AdminClient(settings.load())
    found = client.backup(backup_id)
    console.confirm(f"Delete the backup of {found['created_at']} ({size(found['size'] or 0)})?", yes)
    client.delete_backup(backup_id)
    say(f"The backup {backup_id} is deleted.")


@backup.command("verify")
@click.argument("folder", type=FOLDER, metavar="FOLDER")
@json_option
def verify(folder: Path, as_json: bool) -> None:
    """Read all of the backup in FOLDER and hold it against its checksums.

    \b
    tenure backup verify /backups/20261123T130141Z-412
    """
    from host.backup.archive import verify as verified

    with _errors_told(), _counted("Reading") as told:
        manifest = verified(folder, told)
    if as_json:
        say_json(_shown(folder, manifest))
    else:
        say(f"✅ {folder} is whole: {counted(len(manifest.files), 'file')}, {size(manifest.size)}.")


@backup.command("restore")
@click.argument("folder", type=FOLDER, metavar="FOLDER")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder that is made of it; empty, or not there.")
@click.option("--tenant", help="In place of --data: what this tenant's actors stored, into the running host.")
@click.option("--replace", is_flag=True, help="With --tenant: replace actors that are there.")
@json_option
def restore(folder: Path, data: Path | None, tenant: str | None, replace: bool, as_json: bool) -> None:
    """Make a data folder of the backup in FOLDER, or put one tenant's actors of it into the running host.

    \b
    tenure backup restore /backups/20261123T130141Z-412 --data restored
    tenure backup restore /backups/20261123T130141Z-412 --tenant acme --replace
    """
    if (data is None) == (tenant is None):
        raise click.UsageError("Say where to: --data DIR for everything, or --tenant TENANT for one tenant's actors.")
    if replace and tenant is None:
        raise click.UsageError("--replace goes with --tenant; a whole backup is restored into an empty folder.")
    if data is not None:
        _restore(folder, data, as_json)
    elif tenant is not None:
        _restore_tenant(folder, tenant, replace, as_json)


def _restore(folder: Path, data: Path, as_json: bool) -> None:
    from host.backup.restore import restore as restored

    with _errors_told(), _counted("Restoring") as told:
        found = restored(folder, data.absolute(), told)
    if as_json:
        counts = {name: getattr(found, name) for name in ("tenants", "functions", "actors", "secrets")}
        say_json({**_shown(folder, found.manifest), "data": str(data), **counts})
    else:
        what = f"{counted(found.functions, 'function')}, {counted(found.actors, 'actor')}"
        say(f"✅ {data} is as it was at {found.manifest.created_at}: {what}.")
    if found.secrets:
        console.warn(
            f"it has {counted(found.secrets, 'secret')}. Put the secrets.key that they were stored with into {data}, "
            "or set TENURE_SECRETS_KEY, before you start a host on it."
        )


def _restore_tenant(folder: Path, tenant: str, replace: bool, as_json: bool) -> None:
    from host.backup.tenant import exported

    client = AdminClient(settings.load())
    client.tenant(tenant)  # before anything long
    with tempfile.TemporaryDirectory(prefix="tenure-restore-") as scratch:
        file = Path(scratch) / "export.jsonl"
        with _errors_told(), _counted("Unpacking") as told, exported(folder, tenant, told) as pieces:
            exports.save(pieces, file, sys.stdout.buffer, lambda _count: None)
        done = import_file(client, file, tenant, replace=replace)
    if as_json:
        say_json({"tenant": tenant, "imported": done})
    else:
        say(f"✅ {counted(done, 'actor')} of '{tenant}' restored.")


def _row(one: Json) -> list[str]:
    done = size(one["size"]) if one["state"] == "complete" else f"{size(one['written'])} so far"
    return [one["id"], one["created_at"], one["state"], done, one["version"] or "-"]


def _shown(folder: Path, manifest: Manifest) -> Json:
    return {
        "folder": str(folder),
        "id": manifest.id,
        "created_at": manifest.created_at,
        "version": manifest.version,
        "files": len(manifest.files),
        "size": manifest.size,
    }


@contextmanager
def _errors_told() -> Iterator[None]:
    """What goes wrong in the block becomes CliError."""
    from host.backup.archive import BackupError

    try:
        yield
    except BackupError as error:
        raise CliError(str(error)) from None
    except OSError as error:
        where = f" {os.fspath(error.filename)}:" if isinstance(error.filename, str | os.PathLike) else ""
        raise CliError(f"It could not be done:{where} {error.strerror or error}.") from None


@contextmanager
def _counted(title: str) -> Iterator[Callable[[int], None]]:
    """A step that tells how many bytes it has done."""
    done = shown = 0
    with console.step(title) as tell:

        def told(count: int) -> None:
            nonlocal done, shown
            done += count
            if done - shown >= _TOLD_EVERY_BYTES:
                shown = done
                tell(size(done))

        yield told
        tell(size(done))


COMMANDS = (backup,)
