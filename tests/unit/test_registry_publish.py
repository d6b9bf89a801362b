"""Publishing: a failed ship changes nothing that serves; owners, restarts, dropped versions, bounds."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.model.errors import BundleError, HostError, ManifestError, NotFound, Unavailable
from host.model.quotas import Quotas
from host.model.version import Version
from host.registry.publish import COMPILER_FAILED, NOT_COMPILED, NOTHING_EXPORTED
from host.registry.records import DEFAULT_TENANT, FunctionRecord
from host.registry.registry import PREPARING, RESTARTED
from tests.unit.registry_kit import Host, bundle, component, manifest


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = await Host(tmp_path, quotas=Quotas(versions=3, actor_types=2)).start()
    yield host
    await host.stop()


@pytest.fixture
async def account(host: Host) -> FunctionRecord:
    return await host.registry.create_function(DEFAULT_TENANT, "account")


async def test_a_shipped_version_serves_and_owns_its_actor_types(host: Host, account: FunctionRecord) -> None:
    begun = await host.begin(account, bundle(manifest("Account"), component("Account")))
    assert (begun.number, begun.status) == (1, "compiling")
    await host.publisher.idle()
    version = host.registry.route(account.label)
    assert version is not None
    assert host.registry.owner(DEFAULT_TENANT, "Account") is version
    assert host.registry.owner("acme", "Account") is None
    assert (version.number, version.actor_types, version.sdk) == (1, ("Account",), "unit/1")
    assert version.artifact == str(host.compiler.artifact_path(version.digest))
    now = host.registry.function(DEFAULT_TENANT, "account")
    assert (now.status, now.serving) == ("deploy_ok", 1)
    assert host.work_files() == []


async def test_what_serves_is_told_once_for_each_change(host: Host, account: FunctionRecord) -> None:
    changes: list[tuple[list[int], list[int]]] = []

    def note(old: tuple[Version, ...], new: tuple[Version, ...]) -> None:
        changes.append(([one.number for one in old], [one.number for one in new]))
        raise RuntimeError("a listener that fails stops nobody")

    host.registry.on_change(note)
    await host.ship(account, manifest(), component())
    await host.ship(account, manifest(), component(note="2"))
    await host.ship(account, manifest(), component(errors=("no",)))
    await host.publisher.delete_function(DEFAULT_TENANT, account.id)
    assert changes == [([], [1]), ([1], [2]), ([2], [])]


@pytest.mark.parametrize(
    ("wasm", "errors"),
    [
        (component(errors=("foreign import a", "foreign import b")), ("foreign import a", "foreign import b")),
        (component(handler=False), (NOTHING_EXPORTED,)),
    ],
)
async def test_a_failed_ship_leaves_what_serves(
    host: Host, account: FunctionRecord, wasm: bytes, errors: tuple[str, ...]
) -> None:
    await host.ship(account, manifest("Account"), component("Account"))
    before = host.registry.route(account.label)
    version = await host.ship(account, manifest("Account"), wasm)
    assert (version.status, version.errors) == ("deploy_failed", errors)
    assert host.registry.route(account.label) is before
    assert host.registry.owner(DEFAULT_TENANT, "Account") is before
    now = host.registry.function(DEFAULT_TENANT, "account")
    assert (now.status, now.serving, now.errors) == ("deploy_failed", 1, errors)
    await host.ship(account, manifest("Account"), component("Account", note="repaired"))
    now = host.registry.function(DEFAULT_TENANT, "account")
    assert (now.status, now.serving, now.errors) == ("deploy_ok", 3, ())


@pytest.mark.parametrize("failure", [HostError("secret path"), RuntimeError("secret path")])
async def test_a_fault_of_the_compiler_is_not_shown_to_the_tenant(
    host: Host, account: FunctionRecord, failure: Exception
) -> None:
    host.compiler.failure = failure
    version = await host.ship(account, manifest(), component())
    assert (version.status, version.errors) == ("deploy_failed", (COMPILER_FAILED,))


async def test_a_refused_bundle_leaves_nothing_behind(host: Host, account: FunctionRecord) -> None:
    with pytest.raises(BundleError):
        await host.begin(account, b"not a zip")
    with pytest.raises(ManifestError) as caught:
        await host.begin(account, bundle('name = "A"\nmain = 1\ncompatibility_date = "x"', component()))
    assert len(caught.value.details) == 3
    assert host.work_files() == []
    assert host.blobs.digests() == set()
    assert host.registry.versions(account.id) == []
    assert host.registry.function(DEFAULT_TENANT, "account").status == "created"


async def test_a_bundle_of_another_function_is_refused_by_its_func_id(host: Host, account: FunctionRecord) -> None:
    other = await host.registry.create_function(DEFAULT_TENANT, "other")
    text = manifest() + f'[edge_compute]\nfunc_id = "{other.id}"\n'
    with pytest.raises(ManifestError, match="shipped to the function 'account'"):
        await host.begin(account, bundle(text, component()))
    assert (await host.ship(other, text, component())).status == "deploy_ok"


async def test_a_second_owner_of_a_type_is_refused_and_the_first_is_named(host: Host, account: FunctionRecord) -> None:
    await host.ship(account, manifest("Account"), component("Account"))
    rival = await host.registry.create_function(DEFAULT_TENANT, "rival")
    version = await host.ship(rival, manifest("Account"), component("Account", note="rival"))
    assert version.status == "deploy_failed"
    assert "'account'" in version.errors[0]
    assert host.registry.route(rival.label) is None
    sharing = await host.ship(rival, manifest("Account"), component())
    assert (sharing.status, sharing.warnings) == ("deploy_ok", ())
    owner = host.registry.owner(DEFAULT_TENANT, "Account")
    assert owner is not None
    assert owner.function_id == account.id


async def test_another_tenant_may_own_a_type_of_the_same_name(host: Host, account: FunctionRecord) -> None:
    await host.registry.create_tenant("acme")
    theirs = await host.registry.create_function("acme", "account")
    await host.ship(account, manifest("Account"), component("Account"))
    assert (await host.ship(theirs, manifest("Account"), component("Account"))).status == "deploy_ok"
    mine, other = (host.registry.owner(tenant, "Account") for tenant in (DEFAULT_TENANT, "acme"))
    assert mine is not None
    assert other is not None
    assert (mine.function_id, other.function_id) == (account.id, theirs.id)


async def test_a_type_is_free_again_when_its_owner_stops_exporting_it(host: Host, account: FunctionRecord) -> None:
    await host.ship(account, manifest("Account"), component("Account"))
    without = await host.ship(account, manifest(), component(note="without"))
    assert any("'Account' was in the version before" in warning for warning in without.warnings)
    assert host.registry.owner(DEFAULT_TENANT, "Account") is None
    heir = await host.registry.create_function(DEFAULT_TENANT, "heir")
    assert (await host.ship(heir, manifest("Account"), component("Account", note="heir"))).status == "deploy_ok"


async def test_what_is_odd_ships_with_a_warning(host: Host, account: FunctionRecord) -> None:
    version = await host.ship(account, manifest("Missing", extra='nam = "x"\n'), component("Extra", "Bad__Name"))
    assert version.status == "deploy_ok"
    for words in ("'nam'", "No function has the actor type 'Missing'", "'Extra' is exported", "'Bad__Name' cannot be"):
        assert sum(words in warning for warning in version.warnings) == 1, words
    assert version.actor_types == ("Extra",)


async def test_a_tenant_has_at_most_its_number_of_actor_types(host: Host, account: FunctionRecord) -> None:
    assert (await host.ship(account, manifest("A", "B"), component("A", "B"))).status == "deploy_ok"
    other = await host.registry.create_function(DEFAULT_TENANT, "other")
    version = await host.ship(other, manifest("C"), component("C"))
    assert version.status == "deploy_failed"
    assert "3 actor types" in version.errors[0]


async def test_a_restart_serves_what_served_at_once(host: Host, account: FunctionRecord) -> None:
    await host.ship(account, manifest("Account", extra=""), component("Account"))
    before = host.registry.route(account.label)
    await host.restart()
    after = host.registry.route(account.label)
    assert before is not None
    assert after is not None
    assert (after.number, after.manifest, after.actor_types) == (1, before.manifest, ("Account",))
    assert host.registry.owner(DEFAULT_TENANT, "Account") is after


async def test_a_missing_artifact_is_compiled_again_before_the_function_serves(
    host: Host, account: FunctionRecord
) -> None:
    version = await host.ship(account, manifest("Account"), component("Account"))
    await host.publisher.close()
    host.compiler.artifact_path(version.digest).unlink()
    host.engine.crash()
    await host.start()
    assert host.registry.route(account.label) is None
    assert host.registry.why_unavailable(account.label) == PREPARING
    rival = await host.registry.create_function(DEFAULT_TENANT, "rival")
    refused = await host.ship(rival, manifest("Account"), component("Account", note="rival"))
    assert refused.status == "deploy_failed"  # the type has its owner even while that is not ready
    assert host.registry.route(account.label) is not None
    assert host.registry.why_unavailable(account.label) is None


async def test_a_function_that_cannot_be_compiled_after_a_restart_says_so(host: Host, account: FunctionRecord) -> None:
    version = await host.ship(account, manifest(), component())
    await host.publisher.close()
    host.compiler.artifact_path(version.digest).unlink()
    host.blobs.delete(version.digest)
    await host.start()
    await host.publisher.idle()
    assert host.registry.why_unavailable(account.label) == NOT_COMPILED
    await host.ship(account, manifest(), component(note="again"))
    assert host.registry.why_unavailable(account.label) is None


async def test_a_version_that_was_compiling_when_the_host_died_is_failed(host: Host, account: FunctionRecord) -> None:
    await host.ship(account, manifest(), component())
    host.compiler.go.clear()
    await host.begin(account, bundle(manifest(), component(note="2")))
    await host.restart()
    version = host.registry.version(account.id, 2)
    assert (version.status, version.errors) == ("deploy_failed", (RESTARTED,))
    now = host.registry.function(DEFAULT_TENANT, "account")
    assert (now.status, now.serving) == ("deploy_failed", 1)
    assert host.registry.route(account.label) is not None


async def test_one_version_is_compiled_at_a_time_and_few_wait(host: Host, account: FunctionRecord) -> None:
    host.compiler.go.clear()
    for note in ("1", "2", "3"):
        await host.begin(account, bundle(manifest(), component(note=note)))
    with pytest.raises(Unavailable, match="wait to be compiled"):
        await host.begin(account, bundle(manifest(), component(note="4")))
    assert host.work_files() == []
    host.compiler.go.set()
    await host.publisher.idle()
    assert host.compiler.running_most == 1
    serving = host.registry.route(account.label)
    assert serving is not None
    assert serving.number == 3
    assert (await host.ship(account, manifest(), component(note="4"))).status == "deploy_ok"


async def test_the_oldest_unused_versions_go_with_their_files(host: Host, account: FunctionRecord) -> None:
    shared = component(note="first and last")
    first = await host.ship(account, manifest(), shared)
    for note in ("2", "3"):
        await host.ship(account, manifest(), component(note=note))
    await host.ship(account, manifest(), shared)
    assert [version.number for version in host.registry.versions(account.id)] == [2, 3, 4]
    assert first.digest in host.blobs.digests()  # version 4 has it too
    second = host.registry.version(account.id, 2).digest
    await host.ship(account, manifest(), component(note="5"))
    assert second not in host.blobs.digests()
    assert not host.compiler.artifact_path(second).exists()
    await host.restart()
    assert [version.number for version in host.registry.versions(account.id)] == [3, 4, 5]


async def test_the_version_that_serves_is_kept_however_old(host: Host, account: FunctionRecord) -> None:
    await host.ship(account, manifest(), component())
    for note in ("2", "3", "4", "5"):
        await host.ship(account, manifest(), component(note=note, errors=("no",)))
    assert [version.number for version in host.registry.versions(account.id)] == [1, 4, 5]
    assert host.registry.route(account.label) is not None


async def test_deleting_a_function_takes_its_route_its_types_and_its_files(host: Host, account: FunctionRecord) -> None:
    await host.ship(account, manifest("Account"), component("Account"))
    await host.publisher.delete_function(DEFAULT_TENANT, "account")
    assert host.registry.route(account.label) is None
    assert host.registry.owner(DEFAULT_TENANT, "Account") is None
    assert host.blobs.digests() == set()
    assert list(host.compiler.cache.iterdir()) == []
    with pytest.raises(NotFound):
        await host.publisher.delete_function(DEFAULT_TENANT, "account")


async def test_a_function_deleted_while_it_compiles_leaves_nothing(host: Host, account: FunctionRecord) -> None:
    host.compiler.go.clear()
    await host.begin(account, bundle(manifest(), component()))
    await host.compiler.started.wait()
    assert host.blobs.digests() == {hashlib.sha256(component()).hexdigest()}
    await host.publisher.delete_function(DEFAULT_TENANT, account.id)
    host.compiler.go.set()
    await host.publisher.idle()
    assert host.registry.route(account.label) is None
    assert host.blobs.digests() == set()
    assert list(host.compiler.cache.iterdir()) == []


async def test_a_ship_goes_on_when_the_caller_goes_away(host: Host, account: FunctionRecord) -> None:
    upload = await asyncio.to_thread(host.publisher.reserve_path)
    upload.write_bytes(bundle(manifest(), component()))
    host.compiler.started.clear()
    task = asyncio.create_task(host.publisher.begin(DEFAULT_TENANT, account.id, upload))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(host.compiler.started.wait(), 10)
    await host.publisher.idle()
    assert host.registry.route(account.label) is not None
    assert host.work_files() == []


async def test_a_start_removes_what_a_crash_left_in_the_folders(host: Host, account: FunctionRecord) -> None:
    orphan = host.blobs.put_bytes(b"kept for a version that was never recorded")
    (host.folder / "work" / "upload-x").write_bytes(b"half")
    (host.folder / "work" / "bundle-x").mkdir()
    await host.restart()
    assert orphan not in host.blobs.digests()
    assert host.work_files() == []
