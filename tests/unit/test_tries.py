"""Keys that somebody guesses: very many are looked up, then an address has to wait, and nobody else."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from host.admin.tries import FAILURES_MAX, FORGIVEN_EVERY_S, GOOD_MAX, Tries
from host.model.clock import ManualClock
from host.registry.auth import ApiKeys, hash_key
from host.registry.records import DEFAULT_TENANT
from host.registry.store import Store
from tests.unit.admin_kit import app_of, services_of
from tests.unit.registry_kit import Host


class Watched(str):
    """A text that notes with what it is compared."""

    seen: ClassVar[list[object]] = []

    def __eq__(self, other: object) -> bool:
        self.seen.append(other)
        return str.__eq__(self, other)

    __hash__ = str.__hash__


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


async def test_a_key_is_looked_up_by_its_hash_so_a_wrong_one_is_compared_with_none_however_much_of_it_is_right(
    tmp_path: Path,
) -> None:
    """So how long an answer takes cannot depend on how many letters are right."""
    host = await Host(tmp_path).start()
    key = await host.registry.create_key(DEFAULT_TENANT, "ci")
    assert key.encode() not in b"".join(name + value for name, value in host.engine.scan(b"", b"\xff"))
    record = host.registry.accounts.find_key(key)
    assert record is not None
    known = ApiKeys(Store(host.engine, host.committer), host.clock)
    known.add(replace(record, hash=Watched(record.hash)))
    for right in range(4, len(key)):
        wrong = key[:right] + ("A" if key[right] != "A" else "B") + key[right + 1 :]
        assert known.authenticate(wrong) is None
    assert Watched.seen == []
    assert known.find(key) is not None
    assert Watched.seen == [hash_key(key)], "the test of the test: the hash of the right key is compared, once"
    await host.stop()


async def test_the_admin_api_says_that_it_looks_at_no_more_keys_for_now(tmp_path: Path) -> None:
    host = await Host(tmp_path).start()
    key = await host.registry.create_key(DEFAULT_TENANT, "operator", "operator")
    other = await host.registry.create_key(DEFAULT_TENANT, "other", "operator")
    tries = Tries(host.clock)
    client = app_of(replace(services_of(host), tries=tries)).test_client()

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
