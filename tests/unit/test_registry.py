"""The registry: what is acknowledged is durable, labels and names are unique, keys are stored as hashes only."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.model.errors import Conflict, HostError, NotFound, QuotaReached, StorageBroken, UsageError
from host.model.quotas import Quotas
from host.registry.auth import KEY
from host.registry.first_start import OPERATOR_KEY_FILE, ensure_operator_key
from host.registry.labels import free_label
from host.registry.records import DEFAULT_TENANT
from tests.unit.registry_kit import Host


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = await Host(tmp_path, quotas=Quotas(functions=3)).start()
    yield host
    await host.stop()


async def test_a_created_function_survives_a_crash(host: Host) -> None:
    made = await host.registry.create_function(DEFAULT_TENANT, "account", actor=True)
    await host.restart()
    assert host.registry.function(DEFAULT_TENANT, "account") == made
    assert host.registry.function(DEFAULT_TENANT, made.id) == made
    assert made.status == "created"
    assert host.registry.route(made.label) is None
    assert host.registry.why_unavailable(made.label) is None


async def test_a_deleted_function_stays_deleted(host: Host) -> None:
    made = await host.registry.create_function(DEFAULT_TENANT, "account")
    await host.registry.delete_function(DEFAULT_TENANT, "account")
    await host.restart()
    with pytest.raises(NotFound):
        host.registry.function(DEFAULT_TENANT, made.id)
    assert await host.registry.create_function(DEFAULT_TENANT, "account")


async def test_nothing_changes_when_the_sync_fails(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("disk full")

    monkeypatch.setattr(host.engine, "sync", fail)
    with pytest.raises(StorageBroken):
        await host.registry.create_function(DEFAULT_TENANT, "account")
    assert host.registry.functions(DEFAULT_TENANT) == []


async def test_a_change_is_finished_when_the_caller_goes_away(host: Host) -> None:
    task = asyncio.create_task(host.registry.create_function(DEFAULT_TENANT, "account"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(Conflict):  # it waits for the change before it
        await host.registry.create_function(DEFAULT_TENANT, "account")
    await host.restart()
    assert [function.name for function in host.registry.functions(DEFAULT_TENANT)] == ["account"]


async def test_two_at_once_cannot_take_one_name(host: Host) -> None:
    create = host.registry.create_function
    made = await asyncio.gather(*(create(DEFAULT_TENANT, "account") for _ in range(2)), return_exceptions=True)
    assert sorted(type(one).__name__ for one in made) == ["Conflict", "FunctionRecord"]


async def test_tenants_do_not_see_each_others_functions_but_may_use_one_name(host: Host) -> None:
    await host.registry.create_tenant("acme")
    mine = await host.registry.create_function(DEFAULT_TENANT, "account")
    theirs = await host.registry.create_function("acme", "account")
    assert mine.label != theirs.label
    for ref in (theirs.id, theirs.label):
        with pytest.raises(NotFound):
            host.registry.function(DEFAULT_TENANT, ref)
    assert host.registry.functions("acme") == [theirs]
    with pytest.raises(Conflict):
        await host.registry.create_tenant("acme")


@pytest.mark.parametrize("name", ["", "A", "1a", "a-", "a" * 41, "a_b", "a.b", "é"])
async def test_a_bad_function_name_is_refused(host: Host, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a function's name"):
        await host.registry.create_function(DEFAULT_TENANT, name)


async def test_a_tenant_has_at_most_its_number_of_functions(host: Host) -> None:
    for name in ("a", "b", "c"):
        await host.registry.create_function(DEFAULT_TENANT, name)
    with pytest.raises(QuotaReached, match="your quota is 3"):
        await host.registry.create_function(DEFAULT_TENANT, "d")


def test_labels_are_unique_even_when_many_functions_are_made_at_one_moment() -> None:
    taken: set[str] = set()
    ids = set()
    for _ in range(50):
        function_id, label = free_label("account", taken)
        assert label == f"account-{function_id.replace('-', '')[:10]}"
        assert function_id[14] == "7"
        assert label not in taken
        taken.add(label)
        ids.add(function_id)
    assert len(ids) == 50


async def test_a_key_is_known_after_a_crash_and_stored_as_a_hash_only(host: Host) -> None:
    key = await host.registry.create_key(DEFAULT_TENANT, "ci", "tenant")
    assert KEY.fullmatch(key)
    await host.restart()
    record = host.registry.authenticate(key)
    assert record is not None
    assert (record.tenant, record.label, record.role) == (DEFAULT_TENANT, "ci", "tenant")
    stored = b"".join(name + value for name, value in host.engine.scan(b"", b"\xff"))
    assert key.encode() not in stored
    assert key[4:].encode() not in stored


@pytest.mark.parametrize("key", ["", "tnr_", "tnr_" + "x" * 43, "tnr_" + "é" * 43, "x" * 10_000])
async def test_a_wrong_key_is_nobodys(host: Host, key: str) -> None:
    await host.registry.create_key(DEFAULT_TENANT, "ci", "tenant")
    assert host.registry.authenticate(key) is None


async def test_the_first_start_leaves_a_key_that_only_its_owner_can_read(host: Host, tmp_path: Path) -> None:
    path = tmp_path / OPERATOR_KEY_FILE
    assert await ensure_operator_key(tmp_path, host.registry)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    record = host.registry.authenticate(path.read_text().strip())
    assert record is not None
    assert record.role == "operator"
    await host.restart()
    assert not await ensure_operator_key(tmp_path, host.registry)
    path.unlink()
    assert not await ensure_operator_key(tmp_path, host.registry)
    assert not path.exists()


async def test_a_crash_between_the_key_file_and_its_record_locks_nobody_out(host: Host, tmp_path: Path) -> None:
    await ensure_operator_key(tmp_path, host.registry)
    key = (tmp_path / OPERATOR_KEY_FILE).read_text().strip()
    other = await Host(tmp_path).start()  # the same files, nothing in the engine
    assert await ensure_operator_key(tmp_path, other.registry)
    assert other.registry.authenticate(key) is not None
    await other.stop()


async def test_a_file_that_is_no_key_is_not_overwritten(host: Host, tmp_path: Path) -> None:
    path = tmp_path / OPERATOR_KEY_FILE
    path.write_text("precious")
    with pytest.raises(HostError, match="does not hold an API key"):
        await ensure_operator_key(tmp_path, host.registry)
    assert path.read_text() == "precious"
