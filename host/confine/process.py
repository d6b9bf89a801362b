"""All that a process gives up, in the one order that works, and an account of what could not be given up.

It is done once, by the only thread there is: privileges and Landlock's rules are a thread's own, and those begun later
inherit them. What the machine cannot do is left out and said (`Mode` "try"), or the process does not start ("require").
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from host.confine import files, native, syscalls

Mode = Literal["require", "try", "off"]

_PACKAGE = Path(__file__).resolve().parents[1]
_SYSTEM_FILES = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/etc/localtime",
    "/usr/share/zoneinfo", "/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/sys/vm",
    "/sys/devices/system/cpu", "/sys/devices/system/node", "/dev/null", "/dev/zero", "/dev/urandom",
)  # fmt: skip
"""Libraries that are loaded when they are needed, time zones, and what libraries ask about the machine."""

_CAP_DAC_OVERRIDE = 1 << 1
_FIRST_TO_GO = "500"


class ConfineError(Exception):
    """The process cannot be confined as it must be; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a kind of process cannot do without. Of the program's own files (`program_files`) it may read all.

    `families` and `connects` as `syscalls.restrict` has them; `owner` is the user whose files it works with.
    """

    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    remove: tuple[Path, ...] = ()
    families: tuple[socket.AddressFamily, ...] = ()
    connects: bool = False
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Confined:
    """What holds for a process. `files` is Landlock's version, 0 without; it holds TCP from 4 and signals from 6 on.
    `missing` are sentences for the operator.
    """

    no_new_privileges: bool = False
    no_capabilities: bool = False
    system_calls: bool = False
    files: int = 0
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "missing": list(self.missing)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Confined:
        return cls(**{**stored, "missing": tuple(stored["missing"])})


OFF = Confined(missing=("nothing is confined: it was switched off with --confine off",))


def in_all(confined: Sequence[Confined]) -> Confined:
    """What holds for each of several processes, and what is missing in any."""
    if not confined:
        return Confined()
    return Confined(
        all(one.no_new_privileges for one in confined),
        all(one.no_capabilities for one in confined),
        all(one.system_calls for one in confined),
        min(one.files for one in confined),
        tuple(dict.fromkeys(sentence for one in confined for sentence in one.missing)),
    )


def program_files() -> tuple[Path, ...]:
    """What Python, this program and the libraries under them read while they run."""
    paths = sysconfig.get_paths()
    python = (Path(paths[name]).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    return (*dict.fromkeys(python), _PACKAGE, *map(Path, _SYSTEM_FILES))


def confine(needs: Needs, mode: Mode) -> Confined:
    """Give up all that is not needed, for good. Call it before the first thread begins, with what is needed later
    either open or named. Raises ConfineError when `mode` is "require" and something cannot be given up.
    """
    if mode == "off":
        return OFF
    missing: list[str] = []
    privileges = _tried(_no_new_privileges, missing, "it may gain privileges by executing programs")
    capabilities = _tried(lambda: _no_capabilities(needs), missing, "it keeps the capabilities it was started with")
    kept = _restrict_files(needs, missing)
    calls = _tried(lambda: syscalls.restrict(needs.families, needs.connects), missing, "all system calls are left")
    if missing and mode == "require":
        raise ConfineError("; ".join(missing) + ". Mend that, or start with --confine try")
    return Confined(privileges, capabilities, calls, kept, tuple(missing))


def _tried(give_up: Callable[[], None], missing: list[str], otherwise: str) -> bool:
    """Whether it was given up; if not, `missing` says so."""
    try:
        if not native.LINUX:
            raise OSError(errno.ENOSYS, "it is Linux on x86-64 or aarch64 that can confine a process")
        give_up()
    except (OSError, syscalls.Unavailable) as error:
        missing.append(f"{otherwise}: {error.strerror if isinstance(error, OSError) else error}")
        return False
    return True


def _no_new_privileges() -> None:
    with contextlib.suppress(OSError):  # when memory runs out the kernel takes this process, not the one that starts it
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold what tenants have in memory
    native.prctl(native.PR_SET_NO_NEW_PRIVS, 1)


def _no_capabilities(needs: Needs) -> None:
    """Root that works in another user's folder keeps the one that lets it."""
    foreign = needs.owner is not None and needs.owner != os.geteuid()
    native.keep_capabilities(_CAP_DAC_OVERRIDE if foreign and os.geteuid() == 0 else 0)


def _restrict_files(needs: Needs, missing: list[str]) -> int:
    """The version of Landlock that holds them; 0 for none."""
    known = files.version()
    tcp = bool({socket.AF_INET, socket.AF_INET6} & set(needs.families))

    def restrict() -> None:
        if not known:
            raise OSError(errno.ENOSYS, "this kernel has no Landlock, or it is not switched on (lsm=landlock,...)")
        files.restrict((*program_files(), *needs.read), needs.write, needs.remove, tcp=tcp)

    return known if _tried(restrict, missing, "all files of its user are left") else 0
