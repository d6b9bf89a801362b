"""The first key of a host: made at its first start and left in a file that only its owner can read.

The file is written and synced before the key is stored. So a crash in between leaves a file with a key that is not
known yet, and the next start takes it over; never a host whose only key nobody has.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from host.model.errors import HostError
from host.registry.auth import KEY, new_key
from host.registry.records import DEFAULT_TENANT
from host.registry.registry import Registry

OPERATOR_KEY_FILE = "operator.key"


async def ensure_operator_key(data_dir: Path, registry: Registry) -> bool:
    """See to it that there is an operator's key. True if it was made now: `<data_dir>/operator.key` has it.

    Raises HostError when the file is there with something else in it.
    """
    if registry.accounts.has_operator_key():
        return False
    key = await asyncio.to_thread(_write_or_read, data_dir / OPERATOR_KEY_FILE)
    await registry.accounts.create_key(DEFAULT_TENANT, "operator", "operator", key=key)
    return True


def _write_or_read(path: Path) -> str:
    """The key in the file at `path`, made now if there is none. The file appears whole or not at all."""
    key = new_key()
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)  # unlike a rename, never replaces what is there
    except FileExistsError:
        key = _read(path)
    draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return key


def _read(path: Path) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor) as file:
        os.fchmod(descriptor, 0o600)
        key = file.read(1_000).strip()
    if not KEY.fullmatch(key):
        raise HostError(f"The file {path.name} in the data folder does not hold an API key. Remove it and start again.")
    return key
