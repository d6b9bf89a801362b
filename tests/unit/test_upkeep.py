"""Rules by which old versions go: whose counts, when it is applied, what it never touches, and who is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from host.config import keep_rule
from host.model.errors import NotFound
from host.model.keep import Keep
from host.registry.pruning import DAY_MS, SETTLED_MS
from host.registry.records import DEFAULT_TENANT, FunctionRecord, Share, VersionRecord
from host.registry.upkeep import EVERY_S, Upkeep
from tests.kit.rooms import Disk
from tests.unit.admin_kit import Api, api_of
from tests.unit.registry_kit import Host, bundle, component, manifest

LATER_S = (SETTLED_MS + 1) / 1000
ONE = Keep(versions=1, days=0)


class Kept:
    """A host that removes old versions by rule, and what it said of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.said: list[tuple[str, str]] = []
        self.begin()

    def begin(self) -> None:
        """As a process that starts on the same disk does."""
        host = self.host
        self.upkeep = Upkeep(host.registry, host.publisher, host.clock, lambda *said: self.said.append(said))
        self.upkeep.start()

    async def rule(self, keep: Keep | None, ref: str = "account") -> FunctionRecord:
        return await self.host.registry.rules.change(DEFAULT_TENANT, ref, keep)

    async def ship(self, function: FunctionRecord, note: str, *, settle: bool = True) -> VersionRecord:
        """Go on when nothing is left to do and, with `settle`, so long after that what served before has settled."""
        version = await self.host.ship(function, manifest(), component(note=note))
        await self.upkeep.idle()
        if settle:
            await self.later(LATER_S)
        return version

    async def later(self, seconds: float) -> None:
        self.host.clock.advance(seconds)
        await self.upkeep.idle()

    def there(self, function: FunctionRecord) -> list[int]:
        return [one.number for one in self.host.registry.versions(function.id)]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    host = await Host(tmp_path).start()
    kept = Kept(host)
    yield kept
    await kept.upkeep.close()
    await host.stop()


@pytest.fixture
async def account(kept: Kept) -> FunctionRecord:
    return await kept.host.registry.create_function(DEFAULT_TENANT, "account")


async def test_nothing_goes_by_itself_that_nobody_gave_a_rule(kept: Kept, account: FunctionRecord) -> None:
    for note in "123456789abc":
        await kept.ship(account, note)
    await kept.later(100 * DAY_MS / 1000)
    assert kept.there(account) == list(range(1, 13))
    assert (kept.upkeep.removed, kept.said) == (0, [])


async def test_a_ship_removes_what_the_rule_no_longer_keeps_and_an_hour_does_without_one(
    kept: Kept, account: FunctionRecord
) -> None:
    await kept.rule(ONE)
    for note in "123":
        await kept.ship(account, note)
    assert kept.there(account) == [2, 3], "what serves, and what a rollback goes back to"
    for note in "45":
        await kept.ship(account, note, settle=False)
    assert kept.there(account) == [3, 4, 5], "3 served a moment ago"
    await kept.later(EVERY_S)
    assert kept.there(account) == [4, 5]
    assert kept.upkeep.removed == 3
    text = "removed by rule: version {}. What stays: the newest 1"
    assert kept.said == [(account.id, text.format(number)) for number in (1, 2, 3)]
    digests = {one.digest for one in kept.host.registry.versions(account.id)}
    assert kept.host.blobs.digests() == digests == {path.stem for path in kept.host.compiler.cache.glob("*.cwasm")}


async def test_a_version_that_is_to_be_deployed_yet_has_its_time(kept: Kept, account: FunctionRecord) -> None:
    await kept.ship(account, "1")
    await kept.rule(ONE)
    for note in "234":
        upload = kept.host.publisher.reserve_path()
        upload.write_bytes(bundle(manifest(), component(note=note)))
        await kept.host.publisher.begin(DEFAULT_TENANT, account.id, upload, deploy=False)
    await kept.host.publisher.idle()
    await kept.upkeep.idle()
    assert kept.there(account) == [1, 2, 3, 4]
    await kept.host.publisher.deploy(DEFAULT_TENANT, "account", [Share(2)])
    await kept.later(EVERY_S)
    assert kept.there(account) == [1, 2, 4], "3 never served; 4 is the newest"


async def test_what_serves_with_another_and_what_is_being_compiled_stay(kept: Kept, account: FunctionRecord) -> None:
    for note in "123":
        await kept.ship(account, note)
    await kept.host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1, 90), Share(2, 10)])
    kept.host.compiler.go.clear()
    waiting = await kept.host.begin(account, bundle(manifest(), component(note="4")))
    await kept.rule(ONE)
    await kept.later(EVERY_S)
    assert kept.there(account) == [1, 2, 3, 4]
    assert kept.host.registry.version(account.id, waiting.number).status == "compiling"
    kept.host.compiler.go.set()
    await kept.host.publisher.idle()


