"""What a confined process can no longer do, tried by processes of their own, and what it still can."""

from __future__ import annotations

import json
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from host.confine import environment, files, syscalls
from host.confine.process import Needs, confine
from host.storage.upgrade import prepare

try:
    syscalls._library()
except syscalls.Unavailable as unavailable:
    pytest.skip(str(unavailable), allow_module_level=True)
NEEDS_LANDLOCK = pytest.mark.skipif(files.version() == 0, reason="this kernel has no Landlock")

DEADLINE_S = 30.0
PRELUDE = """
import ctypes, errno, json, os, resource, socket, struct, sys, threading
from pathlib import Path
from host.confine.process import Needs, confine
FOLDER = Path(sys.argv[1])
said = {}
def attempt(name, act):
    try:
        done = act()
        said[name] = done if isinstance(done, (str, int, bool, list)) else "done"
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
libc = ctypes.CDLL(None, use_errno=True)
def call(function, *arguments):
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")
listening = socket.create_server(("127.0.0.1", 0))
outside = socket.create_server(("127.0.0.1", 0))
"""


def process(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Runs `code` after PRELUDE; what it said to `said` is printed as JSON at its end."""
    program = PRELUDE + code + "\nprint(json.dumps(said), flush=True)"
    return subprocess.run(
        [sys.executable, "-P", "-c", program, str(folder)], capture_output=True, text=True, timeout=DEADLINE_S
    )


def said_by(folder: Path, code: str) -> dict[str, Any]:
    ended = process(folder, code)
    assert ended.returncode == 0, ended.stderr
    said: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return said


def test_a_confined_process_begins_no_other_and_makes_no_socket(tmp_path: Path) -> None:
    code = """
confine(Needs(), "require")
attempt("fork", os.fork)
attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("tcp", lambda: socket.socket())
attempt("local", lambda: socket.socket(socket.AF_UNIX))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("thread", lambda: (thread := threading.Thread(target=lambda: None)).start() or thread.join())
"""
    assert said_by(tmp_path, code) == {
        "fork": "EPERM", "spawn": "EPERM", "tcp": "EPERM", "local": "EPERM", "packet": "EPERM", "thread": "done",
    }  # fmt: skip


@pytest.mark.parametrize("attempt", [
    "os.execv('/bin/true', ['true'])",
    "libc.syscall(322, -1, b'/bin/true', None, None, 0)",  # execveat
    "libc.ptrace(16, os.getppid(), 0, 0)",
    "libc.process_vm_readv(os.getppid(), None, 0, None, 0, 0)",
])  # fmt: skip
def test_executing_a_program_or_reaching_into_another_process_ends_it(tmp_path: Path, attempt: str) -> None:
    if "322" in attempt and platform.machine() != "x86_64":
        pytest.skip("the number is that of x86-64")
    ended = process(tmp_path, f'confine(Needs(), "require")\n{attempt}')
    assert (ended.returncode, ended.stdout) == (-signal.SIGSYS, "")


def test_threads_that_began_earlier_are_held_as_well(tmp_path: Path) -> None:
    code = """
begun, confined = threading.Event(), threading.Event()
def late():
    begun.set()
    confined.wait()
    attempt("fork", os.fork)
thread = threading.Thread(target=late)
thread.start()
begun.wait()
confine(Needs(), "try")
confined.set()
thread.join()
"""
    assert said_by(tmp_path, code) == {"fork": "EPERM"}


def test_a_listening_socket_still_takes_connections_and_cannot_be_turned_round(tmp_path: Path) -> None:
    """A listening socket that is disconnected (AF_UNSPEC) could connect, or connect by sending (MSG_FASTOPEN)."""
    code = """
visitor = socket.create_connection(listening.getsockname())
confine(Needs(), "require")
def served():
    there, _ = listening.accept()
    there.sendall(b"hello")
    return visitor.recv(5).decode()
attempt("accept", served)
attempt("disconnect", lambda: call(libc.connect, listening.fileno(), struct.pack("H14x", 0), 16))
attempt("connect", lambda: listening.connect(outside.getsockname()))
attempt("fast open", lambda: visitor.sendto(b"x", 0x20000000, outside.getsockname()))
attempt("send", lambda: visitor.sendmsg([b"x"]))
attempt("bind", lambda: listening.bind(("127.0.0.1", 0)))
"""
    assert said_by(tmp_path, code) == {
        "accept": "hello", "disconnect": "EPERM", "connect": "EPERM", "fast open": "ENOSYS", "send": 1, "bind": "EPERM",
    }  # fmt: skip


def test_other_processes_are_neither_signalled_nor_limited(tmp_path: Path) -> None:
    code = """
parent = os.getppid()
confine(Needs(), "require")
attempt("signal", lambda: os.kill(parent, 0))
attempt("own", lambda: os.kill(os.getpid(), 0))
attempt("limits", lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE))
attempt("own limits", lambda: resource.getrlimit(resource.RLIMIT_NOFILE) and "read")
attempt("descriptor", lambda: os.pidfd_open(parent))
attempt("namespace", lambda: call(libc.unshare, 0x10000000))
attempt("mount", lambda: call(libc.mount, b"none", b"/mnt", b"tmpfs", 0, None))
attempt("out of memory", lambda: Path("/proc/self/oom_score_adj").read_text().strip())
attempt("core", lambda: list(resource.getrlimit(resource.RLIMIT_CORE)))
"""
    assert said_by(tmp_path, code) == {
        "signal": "EPERM", "own": "done", "limits": "ENOSYS", "own limits": "read", "descriptor": "ENOSYS",
        "namespace": "ENOSYS", "mount": "ENOSYS", "core": [0, 0], "out of memory": "500",
    }  # fmt: skip


@NEEDS_LANDLOCK
def test_only_files_that_are_needed_are_left(tmp_path: Path) -> None:
    for name in ("read", "write", "remove"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "secret").write_text("secret")
    code = """
