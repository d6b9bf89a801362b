"""Looking at actors, editing, exporting and calling them: the API and the CLI of a whole host with several workers."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import GUESTS, SESSION
from tests.kit.process import HostProcess
from tests.kit.until import wait_until

pytestmark = SESSION

TENURE = str(Path(sys.executable).with_name("tenure"))
DEADLINE_S = 60.0
ODD_NAMES = ["a/b?c=d&e", "é \U0001f980", "..", " ", "x\n\0y", "%2F"]
VALUES = {"n": 5, "text": "ü\ud800", "when": {"$date": 5}, "bytes": {"$bytes": ["Uint8Array", "AQI="]}, "é\0": [None]}

_tenants = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def host(tmp_path_factory: Any) -> AsyncIterator[HostProcess]:
    host = HostProcess(tmp_path_factory.mktemp("tools") / "data", flags=["--workers", "2"])
    await asyncio.to_thread(host.start)
    try:
        yield host
    finally:
        await asyncio.to_thread(host.kill)


class Tenant:
    """A tenant of its own, with the guest that runs scripts, and short ways to its routes and to the CLI."""

    def __init__(self, host: HostProcess, id: str, key: str) -> None:
        self.host, self.id, self.key = host, id, key
        self.admin = host.admin(key)

    async def ask(self, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
        reply = await self.admin.http.request(method, f"/v1/{path}", **arguments)
        assert reply.status_code == status, reply.text
        return reply.json() if reply.content else None

    async def refused(self, method: str, path: str, status: int, **arguments: Any) -> tuple[str, str]:
        """(title, detail) of the error."""
        (error,) = (await self.ask(method, path, status, **arguments))["errors"]
        return error["title"], error["detail"]

    async def invoke(self, name: str, method: str, *args: Any) -> Any:
        params, body = {"type": "Probe", "name": name}, {"method": method, "args": list(args)}
        return (await self.ask("POST", "actor/invoke", params=params, json=body))["result"]

    async def on(self, name: str, *steps: list[Any]) -> list[Any]:
        """Run steps in the actor."""
        return list(await self.invoke(name, "run", list(steps)))

    async def key_of(self, name: str, key: str) -> Any:
        return (await self.ask("GET", "actor/key", params={"type": "Probe", "name": name, "key": key}))["value"]

    async def export(self) -> str:
        reply = await self.admin.http.get("/v1/actors/export")
        reply.raise_for_status()
        return reply.text

    async def cli(self, *arguments: str, code: int = 0, stdin: str = "") -> tuple[str, str]:
        environ = {**os.environ, "TENURE_API_KEY": self.key, "TENURE_ENDPOINT": self.host.admin_url, "PYTHONUTF8": "1"}
        started = await asyncio.create_subprocess_exec(
            TENURE, "actors", *arguments, env=environ, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        out, err = await asyncio.wait_for(started.communicate(stdin.encode()), DEADLINE_S)
        assert started.returncode == code, err.decode()
        return out.decode(), err.decode()


@asynccontextmanager
async def a_tenant(host: HostProcess) -> AsyncIterator[Tenant]:
    """A new one, which has shipped the guest."""
    async with host.admin() as operator:
        name = f"tenant-{next(_tenants)}"
        (await operator.http.post("/v1/tenants", json={"id": name})).raise_for_status()
        made = await operator.http.post(f"/v1/tenants/{name}/keys", json={"name": "ci"})
    tenant = Tenant(host, name, made.raise_for_status().json()["key"])
    await tenant.admin.ship(GUESTS / "actors")
    yield tenant
    await tenant.admin.http.aclose()


@pytest_asyncio.fixture(loop_scope="session")
async def tenant(host: HostProcess) -> AsyncIterator[Tenant]:
    async with a_tenant(host) as tenant:
        yield tenant


# --- edits are turns --------------------------------------------------------------------------------------------------


async def test_an_edit_waits_for_the_turn_that_runs_and_the_next_turn_sees_it(tenant: Tenant) -> None:
    await tenant.on("a", ["put", "last", "nobody"], ["remember", "of this activation"])
    turn = asyncio.create_task(tenant.invoke("a", "hold", "turn", 300))
    params = {"type": "Probe", "name": "a"}
    while not (await tenant.ask("GET", "actor", params=params))["busy"]:
        assert not turn.done()
    put = tenant.ask("PUT", "actor/key", params={**params, "key": "last"}, content='"an edit"')
    after = asyncio.create_task(put)
    assert await turn == ["of this activation", "turn begins", "turn ends"]
    assert await after == {"key": "last", "value": "an edit"}
    assert await tenant.on("a", ["get", "last"], ["remember", "of the next"]) == ["an edit", ["of the next"]]


async def test_an_edit_obeys_the_limits_of_a_turn_and_changes_nothing_when_it_is_refused(tenant: Tenant) -> None:
    await tenant.on("a", ["put", "k", 1])
    params = {"type": "Probe", "name": "a", "key": "k"}
    for content, said in (
        ('"' + "x" * (1 << 20) + '"', "a value takes at most 1048576 bytes"),
        ('{"$price": 1}', "The body cannot be read by a guest: $: a key that begins with"),
        ("undefined", "The body is not valid JSON"),
    ):
        _, detail = await tenant.refused("PUT", "actor/key", 400, params=params, content=content)
        assert said in detail
    _, detail = await tenant.refused("PUT", "actor/key", 400, params={**params, "key": "__tenure_x"}, content="1")
    assert "reserved" in detail
    _, detail = await tenant.refused("PUT", "actor/key", 404, params={**params, "name": "nobody"}, content="1")
    assert "There is no actor Probe 'nobody'" in detail
    assert await tenant.on("a", ["list", {}]) == [[["k", 1]]]


async def test_a_deleted_actor_leaves_nothing_and_begins_anew(tenant: Tenant) -> None:
    await tenant.on("a", ["put", "k", 1], ["setAlarmIn", 1_000_000], ["remember", "before"])
    params = {"type": "Probe", "name": "a"}
    assert (await tenant.ask("GET", "actor", params=params))["alarm_at"] is not None
    await tenant.ask("DELETE", "actor", 204, params=params)
    await tenant.refused("GET", "actor", 404, params=params)
    assert (await tenant.ask("GET", "alarms", params={"state": "waiting"}))["alarms"] == []
    assert await tenant.on("a", ["list", {}], ["getAlarm"], ["remember", "after"]) == [[], None, ["after"]]
    await tenant.refused("DELETE", "actor", 404, params=params)


# --- lists ------------------------------------------------------------------------------------------------------------


async def test_actors_of_all_shards_are_listed_in_order_in_pages_whatever_their_names(tenant: Tenant) -> None:
    names = [*ODD_NAMES, *(f"user-{number:02}" for number in range(20))]
    await asyncio.gather(*(tenant.on(name, ["put", "k", name]) for name in names))
    pages, params = [], {"type": "Probe", "limit": "7"}
    while True:
        page = await tenant.ask("GET", "actors", params=params)
        pages.append([one["name"] for one in page["actors"]])
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert list(itertools.chain(*pages)) == sorted(names, key=str.encode)
    assert max(map(len, pages)) == 7
    named = await tenant.ask("GET", "actors", params={"type": "Probe", "prefix": "user-1", "limit": "500"})
    assert [one["name"] for one in named["actors"]] == [f"user-1{number}" for number in range(10)]
    (first,) = (await tenant.ask("GET", "actors", params={"type": "Probe", "prefix": "user-00"}))["actors"]
    assert (first["size"], first["alarm_at"]) == (len('k"user-00"'), None)
    assert first["created_at"] <= first["last_used_at"]
    types = (await tenant.ask("GET", "actor-types"))["types"]
    assert [(one["type"], one["actors"], one["function"]) for one in types] == [
        ("Account", 0, "actors"),
        ("Probe", len(names), "actors"),
    ]
    for name in ODD_NAMES:
        assert await tenant.key_of(name, "k") == name


async def test_keys_are_listed_in_pages(tenant: Tenant) -> None:
    await tenant.on("a", *(["put", f"k{number}", number] for number in range(9)), ["fill", "large", 1_000_000])
    params: dict[str, str] = {"type": "Probe", "name": "a", "prefix": "k", "limit": "4"}
    found = []
    while True:
        page = await tenant.ask("GET", "actor/keys", params=params)
        found += [(pair["key"], pair["value"]) for pair in page["keys"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert found == [(f"k{number}", number) for number in range(9)]
    await tenant.refused("GET", "actor/keys", 400, params={**params, "cursor": "bm8"})


# --- exports ----------------------------------------------------------------------------------------------------------


async def test_an_export_is_imported_as_it_was_into_another_tenant(
    tenant: Tenant, host: HostProcess, tmp_path: Path
) -> None:
    due = (time.time_ns() // 1_000_000) + 10_000_000
    names = [*ODD_NAMES, *(f"user-{number}" for number in range(10))]
    await asyncio.gather(*(tenant.on(name, ["setAlarm", due], ["put", "name", name]) for name in names))
    for key, value in VALUES.items():
        params = {"type": "Probe", "name": "a/b?c=d&e", "key": key}
        assert await tenant.ask("PUT", "actor/key", params=params, content=json.dumps(value)) == {
            "key": key,
            "value": value,
        }
    out, _ = await tenant.cli("export")
    (tmp_path / "all.jsonl").write_text(out)
    async with a_tenant(host) as other:
        done, _ = await other.cli("import", str(tmp_path / "all.jsonl"), "--json")
        assert json.loads(done) == {"imported": len(names)}
        assert by_actor(await lines_of(other)) == by_actor(await lines_of(tenant))
        assert await other.on("user-3", ["get", "name"], ["getAlarm"]) == ["user-3", due]


async def lines_of(tenant: Tenant) -> list[str]:
    head, *lines, end = (await tenant.export()).splitlines()
    assert json.loads(head)["tenant"] == tenant.id
    assert json.loads(end)["end"]["actors"] == sum(line.startswith('{"actor"') for line in lines)
    return lines


def by_actor(lines: list[str]) -> dict[str, list[str]]:
    """The lines of each actor; actors of different shards come in no order of their names."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith('{"actor"'):
            keys = found[line] = []
        else:
            keys.append(line)
    return found


