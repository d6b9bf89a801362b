"""The few system calls that Python has no function for: `prctl`, `capset` and those of Landlock."""

from __future__ import annotations

import ctypes
import os
import platform
import sys

LINUX = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
"""Where numbers of system calls and their arguments are as this room has them."""

CAPSET = {"x86_64": 126, "aarch64": 91}.get(platform.machine(), -1)
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446

PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4

_CAPABILITY_VERSION_3 = 0x20080522


def call(number: int, *arguments: object) -> int:
    """What the system call returns. Raises OSError."""
    result = int(_libc().syscall(number, *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def prctl(option: int, *arguments: int) -> None:
    """Raises OSError."""
    given = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if _libc().prctl(option, *given) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def keep_capabilities(kept: int) -> None:
    """Give up all capabilities of this thread but those in `kept`, a set of bits. Raises OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = kept & 0xFFFF_FFFF, kept >> 32
    data = (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)  # effective, permitted, inheritable; twice 32 bits
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    call(CAPSET, header, data)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
