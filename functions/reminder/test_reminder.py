"""Reminders fire by themselves, in the order of their times, once each, also when the host was away."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from host import server
from host.config import ServeConfig
from tests.conftest import SESSION, Ship, shipping_to
from tests.kit.http import Site
from tests.kit.until import wait_until

REMINDER = Path(__file__).parent
LATE_S = 1.0
"""How late an alarm may be, and for a busy machine as much again."""


Seen = dict[str, Any] | None


def iso(seconds: float) -> str:
    """`seconds` since 1970 as JavaScript writes it: in milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def since_1970(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def remind(site: Site, who: str, text: str, at: float) -> dict[str, Any]:
    reply = await site.post(f"/{who}", json={"text": text, "at": iso(at)})
    assert reply.status_code == 201, reply.text
    reminder: dict[str, Any] = reply.json()
    assert (reminder["text"], reminder["at"]) == (text, iso(at))
    return reminder


async def overview(site: Site, who: str) -> dict[str, Any]:
    reply = await site.get(f"/{who}")
    assert reply.status_code == 200, reply.text
    seen: dict[str, Any] = reply.json()
    return seen


async def fired(site: Site, who: str, count: int) -> list[dict[str, Any]]:
    """The reminders that are done, first one first, once `count` fired."""

    async def probe() -> Seen:
        seen = await overview(site, who)
        return seen if seen["fired"] >= count else None

    asked: Callable[[], Seen | Awaitable[Seen]] = probe
    seen = await wait_until(asked, f"reminder {count}")
    assert seen is not None
    assert seen["fired"] == count
    done: list[dict[str, Any]] = seen["done"]
    return done[::-1]


def texts(reminders: list[dict[str, Any]]) -> list[str]:
    return [reminder["text"] for reminder in reminders]


@SESSION
async def test_reminders_fire_in_the_order_of_their_times_whatever_order_they_came_in(shared: Ship) -> None:
    site = await shared(REMINDER)
    now = time.time()
    for text, delay in [("third", 1.2), ("first", 0.4), ("never", 3600), ("second", 0.8)]:
        await remind(site, "ada", text, now + delay)
    seen = await overview(site, "ada")
    assert texts(seen["done"]) + texts(seen["pending"]) == ["first", "second", "third", "never"]
    done = await fired(site, "ada", 3)
    assert texts(done) == ["first", "second", "third"]
    for reminder in done:
        assert 0 <= since_1970(reminder["firedAt"]) - since_1970(reminder["at"]) < 2 * LATE_S
    assert texts((await overview(site, "ada"))["pending"]) == ["never"]


@SESSION
async def test_a_time_that_has_passed_fires_at_once_and_two_may_have_one_time(shared: Ship) -> None:
    site = await shared(REMINDER)
    at = time.time() - 60
    for text in ("one", "other"):
        await remind(site, "bob", text, at)
    assert texts(await fired(site, "bob", 2)) == ["one", "other"]
    assert (await overview(site, "carol")) == {"pending": [], "done": [], "fired": 0}


async def test_reminders_outlive_a_restart_and_those_that_fell_into_it_fire_after_it(serve_config: ServeConfig) -> None:
    async with server.running(serve_config) as host, shipping_to(host) as ship:
        site = await ship(REMINDER)
        name = site.host.partition(":")[0]
        await remind(site, "ada", "before", time.time())
        await fired(site, "ada", 1)
        missed = time.time() + 1.0
        later = missed + 1.5
        await remind(site, "ada", "missed", missed)
        await remind(site, "ada", "later", later)
        assert texts((await overview(site, "ada"))["pending"]) == ["missed", "later"]
    await wait_until(lambda: time.time() > missed, "the time at which the host is away")

    async with server.running(serve_config) as host:
        restarted = time.time()
        site = Site(host.control.listen_url, name)
        done = await fired(site, "ada", 3)
        await site.close()
    assert texts(done) == ["before", "missed", "later"]
    assert since_1970(done[1]["firedAt"]) > missed
    assert since_1970(done[2]["firedAt"]) - max(later, restarted) < 2 * LATE_S


@SESSION
@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "text must be text of 1 to 500 characters"),
        ('{"text":"tea"}', 'at must be a time such as "2030-01-01T12:00:00Z"'),
        ('{"text":"tea","at":"soon"}', 'at must be a time such as "2030-01-01T12:00:00Z"'),
        ('{"text":"tea","at":"2030-13-01T00:00:00Z"}', 'at must be a time such as "2030-01-01T12:00:00Z"'),
        ('{"text":"tea","at":"2030-01-01T12:00:00"}', 'at must be a time such as "2030-01-01T12:00:00Z"'),
        ('{"text":"tea","at":1893456000000}', 'at must be a time such as "2030-01-01T12:00:00Z"'),
    ],
)
async def test_a_reminder_without_text_and_time_is_refused(shared: Ship, body: str, error: str) -> None:
    site = await shared(REMINDER)
    reply = await site.post("/eve", content=body)
    assert (reply.status_code, reply.json()) == (400, {"error": error})
    assert (await overview(site, "eve"))["pending"] == []


@SESSION
async def test_a_person_has_at_most_100_reminders_pending(shared: Ship) -> None:
    site = await shared(REMINDER)
    at = time.time() + 3600
    for number in range(100):
        await remind(site, "busy", f"{number}", at)
    reply = await site.post("/busy", json={"text": "one more", "at": iso(at)})
    assert (reply.status_code, reply.json()) == (409, {"error": "100 reminders are pending; no more fit"})
    assert len((await overview(site, "busy"))["pending"]) == 100