async def test_days_pass_without_a_ship(kept: Kept, account: FunctionRecord) -> None:
    await kept.rule(Keep(versions=1, days=2))
    for note in "123":
        await kept.ship(account, note)
    await kept.later(1.9 * DAY_MS / 1000)
    assert kept.there(account) == [1, 2, 3]
    await kept.later(DAY_MS / 1000)
    assert kept.there(account) == [2, 3]


async def test_a_functions_own_rule_takes_the_place_of_the_hosts_over_a_restart(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.keep = Keep(versions=2, days=0)
    kept = Kept(await host.start())
    registry = host.registry
    functions = [await registry.create_function(DEFAULT_TENANT, name) for name in ("account", "shop")]
    await kept.rule(Keep(versions=4, days=0), "shop")
    for function in functions:
        for note in "123456":
            await kept.ship(function, f"{function.name} {note}")
    await kept.later(EVERY_S)
    assert [kept.there(function) for function in functions] == [[5, 6], [3, 4, 5, 6]]
    await kept.upkeep.close()
    await host.restart()
    kept.begin()
    shop = host.registry.function(DEFAULT_TENANT, "shop")
    assert host.registry.rules.of(shop) == Keep(versions=4, days=0)
    await kept.rule(None, "shop")
    await kept.upkeep.idle()
    assert kept.there(shop) == [5, 6], "a rule counts at once"
    await kept.upkeep.close()
    await host.stop()


async def test_a_function_that_is_deleted_meanwhile_stops_nobody(kept: Kept, account: FunctionRecord) -> None:
    shop = await kept.host.registry.create_function(DEFAULT_TENANT, "shop")
    for note in "123":
        await kept.ship(account, note)
        await kept.ship(shop, f"shop {note}")
    for function in (account, shop):
        await kept.rule(ONE, function.name)
    await kept.host.publisher.delete_function(DEFAULT_TENANT, "account")
    await kept.upkeep.idle()
    assert kept.there(shop) == [2, 3]
    with pytest.raises(NotFound):
        await kept.rule(ONE)


async def test_many_versions_are_named_in_one_short_line(kept: Kept, account: FunctionRecord) -> None:
    for number in range(14):
        await kept.ship(account, str(number))
    await kept.rule(Keep(versions=1, days=0))
    await kept.upkeep.idle()
    assert kept.said == [(account.id, "removed by rule: 12 versions from 1 to 12. What stays: the newest 1")]


async def test_rules_over_the_api(kept: Kept, account: FunctionRecord) -> None:
    api: Api = await api_of(kept.host, await kept.host.registry.create_key("default", "ci", "tenant"))
    path, rule = "/functions/account", "/functions/account/versions/rule"
    assert (await api.json("GET", path))["rule"] is None
    shown: Any = await api.json("PUT", rule, json={"keep": 20})
    assert shown["rule"] == {"keep": 20, "days": 7, "set": True}
    assert (await api.json("PUT", rule, json={"keep": 3, "days": 0}))["rule"] == {"keep": 3, "days": 0, "set": True}
    for wrong in ({"keep": 0}, {"keep": 1.5}, {"keep": 1001}, {"days": -1}, {"days": 4000}, {"kep": 1}):
        await api.refused("PUT", rule, 400, json=wrong)
    kept.host.registry.rules.host = Keep(versions=9, days=1)
    assert (await api("DELETE", rule)).status_code == 204
    assert (await api.json("GET", path))["rule"] == {"keep": 9, "days": 1, "set": False}


def test_the_hosts_rule_is_of_flags_before_the_environment_and_none_unless_somebody_asks() -> None:
    environ = {"TENURE_KEEP_VERSIONS": "5", "TENURE_KEEP_DAYS": "0"}
    assert keep_rule(environ={}) is None
    assert keep_rule(environ=environ) == Keep(5, 0)
    assert keep_rule(8, environ=environ) == Keep(8, 0)
    assert keep_rule(days=3, environ={}) == Keep(10, 3)
    assert keep_rule(versions=3, environ={}) == Keep(3, 7)
    for wrong in ({"TENURE_KEEP_DAYS": "-1"}, {"TENURE_KEEP_VERSIONS": "0"}, {"TENURE_KEEP_VERSIONS": "2000"}):
        with pytest.raises(ValueError, match=r"0|most"):
            keep_rule(environ=wrong)


async def test_what_the_disk_refuses_is_still_there_and_goes_an_hour_later(tmp_path: Path) -> None:
    host = Host(tmp_path)
    disk = host.engine = Disk(host.engine)
    kept = Kept(await host.start())
    account = await host.registry.create_function(DEFAULT_TENANT, "account")
    for note in "123":
        await kept.ship(account, note)
    await kept.rule(ONE)
    disk.write_error = OSError("disk full")
    await kept.upkeep.idle()
    assert (kept.there(account), kept.said) == ([1, 2, 3], [])
    disk.write_error = None
    await kept.later(EVERY_S)
    assert kept.there(account) == [2, 3]
    await kept.upkeep.close()
    await host.stop()
