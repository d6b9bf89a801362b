"""Secrets: sealed on disk, opened only for what serves, rotated without losing one wherever it is cut off."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from host.model.errors import Conflict, HostError, NotFound, Unavailable, UsageError
from host.model.limits import TenantLimits
from host.registry import secrets as rooms_secrets
from host.registry.records import DEFAULT_TENANT, FunctionRecord
from host.registry.sealing import SECRETS_KEY_FILE, KeyRing, Unsealable, open_key_ring
from host.storage import keys
from tests.unit.admin_kit import Api, api_of
from tests.unit.registry_kit import Host, component, manifest

VALUE = "sk_live_51H8-not-to-be-seen-anywhere"
BINDS = '[[secrets]]\nbinding = "STRIPE"\nname = "stripe-key"\n'


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = await Host(tmp_path, TenantLimits(secrets_max=3)).start()
    yield host
    await host.stop()


@pytest.fixture
async def account(host: Host) -> FunctionRecord:
    """A function that serves and binds a secret that has no value yet."""
    function = await host.registry.create_function(DEFAULT_TENANT, "account")
    version = await host.ship(function, manifest() + BINDS, component())
    assert version.status == "deploy_ok", version.errors
    return function


@pytest.fixture
async def api(host: Host) -> Api:
    return await api_of(host, await host.registry.create_key(DEFAULT_TENANT, "ci"))


def seen_by_guest(host: Host, function: FunctionRecord) -> dict[str, str]:
    serving = host.registry.route(function.label)
    assert serving is not None
    return dict(serving.secrets)


async def test_what_serves_has_a_new_value_before_the_reply_and_none_after_a_deletion(
    host: Host, account: FunctionRecord, api: Api
) -> None:
    seen: list[tuple[bool, bool]] = []
    host.registry.on_change(lambda old, new: seen.append((bool(old), bool(new))))
    assert seen_by_guest(host, account) == {}
    shown = await api.json("PUT", "/secrets/stripe-key", json={"value": VALUE})
    assert (shown["name"], shown["by"], shown["used_by"]) == ("stripe-key", "ci", ["account"])
    assert seen_by_guest(host, account) == {"STRIPE": VALUE}
    await api.json("PUT", "/secrets/unrelated", json={"value": "x"})
    assert seen == [(True, True)], "a function that binds other secrets goes on untouched"
    await host.restart()
    assert seen_by_guest(host, account) == {"STRIPE": VALUE}
    api = await api_of(host, api.key)
    await api.json("DELETE", "/secrets/stripe-key", 204)
    assert seen_by_guest(host, account) == {}
    await api.refused("DELETE", "/secrets/stripe-key", 404)


async def test_a_version_whose_secret_has_no_value_warns(host: Host, account: FunctionRecord) -> None:
    (warning,) = host.registry.version(account.id, 1).warnings
    assert "tenure secrets add stripe-key" in warning
    await host.registry.secrets.put(DEFAULT_TENANT, "stripe-key", VALUE)
    version = await host.ship(account, manifest() + BINDS, component(note="2"))
    assert version.warnings == ()
    assert seen_by_guest(host, account) == {"STRIPE": VALUE}


async def test_a_value_is_nowhere_but_in_what_serves(
    host: Host, account: FunctionRecord, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = {"idempotency-key": "once"}
    stored = await api("PUT", "/secrets/stripe-key", json={"value": VALUE}, headers=headers)
    texts = [await stored.get_data(as_text=True)]
    for method, path, body in (
        ("GET", "/secrets", {}),
        ("GET", "/functions/account", {}),
        ("GET", "/functions/account/versions/1", {}),
        ("PUT", "/secrets/stripe-key", {"json": {"value": [VALUE]}}),
        ("PUT", "/secrets/stripe-key", {"data": f'{{"value": "{VALUE}"'}),
        ("PUT", "/secrets/stripe-key", {"json": {"value": VALUE * 400}}),
    ):
        texts.append(await (await api(method, path, **body)).get_data(as_text=True))
    on_disk = [key + value for key, value in host.engine.scan(b"", b"\xff")]
    files = [path.read_bytes() for path in host.folder.rglob("*") if path.is_file()]
    assert any(b"stripe-key" in data for data in on_disk), "the search finds what is there"
    logged = "".join(capsys.readouterr())
    for data in (*on_disk, *files, *(text.encode() for text in texts), logged.encode()):
        assert VALUE.encode() not in data
        assert base64.b64encode(VALUE.encode())[:-4] not in data
    assert VALUE not in repr(host.registry.route(account.label))


async def test_the_key_is_made_with_the_first_secret_for_the_hosts_user_alone(host: Host) -> None:
    path = host.folder / SECRETS_KEY_FILE
    assert not path.exists()
    await host.registry.secrets.put(DEFAULT_TENANT, "a", "b")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_bytes().strip()
    assert not any(base64.b64decode(key) in pair[1] for pair in host.engine.scan(b"", b"\xff"))


async def test_a_host_without_its_key_does_not_start(host: Host) -> None:
    await host.registry.secrets.put(DEFAULT_TENANT, "a", "b")
    path = host.folder / SECRETS_KEY_FILE
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(Unsealable, match="Put the key back"):
        await host.restart()
    assert not path.exists(), "no new key takes the place of the lost one"
    path.write_bytes(kept)
    await host.start()
    assert len(host.registry.secrets.of_tenant(DEFAULT_TENANT)) == 1


async def test_a_sealed_value_opens_in_its_own_place_only(host: Host) -> None:
    await host.registry.secrets.put(DEFAULT_TENANT, "mine", "b")
    await host.registry.create_tenant("acme")
    ((_, record),) = host.engine.scan(*keys.SECRETS)
    host.engine.write([(keys.secret_key("acme", "mine"), record.replace(b'"default"', b'"acme"'))])
    host.engine.sync()
    with pytest.raises(Unsealable, match="damaged"):
        await host.restart()
    host.engine.write([(keys.secret_key("acme", "mine"), None)])
    host.engine.sync()
    await host.start()


async def test_a_rotation_seals_everything_anew_and_forgets_the_old_key(host: Host) -> None:
    for name in ("a", "b"):
        await host.registry.secrets.put(DEFAULT_TENANT, name, f"value of {name}")
    path = host.folder / SECRETS_KEY_FILE
    old_key, old_records = path.read_bytes(), dict(host.engine.scan(*keys.SECRETS))
    operator = await api_of(host, await host.registry.create_key(DEFAULT_TENANT, "op", "operator"))
    assert await operator.json("POST", "/secrets-key/rotate") == {"sealed": 2}
    assert len(path.read_text().split()) == 1
    assert path.read_bytes() != old_key
    assert all(old_records[key] != value for key, value in host.engine.scan(*keys.SECRETS))
    await host.restart()
    assert len(host.registry.secrets.of_tenant(DEFAULT_TENANT)) == 2


@pytest.mark.parametrize("cut", range(6))
async def test_a_rotation_that_is_cut_off_anywhere_loses_nothing_and_is_finished(
    host: Host, account: FunctionRecord, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Steps: the file gets the new key, three batches of one secret, the file loses the old one. 5: not cut off."""
    monkeypatch.setattr(rooms_secrets, "SEALED_AT_ONCE", 1)
    for name in ("stripe-key", "b", "c"):
        await host.registry.secrets.put(DEFAULT_TENANT, name, VALUE)
    before = (host.folder / SECRETS_KEY_FILE).read_text().split()
    steps = iter(range(100))

    def step() -> None:
        if next(steps) == cut:
            raise OSError("killed")

    keep, write = KeyRing._keep, host.committer.write

    def counted_keep(ring: KeyRing, given: list[bytes]) -> None:
        step()
        keep(ring, given)

    def counted_write(batch: list[tuple[bytes, bytes | None]]) -> int:
        step()
        return write(batch)

    with monkeypatch.context() as patched:
        patched.setattr(KeyRing, "_keep", counted_keep)
        patched.setattr(host.committer, "write", counted_write)
        if cut < 5:
            with pytest.raises(Unavailable):
                await host.registry.secrets.rotate()
        else:
            assert await host.registry.secrets.rotate() == 3
    await host.restart()
    after = (host.folder / SECRETS_KEY_FILE).read_text().split()
    assert len(after) == 1
    assert (after == before) == (cut == 0)
    assert seen_by_guest(host, account) == {"STRIPE": VALUE}
    sealed_with = {secret.key for secret in host.registry.secrets.of_tenant(DEFAULT_TENANT)}
    assert sealed_with == {open_key_ring(host.folder).current}


