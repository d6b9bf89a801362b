"""What a process and everything it starts has cost: instructions where the processor tells, else seconds of CPU.

Instructions of user code hardly depend on what else the machine does, so they are what a gate should compare. They are
counted by the kernel (perf_event_open) from before the program begins, which the counted program waits for: `HELD` is
put before its command line.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from tests.kit.process import tree

HELD = ("sh", "-c", 'read -r go < "$0"; exec "$@"')
"""Before a command: the path of a FIFO, then the command, which begins when a line comes from the FIFO."""

_SYS_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_INSTRUCTIONS = 1
_ATTRIBUTE_BYTES = 112
_TIMES_ENABLED_AND_RUNNING = 3
_INHERIT, _NOT_KERNEL, _NOT_HYPERVISOR = 1 << 1, 1 << 5, 1 << 6
_CLOSE_ON_EXEC = 8
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class CannotCount(OSError):
    """The kernel or the processor does not count instructions for us."""


class Instructions:
    """Of a process that is held and of all that comes of it, also after its own end. Raises CannotCount."""

    unit = "instructions"

    def __init__(self, pid: int) -> None:
        number = _SYS_PERF_EVENT_OPEN.get(os.uname().machine)
        if number is None:
            raise CannotCount(f"not on {os.uname().machine}")
        attribute = bytearray(_ATTRIBUTE_BYTES)
        struct.pack_into("=IIQ", attribute, 0, 0, _ATTRIBUTE_BYTES, _INSTRUCTIONS)
        struct.pack_into("=Q", attribute, 32, _TIMES_ENABLED_AND_RUNNING)
        struct.pack_into("=Q", attribute, 40, _INHERIT | _NOT_KERNEL | _NOT_HYPERVISOR)
        call = ctypes.CDLL(None, use_errno=True).syscall
        place = (ctypes.c_char * _ATTRIBUTE_BYTES).from_buffer(attribute)
        self._fd = call(number, place, pid, -1, -1, _CLOSE_ON_EXEC)
        if self._fd < 0:
            raise CannotCount(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def read(self) -> float:
        count, enabled, running = struct.unpack("=QQQ", os.read(self._fd, 24))
        return float(count * enabled / running if running else count)

    def close(self) -> None:
        os.close(self._fd)


class CpuSeconds:
    """User and system time of a process and all that is below it now. One that ended takes its time with it."""

    unit = "CPU seconds"

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def read(self) -> float:
        ticks = 0
        for pid in tree(self._pid):
            try:
                stat = Path(f"/proc/{pid}/stat").read_text()
            except OSError:
                continue
            fields = stat[stat.rindex(")") + 2 :].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS_PER_S

    def close(self) -> None:
        return


Counter = Instructions | CpuSeconds


def counter_of(pid: int, *, cpu: bool = False) -> Counter:
    """The best there is for a process that is held; CPU seconds if `cpu`."""
    try:
        return CpuSeconds(pid) if cpu else Instructions(pid)
    except CannotCount:
        return CpuSeconds(pid)