async def test_an_import_replaces_only_when_it_is_told_to(tenant: Tenant, tmp_path: Path) -> None:
    await tenant.on("a", ["put", "old", 1], ["setAlarmIn", 1_000_000])
    file = tmp_path / "a.jsonl"
    out, _ = await tenant.cli("export", "Probe", "a")
    file.write_text(out)
    await tenant.on("a", ["put", "new", 2], ["deleteAlarm"], ["remember", "before"])
    _, err = await tenant.cli("import", str(file), code=1)
    assert "1 of these actors are here already, so nothing was imported: Probe 'a'." in err
    assert await tenant.on("a", ["get", "new"]) == [2]
    await tenant.cli("import", str(file), "--replace")
    keys, alarm, remembered = await tenant.on("a", ["list", {}], ["getAlarm"], ["remember", "after"])
    assert (keys, alarm is not None, remembered) == ([["old", 1]], True, ["after"])


async def test_a_file_that_was_cut_or_changed_is_imported_in_no_part(tenant: Tenant, tmp_path: Path) -> None:
    await asyncio.gather(*(tenant.on(name, ["put", "k", name]) for name in "abc"))
    text = await tenant.export()
    for name in "abc":
        await tenant.ask("DELETE", "actor", 204, params={"type": "Probe", "name": name})
    lines = text.splitlines(keepends=True)
    file = tmp_path / "cut.jsonl"
    for kept in range(len(lines)):
        cut = "".join(lines[:kept])
        _, detail = await tenant.refused("POST", "actors/import", 400, content=cut)
        assert "cut short" in detail
        file.write_text(cut)
        if kept:
            await tenant.cli("import", str(file), code=1)
    for changed in (text.replace('"k"', '""', 1), text.replace('"keys":3', '"keys":4'), text + lines[1], "1\n"):
        title, _ = await tenant.refused("POST", "actors/import", 400, content=changed)
        assert title == "Bad request"
    assert (await tenant.ask("GET", "actors"))["actors"] == []
    assert await tenant.ask("POST", "actors/import", content=text) == {"imported": 3}