opened = open(FOLDER / "secret")
confine(Needs((FOLDER / "read", FOLDER / "not there"), (FOLDER / "write",), (FOLDER / "remove",)), "require")
attempt("secret", lambda: open(FOLDER / "secret").read())
attempt("opened before", opened.read)
attempt("passwords", lambda: open("/etc/passwd").read())
attempt("environment of others", lambda: open(f"/proc/{os.getppid()}/environ").read())
attempt("root", lambda: os.listdir("/"))
attempt("read", lambda: open(FOLDER / "read" / "file").read())
attempt("read: write", lambda: open(FOLDER / "read" / "file", "w"))
attempt("read: make", lambda: open(FOLDER / "read" / "new", "w"))
attempt("write: make", lambda: (FOLDER / "write" / "new").write_text("1"))
attempt("write: rename", lambda: os.rename(FOLDER / "write" / "new", FOLDER / "write" / "newer"))
attempt("write: move out", lambda: os.rename(FOLDER / "write" / "newer", FOLDER / "newer"))
attempt("write: link to", lambda: os.symlink("/etc/passwd", FOLDER / "write" / "link"))
attempt("remove: read", lambda: open(FOLDER / "remove" / "file").read())
attempt("remove", lambda: os.unlink(FOLDER / "remove" / "file"))
attempt("remove: make", lambda: open(FOLDER / "remove" / "new", "w"))
import sqlite3, cryptography.x509
said["import"] = "done"
"""
    refused = "EACCES"
    assert said_by(tmp_path, code) == {
        "secret": refused, "opened before": "secret", "passwords": refused, "environment of others": refused,
        "root": refused, "read": "read", "read: write": refused, "read: make": refused, "write: make": 1,
        "write: rename": "done", "write: move out": refused, "write: link to": refused, "remove: read": refused,
        "remove": "done", "remove: make": refused, "import": "done",
    }  # fmt: skip


def test_no_capability_is_left_and_none_comes_back(tmp_path: Path) -> None:
    code = """
