"""Which system calls are left: those on a list, and no others. libseccomp makes the filter that the kernel runs.

A call that is not on the list answers as on a kernel that does not have it (ENOSYS), which C libraries expect of what
is newer than they are. Beginning a process is refused (EPERM). What only one who broke out would try, executing a
program or reaching into another process, ends the process, so that somebody hears of it.

The kernel looks at a call's number and its plain arguments, never behind a pointer: it cannot tell one address from
another. So sockets are held where they begin: `socket` by its family, and `connect` not at all, because even a
listening socket can be turned round and connected.

libseccomp comes with the system (Debian's libseccomp2, on which apt depends); it knows the numbers of each machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import termios
from collections.abc import Iterable, Sequence
from typing import NamedTuple

LIBRARY = "libseccomp.so.2"

_ALLOW, _KILL = 0x7FFF_0000, 0x8000_0000
_BAD_ARCHITECTURE, _ALL_THREADS, _LOG, _OPTIMIZE = 2, 4, 6, 8
_TREE = 2
_NOT_EQUAL, _MASKED_EQUAL = 1, 7
_LOW_32 = 0xFFFF_FFFF

CLONE_THREAD = 0x0001_0000
MSG_FASTOPEN = 0x2000_0000
"""Connects while it sends."""

FILES = """
access chmod close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate fchmod
fchmodat fcntl fdatasync flock fstat fstatfs fsync ftruncate getcwd getdents getdents64 link linkat lseek lstat mkdir
mkdirat newfstatat open openat pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
rename renameat renameat2 rmdir sendfile stat statfs statx symlink symlinkat sync_file_range truncate umask unlink
unlinkat utimensat write writev
"""
MEMORY = """
brk madvise membarrier memfd_create mincore mlock mmap mprotect mremap msync munlock munmap pkey_alloc pkey_free
pkey_mprotect
"""
THREADS = """
arch_prctl exit exit_group futex futex_waitv get_robust_list getcpu gettid prctl rseq sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler sched_yield set_robust_list set_tid_address
"""
SIGNALS = """
alarm getitimer pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend
rt_sigtimedwait setitimer sigaltstack
"""
EVENTS = """
epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 pipe pipe2 poll ppoll pselect6
select signalfd4 timerfd_create timerfd_gettime timerfd_settime
"""
QUESTIONS = """
clock_getres clock_gettime clock_nanosleep getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority
getrandom getresgid getresuid getrlimit getrusage getsid gettimeofday getuid nanosleep sysinfo time times uname wait4
waitid
"""
SOCKETS = """
accept accept4 getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg setsockopt shutdown socketpair
"""
FOR_ALL = " ".join((FILES, MEMORY, THREADS, SIGNALS, EVENTS, QUESTIONS, SOCKETS)).split()

ENDS_THE_PROCESS = ("execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd")
NO_PROCESSES = ("fork", "vfork")
DEVICE_CALLS = (
    termios.TCGETS,
    termios.TIOCGWINSZ,
    termios.FIONREAD,
    termios.FIONBIO,
    termios.FIOCLEX,
    termios.FIONCLEX,
)
"""Of `ioctl`: is this a terminal, how much can be read, do not block, and whether programs inherit it."""


class Unavailable(Exception):
    """There can be no filter; the text says why, for the operator."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("one", ctypes.c_uint64),
        ("other", ctypes.c_uint64),
    )


class Condition(NamedTuple):
    """An argument of a call, counted from 0, and its value in the bits of `mask`."""

    argument: int
    value: int
    mask: int = _LOW_32


def restrict(families: Iterable[socket.AddressFamily], connects: bool) -> None:
    """From now on, and for every thread there is or will be, only what is listed here. There is no way back.

    `families`: of the sockets that may be made. `connects`: they may be connected and bound. Raises Unavailable.
    """
    library = _library()
    context = library.seccomp_init(_refuse(errno.ENOSYS))
    if not context:
        raise Unavailable("libseccomp makes no filter on this machine")
    try:
        # The log flag is an extra that old kernels lack; all others are what the filter is about.
        library.seccomp_attr_set(context, _LOG, 1)
        _check(library.seccomp_attr_set(context, _BAD_ARCHITECTURE, _KILL))
        _check(library.seccomp_attr_set(context, _ALL_THREADS, 1))
        library.seccomp_attr_set(context, _OPTIMIZE, _TREE)
        for rule in _rules(families, connects):
            _add(library, context, *rule)
        _check(library.seccomp_load(context))
    finally:
        library.seccomp_release(context)


def _rules(
    families: Iterable[socket.AddressFamily], connects: bool
) -> Iterable[tuple[int, Iterable[str], Sequence[Condition | _Comparison]]]:
    """What to do about which calls, when all conditions on their arguments hold."""
    own = os.getpid()
    yield _ALLOW, FOR_ALL, ()
    yield _KILL, ENDS_THE_PROCESS, ()
    yield _refuse(errno.EPERM), NO_PROCESSES, ()
    yield _ALLOW, ("clone",), (Condition(0, CLONE_THREAD, CLONE_THREAD),)
    yield _refuse(errno.EPERM), ("clone",), (Condition(0, 0, CLONE_THREAD),)
    for name, argument in (("tgkill", 0), ("kill", 0), ("sched_setaffinity", 0)):
        yield _ALLOW, (name,), (Condition(argument, own),)
    yield _refuse(errno.EPERM), ("kill",), (_Comparison(0, _NOT_EQUAL, own, 0),)
    yield _ALLOW, ("prlimit64", "sched_setaffinity"), (Condition(0, 0),)
    yield _ALLOW, ("setpriority",), (Condition(1, 0),)
    for command in DEVICE_CALLS:
        yield _ALLOW, ("ioctl",), (Condition(1, command),)
    known = [int(family) for family in families]
    for name, argument in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        yield _ALLOW, (name,), () if socket.AF_INET in known else (Condition(argument, 0, MSG_FASTOPEN),)
    for family in known:
        yield _ALLOW, ("socket",), (Condition(0, family),)
    if not known:
        yield _refuse(errno.EPERM), ("socket",), ()
    yield _ALLOW if connects else _refuse(errno.EPERM), ("connect", "bind"), ()


def _add(
    library: ctypes.CDLL, context: int, action: int, names: Iterable[str], conditions: Sequence[Condition | _Comparison]
) -> None:
    compared = [
        _Comparison(one.argument, _MASKED_EQUAL, one.mask, one.value) if isinstance(one, Condition) else one
        for one in conditions
    ]
    array = (_Comparison * len(compared))(*compared)
    for name in names:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # else this machine has no such call
            _check(library.seccomp_rule_add_array(context, action, number, len(compared), array), name)


def _refuse(error: int) -> int:
    return 0x0005_0000 | error


def _check(result: int, about: str = "the filter") -> None:
    if result < 0:
        raise Unavailable(f"the kernel or libseccomp refuses {about}: {os.strerror(-result)}")


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        raise Unavailable(
            f"{LIBRARY} is not there: install your system's package of libseccomp (libseccomp2)"
        ) from None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_release.argtypes = (ctypes.c_void_p,)
    library.seccomp_release.restype = None
    library.seccomp_load.argtypes = (ctypes.c_void_p,)
    library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
    library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    library.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Comparison),
    )  # fmt: skip
    return library
