"""docs/errors.md and docs/guest-api.md name what the host and the SDK have: all of it, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import host.gateway.problems  # noqa: F401  # the edge's own errors are subclasses too
from host.model.errors import ACTOR_ERRORS, ActorError, TenureError
from host.model.limits import LIMITS, KiB, MiB

ROOT = Path(__file__).resolve().parents[2]
ADMIN_API = (ROOT / "docs" / "admin-api.md").read_text()
ERRORS = (ROOT / "docs" / "errors.md").read_text()
GUEST_API = (ROOT / "docs" / "guest-api.md").read_text()
TYPES = (ROOT / "guest_sdk" / "typescript" / "index.d.ts").read_text()


def section(page: str, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.M | re.S)
    assert found, f"no section {title!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the tables in `text`, without their heads."""
    lines = [line.strip().strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    heads = {number - 1 for number, line in enumerate(cells) if all(set(cell) <= {"-"} and cell for cell in line)}
    return [line for number, line in enumerate(cells) if number not in heads and number - 1 not in heads]


def kinds(kind: type[TenureError]) -> Iterator[type[TenureError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def test_each_code_is_documented_with_its_status_and_whether_to_retry() -> None:
    known = {
        (str(kind.http_status), f"`{kind.code}`", "yes" if kind.retryable else "no")
        for kind in kinds(TenureError)
        if kind is ActorError or not issubclass(kind, ActorError)
        if kind.__module__.startswith("host.")
    }
    assert sorted((row[0], row[1], row[2]) for row in rows(section(ERRORS, "Over HTTP"))) == sorted(known)


def test_the_admin_api_names_errors_of_that_one_list() -> None:
    known = {(row[0], row[1]) for row in rows(section(ERRORS, "Over HTTP"))}
    named = {(row[0], code) for row in rows(section(ADMIN_API, "Replies")) for code in row[1].split(", ")}
    assert named <= known
    assert {code for _, code in named} >= {"`unauthorized`", "`forbidden`", "`idempotency_key_reused`"}


def test_each_error_that_a_guest_reads_is_documented_with_what_its_client_gets() -> None:
    """A handler that lets one pass answers as `host.invoke.pool` decides: by whether a retry may help."""
    known = {(f"`{name}`", "503" if kind.retryable else "500") for name, kind in ACTOR_ERRORS.items()}
    assert sorted((row[0], row[1]) for row in rows(section(ERRORS, "In a guest"))) == sorted(known)


def test_each_row_says_what_it_means() -> None:
    assert [row for row in rows(ERRORS) if len(row) not in (4, 5) or not row[-2]] == []


def test_the_guest_api_names_each_export_of_the_sdk_and_no_other() -> None:
    exported = re.findall(r"^export (?:declare )?(?:class|const|interface|type|function) (\w+)", TYPES, re.M)
    named = [name for row in rows(section(GUEST_API, "Exports")) for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(exported)


def test_the_sdk_has_a_class_for_each_error_of_the_host() -> None:
    classes = set(re.findall(r"^export class (\w+Error) extends", TYPES, re.M))
    assert classes - {"ActorError"} == set(ACTOR_ERRORS)


def test_the_members_that_the_guest_api_speaks_of_exist() -> None:
    """`ctx.x`, `txn.x` and the operations of storage are members that index.d.ts declares."""
    storage = {name for row in rows(section(GUEST_API, "Storage")) for name in re.findall(r"`(\w+)\(", row[0])}
    members = storage | set(re.findall(r"`(?:ctx|txn|stub|env\.NAME)\.(\w+)", GUEST_API)) - {"method"}
    assert {name for name in members if not re.search(rf"^ +(?:readonly )?{name}[<(:?]", TYPES, re.M)} == set()
    assert {"get", "transaction", "idFromName", "rollback", "blockConcurrencyWhile"} <= members


def test_the_limits_that_the_guest_api_names_are_the_hosts() -> None:
    table = {row[0]: row[1] for row in rows(section(GUEST_API, "Limits"))}
    walls = (LIMITS.request_wall_s, LIMITS.method_wall_s, LIMITS.actor_fetch_wall_s, LIMITS.init_wall_s)
    assert {f"{wall:g} s" for wall in walls} == {table["a request, a method, an actor's `fetch`, a constructor"]}
    assert table["an alarm handler"] == f"{LIMITS.alarm_wall_s / 60:g} min"
    assert table["CPU of one call"] == f"{LIMITS.call_cpu_s:g} s"
    assert table["memory of one instance"] == f"{LIMITS.memory_bytes_max // MiB} MiB"
    assert table["body of a request, of a response"] == f"{LIMITS.body_bytes_max // MiB} MiB"
    assert table["a value"] == f"{LIMITS.value_bytes_max // MiB} MiB in its stored form"
    sizes = f"{LIMITS.turn_write_bytes_max // MiB} MiB, {LIMITS.actor_bytes_max // (1024 * MiB)} GiB"
    assert table["what one turn writes, what one actor holds"] == sizes
    assert table["turns that wait for one actor"] == f"{LIMITS.mailbox_turns_max:,}"
    assert table["depth of a chain of calls"] == str(LIMITS.call_depth_max)
    assert f"up to {LIMITS.key_bytes_max:,} bytes" in GUEST_API
    assert f"up to {LIMITS.actor_name_bytes_max // KiB * KiB:,} bytes" in GUEST_API
