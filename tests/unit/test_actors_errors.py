"""Errors as the caller of a stub sees them, and the edges of what a stub and the storage take."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from host.actors import turn
from host.bindings.world import FunctionWorld
from host.model.clock import ManualClock
from host.model.errors import ActorCrashedError, ActorDeadlockError
from host.model.ids import ActorId
from host.model.limits import LIMITS, MiB
from host.model.message import CallContext
from host.model.version import Version
from host.storage.keys import state_prefix
from tests.kit.rooms import GUEST, TENANT, Rooms, compiled, open_rooms, version_of

KINDS_THAT_CROSS = (
    *("ActorPrivateMethodError", "ActorUnknownMethodError", "ActorTypeNotFoundError", "ActorMethodTimeoutError"),
    *("ActorFetchTimeoutError", "BlockConcurrencyTimeoutError", "ActorOutputGateError", "ActorOverloadedError"),
    *("ActorDeadlockError", "CodecError", "QuotaExceededError"),
)


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


@pytest.fixture
def version() -> Version:
    return version_of(limits=replace(LIMITS, call_cpu_s=0.3, memory_bytes_max=32 << 20))


def call(name: str, *steps: list[Any]) -> list[Any]:
    return ["call", "PROBE", name, "run", [list(steps)]]


async def caught(rooms: Rooms, step: list[Any], caller: str = "caller") -> dict[str, Any]:
    """What the actor `caller` catches when it takes `step`."""
    (error,) = await asyncio.wait_for(rooms.run(caller, ["try", step]), 20)
    assert isinstance(error, dict)
    assert error.get("error") is True, error
    return error


async def test_what_a_method_throws_arrives_with_its_message_and_the_name_of_its_cause(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        for name, cause in (("RangeError", "RangeError"), ("MyOwn", "MyOwn"), ("Error", "Error")):
            error = await caught(rooms, call("a", ["throw", name, "sorry, é\U0001f980\0"]))
            assert error["name"] == error["kind"] == "ActorMethodError"
            assert (error["message"], error["cause"]) == ("sorry, é\U0001f980\0", cause)
        error = await caught(rooms, call("a", ["throw-value", 42]))
        assert error["message"] == "a value that is no Error was thrown: 42"


async def test_an_actors_error_that_a_method_lets_pass_keeps_its_name_through_every_actor(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        for name in KINDS_THAT_CROSS:
            error = await caught(rooms, call("a", call("b", ["throw", name, "from the bottom"])))
            assert (error["name"], error["kind"], error["message"]) == (name, name, "from the bottom")
        deep = await caught(rooms, call("a", call("b", ["throw", "TypeError", "deep"])))
        assert (deep["name"], deep["message"]) == ("ActorMethodError", "deep")


async def test_a_failure_below_that_is_caught_lets_the_turn_go_on_and_commit(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        await rooms.run("a", ["put", "k", 1], ["try", call("b", ["put", "k", 1], ["throw", "Error", "no"])])
        assert await rooms.run("a", ["get", "k"]) == [1]
        assert await rooms.run("b", ["get", "k"]) == [None]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("_hidden", "ActorPrivateMethodError"),
        ("nothing", "ActorUnknownMethodError"),
        ("field", "ActorUnknownMethodError"),
        ("alarm", "ActorUnknownMethodError"),
        ("fetch", "ActorUnknownMethodError"),
        ("constructor", "ActorUnknownMethodError"),
        ("__proto__", "ActorUnknownMethodError"),
        ("hasOwnProperty", "ActorUnknownMethodError"),
        ("", "ActorUnknownMethodError"),
        ("é\0", "ActorUnknownMethodError"),
    ],
)
async def test_only_the_methods_of_the_class_can_be_called(version: Version, method: str, name: str) -> None:
    async with open_rooms(version=version) as rooms:
        future = rooms.invoke("a", method)
        await asyncio.wait([future])
        assert getattr(future.exception(), "name", None) == name
        assert await rooms.run("a", ["remember", "alive"]) == [["alive"]]


@pytest.mark.parametrize("how", [["recurse"], ["hoard"], ["spin"], ["stall"]])
async def test_an_actor_that_is_stopped_is_a_crash_to_its_caller_and_fresh_to_the_next(
    version: Version, how: list[Any]
) -> None:
    async with open_rooms(version=version) as rooms:
        await rooms.run("a", ["remember", "before"])
        assert (await caught(rooms, call("a", how)))["name"] == "ActorCrashedError"
        assert await rooms.run("a", ["remember", "after"]) == [["after"]]


async def test_timeouts_of_methods_and_of_fetches_have_names_of_their_own(version: Version) -> None:
    clock = ManualClock()
    limits = replace(version.limits, request_wall_s=90.0, method_wall_s=5.0, actor_fetch_wall_s=7.0)
    handler = replace(version, limits=limits)
    async with open_rooms(clock=clock, version=handler) as rooms:
        method = rooms.fetch(handler, ["try", call("a", ["pause", 60_000])])
        fetch = rooms.fetch(handler, ["try", ["fetch", "PROBE", "b", post([["pause", 60_000]])]])
        await rooms.advance(8, step_s=0.5)
        assert b'"ActorMethodTimeoutError"' in (await method).body
        assert b'"ActorFetchTimeoutError"' in (await fetch).body


def post(steps: list[Any]) -> dict[str, str]:
    return {"method": "POST", "body": json.dumps(steps)}


async def test_fetch_reaches_the_actors_own_fetch(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        assert await rooms.run("a", ["fetch", "PROBE", "b", post([["put", "k", 1], ["get", "k"]])]) == ["[null,1]"]
        error = await caught(rooms, ["fetch", "PROBE", "b", post([["throw", "TypeError", "no"]])])
        assert (error["name"], error["message"], error["cause"]) == ("ActorMethodError", "no", "TypeError")


# --- who can be named -------------------------------------------------------------------------------------------------


async def test_a_type_that_nobody_ships_is_not_found_and_the_guest_goes_on_under_its_limits(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        error = await caught(rooms, ["call", "GHOST", "x", "boo"])
        assert error["name"] == error["kind"] == "ActorTypeNotFoundError"
        assert "Ghost" in error["message"]
        # the refusal comes within the same slice: the guest that burns after it is run by one thread at a time
        results = await rooms.handle(version, ["try", ["call", "GHOST", "x", "boo"]], ["burn", 60], ["remember", "x"])
        assert results[2] == ["x"]


async def test_a_binding_that_the_manifest_does_not_have_reaches_nothing(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        rejected: list[tuple[Any, ...]] = []

        class Caller:
            context = CallContext()

            def reject(self, *what: Any) -> None:
                rejected.append(what)

        world: FunctionWorld = rooms.worlds.of_handler(version)
        for binding in (b"Probe", b"", b"PROBE\0", b"SECRETS"):
            world.invoke(Caller(), 1, binding, b"a", b"whoami", b"[]")  # type: ignore[arg-type]
        assert [what[1] for what in rejected] == ["ActorTypeNotFoundError"] * 4
        world.invoke(Caller(), 1, b"PROBE", b"x" * 1025, b"whoami", b"[]")  # type: ignore[arg-type]
        world.invoke(Caller(), 1, b"PROBE", b"", b"whoami", b"[]")  # type: ignore[arg-type]
        assert [what[1] for what in rejected[4:]] == ["TypeError"] * 2
        assert rooms.directory.activations == 0


@pytest.mark.parametrize(
    "name", ["x" * 1024, "é" * 512, "\U0001f980" * 256, "\0", "a\0b", "\uffff", "../..", "\n", " "]
)
async def test_any_text_of_up_to_1024_bytes_is_a_name(version: Version, name: str) -> None:
    async with open_rooms(version=version) as rooms:
        assert await rooms.run("caller", ["call", "PROBE", name, "whoami"]) == [name]
        await rooms.run(name, ["put", "k", 1])
        assert rooms.engine.get(state_prefix(ActorId(TENANT, "Probe", name)) + b"k") == b"1"
        assert await rooms.run(name + "!" if len(name) < 100 else "other", ["get", "k"]) == [None]


@pytest.mark.parametrize(
    ("crabs", "letters", "accepted"), [(0, 1024, True), (0, 1025, False), (256, 0, True), (256, 1, False)]
)
async def test_a_name_of_1025_bytes_is_refused_where_it_is_named(
    version: Version, crabs: int, letters: int, accepted: bool
) -> None:
    async with open_rooms(version=version) as rooms:
        (result,) = await rooms.run("a", ["try", ["name", "PROBE", crabs, letters]])
        assert ("ok" in result) is accepted
        assert accepted or result["name"] == "RangeError"


async def test_tenants_with_equal_names_share_nothing() -> None:
    async with open_rooms(version=version_of()) as rooms:
        rooms.serve(version_of(tenant="rival"))
        await rooms.run("a", ["put", "k", "ours"])
        assert await rooms.run("a", ["get", "k"], tenant="rival") == [None]
        await rooms.run("a", ["put", "k", "theirs"], ["deleteAll"], tenant="rival")
        assert await rooms.run("a", ["get", "k"]) == ["ours"]


# --- chains that come back --------------------------------------------------------------------------------------------


async def test_a_call_that_comes_back_is_refused_in_milliseconds_with_its_chain(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        await asyncio.gather(rooms.run("a"), rooms.run("b"), rooms.run("c"))
        for chain in ("aa", "aba", "abca", "abcb"):
            script = ["get", "k"]
            for name in reversed(chain[1:]):
                script = call(name, script)
            began = time.perf_counter()
            with pytest.raises(ActorDeadlockError) as error:
                await rooms.run(chain[0], script)
            assert time.perf_counter() - began < 1  # a hang would be 30 s
            assert error.value.detail.endswith(" -> ".join(f"Probe/{name}" for name in chain))
        assert await rooms.run("a", ["remember", "x"]) == [["x"]]


async def test_chains_are_16_deep_at_most(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        script = ["get", "k"]
        for n in reversed(range(1, 16)):
            script = call(f"a{n}", script)
        assert "None" in str(await rooms.run("a0", script))
        with pytest.raises(ActorDeadlockError, match="16 deep: Probe/a-1 -> Probe/a0 -> "):
            await rooms.run("a-1", call("a0", script))


async def test_two_callers_of_one_actor_are_no_deadlock(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        steps = [call("left", call("shared", ["remember", "l"])), call("right", call("shared", ["remember", "r"]))]
        await rooms.run("top", ["all", steps])
        assert await rooms.run("shared", ["remember", "end"]) == [["l", "r", "end"]]


# --- quotas -----------------------------------------------------------------------------------------------------------


async def test_keys_and_values_are_refused_right_above_their_edge(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        await rooms.run("a", ["put", "k" * 2048, 1], ["fill", "v", MiB - 2])
        for step in (["put", "k" * 2049, 1], ["fill", "v", MiB - 1]):
            assert (await caught(rooms, step, "a"))["name"] == "RangeError"
        for key in ("", "__telnyx_x", "__tenure_x"):
            assert (await caught(rooms, ["put", key, 1], "a"))["name"] == "TypeError"
        assert len((await rooms.run("a", ["get", "v"]))[0]) == MiB - 2


async def test_a_turn_writes_16_MiB_and_not_one_byte_more() -> None:
    async with open_rooms(version=version_of()) as rooms:
        fills = [["fill", f"{n:03}", MiB - 2 - 3] for n in range(16)]
        results = await rooms.run("a", *fills, ["try", ["put", "k", 1]])
        assert results[-1]["name"] == results[-1]["kind"] == "QuotaExceededError"
        assert await rooms.run("a", ["list", {"prefix": "k"}], ["put", "k", 1]) == [[], None]


async def test_a_full_actor_takes_no_more_and_can_always_shrink() -> None:
    async with open_rooms(version=version_of(limits=replace(LIMITS, actor_bytes_max=10_000))) as rooms:
        await rooms.run("a", ["fill", "a", 4997], ["fill", "b", 4997])
        assert (await caught(rooms, ["put", "c", 1], "a"))["name"] == "QuotaExceededError"
        assert await rooms.run("a", ["delete", "a"], ["put", "c", 1], ["fill", "b", 10]) == [True, None, None]
        assert await rooms.run("a", ["fill", "a", 4000], ["deleteAll"], ["fill", "z", 9000]) == [None, None, None]


async def test_a_value_that_cannot_cross_is_a_codec_error_that_names_the_place(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        error = await caught(rooms, call("a", ["unsendable"]))
        assert error["name"] == "CodecError"
        assert "function" in error["message"]


async def test_arguments_that_are_no_array_or_no_json_are_the_callers_codec_error(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        for arguments in (b"{}", b"1", b"[", b'[{"$nope":1}]'):
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            work = turn.invoke(b"whoami", arguments, CallContext(), future.set_result)
            rooms.directory.deliver(ActorId(TENANT, "Probe", "a"), work)
            answer = await asyncio.wait_for(future, 10)
            assert getattr(answer, "name", answer) == "CodecError"


async def test_a_mailbox_is_bounded_in_bytes_as_well() -> None:
    limited = version_of(limits=replace(LIMITS, mailbox_bytes_max=2_000))
    async with open_rooms(version=limited) as rooms:
        running = rooms.run("a", ["pause", 50])
        waiting = rooms.run("a", ["put", "k", "x" * 1_200])
        refused = await caught(rooms, call("a", ["put", "k", "y" * 1_200]))
        assert refused["name"] == "ActorOverloadedError"
        await asyncio.gather(running, waiting)
        assert await rooms.run("a", ["get", "k"]) == ["x" * 1_200]


async def test_what_a_guest_has_under_way_is_bounded_in_bytes() -> None:
    limited = version_of(limits=replace(LIMITS, operation_bytes_max=1 << 20))
    large = [call(name, ["put", "k", "x" * 700_000]) for name in ("b", "c")]
    async with open_rooms(version=limited) as rooms:
        assert await rooms.run("a", large[0]) == [[None]]
        with pytest.raises(ActorCrashedError, match="more than 1 MiB in operations under way"):
            await rooms.run("a", ["all", large])


async def test_an_alarm_beyond_what_a_date_can_hold_is_refused_by_name(version: Version) -> None:
    async with open_rooms(version=version) as rooms:
        for time_ms in (8.64e15 + 2, -8.64e15 - 2, 1e300):
            assert (await caught(rooms, ["setAlarm", time_ms]))["name"] == "RangeError"
