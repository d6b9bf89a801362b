"""A counter for each name counts every call once and keeps its value."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import SESSION, Ship

pytestmark = SESSION

COUNTER = Path(__file__).parent


async def test_a_counter_is_read_raised_and_reset(shared: Ship) -> None:
    site = await shared(COUNTER)
    for method, path, value in [
        ("GET", "/visits", 0),
        ("POST", "/visits", 1),
        ("POST", "/visits?by=5", 6),
        ("POST", "/visits?by=-2", 4),
        ("GET", "/others", 0),
        ("GET", "/visits", 4),
        ("DELETE", "/visits", 0),
        ("GET", "/visits", 0),
    ]:
        reply = await site.ask(method, path)
        assert (reply.status_code, reply.json()) == (200, {"name": path[1:7], "value": value})


async def test_100_concurrent_calls_count_100_with_no_value_seen_twice(shared: Ship) -> None:
    site = await shared(COUNTER)
    replies = await asyncio.gather(*(site.post("/concurrent") for _ in range(100)))
    assert sorted(reply.json()["value"] for reply in replies) == list(range(1, 101))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/visits?by=half", 400), ("POST", "/visits?by=0.5", 400), ("GET", "/", 404), ("PUT", "/visits", 405)],
)
async def test_a_wrong_request_is_refused_in_words(shared: Ship, method: str, path: str, status: int) -> None:
    site = await shared(COUNTER)
    reply = await site.ask(method, path)
    assert reply.status_code == status
    assert reply.json()["error"]
