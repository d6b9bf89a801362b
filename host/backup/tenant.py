"""What the actors of one tenant held when a backup was taken, as an export: `actors import` writes it, to any host.

So one tenant is restored while the host serves all others, by the one way in which actors come to a host from outside.
Its functions, secrets and keys are not touched by that: what is deployed now goes on with the older state.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host.actors.exports import actor_lines
from host.backup.archive import BackupError, Told, check_names, read_manifest
from host.backup.restore import check_room, shards_of, unpack
from host.supervisor.transfer import end_line, head_line


@contextmanager
def exported(backup: Path, tenant: str, told: Told) -> Iterator[Iterator[bytes]]:
    """The pieces of an export. The shards are copied for it, into the folder for temporary files, and verified.

    Raises BackupError, also when the tenant had no actor; OSError.
    """
    manifest = read_manifest(backup)
    check_names(backup, manifest)
    wanted = {name: size for name, (size, _) in manifest.files.items() if name.startswith("shards")}
    with tempfile.TemporaryDirectory(prefix="tenure-restore-") as scratch:
        check_room(Path(scratch), sum(wanted.values()))
        folder = Path(scratch) / "backup"
        layout = unpack(backup, manifest, folder, told, wanted.__contains__)
        with shards_of(folder, layout) as shards:
            lines = (line for engine in shards for line in actor_lines(engine, tenant, None))
            first = next(lines, None)
            if first is None:
                raise BackupError(f"{backup} has no actor of a tenant '{tenant}'.")
            yield _file(tenant, manifest.created_at, first, lines)


def _file(tenant: str, moment: str, first: str, lines: Iterator[str]) -> Iterator[bytes]:
    counts = {"actors": 0, "keys": 0}
    yield head_line(tenant, moment)
    line: str | None = first
    while line is not None:
        counts["actors" if line.startswith('{"actor":') else "keys"] += 1
        yield line.encode() + b"\n"
        line = next(lines, None)
    yield end_line(counts)