confine(Needs(), "require")
status = dict(line.split(":\\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\\t" in line)
said.update({name: status[name].strip() for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp")})
"""
    none = "0" * 16
    assert said_by(tmp_path, code) == {
        "CapEff": none, "CapPrm": none, "CapInh": none, "CapAmb": none, "NoNewPrivs": "1", "Seccomp": "2",
    }  # fmt: skip


def test_what_the_machine_lacks_is_named_or_refused_as_the_operator_wishes(tmp_path: Path) -> None:
    code = """
from host.confine import files, syscalls
from host.confine.process import ConfineError
syscalls.LIBRARY, files.version = "libmissing.so", lambda: 0
try:
    confine(Needs(), "require")
except ConfineError as error:
    said["require"] = str(error)
done = confine(Needs(), "try")
said["try"] = [done.system_calls, done.files, done.no_new_privileges, len(done.missing)]
"""
    said = said_by(tmp_path, code)
    assert said["try"] == [False, 0, True, 2]
    assert "libmissing.so is not there: install" in said["require"]
    assert "no Landlock" in said["require"]
    assert "--confine try" in said["require"]


def test_what_is_switched_off_is_said_to_be_off() -> None:
    assert confine(Needs(), "off").to_json() == {
        "no_new_privileges": False, "no_capabilities": False, "system_calls": False, "files": 0,
        "missing": ["nothing is confined: it was switched off with --confine off"],
    }  # fmt: skip


@NEEDS_LANDLOCK
def test_a_worker_reaches_its_own_shards_and_nothing_else_of_the_data_folder(tmp_path: Path) -> None:
    """It is confined by its own code, as in a host of two workers; the engines are real ones."""
    data = tmp_path / "data"
    layout = prepare(data, 2)
    for path in ("control/registry", "blobs/ab/bundle", "compiled/artifact", "work/upload", "run/worker-1-0.sock"):
        (data / path).parent.mkdir(parents=True, exist_ok=True)
        (data / path).write_text(path)
    (data / "operator.key").write_text("key")
    code = f"""
from host.config import ServeConfig, config_to_json
from host.storage.layout import Layout
from host.storage.upgrade import open_shard
from host.supervisor.spec import Spec
from host.worker_process import WorkerProcess
config = ServeConfig(FOLDER / "data", workers=2, confine="require")
worker = WorkerProcess(Spec(0, "0a", config_to_json(config), {tuple(layout)!r}, "1"), [])
data = config.data_dir
worker.confine()
assert worker._refusal is None, worker._refusal
def stored(shard):
    engine = open_shard(data, Layout(*{tuple(layout)!r}), shard)
    engine.write([(b"key", b"value")])
    engine.sync()
    value = engine.get(b"key").decode()
    engine.close()
    return value
attempt("its shard", lambda: stored(0))
attempt("code", lambda: open(data / "compiled" / "artifact").read())
for path in ("operator.key", "control/registry", "blobs/ab/bundle", "work/upload", "run/marks", "shards/001/CURRENT"):
    attempt(path, lambda: open(data / path).read())
attempt("other code", lambda: open(data / "compiled" / "new", "w"))
attempt("replace code", lambda: os.rename(data / "shards" / "000" / "CURRENT", data / "compiled" / "artifact"))
attempt("socket", lambda: socket.socket(socket.AF_UNIX))
attempt("fork", os.fork)
"""
    refused = "EACCES"
    assert said_by(tmp_path, code) == {
        "its shard": "value", "code": "compiled/artifact", "operator.key": refused, "control/registry": refused,
        "blobs/ab/bundle": refused, "work/upload": refused, "run/marks": refused, "shards/001/CURRENT": refused,
        "other code": refused, "replace code": refused, "socket": "EPERM", "fork": "EPERM",
    }  # fmt: skip


@NEEDS_LANDLOCK
def test_a_compiler_reaches_nothing_but_the_folder_that_it_writes_to(tmp_path: Path) -> None:
    own, others = tmp_path / "cache" / "tmp-own", tmp_path / "cache"
    own.mkdir(parents=True)
    (others / "other.cwasm").write_text("code of another")
    (tmp_path / "component.wasm").write_bytes(b"wasm")
    code = """
from host.sandbox import compile_child
def check(binary, artifact, *_):
    said["component"] = binary.decode()
    attempt("artifact", lambda: artifact.write_text("made"))
    attempt("others", lambda: open(artifact.parent.parent / "other.cwasm", "w"))
    attempt("socket", lambda: socket.socket())
    attempt("fork", os.fork)
compile_child._check = check
cache = FOLDER / "cache"
limits = (str(1 << 32), "60", "1000")
compile_child.main([str(FOLDER / "component.wasm"), str(cache / "tmp-own" / "x.cwasm"), *limits, "require"])
"""
    assert said_by(tmp_path, code) == {
        "component": "wasm", "artifact": 4, "others": "EACCES", "socket": "EPERM", "fork": "EPERM",
    }  # fmt: skip


def test_other_processes_of_the_host_get_no_secret_from_its_environment() -> None:
    environ = {
        "PATH": "/bin", "LC_ALL": "C", "TENURE_LOG": "json", "TENURE_SECRETS_KEY": "s", "TENURE_API_KEY": "k",
        "AWS_SECRET_ACCESS_KEY": "a", "DATABASE_URL": "postgres://u:p@h/d",
    }  # fmt: skip
    assert environment.kept(environ) == {"PATH": "/bin", "LC_ALL": "C", "TENURE_LOG": "json"}
