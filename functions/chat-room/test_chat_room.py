"""A room's log keeps the order in which it was spoken, is read in pages, and forgets what is too old."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import SESSION, Ship
from tests.kit.http import Site

pytestmark = SESSION

CHAT_ROOM = Path(__file__).parent
HISTORY_MAX = 200


async def say(site: Site, room: str, text: str) -> int:
    reply = await site.post(f"/rooms/{room}/messages", json={"author": "ada", "text": text})
    assert reply.status_code == 201, reply.text
    number: int = reply.json()["id"]
    return number


async def read(site: Site, room: str, query: str = "") -> tuple[list[int], int]:
    """Ids on the page, and where the next one begins."""
    reply = await site.get(f"/rooms/{room}/messages{query}")
    assert reply.status_code == 200, reply.text
    page = reply.json()
    return [message["id"] for message in page["messages"]], page["next"]


async def test_what_is_said_is_read_in_order_and_only_in_its_room(shared: Ship) -> None:
    site = await shared(CHAT_ROOM)
    for text in ("hello", "anybody?", "Grüße 🦀"):
        await say(site, "tea", text)
    await say(site, "coffee", "elsewhere")
    messages = (await site.get("/rooms/tea/messages")).json()["messages"]
    said = [(message["id"], message["text"]) for message in messages]
    assert said == [(1, "hello"), (2, "anybody?"), (3, "Grüße 🦀")]
    assert {message["author"] for message in messages} == {"ada"}
    assert sorted(message["at"] for message in messages) == [message["at"] for message in messages]


async def test_a_reader_pages_through_the_log_from_its_cursor(shared: Ship) -> None:
    site = await shared(CHAT_ROOM)
    assert await read(site, "paged") == ([], 0)
    for number in range(1, 13):
        assert await say(site, "paged", f"message {number}") == number
    assert await read(site, "paged", "?limit=5") == ([8, 9, 10, 11, 12], 12)
    assert await read(site, "paged", "?after=0&limit=5") == ([1, 2, 3, 4, 5], 5)
    assert await read(site, "paged", "?after=5&limit=5") == ([6, 7, 8, 9, 10], 10)
    assert await read(site, "paged", "?after=10&limit=5") == ([11, 12], 12)
    assert await read(site, "paged", "?after=12&limit=5") == ([], 12)
    await say(site, "paged", "news")
    assert await read(site, "paged", "?after=12") == ([13], 13)


async def test_many_speaking_at_once_get_ids_without_gaps_and_the_oldest_are_forgotten(shared: Ship) -> None:
    site = await shared(CHAT_ROOM)
    spoken = HISTORY_MAX + 50
    ids = await asyncio.gather(*(say(site, "crowd", f"{number}") for number in range(spoken)))
    assert sorted(ids) == list(range(1, spoken + 1))
    kept: list[int] = []
    cursor = 0
    while (page := await read(site, "crowd", f"?after={cursor}&limit=100"))[0]:
        kept += page[0]
        cursor = page[1]
    assert kept == list(range(spoken - HISTORY_MAX + 1, spoken + 1))


@pytest.mark.parametrize(
    "body",
    ["", "[]", "null", '"hi"', '{"author":"ada"}', '{"author":"","text":"hi"}', '{"author":"ada","text":5}',
     '{"author":"ada","text":"' + "x" * 2001 + '"}'],
)  # fmt: skip
async def test_a_message_without_author_and_text_is_refused(shared: Ship, body: str) -> None:
    site = await shared(CHAT_ROOM)
    reply = await site.post("/rooms/silent/messages", content=body)
    assert reply.status_code == 400
    assert "must be text" in reply.json()["error"]
    assert await read(site, "silent") == ([], 0)


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=ten", "limit=1e1", "limit=", "after=-1", "after=x"])
async def test_a_page_that_cannot_be_is_refused(shared: Ship, query: str) -> None:
    site = await shared(CHAT_ROOM)
    reply = await site.get(f"/rooms/tea/messages?{query}")
    assert reply.status_code == 400
    assert reply.json()["error"].startswith(query.split("=")[0])


async def test_other_paths_and_methods_are_refused(shared: Ship) -> None:
    site = await shared(CHAT_ROOM)
    assert (await site.get("/rooms/")).status_code == 404
    assert (await site.get("/rooms/a%20b/messages")).status_code == 404
    assert (await site.ask("DELETE", "/rooms/tea/messages")).status_code == 405
