"""The smallest function greets whoever its path names."""

from pathlib import Path

import pytest

from tests.conftest import SESSION, Ship

pytestmark = SESSION

HELLO = Path(__file__).parent


@pytest.mark.parametrize(
    ("path", "reply"),
    [("/", "hello, world\n"), ("/ada", "hello, ada\n"), ("/Zo%C3%AB%20B", "hello, Zoë B\n"), ("/a?b=c", "hello, a\n")],
)
async def test_hello_greets_whoever_the_path_names(shared: Ship, path: str, reply: str) -> None:
    site = await shared(HELLO)
    answer = await site.get(path)
    assert (answer.status_code, answer.text) == (200, reply)


async def test_hello_says_what_is_wrong_with_other_requests(shared: Ship) -> None:
    site = await shared(HELLO)
    posted = await site.post("/ada")
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET")
    assert (await site.get("/%E0%A4%A")).status_code == 400
