"""Actors in another worker: to their callers they are as near as those of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from host.cluster import directory
from host.cluster.shard import Shard
from host.model.errors import ActorCrashedError, ActorDeadlockError, ActorMethodError, ActorOverloadedError
from tests.kit.cluster import Worker, WorkerProcess, linked, name_on, open_workers
from tests.kit.rooms import GUEST, compiled
from tests.kit.until import wait_until

NEAR, FAR = name_on(0, 2, "near"), name_on(1, 2, "far")


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    compiled(GUEST)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[list[Worker]]:
    """Two workers of one host, in this process."""
    async with open_workers(tmp_path, 2) as opened:
        yield opened


def call(name: str, *steps: list[Any]) -> list[Any]:
    return ["call", "PROBE", name, "run", [list(steps)]]


async def test_the_same_actor_answers_whichever_worker_asks(workers: list[Worker]) -> None:
    first, second = workers
    await first.run(FAR, ["put", "k", {"v": [1, "ü"]}], ["remember", "here"])
    assert await second.run(FAR, ["get", "k"], ["remember", "too"]) == [{"v": [1, "ü"]}, ["here", "too"]]
    assert await first.handle(call(FAR, ["get", "k"]), call(NEAR, ["get", "k"])) == [[{"v": [1, "ü"]}], [None]]
    assert (first.directory.activations, second.directory.activations) == (1, 1)


async def test_a_fetch_crosses_with_its_body_and_comes_back_as_a_response(workers: list[Worker]) -> None:
    first, _ = workers
    assert await first.fetch_actor(FAR, ["put", "k", "ü" * 1000], ["get", "k"]) == [None, "ü" * 1000]
    stub_fetch = ["fetch", "PROBE", FAR, {"method": "POST", "body": '[["get", "k"]]'}]
    assert await first.run(NEAR, stub_fetch) == [f'["{"ü" * 1000}"]']


async def test_values_of_a_mebibyte_cross_in_both_directions(workers: list[Worker]) -> None:
    first, _ = workers
    text = "x" * (1 << 20)
    (stored, found) = await first.run(FAR, ["put", "k", text[:-9]], ["get", "k"])
    assert found == text[:-9]
    ((again,),) = await first.run(NEAR, call(FAR, ["get", "k"]))
    assert (stored, again) == (None, text[:-9])


async def test_errors_keep_their_name_message_cause_and_where_they_were_thrown(workers: list[Worker]) -> None:
    first, second = workers
    with pytest.raises(ActorMethodError, match="too little") as far:
        await first.run(FAR, ["throw", "RangeError", "too little"])
    with pytest.raises(ActorMethodError) as near:
        await second.run(FAR, ["throw", "RangeError", "too little"])
    seen, expected = far.value, near.value
    assert (seen.name, seen.detail, seen.cause) == (expected.name, expected.detail, "RangeError")
    assert "at thrown" in seen.stack
    for method, name in (("_hidden", "ActorPrivateMethodError"), ("missing", "ActorUnknownMethodError")):
        (told,) = await first.run(NEAR, ["try", ["call", "PROBE", FAR, method]])
        assert (told["name"], told["error"]) == (name, True)


async def test_calls_of_one_caller_to_one_actor_run_in_the_order_they_were_made(workers: list[Worker]) -> None:
    first, second = workers
    await asyncio.gather(*(first.run(FAR, ["remember", number]) for number in range(200)))
    assert (await second.run(FAR, ["remember", "end"]))[0] == [*range(200), "end"]
    many = ["all", [call(FAR, ["remember", -number]) for number in range(50)]]
    await first.run(NEAR, many)
    assert (await second.run(FAR, ["remember", "end"]))[0][201:] == [*(-number for number in range(50)), "end"]


async def test_a_chain_that_comes_back_over_two_workers_is_refused_with_its_path(workers: list[Worker]) -> None:
    first, _ = workers
    (outcome,) = await first.run(NEAR, ["try", call(FAR, call(NEAR, ["get", "k"]))])
    assert outcome["name"] == "ActorDeadlockError"
    assert f"Probe/{NEAR} -> Probe/{FAR} -> Probe/{NEAR}" in outcome["message"]
    body = {"method": "POST", "body": f'[["fetch", "PROBE", "{NEAR}", {{"method": "POST", "body": "[]"}}]]'}
    (text,) = await first.run(NEAR, ["try", ["fetch", "PROBE", FAR, body]])
    assert "comes back" in str(text)


async def test_a_call_for_a_shard_that_is_not_open_yet_waits_for_it(tmp_path: Path) -> None:
    async with open_workers(tmp_path, 2) as (first, second):
        shard = second.directory.shards.pop(1)
        results = [first.run(FAR, ["remember", 1]), first.run(FAR, ["remember", 2])]
        await first.run(NEAR, ["get", "k"])
        own = second.run(FAR, ["remember", 3])
        await wait_until(lambda: len(second.directory._held.get(1, ())) == 3, "the calls")
        assert not any(result.done() for result in results)
        second.directory.open(shard)
        assert sorted(map(len, [(await result)[0] for result in [*results, own]])) == [1, 2, 3]
        assert (await results[1])[0][-2:] == [1, 2]


async def test_a_call_does_not_wait_for_ever_for_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "PATIENCE_S", 0.05)
    async with open_workers(tmp_path, 2) as (first, second):
        shard: Shard = second.directory.shards.pop(1)
        for worker in (first, second):
            with pytest.raises(ActorOverloadedError, match="nothing was done"):
                await asyncio.wait_for(worker.run(FAR, ["put", "k", 1]), 5)
        second.directory.open(shard)
        assert await first.run(FAR, ["get", "k"]) == [None]


async def test_calls_wait_while_a_worker_is_replaced_but_those_its_turns_need_go_on(tmp_path: Path) -> None:
    async with open_workers(tmp_path, 2) as (first, second):
        turn = second.run(FAR, ["pause", 50], call(NEAR, call(name_on(1, 2, "more"), ["put", "k", 1])))
        first.directory.hold(1)
        waits = first.run(FAR, ["get", "k"])
        assert await turn == [None, [[None]]], "what an actor of that worker began was held up"
        assert first.directory.unanswered(1) == 0
        assert not waits.done()
        first.directory.connect(1, second.path(1))
        assert await asyncio.wait_for(waits, 5) == [None]


async def test_turns_that_wait_for_each_others_mailboxes_end_before_a_worker_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "HOLD_TURNS_S", 0.1)
    async with open_workers(tmp_path, 2) as (first, second):
        held_up = first.run(NEAR, ["pause", 60], call(FAR, ["put", "k", 1]))
        in_its_mailbox = second.run(name_on(1, 2, "waits"), ["pause", 30], call(NEAR, ["get", "k"]))
        first.directory.hold(1)
        waits = first.run(FAR, ["get", "k"])
        assert await asyncio.wait_for(in_its_mailbox, 5) == [None, [None]]
        assert await held_up == [None, [None]]
        assert not waits.done()
        first.directory.connect(1, second.path(1))
        assert await asyncio.wait_for(waits, 5) == [1]


async def test_what_a_killed_worker_was_asked_fails_and_its_successor_has_all_that_was_answered(tmp_path: Path) -> None:
    other = WorkerProcess(tmp_path, 1, 2, 2)
    try:
        async with open_workers(tmp_path, 2, here=1) as (first,):
            await other.start()
            await linked(first, 1)
            assert await first.run(FAR, ["put", "k", 1], ["get", "k"]) == [None, 1]
            running = [first.run(FAR, ["put", "k", 2], ["pause", 60_000]), first.run(FAR, ["put", "k", 3])]
            own = first.run(NEAR, call(name_on(1, 2, "third"), ["pause", 60_000]))
            await first.run(name_on(1, 2, "other"), ["put", "k", 1])  # so the others have arrived there
            other.kill()
            for lost in [*running, own]:
                with pytest.raises(ActorCrashedError, match="whether it was done is unknown"):
                    await asyncio.wait_for(lost, 5)
            assert await first.run(NEAR, ["put", "k", 7], ["get", "k"]) == [None, 7], "the other worker's actors go on"
            waiting = [first.run(FAR, ["get", "k"]), first.run(FAR, ["remember", "x"])]
            await other.start()
            assert [await asyncio.wait_for(each, 10) for each in waiting] == [[1], [["x"]]]
            assert (first.directory.sent, first.directory.arrived) == ({}, {})
    finally:
        other.kill()


async def test_a_chain_over_two_workers_is_no_deeper_than_one_in_one(workers: list[Worker]) -> None:
    first, _ = workers
    steps: list[Any] = ["put", "k", 1]
    for number in range(17):
        steps = call(name_on(number % 2, 2, f"deep-{number}-"), steps)
    with pytest.raises(ActorDeadlockError, match="calls are 16 deep"):
        await first.run(name_on(0, 2, "top"), steps)
