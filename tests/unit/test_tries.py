"""Keys that somebody guesses: very many are looked up, then an address has to wait, and nobody else."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from host.admin.app import create_admin_app
from host.admin.tries import FAILURES_MAX, FORGIVEN_EVERY_S, GOOD_MAX, Tries
from host.model.clock import ManualClock
from host.registry.records import DEFAULT_TENANT
from tests.unit.admin_kit import services_of
from tests.unit.registry_kit import Host


def _guess() -> str:
    return f"tnr_{secrets.token_urlsafe(32)}"


def test_after_very_many_failures_an_address_has_to_wait_but_for_keys_that_worked_there() -> None:
    clock = ManualClock()
    tries = Tries(clock)
    tries.worked("a", "good")
    for _ in range(FAILURES_MAX):
        assert tries.may("a", "guess")
        tries.failed("a")
    assert not tries.may("a", "guess")
    assert tries.may("a", "good")
    assert tries.may("b", "guess")
    assert not tries.may("a", "good at another address")
    clock.advance(FORGIVEN_EVERY_S)
    assert tries.may("a", "guess")
    for number in range(2 * GOOD_MAX):
        tries.worked("a", str(number))
    assert len(tries._good) <= GOOD_MAX


async def test_the_admin_api_says_that_it_looks_at_no_more_keys_for_now(tmp_path: Path) -> None:
    host = await Host(tmp_path).start()
    key = await host.registry.create_key(DEFAULT_TENANT, "operator", "operator")
    other = await host.registry.create_key(DEFAULT_TENANT, "other", "operator")
    tries = Tries(host.clock)
    client = create_admin_app(replace(services_of(host), tries=tries)).test_client()

    async def answer(bearer: str) -> tuple[int, str | None]:
        reply = await client.get("/v1/whoami", headers={"authorization": f"Bearer {bearer}"})
        return reply.status_code, reply.headers.get("retry-after")

    assert await answer(key) == (200, None)
    assert await answer(_guess()) == (401, None)
    for _ in range(FAILURES_MAX):
        tries.failed("<local>")  # as Quart's own client calls itself
    assert await answer(_guess()) == (429, "1")
    assert await answer(other) == (429, "1"), "nobody learns whether it is one"
    assert await answer(key) == (200, None)
    host.clock.advance(2 * FORGIVEN_EVERY_S)
    assert await answer(other) == (200, None)
    await host.stop()
