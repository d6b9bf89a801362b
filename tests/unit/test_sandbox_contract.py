"""What a guest may not do, tried by guests that do it: each breach ends that call alone, with words for its tenant."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.metadata
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from host.model.errors import BundleError
from host.model.limits import LIMITS
from host.sandbox import capi, signature
from host.sandbox.component import Compiler
from host.sandbox.engine import Engine, SandboxError
from host.sandbox.instance import EXPORTS
from host.sandbox.native import crossing
from tests.kit import raw

NOT_ALLOWED = "it used a host function in a way that is not allowed"
GUEST = """
export const guest = {
  async describe() { return JSON.stringify({ sdk: "raw/0", handler: true, actors: [] }); },
  async invoke(method) { %s },
  async fetch() {}, async alarm() {}, async resolve() {}, async resolveResponse() {}, async reject() {},
};
"""


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("twice", [], "the outcome of a call was said twice"),
        ("badTxn", [], NOT_ALLOWED),
        ("randomBytes", [65_537], NOT_ALLOWED),
        ("opens", [1001], "more than 1000 operations under way at once"),
    ],
)
async def test_a_breach_of_the_contract_ends_the_call_and_says_which(
    method: str, arguments: list[Any], message: str
) -> None:
    async with raw.probing() as room:
        outcome = await room.call(method, *arguments)
        assert (outcome.kind, outcome.message) == ("crashed", message)
        assert await room.value("count") == 1


async def test_a_lone_surrogate_does_not_leave_the_guest() -> None:
    async with raw.probing() as room:
        outcome = await room.call("surrogate")
        assert outcome.kind in ("failed", "crashed", "returned")
        assert all(_is_utf8(key) for key in room.storage.layers[0])
        assert await room.value("count") == 1


def _is_utf8(data: bytes) -> bool:
    return data.decode().encode() == data


async def test_forged_and_repeated_outcomes_of_operations_are_ignored() -> None:
    async with raw.probing() as room:
        running = room.start("forged")
        for operation in (0, 2, 77, 2**32 - 1):
            running.call.resolve(operation, b"forged")
            running.call.reject(operation, "Error", "forged")
        outcome = await running.outcome()
        assert outcome.value == b"[1,2]"
        running.call.resolve(1, b"late")


async def test_an_answer_given_twice_is_delivered_once() -> None:
    def answer_twice(call: Any, operation: int, _: bytes) -> None:
        call.resolve(operation, b"1")
        call.resolve(operation, b"2")
        call.reject(operation, "Error", "three")

    async with raw.probing() as room:
        room.world.asked = answer_twice
        assert await room.value("asks", 5) == 1


async def test_log_lines_are_bounded_and_their_level_is_one_we_know() -> None:
    async with raw.probing() as room:
        limits = replace(LIMITS, log_bytes_per_call_max=1000)
        await room.value("logs", "evil\nlevel" * 1000, "x" * 84, 1_000, limits=limits)
        assert len(room.world.lines) == 11
        assert {level for level, _ in room.world.lines[:-1]} == {"info"}
        assert room.world.lines[-1] == ("warn", "more than 1000 bytes of log in one call: the rest is dropped")


# Components that lie about the world.


class Lie(NamedTuple):
    """What the world says, what a component claims instead, and a call of it."""

    honest: str
    claimed: str
    interface: str
    call: str


LIES = {
    "wider": Lie("get: func(txn: u32, key", "get: func(txn: u64, key", "storage", "get(5n, 'x')"),
    "no result": Lie("begin: func(txn: u32) -> u32", "begin: func(txn: u32)", "storage", "begin(0)"),
    "a result": Lie("cancel: func(operation: u32)", "cancel: func(operation: u32) -> string", "timers", "cancel(5)"),
    "another result": Lie("now: func() -> f64", "now: func() -> string", "clock", "now()"),
    "one less": Lie("write: func(level: string, message: string)", "write: func(level: string)", "log", "write('x')"),
    "no string": Lie("commit: func(txn: u32)", "commit: func(txn: string)", "storage", "commit('x')"),
    "an address": Lie("parse-url: func(input: string", "parse-url: func(input: u64", "web", "parseUrl(4096n)"),
    "option": Lie("set-alarm: func(at: option<f64>)", "set-alarm: func(at: option<u64>)", "storage", "setAlarm(5n)"),
}


def _liar(world: str) -> Path:
    """A component that tells every lie: its method is the lie's name."""
    names = [(lie.call.split("(")[0], lie.interface) for lie in LIES.values()]
    imports = "".join(f'import {{ {name} }} from "tenure:edge/{interface}@0.1.0";\n' for name, interface in names)
    methods = "({" + ", ".join(f"{json.dumps(name)}: () => {lie.call}" for name, lie in LIES.items()) + "})[method]()"
    return raw.build(imports + GUEST % methods, world)


