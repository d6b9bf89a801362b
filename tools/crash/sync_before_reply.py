"""`python -m tools.crash.sync_before_reply`: shows, with strace, that a deposit is synced before it is answered.

Runs a host under strace, sends a deposit, and looks in the order of its system calls for: the request's arrival, a
write to the write-ahead log, a completed fdatasync or fsync of that log, the reply's departure. Exit code 0 when they
come in this order, 1 when not, 3 when strace is missing or may not trace.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.kit.process import HostProcess
from tools.crash.traffic import Connection, Site

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "sync-before-reply"
CALLS = "fdatasync,fsync,read,recvfrom,recvmsg,write,writev,pwrite64,sendto,sendmsg"
_FLUSH_DEADLINE_S = 10.0

_READS = re.compile(r"read|recv")
_REPLY = re.compile(r"(write|writev|sendto|sendmsg)\(.*HTTP/1\.1 200")
_STEPS = (
    ("write to the write-ahead log", re.compile(r"p?writev?(64)?\(\d+<[^>]*\.log>.*\) += \d+")),
    ("sync of the write-ahead log", re.compile(r"(fdatasync|fsync)\(\d+<[^>]*\.log>\) += 0")),
    ("reply", _REPLY),
)
_CALL = re.compile(r"(?P<pid>\d+) +(?P<time>[\d.]+) (?P<text>.*)")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>")


@dataclass(frozen=True)
class Call:
    """A system call as it completed: `order` is its place among the completions."""

    order: int
    time: str
    text: str


def completed_calls(trace: str) -> list[Call]:
    """Calls of an strace log in the order in which they completed; one that was interrupted is joined with its end."""
    begun: dict[str, str] = {}
    calls: list[Call] = []
    for line in trace.splitlines():
        match = _CALL.match(line)
        if match is None:
            continue
        pid, at, text = match["pid"], match["time"], match["text"]
        if text.endswith(_UNFINISHED):
            begun[pid] = text.removesuffix(_UNFINISHED)
            continue
        if _RESUMED.match(text):
            text = begun.pop(pid, "") + _RESUMED.sub("", text, count=1)
        calls.append(Call(len(calls), at, text))
    return calls


def proof(calls: list[Call], account: str) -> list[Call]:
    """[arrival, log write, sync, reply] of the last deposit. Raises ValueError, saying what is missing or too late."""
    arrivals = [call for call in calls if _READS.match(call.text) and f"POST /accounts/{account}/deposit" in call.text]
    if not arrivals:
        raise ValueError("the deposit's arrival is not in the trace")
    steps = [arrivals[-1]]
    for name, form in _STEPS:
        step = next((call for call in calls[steps[-1].order + 1 :] if form.match(call.text)), None)
        if step is None:
            raise ValueError(f"the {name} is not in the trace, or not after what must come before it")
        steps.append(step)
    first_reply = next(call for call in calls[steps[0].order + 1 :] if _REPLY.match(call.text))
    if first_reply.order < steps[2].order:
        raise ValueError("a reply left before the sync completed")
    return steps


async def _deposit(host: HostProcess) -> None:
    async with host.admin() as admin:
        shipped = await admin.ship(ROOT / "functions" / "account")
    connection = await Connection.open(Site(host.port, shipped.host, 1))
    # the first activates the actor; the one that counts comes alone
    for _ in range(2):
        status, reply = await connection.ask("POST", f"/accounts/{ACCOUNT}/deposit", b'{"amount":1}')
        assert status == 200, reply
    connection.close()


def main() -> int:
    strace = shutil.which("strace")
    if strace is None:
        print("skipped: strace is not installed (apt-get install strace)")
        return 3
    with tempfile.TemporaryDirectory(prefix="tenure-strace-") as folder:
        log = Path(folder) / "trace"
        wrapper = [strace, "-f", "-y", "-ttt", "-s", "120", "-e", f"trace={CALLS}", "-o", str(log), "--"]
        if subprocess.run([*wrapper, "true"], capture_output=True).returncode != 0:
            print("skipped: strace may not trace here")
            return 3
        host = HostProcess(Path(folder) / "data", flags=["--workers", "1"], wrapper=wrapper)
        try:
            host.start()
            asyncio.run(_deposit(host))
        finally:
            host.kill()
        return _judge(log)


def _judge(log: Path) -> int:
    end = time.monotonic() + _FLUSH_DEADLINE_S
    while True:
        calls = completed_calls(log.read_text(errors="replace"))
        try:
            found = proof(calls, ACCOUNT)
            break
        except ValueError as error:
            if time.monotonic() > end:
                print(f"NOT SHOWN: {error}")
                return 1
            time.sleep(0.1)
    began = float(found[0].time)
    for call in found:
        print(f"+{(float(call.time) - began) * 1000:7.2f} ms  {call.text[:200]}")
    print("the sync completed after the deposit arrived and before its reply left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