async def test_an_exported_actor_is_as_it_was_between_two_turns(tenant: Tenant) -> None:
    going = True

    async def write() -> None:
        for number in itertools.count():
            if not going:
                return
            await tenant.on("a", *(["put", f"k{key}", number] for key in range(50)), ["setAlarm", 1e13 + number])

    writing = asyncio.create_task(write())
    seen = set()
    try:
        while len(seen) < 5:
            values = {json.loads(line).get("value", "-") for line in await lines_of(tenant)}
            assert len(values - {"-"}) <= 1
            seen |= values - {"-"}
    finally:
        going = False
        await writing


async def test_an_actor_larger_than_a_piece_is_imported_whole(tenant: Tenant, tmp_path: Path) -> None:
    for part in range(3):
        await tenant.on("a", *(["fill", f"{part}-{key}", 1_000_000] for key in range(10)))
    file = tmp_path / "a.jsonl"
    await tenant.cli("export", "Probe", "a", "--out", str(file))
    await tenant.ask("DELETE", "actor", 204, params={"type": "Probe", "name": "a"})
    assert file.stat().st_size > 30_000_000
    out, _ = await tenant.cli("import", str(file))
    assert out == "1 actor imported.\n"
    found = await tenant.ask("GET", "actor", params={"type": "Probe", "name": "a"})
    assert found["size"] == sum(1_000_002 + len(f"{part}-{key}") for part in range(3) for key in range(10))


