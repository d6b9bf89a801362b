"""Which files are left, by Landlock: what is not named can neither be opened nor made, whoever owns it.

What is open already stays usable. The rules are about folders and files as they are now: what is made below a folder
later is under its rule, what takes the place of a named file is not. Looking at a file's size or mode is not covered.

Where the kernel can, TCP sockets and signals to other processes are held as well: that covers what system call
filters see badly.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from host.confine import native

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_TRUNCATE = 1 << 14
_OF_FILES = 1 | _WRITE_FILE | _READ_FILE | _TRUNCATE | 1 << 15
_MAKE_CHAR, _MAKE_BLOCK, _MAKE_SYM = 1 << 6, 1 << 11, 1 << 12
_EXECUTE, _IOCTL_DEV = 1 << 0, 1 << 15

READ = _READ_FILE | _READ_DIR
REMOVE = _READ_DIR | 1 << 5
"""Names may be removed from the folder; nothing in it may be opened."""
_NEVER = _EXECUTE | _IOCTL_DEV | _MAKE_CHAR | _MAKE_BLOCK | _MAKE_SYM

_HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""What each version of Landlock can forbid."""
_TCP_SINCE, _BIND_AND_CONNECT = 4, 0b11
_SCOPES_SINCE, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11
_VERSION = 1
_PATH_BENEATH = 1


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("folder", ctypes.c_int32))


def version() -> int:
    """Of Landlock in this kernel; 0: it has none, none that is switched on, or none that a container may use."""
    if not native.LINUX:
        return 0
    try:
        return native.call(native.LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    except OSError:
        return 0


def restrict(read: Iterable[Path], write: Iterable[Path], remove: Iterable[Path] = (), *, tcp: bool = False) -> None:
    """This thread, and what it begins, has these files and folders and no others; those that are not there are left
    out. `write` means anything but devices, links and programs. `tcp`: it may connect and bind. There is no way back.

    Needs `no_new_privs`, and a version other than 0. Raises OSError.
    """
    known = version()
    handled = _HANDLED[min(known, max(_HANDLED))]
    asked = _Ruleset(
        handled,
        0 if tcp or known < _TCP_SINCE else _BIND_AND_CONNECT,
        0 if known < _SCOPES_SINCE else _ABSTRACT_SOCKETS_AND_SIGNALS,
    )
    size = 8 if known < _TCP_SINCE else 16 if known < _SCOPES_SINCE else 24
    rules = native.call(native.LANDLOCK_CREATE_RULESET, ctypes.byref(asked), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for paths, access in ((read, READ), (write, handled & ~_NEVER), (remove, REMOVE)):
            for path in paths:
                _allow(rules, path, access)
        native.call(native.LANDLOCK_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, access: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            access &= _OF_FILES
        rule = _Beneath(access, opened)
        native.call(
            native.LANDLOCK_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule),
            ctypes.c_uint32(0),
        )  # fmt: skip
    finally:
        os.close(opened)
