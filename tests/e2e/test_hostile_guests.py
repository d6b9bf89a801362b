"""What guests try within their own contract: each is contained, under its own error, and harms itself alone."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from host import server
from host.actors.actor import LEFT_OPEN
from host.model.ids import ActorId
from host.model.limits import LIMITS
from tests.conftest import GUESTS, SESSION, admin_of
from tests.kit.http import Site
from tests.kit.logs import lines_of

pytestmark = SESSION

PROTOTYPES = ("Array", "Object", "Promise", "JSON", "Map")
MESSAGES = {
    "never": "waits for a promise that nothing can settle",
    "flood": "more than 1000 operations under way at once",
    "spin": "more than its 0.5 s of CPU time",
    "logFlood": "more than its 0.5 s of CPU time",
    "recurse": "it ran out of stack",
    "hoard": "memory",
}
_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def other_tenant(shared_host: server.Host) -> AsyncIterator[Site]:
    """The very same function, shipped by somebody else."""
    await shared_host.control.registry.create_tenant("beside-hostile")
    key = await shared_host.control.registry.create_key("beside-hostile", "ci", "tenant")
    async with admin_of(shared_host, key) as admin:
        site = Site(shared_host.control.listen_url, (await admin.ship(GUESTS / "hostile")).host)
        yield site
        await site.close()


async def call(site: Site, name: str, method: str, *args: Any, binding: str = "HOSTILE") -> Any:
    """What the call gives, or [name, message] of its error."""
    reply = await site.post("/call", json={"binding": binding, "name": name, "method": method, "args": args})
    found = reply.json()
    if reply.status_code == 200:
        return found.get("value")
    assert reply.status_code == 500, reply.text
    return [found["error"], found["message"]]


@pytest.mark.parametrize("attack", MESSAGES)
async def test_an_actor_that_is_stopped_says_why_and_a_fresh_one_answers(hostile: Site, attack: str) -> None:
    name = f"said-{attack}"
    assert await call(hostile, name, "count") == 1
    request = ("flood", 1_500) if attack == "flood" else ("attack", attack)
    error, message = await call(hostile, name, *request)
    assert error == "ActorCrashedError"
    assert MESSAGES[attack] in message
    assert await call(hostile, name, "count") == 2


async def test_as_many_operations_as_a_call_may_have_are_all_answered(hostile: Site) -> None:
    assert await call(hostile, "many-operations", "flood", 1_000) == 1_000


@pytest.mark.parametrize(
    ("attack", "status", "code"),
    [
        ("giantText", 502, "bad_function_reply"),
        ("giantHeader", 502, "bad_function_reply"),
        ("giantError", 500, "function_error"),
        ("never", 500, "function_error"),
        ("logFlood", 503, "function_crashed"),
    ],
)
async def test_a_handler_is_answered_for_by_the_host_under_the_right_code(
    hostile: Site, attack: str, status: int, code: str
) -> None:
    reply = await hostile.get(f"/handler/{attack}")
    assert (reply.status_code, [error["code"] for error in reply.json()["errors"]]) == (status, [code])
    assert "xxxx" not in reply.text
    assert ("retry-after" in reply.headers) == (status == 503)
    assert (await hostile.get("/actors/after-handler/count")).status_code == 200


@pytest.mark.parametrize("of", ["handler", "actor"])
async def test_console_lines_without_end_are_cut_off_and_the_log_says_so(
    shared_host: server.Host, hostile: Site, of: str
) -> None:
    deployed = shared_host.control.registry.deployed()
    function = next(f for f in deployed if f.name == "hostile" and f.tenant != "beside-hostile")
    for lines, is_cut in ((100, False), (10_000, False), (100_000, True)):
        before = [0, *(line["seq"] for line in await lines_of(shared_host, function.id))][-1]
        path = f"/handler/lines/{lines}" if of == "handler" else f"/actors/logger/lines/{lines}"
        reply = await hostile.get(path)
        if reply.status_code != 200:  # so many that they took all of its CPU time
            assert lines == 100_000
        texts = [line["text"] for line in await lines_of(shared_host, function.id, before, "console", "notice")]
        assert any("the rest is dropped" in text for text in texts) == is_cut, lines
        assert len(texts) <= lines + 2
        assert sum(map(len, texts)) <= 1 << 20


async def test_what_breaks_the_engines_own_objects_breaks_one_instance_only(
    shared_host: server.Host, hostile: Site, other_tenant: Site
) -> None:
    version = shared_host.worker.serving.route(hostile.host.partition(".")[0])
    assert version is not None
    for what in PROTOTYPES:
        name = f"polluted-{what}"
        assert await call(hostile, name, "count") == 1
        await call(hostile, name, "attack", "pollute", what)
        assert await call(hostile, f"beside-{what}", "count") == 1
        assert await call(other_tenant, name, "count") == 1
        await call(hostile, name, "attack", "spin")  # whatever is left of it goes with it
        shared_host.worker.cluster.shards[0].directory.reset(ActorId(version.tenant, "Hostile", name))
        assert await call(hostile, name, "count") == 2
    for what in PROTOTYPES:
        await hostile.get(f"/handler/pollute/{what}")
        assert await call(other_tenant, f"after-{what}", "count") == 1
        # the instance is kept warm: its own tenant's requests would meet it
        shared_host.worker.handlers.retire(version)
        assert await call(hostile, f"after-{what}", "count") == 1


async def test_very_many_tiny_keys_end_in_a_quota_and_leave_the_host_as_it_was(hostile: Site) -> None:
    """Over turns they are kept, page for page; in one turn they are refused by name before they are a long commit."""
    each = 5_000
    for turn in range(4):
        assert await call(hostile, "tiny", "tiny", each, turn * each) == each
    listed, after = 0, ""
    while found := await call(hostile, "tiny", "list", {"limit": 1_000, **({"startAfter": after} if after else {})}):
        listed, after = listed + len(found), found[-1]
    assert listed == 4 * each
    refused = await call(hostile, "tiny-at-once", "tiny", 200_000)
    if refused[0] == "QuotaExceededError":  # what was written before is the turn's own to keep
        assert refused[1] == LIMITS.turn_write_bytes_max // 128
    else:
        assert refused[0] == "ActorCrashedError", "a slow machine reaches its CPU limit first"
    assert await call(hostile, "tiny-at-once", "count") == 1


async def test_a_transaction_that_outlives_its_turn_is_dropped_and_the_log_says_so(
    shared_host: server.Host, hostile: Site
) -> None:
    deployed = shared_host.control.registry.deployed()
    function = next(f for f in deployed if f.name == "hostile" and f.tenant != "beside-hostile")
    before = [0, *(line["seq"] for line in await lines_of(shared_host, function.id))][-1]
    await call(hostile, "forgetful", "leaveOpen")
    assert await call(hostile, "forgetful", "list", {}) == ["kept"]
    lines = await lines_of(shared_host, function.id, before, "console")
    assert [line["text"] for line in lines if line["level"] == "warn"] == [LEFT_OPEN]


@pytest.mark.parametrize("how", ["put", "send"])
async def test_a_value_too_deep_is_a_codec_error_in_the_guest_and_the_turn_goes_on(hostile: Site, how: str) -> None:
    for levels in (257, 1_000, 100_000):
        error, message = await call(hostile, "deep", "deep", levels, how)
        assert (error, "256" in message) == ("CodecError", True), levels
    assert await call(hostile, "deep", "deep", 256, "put") is None
    assert (await call(hostile, "deep", "deep", 100_000, "return"))[0] == "CodecError"


async def test_a_body_too_deep_to_be_read_harms_its_own_request_only(shared_host: server.Host, hostile: Site) -> None:
    for opening in ("[", '{"a":'):
        reply = await hostile.post("/parse", content=opening * 500_000)
        assert reply.status_code in (500, 503), reply.text
        assert (await hostile.post("/parse", content="[[]]")).json() == {"value": "object"}
    key = shared_host.control.operator_key
    async with admin_of(shared_host, key) as admin:  # the host's own parser
        reply = await admin.http.post("/v1/functions", content="[" * 30_000)
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (400, "bad_request")


@pytest.mark.parametrize("which", range(11))
async def test_an_alarm_at_a_time_that_is_none_is_refused(hostile: Site, which: int) -> None:
    found = await call(hostile, "nonsense", "alarms", which)
    if which < 5:
        assert found == "TypeError"
    elif which < 8:
        assert found in ("TypeError", "RangeError") or found[0] == "ActorCrashedError"
    else:
        assert isinstance(found, int)
    assert isinstance(await call(hostile, "nonsense", "count"), int)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("throws", "ActorMethodError"),
        ("rejects", "ActorMethodError"),
        ("spins", "ActorCrashedError"),
        ("recurses", "ActorCrashedError"),
        ("stalls", "ActorCrashedError"),
        ("blocks", "BlockConcurrencyTimeoutError"),
    ],
)
async def test_a_constructor_that_fails_in_any_way_fails_its_calls_and_nothing_else(
    hostile: Site, kind: str, error: str
) -> None:
    for _ in range(2):
        assert (await call(hostile, f"{kind}-1", "hello", binding="BOOTING"))[0] == error
    assert await call(hostile, "boots-1", "hello", binding="BOOTING") == "hello"


async def test_methods_named_like_what_the_language_asks_for_are_never_called(hostile: Site) -> None:
    for method in ("then", "toJSON", "hasOwnProperty", "__proto__", "constructor", "toString", "valueOf"):
        assert "was called" not in str(await call(hostile, "names", method, binding="NAMED")), method
    for method in ("fetch", "alarm", "webSocket", "ctx", "env", "_count"):
        found = await call(hostile, "names", method, binding="NAMED")
        assert not isinstance(found, str | int), (method, found)
    assert await call(hostile, "names", "count", binding="NAMED") == 1
    await call(hostile, "names", "count", binding="THENABLE")
    assert await call(hostile, "names", "count", binding="HOSTILE") == 1


# Two tenants with the same function, the same types and the same names.

NAMES = ("same", "a\0b", "../same", "same%00", "\ufffd", "s/a/m/e", "same\x01", "\U0010ffff", "é" * 300, "__proto__")


async def test_actors_of_one_name_in_two_tenants_share_no_state(hostile: Site, other_tenant: Site) -> None:
    for name in NAMES:
        for turn in (1, 2):
            assert await call(hostile, name, "count") == turn
        await call(hostile, name, "put", "secret", f"of {name}")
    for name in NAMES:
        assert await call(other_tenant, name, "list", {}) == [], name
        assert await call(other_tenant, name, "count") == 1


async def test_no_list_or_key_reaches_out_of_its_own_actor(hostile: Site, other_tenant: Site) -> None:
    keys = ["a", "a\0", "a\0b", "\x01", "\U0010ffff", "k" * 2_048, "../x", "é"]
    name = f"keys-{next(_numbers)}"
    for owner, word in ((hostile, "mine"), (other_tenant, "theirs")):
        for suffix in ("", "\0", "\x01", "a", "\U0010ffff"):  # neighbours in the order of keys
            for key in keys:
                await call(owner, name + suffix, "put", key, word + suffix)
    expected = sorted(keys, key=str.encode)
    for options in (
        {},
        {"prefix": ""},
        {"prefix": "", "end": "\U0010ffff" * 500},
        {"start": "\0"},
        {"start": "\0", "end": "\U0010ffff\U0010ffff", "limit": 1_000},
        {"reverse": True},
    ):
        found = await call(hostile, name, "list", options)
        assert sorted(found, key=str.encode) == expected, options
    for site, word in ((hostile, "mine"), (other_tenant, "theirs")):
        for suffix in ("", "\0", "\x01"):
            assert {await call(site, name + suffix, "get", key) for key in keys} == {word + suffix}