async def test_only_the_operator_exports_another_tenant(tenant: Tenant, host: HostProcess) -> None:
    await tenant.on("a", ["put", "k", 1])
    async with host.admin() as operator:
        reply = await operator.http.get(f"/v1/tenants/{tenant.id}/actors/export")
    assert reply.text.splitlines()[1:] == (await tenant.export()).splitlines()[1:]
    await tenant.refused("GET", f"tenants/{tenant.id}/actors/export", 403)


# --- calls ------------------------------------------------------------------------------------------------------------


async def test_a_method_is_called_from_the_command_line(tenant: Tenant) -> None:
    out, _ = await tenant.cli("invoke", "Account", "alice", "deposit", "55")
    assert out == "55\n"
    out, _ = await tenant.cli("invoke", "Account", "alice", "deposit", "-5")
    assert out == "50\n"
    out, _ = await tenant.cli("invoke", "Account", "alice", "debit", "60")
    assert json.loads(out) == {"ok": False, "balance": 50}
    out, _ = await tenant.cli("get", "Account", "alice", "balance")
    assert out == "50\n"
    await tenant.cli("put", "Account", "alice", "balance", "7")
    out, _ = await tenant.cli("invoke", "Account", "alice", "deposit", "1")
    assert out == "8\n"
    await tenant.cli("delete", "Account", "alice", "--yes")
    _, err = await tenant.cli("get", "Account", "alice", "balance", code=1)
    assert "There is no actor Account 'alice'" in err


async def test_errors_of_actors_keep_their_name(tenant: Tenant) -> None:
    _, err = await tenant.cli("invoke", "Probe", "a", "run", '[["throw", "OutOfPaper", "no more"]]', code=1)
    assert err == "Error: ActorMethodError: OutOfPaper: no more\n"
    _, err = await tenant.cli("invoke", "Probe", "a", "_hidden", code=1)
    assert err.startswith("Error: ActorPrivateMethodError: ")
    _, err = await tenant.cli("invoke", "Probe", "a", "run", '[["recurse"]]', code=1)
    assert err.startswith("Error: ActorCrashedError: ")
    _, err = await tenant.cli("invoke", "Nobody", "a", "run", code=1)
    assert "No function of this tenant exports an actor class Nobody" in err
    _, err = await tenant.cli("invoke", "Probe", "a", "run", "alice", code=1)
    assert "Argument 1 is not JSON: alice" in err


async def test_a_request_reaches_the_actors_fetch(tenant: Tenant) -> None:
    out, err = await tenant.cli("fetch", "Probe", "a", "/x?y", "-d", '[["put", "k", 5], ["get", "k"]]')
    assert (json.loads(out), err) == ([None, 5], "HTTP 200\n")
    params, body = {"type": "Probe", "name": "a"}, {"method": "POST", "body": '[["get", "k"]]'}
    reply = await tenant.ask("POST", "actor/fetch", params=params, json=body)
    assert (reply["status"], reply["body"], reply["base64"]) == (200, "[5]", False)
    assert ["content-type", "application/json"] in reply["headers"]
    for wrong in ({"path": "x"}, {"path": "/a b"}, {"headers": {"a\nb": "c"}}, {"headers": {"a": "b\nc: d"}}):
        await tenant.refused("POST", "actor/fetch", 400, params=params, json=wrong)


