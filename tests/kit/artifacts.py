"""Machine code that the hosts of all tests share, so that a component is compiled once and not once for each host.

Before `Admin` ships a bundle it gives the host what some other host has compiled of the same component, and keeps what
the host compiled itself. A host that finds nothing compiles as it always does, and so does one that is shipped to in
another way (the command line, an upload), or whose artifact is gone.

Files are copied, not linked: what a test does to those of its host harms nobody else. A folder belongs to one state
of the sandbox's sources and one version of the library, so a compiler that was changed is run again.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import io
import os
import shutil
import stat
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host.sandbox import component
from host.sandbox.component import Compiler, report_path

CACHE = Path(tempfile.gettempdir()) / f"tenure-components-{os.getuid()}"
"""What tests build and compile, over all sessions."""

_OLD_S = 7 * 86_400.0
_PREFIX = "compiled-"


@functools.cache
def artifacts() -> Path:
    """The folder of artifacts, which is this user's alone: they are machine code."""
    digest = hashlib.sha256()
    for source in sorted(Path(component.__file__).parent.rglob("*.py")):
        digest.update(source.read_bytes())
    folder = CACHE / f"{_PREFIX}{digest.hexdigest()[:16]}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in (CACHE, folder):
        status = each.stat()
        assert status.st_uid == os.getuid(), f"{each} is another user's: remove it"
        assert not stat.S_IMODE(status.st_mode) & 0o022, f"{each} is writable by others: remove it"
    os.utime(folder)
    for other in CACHE.glob(_PREFIX + "*"):  # of sources that nobody has any more
        if time.time() - other.stat().st_mtime > _OLD_S:
            shutil.rmtree(other, ignore_errors=True)
    return folder


@contextmanager
def making(target: Path) -> Iterator[bool]:
    """Whether the file is still to be made; another process that wants to make the same one waits meanwhile."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not target.is_file()


def lend(bundle: bytes, compiled: Path) -> None:
    """Copy the artifact of the bundle's component, if there is one, to a host's folder."""
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            digest = hashlib.sha256(archive.read("component.wasm")).hexdigest()
    except (zipfile.BadZipFile, KeyError):
        return  # the host says what is wrong with it
    _copy(digest, artifacts(), compiled)


def keep(digest: str, compiled: Path) -> None:
    """Copy an artifact that a host made to the shared folder, if it is not there."""
    _copy(digest, compiled, artifacts())


def _copy(digest: str, source: Path, target: Path) -> None:
    """The report last: whoever finds it finds the artifact."""
    made, wanted = (Compiler(folder).artifact_path(digest) for folder in (source, target))
    if report_path(wanted).exists() or not report_path(made).exists():
        return
    for here, there in ((made, wanted), (report_path(made), report_path(wanted))):
        fresh = there.with_name(f".{os.getpid()}-{there.name}")
        shutil.copyfile(here, fresh)
        fresh.chmod(0o600)
        os.replace(fresh, there)
