"""The quick start's promises, on a whole host: its replies, no overdraw, and a balance that outlives a SIGKILL."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from tests.conftest import FUNCTIONS, SESSION, Ship
from tests.kit.bundles import SDK
from tests.kit.http import Site
from tests.kit.process import HostProcess

pytestmark = SESSION

ACCOUNT = FUNCTIONS / "account"

# the page's own sequence: method, path, body, reply
PAGE = [
    ("POST", "/accounts/alice/deposit", '{"amount":100}', '{"account":"alice","balance":100}'),
    ("POST", "/accounts/alice/debit", '{"amount":30}', '{"account":"alice","ok":true,"balance":70}'),
    ("POST", "/accounts/alice/debit", '{"amount":1000}', '{"account":"alice","ok":false,"balance":70}'),
    ("POST", "/accounts/bob/deposit", '{"amount":5}', '{"account":"bob","balance":5}'),
    ("GET", "/accounts/alice/balance", "", '{"account":"alice","balance":70}'),
    ("GET", "/accounts/bob/balance", "", '{"account":"bob","balance":5}'),
]
JSON = {"content-type": "application/json"}


async def _follow_the_page(site: Site) -> None:
    for method, path, body, expected in PAGE:
        reply = await site.ask(method, path, content=body, headers=JSON)
        assert (reply.status_code, reply.text) == (200, expected)
        assert reply.headers["content-type"] == "application/json"


async def test_every_reply_of_the_quick_start_is_equal_to_the_pages(shared: Ship) -> None:
    site = await shared(ACCOUNT)
    for path in ("/health/liveness", "/health/readiness"):
        assert (await site.get(path)).text == "ok"
    await _follow_the_page(site)


async def test_the_compiler_accepts_the_quick_starts_files_in_its_strict_mode() -> None:
    tsc = SDK / "node_modules" / ".bin" / "tsc"
    process = await asyncio.create_subprocess_exec(tsc, "--noEmit", "--strict", cwd=ACCOUNT, stdout=PIPE, stderr=STDOUT)
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, said) == (0, b"")


async def test_what_the_quick_start_does_not_route_is_the_pages_404_and_400(shared: Ship) -> None:
    site = await shared(ACCOUNT)
    for method, path in [("GET", "/"), ("GET", "/accounts/a/deposit"), ("POST", "/accounts/a/balance")]:
        reply = await site.ask(method, path)
        assert (reply.status_code, reply.text) == (404, "not found")
    reply = await site.post("/accounts/a/deposit", content="not json", headers=JSON)
    assert (reply.status_code, reply.json()) == (400, {"error": "amount (number) required"})


async def test_500_concurrent_debits_of_1_take_exactly_the_300_there_are(shared: Ship) -> None:
    site = await shared(ACCOUNT)
    await site.post("/accounts/shared/deposit", json={"amount": 300})
    replies = await asyncio.gather(*(site.post("/accounts/shared/debit", json={"amount": 1}) for _ in range(500)))
    answers = [reply.json() for reply in replies]
    assert {reply.status_code for reply in replies} == {200}
    assert sum(answer["ok"] for answer in answers) == 300
    assert sorted(answer["balance"] for answer in answers if answer["ok"]) == list(range(300))
    assert {answer["balance"] for answer in answers if not answer["ok"]} == {0}
    assert (await site.get("/accounts/shared/balance")).json()["balance"] == 0


async def test_balances_outlive_a_sigkill(tmp_path: Path) -> None:
    process = HostProcess(tmp_path / "data")
    try:
        await asyncio.to_thread(process.start)
        async with process.admin() as admin:
            host = (await admin.ship(ACCOUNT)).host
        site = Site(f"http://127.0.0.1:{process.port}", host)
        await _follow_the_page(site)
        await asyncio.to_thread(process.kill)
        await asyncio.to_thread(process.start)
        assert (await site.get("/accounts/alice/balance")).text == '{"account":"alice","balance":70}'
        assert (await site.get("/accounts/bob/balance")).text == '{"account":"bob","balance":5}'
        await site.close()
        assert await asyncio.to_thread(process.stop) == 0
    finally:
        process.kill()