async def test_a_key_that_the_operator_gives_is_used_and_rotated_by_giving_two(host: Host) -> None:
    old, new = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
    host.given_key = old
    await host.restart()
    await host.registry.secrets.put(DEFAULT_TENANT, "a", VALUE)
    assert not (host.folder / SECRETS_KEY_FILE).exists()
    with pytest.raises(Conflict, match="TENURE_SECRETS_KEY"):
        await host.registry.secrets.rotate()
    for given in (f"{new},{old}", new):
        host.given_key = given
        await host.restart()
    host.given_key = old
    with pytest.raises(Unsealable):
        await host.restart()
    host.given_key = new
    await host.start()


@pytest.mark.parametrize("text", ["x", "AAAA", base64.b64encode(bytes(31)).decode(), "é", "A" * 5000])
async def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / SECRETS_KEY_FILE).write_text(text)
    for given in ("", text):
        with pytest.raises(HostError, match="openssl rand -base64 32"):
            open_key_ring(tmp_path, given)


async def test_a_secret_has_its_limits(host: Host, api: Api) -> None:
    await api.json("PUT", "/secrets/edge", json={"value": "x" * 10_000})
    (error,) = await api.refused("PUT", "/secrets/over", 400, json={"value": "é" * 5_001})
    assert "10,002" in error["detail"]
    await api.refused("PUT", "/secrets/empty", 400, json={"value": ""})
    for name in ("-x", "a b", "x" * 129, "é"):
        with pytest.raises(UsageError, match="cannot be a secret's name"):
            await host.registry.secrets.put(DEFAULT_TENANT, name, "x")
    for name in ("b", "c"):
        await api.json("PUT", f"/secrets/{name}", json={"value": "x"})
    (error,) = await api.refused("PUT", "/secrets/d", 400, json={"value": "x"})
    assert "the most allowed" in error["detail"]
    await api.json("PUT", "/secrets/edge", json={"value": "still replaced"})


async def test_tenants_have_secrets_of_their_own(host: Host) -> None:
    await host.registry.create_tenant("acme")
    await host.registry.secrets.put("acme", "stripe-key", "theirs")
    with pytest.raises(NotFound):
        await host.registry.secrets.delete(DEFAULT_TENANT, "stripe-key")
    assert host.registry.secrets.of_tenant(DEFAULT_TENANT) == []