async def test_what_a_reader_is_told_fits_the_terminal(tenant: Tenant) -> None:
    await tenant.on("a", ["put", "k", "x" * 500], ["setAlarmIn", 1_000_000])
    out, _ = await tenant.cli("inspect", "Probe", "a")
    assert max(map(len, out.splitlines())) < 120
    out, _ = await tenant.cli("list", "Probe", "--json")
    assert [one["name"] for one in json.loads(out)] == ["a"]
    out, _ = await tenant.cli("types")
    assert [line.split()[0] for line in out.splitlines()] == ["TYPE", "Account", "Probe"]


async def test_instances_state_and_logs_say_of_actors_what_list_inspect_and_logs_do(tenant: Tenant) -> None:
    await asyncio.gather(*(tenant.on(name, ["put", "k", name], ["put", "other", 1]) for name in ("a1", "a2", "b")))
    with pytest.raises(AssertionError, match="no more paper"):
        await tenant.on("a1", ["throw", "OutOfPaper", "no more paper"])
    out, _ = await tenant.cli("instances", "Probe", "--prefix", "a")
    assert [line.split()[:2] for line in out.splitlines()] == [["TYPE", "NAME"], ["Probe", "a1"], ["Probe", "a2"]]
    out, _ = await tenant.cli("instances", "Probe", "--json")
    assert [one["name"] for one in json.loads(out)] == ["a1", "a2", "b"]
    out, _ = await tenant.cli("state", "Probe", "a1")
    assert [line.split() for line in out.splitlines()] == [["KEY", "VALUE"], ["k", '"a1"'], ["other", "1"]]
    out, _ = await tenant.cli("state", "Probe", "b", "--prefix", "k", "--json")
    assert json.loads(out) == [{"key": "k", "value": "b"}]
    _, err = await tenant.cli("state", "Probe", "nobody", code=1)
    assert "There is no actor Probe 'nobody'" in err

    async def logged() -> bool:
        return "no more paper" in (await tenant.admin.http.get("/v1/functions/actors/logs")).text

    await wait_until(logged, "the line of the error")
    out, _ = await tenant.cli("logs", "Probe", "a1", "--json")
    assert {line["instance"] for line in json.loads(out)} == {"Probe/a1"}
    out, _ = await tenant.cli("logs", "Probe", "a1", "--level", "error")
    assert "OutOfPaper: no more paper" in out
    out, _ = await tenant.cli("logs", "Probe", "a2", "--level", "error")
    assert out == ""
    _, err = await tenant.cli("logs", "Nobody", "a", code=1)
    assert "No function owns the actor type 'Nobody'." in err


async def test_actors_can_be_mended_when_nothing_serves_them_any_more(tenant: Tenant) -> None:
    await tenant.on("a", ["put", "k", 1])
    await tenant.admin.delete("actors")
    params = {"type": "Probe", "name": "a", "key": "k"}
    await tenant.ask("PUT", "actor/key", params=params, json=2)
    assert await tenant.key_of("a", "k") == 2
    title, _ = await tenant.refused(
        "POST", "actor/invoke", 404, params={"type": "Probe", "name": "a"}, json={"method": "run"}
    )
    assert title == "Not found"
    await tenant.ask("DELETE", "actor", 204, params={"type": "Probe", "name": "a"})
    assert (await tenant.ask("GET", "actor-types"))["types"] == []


async def test_what_was_edited_survives_a_kill(host: HostProcess, tenant: Tenant) -> None:
    names = [f"user-{number}" for number in range(4)]
    await asyncio.gather(*(tenant.on(name, ["put", "k", 0]) for name in names))
    for name in names:
        params = {"type": "Probe", "name": name, "key": "k"}
        await tenant.ask("PUT", "actor/key", params=params, json=name)
    await asyncio.to_thread(host.kill)
    await asyncio.to_thread(host.start)
    assert [await tenant.key_of(name, "k") for name in names] == names
