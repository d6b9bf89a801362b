"""/v1/backups: the operator makes backups of the whole host, sees what there is, and removes old ones."""

from __future__ import annotations

from typing import Annotated, TypedDict

from msgspec import Meta
from quart import Blueprint

from host.admin.contract import Accepted, Input, NoContent, takes
from host.admin.paging import Paging, page_of
from host.admin.services import services
from host.admin.shapes import Count, Next, Size, Time
from host.backup.backups import KEEP_MAX, Backups, BackupState
from host.backup.backups import Backup as Made
from host.model.errors import Unavailable

blueprint = Blueprint("backups", __name__)


class Backup(TypedDict):
    """A backup of the whole host: one that is kept, that is being made, or that failed last."""

    id: str
    created_at: Time
    state: BackupState
    version: Annotated[str, Meta(description='Of the tenure that made it; "" until it is complete.')]
    size: Annotated[Size | None, Meta(description="Null until guests have been paused for it.")]
    written: Annotated[Size, Meta(description="What is done of `size`.")]
    files: Count | None
    paused_ms: Annotated[float | None, Meta(description="How long guests waited for it.")]
    error: Annotated[str | None, Meta(description="Why it failed.")]


class BackupPage(TypedDict):
    backups: list[Backup]
    next: Next


class NewBackup(Input):
    keep: Annotated[int, Meta(ge=1, le=KEEP_MAX, description="Then remove all but the newest so many.")] | None = None


@blueprint.get("/backups")
@takes()
async def list_backups(query: Paging) -> BackupPage:
    """List the backups of the host, the oldest first."""
    page, following = page_of(query, await _backups().all(), lambda one: (one.id,))
    return {"backups": list(map(_shown, page)), "next": following}


@blueprint.post("/backups")
@takes()
async def create_backup(body: NewBackup) -> Accepted[Backup]:
    """Begin a backup of everything the host keeps. It goes on when this answers."""
    return _shown(await _backups().create(body.keep)), 202


@blueprint.get("/backups/<backup_id>")
async def get_backup(backup_id: str) -> Backup:
    """Show a backup. Ask until its `state` is no longer `running`."""
    return _shown(await _backups().one(backup_id))


@blueprint.delete("/backups/<backup_id>")
async def delete_backup(backup_id: str) -> NoContent:
    """Delete a backup."""
    await _backups().delete(backup_id)
    return "", 204


def _backups() -> Backups:
    found = services().backups
    if found is None:
        raise Unavailable("This host makes no backups.")
    return found


def _shown(one: Made) -> Backup:
    return {
        "id": one.id,
        "created_at": one.created_at,
        "state": one.state,
        "version": one.version,
        "size": one.size,
        "written": one.written,
        "files": one.files,
        "paused_ms": one.paused_ms,
        "error": one.error,
    }
