"""An instance's memories keep to one limit together, whatever its component is made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from wasmtime import wat2wasm

from host.model.errors import BundleError
from host.model.limits import LIMITS
from host.sandbox.component import Compiler
from host.sandbox.memories import FIXED_BYTES_MAX, HANDS_AROUND, PAGE_BYTES, TOO_MUCH, problems
from tests.kit import raw

GROW = "(drop (memory.grow (i32.const 1)))"
BIG = "nop " * (70 << 10)
GUEST = '(instance $g) (export "tenure:edge/guest@0.1.0" (instance $g))'


def module(name: str, memory: str = "", body: str = "", imports: str = "") -> str:
    memory = f'(memory (export "memory") {memory})' if memory else ""
    return f"(core module ${name} {imports} {memory} (func {body}))"


def made(name: str, times: int = 1) -> str:
    return f"(core instance (instantiate ${name}))" * times


def part(*inside: str, name: str = "part") -> str:
    return f"(component ${name} {' '.join(inside)})"


USED = "(instance (instantiate $part))"


def binary(*inside: str) -> bytes:
    return bytes(wat2wasm(f"(component {' '.join(inside)})"))


FIXED_MAX = FIXED_BYTES_MAX // PAGE_BYTES
ADAPTER = part(module("m", "0", "(block (if (i32.const 64) (then)))"), made("m"), name="adapter")
ADAPTED = f"{ADAPTER} (instance (instantiate $adapter))"
MAIN = module("main", "1", GROW) + made("main")
IMPORTS_IT = '(import "m" "memory" (memory 0))'
FINE = {
    "no memory": [module("m"), made("m")],
    "one that grows": [MAIN],
    "one that grows, from a module that imports it": [
        module("m", "1"), "(core instance $i (instantiate $m))", module("n", "", GROW, IMPORTS_IT),
        '(core instance (instantiate $n (with "m" (instance $i))))',
    ],
    "an adapter's own that nothing grows": [ADAPTED, ADAPTED.replace("$adapter", "$other"), MAIN],
    "as much as is allowed besides": [MAIN, part(module("m", str(FIXED_MAX)), made("m")), USED],
    "as much as is allowed to grow to": [MAIN, module("m", f"0 {FIXED_MAX}"), made("m")],
    "a module that is not used": [MAIN, module("m", "1", GROW)],
    "numbers that look like the instruction": [
        MAIN, part(module("m", "0", "(drop (i32.const 0x40)) (drop (f64.const 0x1.4040404040404p+5))"), made("m")),
        USED,
    ],
}  # fmt: skip
MUCH = {
    "two that grow": [MAIN, module("m", "0", GROW), made("m")],
    "one that grows, twice": [module("m", "0", GROW), made("m", 2)],
    "a part's that grows": [MAIN, part(module("m", "0", GROW), made("m")), USED],
    "a part that is used twice": [part(module("m", "0", GROW), made("m")), USED * 2],
    "an innermost one": [
        MAIN, part(part(module("m", "0", GROW), made("m")), USED, name="outer"),
        "(instance (instantiate $outer))",
    ],
    "one that another module of its part grows": [
        MAIN, part(module("m", "0"), "(core instance $i (instantiate $m))", module("n", "", GROW, IMPORTS_IT),
        '(core instance (instantiate $n (with "m" (instance $i))))'), USED,
    ],
    "one page too many": [MAIN, module("m", f"{FIXED_MAX + 1} {FIXED_MAX + 1}"), made("m")],
    "one page too many to grow to": [MAIN, module("m", f"0 {FIXED_MAX + 1}"), made("m")],
    "many that are fixed": [part(module("m", "1"), made("m")), USED * (FIXED_MAX + 2)],
    "code too long to be read": [MAIN, part(module("m", "0", BIG), made("m")), USED],
    "the instruction after a number that looks like a block": [
        MAIN, part(module("m", "0", "(drop (memory.grow (i32.const 2)))"), made("m")), USED,
    ],
    "the instruction after one of every kind": [
        MAIN, part(
            '(core module $m (memory 0) (table 1 funcref) (type $t (func)) (func $f (local i32 i64) '
            "(block (br_table 0 0 (i32.const 0))) (call_indirect (type $t) (i32.const 0)) (drop (select (result i32) "
            "(i32.const 1) (i32.const 2) (i32.const 3))) (memory.fill (i32.const 0) (i32.const 0) (i32.const 0)) "
            "(drop (f32.const 1)) (drop (ref.func $f)) (drop (ref.null func)) (i32.store offset=64 (i32.const 0) "
            f"(i32.load8_u offset=64 (i32.const 64))) (drop (i32.trunc_sat_f32_s (f32.const 64))) {GROW}) "
            "(elem declare func $f))", made("m")), USED,
    ],
}  # fmt: skip
HANDED = {
    "a module to a part": [
        module("m", "0", GROW), part("(alias outer 1 $m (core module $n))", made("n")),
        USED * 2,
    ],
    "a part to a part": [
        part(module("m", "0", GROW), made("m"), name="a"),
        part("(alias outer 1 $a (component $b))", "(instance (instantiate $b))" * 2), USED,
    ],
    "a module as an argument": [
        part('(import "x" (core module $n))', made("n")), module("m", "0", GROW),
        '(instance (instantiate $part (with "x" (core module $m))))',
    ],
    "a module as an export": [
        part(module("m", "0", GROW), '(export "x" (core module $m))'), "(instance $i (instantiate $part))",
        '(alias export $i "x" (core module $n))', made("n", 2),
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", FINE)
def test_what_keeps_to_the_limit_is_accepted(case: str) -> None:
    assert problems(binary(*FINE[case])) == []


@pytest.mark.parametrize("case", MUCH)
def test_memories_that_could_pass_the_limit_together_are_refused(case: str) -> None:
    assert problems(binary(*MUCH[case])) == [TOO_MUCH]


@pytest.mark.parametrize("case", HANDED)
def test_a_component_whose_parts_cannot_be_counted_is_refused(case: str) -> None:
    assert problems(binary(*HANDED[case])) == [HANDS_AROUND]


async def test_a_component_with_two_memories_that_grow_cannot_be_shipped(tmp_path: Path) -> None:
    wasm = tmp_path / "two.wasm"
    wasm.write_bytes(binary(*MUCH["two that grow"], GUEST))
    with pytest.raises(BundleError) as refused:
        await Compiler(tmp_path / "cache").compile(wasm)
    assert TOO_MUCH in refused.value.details


async def test_what_the_sdk_builds_is_accepted() -> None:
    assert problems(raw.probe().read_bytes()) == []


@pytest.mark.parametrize(("more", "is_refused"), [(0, False), (1, True)])
async def test_the_one_memory_that_grows_ends_at_the_limit_whatever_is_beside_it(
    tmp_path: Path, more: int, is_refused: bool
) -> None:
    """The guest traps as it starts if it was refused; else only its missing exports end the call."""
    pages = LIMITS.memory_bytes_max // PAGE_BYTES - 1 + more
    grow = f"(memory.grow (i32.const {pages})) (i32.const -1) i32.eq (if (then unreachable))"
    beside = [part(module("m", str(FIXED_MAX)), made("m")), USED]
    main = f"(core module $main (memory 1) (func $start {grow}) (start $start)) {made('main')}"
    component = binary(*beside, main, GUEST)
    assert problems(component) == []
    async with raw.room(raw.by_force(component, tmp_path)) as room:
        outcome = await room.call("x")
        assert (outcome.kind, "unreachable" in outcome.message) == ("crashed", is_refused)
