"""The quick start's account: the replies of its page, no overdraw, and words for a body that names no amount."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import SESSION, Ship

pytestmark = SESSION

ACCOUNT = Path(__file__).parent


async def test_the_quick_starts_commands_give_the_quick_starts_replies(shared: Ship) -> None:
    site = await shared(ACCOUNT)
    assert (await site.get("/health/liveness")).text == "ok"
    for method, path, body, expected in [
        ("POST", "alice/deposit", '{"amount":100}', '{"account":"alice","balance":100}'),
        ("POST", "alice/debit", '{"amount":30}', '{"account":"alice","ok":true,"balance":70}'),
        ("POST", "alice/debit", '{"amount":1000}', '{"account":"alice","ok":false,"balance":70}'),
        ("POST", "bob/deposit", '{"amount":5}', '{"account":"bob","balance":5}'),
        ("GET", "alice/balance", "", '{"account":"alice","balance":70}'),
        ("GET", "bob/balance", "", '{"account":"bob","balance":5}'),
    ]:
        reply = await site.ask(method, f"/accounts/{path}", content=body, headers={"content-type": "application/json"})
        assert (reply.status_code, reply.text) == (200, expected)


@pytest.mark.parametrize("action", ["deposit", "debit"])
@pytest.mark.parametrize("body", ["", "not json", "{}", '{"amount":"100"}', '{"amount":null}', "[]"])
async def test_a_body_that_names_no_amount_is_refused_and_moves_nothing(shared: Ship, action: str, body: str) -> None:
    site = await shared(ACCOUNT)
    reply = await site.post(f"/accounts/refused/{action}", content=body)
    assert (reply.status_code, reply.json()) == (400, {"error": "amount (number) required"})
    assert (await site.get("/accounts/refused/balance")).json()["balance"] == 0


async def test_concurrent_debits_never_overdraw(shared: Ship) -> None:
    site = await shared(ACCOUNT)
    await site.post("/accounts/contended/deposit", json={"amount": 30})
    replies = await asyncio.gather(*(site.post("/accounts/contended/debit", json={"amount": 1}) for _ in range(50)))
    assert sum(reply.json()["ok"] for reply in replies) == 30
    assert (await site.get("/accounts/contended/balance")).json()["balance"] == 0