def _lying_world() -> str:
    world = raw.WIT.read_text()
    for lie in LIES.values():
        assert world.count(lie.honest) == 1, lie
        world = world.replace(lie.honest, lie.claimed)
    return world


async def test_every_difference_from_the_world_is_named(tmp_path: Path) -> None:
    world = _lying_world().replace("  import web;", "  import web;\n  import files;\n  import net;")
    world = world.replace("alarm: async func(retry-count: u32);", "alarm: async func();")
    world += (
        "\ninterface files { read: func(path: string) -> list<u8>; }\ninterface net { connect: func(port: u16); }\n"
    )
    with pytest.raises(BundleError) as refused:
        await Compiler(tmp_path).compile(_liar(world))
    ours = "it imports tenure:edge/"
    assert sorted(refused.value.details) == [
        f"{ours}clock@0.1.0#now as () -> string, not () -> f64",
        f"{ours}files@0.1.0, which this host does not grant",
        f"{ours}log@0.1.0#write as (string), not (string, string)",
        f"{ours}net@0.1.0, which this host does not grant",
        f"{ours}storage@0.1.0#begin as (u32), not (u32) -> u32",
        f"{ours}storage@0.1.0#commit as (string), not (u32)",
        f"{ours}storage@0.1.0#get as (u64, string) -> option<string>, not (u32, string) -> option<string>",
        f"{ours}storage@0.1.0#set-alarm as (option<u64>), not (option<f64>)",
        f"{ours}timers@0.1.0#cancel as (u32) -> string, not (u32)",
        f"{ours}web@0.1.0#parse-url as (u64, option<string>) -> option<string>, not "
        "(string, option<string>) -> option<string>",
        "its export alarm is (), not (u32): build it with this host's SDK",
    ]
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240


async def test_a_component_that_lies_about_its_imports_is_harmless_if_it_is_ever_loaded(tmp_path: Path) -> None:
    artifact = raw.by_force(_liar(_lying_world()).read_bytes(), tmp_path)
    # in a process of its own, so that a fault of memory is this test's and not the whole suite's
    program = (
        "import asyncio, sys\nfrom tests.kit import raw\n"
        "async def main():\n"
        "    async with raw.room(sys.argv[1]) as room:\n"
        "        print(*[(await room.call(lie)).kind for lie in sys.argv[2:]])\n"
        "asyncio.run(main())\n"
    )
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, artifact, *LIES), cwd=raw.ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    assert (child.returncode, output.decode().split()) == (0, ["crashed"] * len(LIES))


async def test_a_component_without_the_functions_of_a_guest_cannot_crash_the_host(tmp_path: Path) -> None:
    empty = '(component (instance $g) (export "tenure:edge/guest@0.1.0" (instance $g)))'
    async with raw.room(raw.by_force(empty, tmp_path)) as room:
        assert (await room.call("x")).kind == "crashed"
    async with raw.room(raw.by_force("(component)", tmp_path)) as room:
        with pytest.raises(SandboxError, match="does not export"):
            room.instance()


async def test_the_memories_of_a_guest_are_few(tmp_path: Path) -> None:
    memories = " ".join(f"(core module $m{n} (memory 1)) (core instance (instantiate $m{n}))" for n in range(5))
    text = f'(component {memories} (instance $g) (export "tenure:edge/guest@0.1.0" (instance $g)))'
    async with raw.room(raw.by_force(text, tmp_path)) as room:
        assert (await room.call("x")).kind == "crashed"


@pytest.mark.parametrize(("more", "is_refused"), [(0, False), (1, True)])
async def test_a_table_grows_to_its_limit_and_not_one_element_more(tmp_path: Path, more: int, is_refused: bool) -> None:
    """The guest traps as it starts if it was refused; else only its missing exports end the call."""
    grow = f"(table.grow $t (ref.null func) (i32.const {LIMITS.table_elements_max + more}))"
    start = f"(func $start {grow} (i32.const -1) i32.eq (if (then unreachable)))"
    module = f"(core module $m (table $t 0 funcref) {start} (start $start)) (core instance (instantiate $m))"
    text = f'(component {module} (instance $g) (export "tenure:edge/guest@0.1.0" (instance $g)))'
    async with raw.room(raw.by_force(text, tmp_path)) as room:
        outcome = await room.call("x")
        assert (outcome.kind, "unreachable" in outcome.message) == ("crashed", is_refused)


