"""Splits: who gets which version, that more weight moves as few actors as can be, and what a split is to others."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from host.admin.services import AdminServices
from host.model.errors import Conflict, UsageError
from host.model.ids import ActorId
from host.model.limits import LIMITS
from host.model.manifest import parse_manifest
from host.model.version import Version
from host.registry import feed
from host.registry.deployments import history
from host.registry.records import DEFAULT_TENANT, FunctionRecord, Share, VersionRecord, decode, encode
from host.registry.registry import Registry
from host.registry.serving import Change, Serving
from host.registry.split import Part, by_chance, of_actor
from tests.unit.admin_kit import Api, app_of
from tests.unit.registry_kit import HEAD, Host, bundle, component, manifest

ACTORS = [ActorId("acme", "Cart", f"cart-{number}") for number in range(20_000)]
LABEL = "shop-0123456789"


def version(number: int, *types: str) -> Version:
    text, _ = parse_manifest(HEAD)
    fields = ("acme", "0" * 32, "shop", number, "d" * 64, text, f"/c/{number}.cwasm", True, types or ("Cart",))
    return Version(*fields, "sdk/1", LIMITS)


def parts(weights: Mapping[int, int]) -> tuple[Part, ...]:
    return tuple(Part(version(number), weight) for number, weight in weights.items())


def places(weights: Mapping[int, int]) -> list[int]:
    """The version of each of ACTORS."""
    split = parts(weights)
    return [of_actor(split, actor).number for actor in ACTORS]


# --- who gets which version -------------------------------------------------------------------------------------------


def test_requests_are_shared_out_by_weight() -> None:
    chance, split = random.Random(7).random, parts({3: 90, 4: 10})
    seen = Counter(by_chance(split, chance()).number for _ in range(10_000))
    assert seen[4] == pytest.approx(1_000, abs=100)
    assert seen[3] + seen[4] == 10_000
    assert [by_chance(split, at).number for at in (0.0, 0.8999, 0.9, 0.9999999)] == [3, 3, 4, 4]


@pytest.mark.parametrize("weights", [{3: 90, 4: 10}, {1: 1, 2: 1, 3: 1}, {1: 9_999, 2: 1}, {1: 2, 5: 3, 9: 5}])
def test_each_version_has_its_share_of_the_actors(weights: dict[int, int]) -> None:
    seen, total = Counter(places(weights)), sum(weights.values())
    for number, weight in weights.items():
        assert seen[number] / len(ACTORS) == pytest.approx(weight / total, abs=0.015)


def test_more_weight_for_a_version_moves_actors_to_it_and_no_more_than_it_gained() -> None:
    steps = [places({3: 80, 4: 10, 5: weight}) for weight in (1, 10, 40, 90)]
    for before, after in pairwise(steps):
        moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
        assert {new for _, new in moved} == {5}
        assert len(moved) == after.count(5) - before.count(5)


def test_a_version_that_goes_leaves_its_own_actors_only() -> None:
    before, after = places({3: 50, 4: 30, 5: 20}), places({3: 50, 4: 30})
    assert all(new == old for old, new in zip(before, after, strict=True) if old != 5)


def test_the_same_proportions_are_the_same_places() -> None:
    assert places({3: 9, 4: 1}) == places({3: 90, 4: 10}) == places({4: 10, 3: 90})


def test_where_an_actor_is_is_the_same_in_any_process() -> None:
    """These places are in use on hosts: another hash would move every actor of a split at an upgrade."""
    assert places({3: 50, 4: 50})[:12] == [4, 3, 3, 3, 3, 4, 4, 3, 3, 3, 3, 3]


# --- what serves ------------------------------------------------------------------------------------------------------


def test_a_replica_under_a_split_agrees_with_the_truth_on_every_actor() -> None:
    truth, replica = Serving(), Serving()
    truth.apply(Change(LABEL, parts({3: 70, 4: 30})))
    replica.become(feed.decode(feed.encode(truth.changes())))
    for actor in ACTORS[:500]:
        mine, theirs = truth.version_of(actor), replica.version_of(actor)
        assert mine is not None
        assert theirs is not None
        assert mine.number == theirs.number


def test_a_version_that_stays_in_the_split_is_the_same_object_and_is_not_retired() -> None:
    replica = Serving()
    told: list[tuple[list[int], list[int]]] = []
    replica.on_change(lambda old, new: told.append(([one.number for one in old], [one.number for one in new])))
    seen = set()
    for weights in ({3: 1}, {3: 90, 4: 10}, {3: 50, 4: 50}, {3: 50, 4: 50}, {4: 1}):
        replica.apply(*feed.decode(feed.encode([Change(LABEL, parts(weights))])))
        seen |= {replica.version_of(actor) for actor in ACTORS[:100]}
    assert told == [([], [3]), ([3], [3, 4]), ([3, 4], [4])]
    assert sorted(one.number for one in seen if one is not None) == [3, 4]


def test_a_request_gets_a_version_by_chance_that_a_test_may_choose() -> None:
    serving = Serving(chance=iter([0.0, 0.95, 0.5, 0.91]).__next__)
    serving.apply(Change(LABEL, parts({3: 90, 4: 10})))
    routed = [serving.route(LABEL) for _ in range(4)]
    assert [one.number for one in routed if one is not None] == [3, 4, 3, 4]


def test_a_class_of_some_versions_is_served_by_those_alone() -> None:
    serving = Serving()
    old, new = Part(version(3, "Cart"), 99), Part(version(4, "Cart", "Order"), 1)
    serving.apply(Change(LABEL, (old, new)))
    orders = {serving.version_of(ActorId("acme", "Order", f"order-{number}")) for number in range(100)}
    assert orders == {new.version}
    assert serving.owner("acme", "Order") is new.version
    assert serving.owner("acme", "Cart") is old.version
    assert serving.version_of(ActorId("other", "Order", "order-1")) is None


def test_a_refused_split_has_no_route_and_all_its_types_say_why() -> None:
    serving = Serving()
    serving.apply(Change(LABEL, (Part(version(3, "Cart")), Part(version(4, "Order")))))
    serving.apply(Change(LABEL, (Part(version(3, "Cart")), Part(version(4, "Order"))), "suspended"))
    assert serving.route(LABEL) is None
    assert serving.version_of(ActorId("acme", "Order", "one")) is None
    assert [serving.why_no_owner("acme", name) for name in ("Cart", "Order")] == ["suspended", "suspended"]


# --- the registry and the API -----------------------------------------------------------------------------------------


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = await Host(tmp_path).start()
    yield host
    await host.stop()


@pytest.fixture
async def account(host: Host) -> FunctionRecord:
    return await host.registry.create_function(DEFAULT_TENANT, "account")


@pytest.fixture
async def api(host: Host) -> Api:
    services = AdminServices(host.registry, host.publisher, url=lambda label: f"http://{label}", status=dict)
    return Api(app_of(services).test_client(), await host.registry.create_key("default", "ci", "tenant"))


async def ship(host: Host, function: FunctionRecord, *actors: str, note: str = "") -> VersionRecord:
    return await host.ship(function, manifest(*actors), component(*actors, note=note))


async def three_versions(host: Host, account: FunctionRecord) -> None:
    for note in "123":
        assert (await ship(host, account, "Account", note=note)).status == "deploy_ok"


def serving(registry: Registry, count: int = 200) -> set[int]:
    """The versions that accounts are on."""
    found = (registry.version_of(ActorId(DEFAULT_TENANT, "Account", str(number))) for number in range(count))
    return {version.number for version in found if version is not None}


def split(weights: Mapping[int, int]) -> list[dict[str, int]]:
    return [{"version": number, "weight": weight} for number, weight in weights.items()]


async def test_a_split_is_deployed_listed_and_still_there_after_a_restart(
    host: Host, account: FunctionRecord, api: Api
) -> None:
    await three_versions(host, account)
    reply = await api.json("POST", "/functions/account/deployments", 201, json={"split": split({3: 10, 2: 90})})
    assert (reply["version"], reply["split"], reply["serving"]) == (2, split({2: 90, 3: 10}), True)
    shown = await api.json("GET", "/functions/account")
    assert (shown["version"], shown["split"]) == (2, split({2: 90, 3: 10}))
    listed = (await api.json("GET", "/functions/account/versions"))["versions"]
    assert [(one["number"], one["serving"], one["share"]) for one in listed] == [
        (3, True, 0.1),
        (2, True, 0.9),
        (1, False, 0.0),
    ]
    assert serving(host.registry) == {2, 3}
    past = (await api.json("GET", "/functions/account/deployments"))["deployments"]
    assert [(one["version"], one["split"]) for one in past[:2]] == [(2, split({2: 90, 3: 10})), (3, [])]
    await host.restart()
    assert serving(host.registry) == {2, 3}
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(3)])
    assert serving(host.registry) == {3}
    assert host.registry.function(DEFAULT_TENANT, "account").split == ()


async def test_the_same_split_again_changes_nothing(host: Host, account: FunctionRecord, api: Api) -> None:
    await three_versions(host, account)
    for weights in ({2: 1, 3: 1}, {3: 1, 2: 1}):
        await api.json("POST", "/functions/account/deployments", 201, json={"split": split(weights)})
    assert len(history(host.registry.function(DEFAULT_TENANT, "account"))) == 4


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"split": []}, 400, "1 to 8 versions"),
        ({"split": split(dict.fromkeys(range(1, 10), 1))}, 400, "1 to 8 versions"),
        ({"split": split({1: 90}) + split({1: 10})}, 400, "names a version twice"),
        ({"split": split({1: 90, 2: 0})}, 400, "has to be"),
        ({"split": split({1: 90, 2: 10_001})}, 400, "has to be"),
        ({"split": split({1: 90, 9: 10})}, 404, "no version 9"),
        ({"split": [{"version": 1}]}, 400, "has to be"),
        ({"split": {"1": 90}}, 400, "has to be"),
        ({"split": split({1: 1}), "version": 1}, 400, 'either a "version" or a "split"'),
    ],
)
async def test_what_is_no_split_is_refused_with_the_reason(
    host: Host, account: FunctionRecord, api: Api, body: dict[str, object], status: int, why: str
) -> None:
    await three_versions(host, account)
    (error,) = await api.refused("POST", "/functions/account/deployments", status, json=body)
    assert why in error["detail"]
    assert serving(host.registry) == {3}


async def test_a_version_that_is_shipped_without_deploying_waits_for_its_share(
    host: Host, account: FunctionRecord, api: Api
) -> None:
    await ship(host, account, "Account", note="1")
    data = bundle(manifest("Account"), component("Account", note="2"))
    version = await api.json("POST", "/functions/account/versions?deploy=false", 202, data=data)
    await host.publisher.idle()
    assert (await api.json("GET", "/functions/account/versions/2"))["status"] == "deploy_ok"
    shown = await api.json("GET", "/functions/account")
    assert (shown["version"], shown["status"]) == (1, "deploy_ok")
    assert serving(host.registry) == {1}
    weights = {1: 1, version["number"]: 1}
    await api.json("POST", "/functions/account/deployments", 201, json={"split": split(weights)})
    assert serving(host.registry) == {1, 2}
    await api.refused("POST", "/functions/account/versions?deploy=no", 400, data=data)


async def test_the_first_version_can_wait_too(host: Host, account: FunctionRecord, api: Api) -> None:
    data = bundle(manifest("Account"), component("Account"))
    await api.json("POST", "/functions/account/versions?deploy=false", 202, data=data)
    await host.publisher.idle()
    shown = await api.json("GET", "/functions/account")
    assert (shown["version"], shown["status"], shown["versions"]) == (None, "created", 1)
    await api.json("POST", "/functions/account/deployments", 201, json={"version": 1})
    assert serving(host.registry) == {1}


async def test_a_split_owns_the_types_of_all_its_versions(host: Host, account: FunctionRecord) -> None:
    bank = await host.registry.create_function(DEFAULT_TENANT, "bank")
    await ship(host, account, "Account", note="1")
    await ship(host, account, "Account", "Ledger", note="2")
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1, 99), Share(2, 1)])
    failed = await ship(host, bank, "Ledger")
    assert failed.status == "deploy_failed"
    assert "belongs to the function 'account'" in failed.errors[0]
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1)])
    assert (await ship(host, bank, "Ledger", note="2")).status == "deploy_ok"
    with pytest.raises(Conflict, match="'Ledger' belongs to the function 'bank'"):
        await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1, 99), Share(2, 1)])


async def test_a_split_without_a_version_that_workers_die_of_goes_on(host: Host, account: FunctionRecord) -> None:
    await three_versions(host, account)
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1, 10), Share(2, 10), Share(3, 80)])
    function = await host.registry.quarantine(account.id, 3)
    assert (function.serving, function.split, function.quarantined) == (2, (Share(1, 10), Share(2, 10)), None)
    assert function.history[-1].by == "the host: version 3 crashed it"
    assert serving(host.registry) == {1, 2}
    await host.registry.quarantine(account.id, 1)
    assert serving(host.registry) == {2}
    await host.registry.quarantine(account.id, 1)  # it does not serve any more
    assert serving(host.registry) == {2}
    await host.registry.quarantine(account.id, 2)
    assert serving(host.registry) == set()
    await host.restart()
    assert serving(host.registry) == set()
    assert "version 2" in (host.registry.why_unavailable(account.label) or "").lower()


async def test_a_split_serves_again_after_a_restart_when_all_of_it_is_compiled(
    host: Host, account: FunctionRecord
) -> None:
    await three_versions(host, account)
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(2), Share(3)])
    for number in (2, 3):
        host.compiler.artifact_path(host.registry.version(account.id, number).digest).unlink()
    await host.restart()
    await host.publisher.idle()
    assert serving(host.registry) == {2, 3}


async def test_a_secret_that_changes_reaches_every_version_of_a_split(host: Host, account: FunctionRecord) -> None:
    text = manifest("Account") + '[[secrets]]\nbinding = "KEY"\nname = "key"\n'
    for note in "12":
        await host.ship(account, text, component("Account", note=note))
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1), Share(2)])
    await host.registry.secrets.put(DEFAULT_TENANT, "key", "s3cret", "ci")
    found = {host.registry.version_of(ActorId(DEFAULT_TENANT, "Account", str(number))) for number in range(50)}
    assert {(one.number, one.secrets["KEY"]) for one in found if one is not None} == {(1, "s3cret"), (2, "s3cret")}


async def test_ship_ends_a_split_with_the_new_version(host: Host, account: FunctionRecord) -> None:
    await three_versions(host, account)
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(2), Share(3)])
    await ship(host, account, "Account", note="4")
    assert serving(host.registry) == {4}
    assert host.registry.function(DEFAULT_TENANT, "account").split == ()


async def test_no_version_of_a_split_is_dropped_for_a_new_one(host: Host, account: FunctionRecord) -> None:
    await three_versions(host, account)
    await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(1), Share(3)])
    await host.registry.quotas.change(DEFAULT_TENANT, {"versions": 3})
    data = bundle(manifest("Account"), component("Account", note="4", errors=("no",)))
    await host.begin(account, data)
    await host.publisher.idle()
    assert [one.number for one in host.registry.versions(account.id)] == [1, 3, 4]


def test_a_split_is_stored_as_it_is() -> None:
    function = FunctionRecord("id", "acme", "shop", "shop-1", 1.0, serving=3, split=(Share(3, 90), Share(4, 10)))
    assert decode(FunctionRecord, encode(function)) == function


async def test_a_weight_alone_is_no_split(host: Host, account: FunctionRecord) -> None:
    await three_versions(host, account)
    deployed = await host.publisher.deploy(DEFAULT_TENANT, "account", [Share(2, 50)])
    assert (deployed.deployment.version, deployed.deployment.split) == (2, ())
    with pytest.raises(UsageError):
        await host.publisher.deploy(DEFAULT_TENANT, "account", [])