# The tables of this room and the world's text.


def _world() -> dict[str, dict[str, str]]:
    """interface -> function -> signature, as `signature` writes them, read from the WIT text."""
    text = re.sub(r"//[^\n]*", "", raw.WIT.read_text())
    found: dict[str, dict[str, str]] = {}
    for interface, body in re.findall(r"\binterface ([a-z-]+) \{(.*?)\n\}", text, re.S):
        functions = re.findall(r"%?([a-z0-9-]+): (?:async )?func\(([^)]*)\)(?: -> ([^;]+))?;", body)
        found[interface] = {name: _signature(parameters, result) for name, parameters, result in functions}
    return found


def _signature(parameters: str, result: str) -> str:
    types = ", ".join(parameter.split(": ", 1)[1] for parameter in parameters.split(", ") if parameter)
    return f"({types})" + (f" -> {result}" if result else "").replace(
        "refusal", "record{name: string, message: string}"
    )


def test_the_signatures_are_those_of_the_world() -> None:
    world = _world()
    assert world.pop("guest") == signature.EXPORTS
    assert world == signature.IMPORTS
    assert [export.name for export in EXPORTS] == list(signature.EXPORTS)
    kinds = {capi.STRING: "string", capi.U32: "u32", capi.U16: "u16", capi.BOOL: "bool"}
    for export in EXPORTS:
        assert (
            "(" + ", ".join(kinds[kind] for kind in export.kinds) + ")"
            == signature.EXPORTS[export.name].split(" ->")[0]
        )


def test_every_import_of_the_world_is_linked_and_no_other() -> None:
    from host.sandbox.imports import TABLE

    linked = {name.removeprefix("tenure:edge/").removesuffix("@0.1.0"): set(found) for name, found in TABLE.items()}
    assert linked == {name: set(functions) for name, functions in signature.IMPORTS.items() if functions}


async def test_the_clock_has_no_finer_steps_than_a_tenth_of_a_millisecond() -> None:
    async with raw.probing() as room:
        seen = [(await room.value("now"))[1] for _ in range(20)]
    assert [round(one * 10) / 10 for one in seen] == seen
    assert sorted(seen) == seen


# The library.


def test_another_version_of_the_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capi, "_installed_version", lambda: "51.0.0")
    with pytest.raises(capi.LibraryError, match=r"wasmtime 51\.0\.0 is installed.*pip install wasmtime=="):
        Engine()


def test_the_layouts_are_those_that_the_package_itself_declares() -> None:
    from wasmtime import _ffi

    value = _ffi.wasmtime_component_val_t
    assert (ctypes.sizeof(value), value.of.offset) == (capi.VAL_SIZE, 8)
    assert ctypes.sizeof(_ffi.wasmtime_component_valrecord_entry_t) == 48
    kinds = (_ffi.WASMTIME_COMPONENT_STRING, _ffi.WASMTIME_COMPONENT_RESULT)
    assert tuple(kind.value for kind in kinds) == (capi.STRING, capi.RESULT)
    assert capi._installed_version() == importlib.metadata.version("wasmtime")


def test_no_worker_is_made_on_a_library_that_was_not_checked() -> None:
    code = "from host import worker_process; from host.sandbox import capi; capi.CHECKED_WASMTIME = {'1.0': {}}; "
    done = subprocess.run(
        [sys.executable, "-c", code + "exit(worker_process.main(-1))"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"tenure: wasmtime \S+ is installed, .* pip install wasmtime==1\.0\n", done.stderr)


def test_another_build_of_the_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capi, "CHECKED_WASMTIME", {version: {"linux-x86_64": 1} for version in capi.CHECKED_WASMTIME})
    with pytest.raises(capi.LibraryError, match=r"is not one this host was checked against: linux-x86_64 \(1 bytes\)"):
        Engine()


def test_text_that_is_not_utf8_is_never_handed_to_the_library() -> None:
    with pytest.raises(UnicodeDecodeError):
        crossing.begin(0, 0, 0, bytes([capi.STRING]), (b"\xff",), 0, 0, 0)
