"""The admin plane with nothing replaced: RocksDB, the real compiler, Hypercorn on a socket, a component of the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

from host.admin.app import create_admin_app
from host.admin.services import AdminServices
from host.model.clock import SystemClock
from host.registry.first_start import OPERATOR_KEY_FILE, ensure_operator_key
from host.registry.publish import Publisher
from host.registry.registry import Registry
from host.sandbox.component import Compiler
from host.storage.blobs import BlobStore
from host.storage.commit import Committer
from host.storage.rocks import RocksEngine
from tests.kit.admin import Admin, ShipFailed
from tests.kit.bundles import ROOT, zip_of
from tests.kit.process import free_port
from tests.kit.until import wait_until

ACCOUNT = ROOT / "functions" / "account"


@asynccontextmanager
async def running(data: Path) -> AsyncIterator[tuple[Registry, Admin]]:
    """An admin plane on `data`, from its first start or a later one to its end."""
    engine, clock = RocksEngine(data / "db"), SystemClock()
    committer = Committer(engine, clock)
    registry = Registry(engine, committer, clock)
    await registry.load()
    publisher = Publisher(registry, BlobStore(data / "blobs"), Compiler(data / "cache"), data / "work")
    await publisher.start()
    await ensure_operator_key(data, registry)
    app = create_admin_app(AdminServices(registry, publisher, lambda label: f"http://{label}.localhost", dict))
    config, stop = Config(), asyncio.Event()
    port = free_port()
    config.bind, config.errorlog = [f"127.0.0.1:{port}"], None
    server = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
    key = await asyncio.to_thread((data / OPERATOR_KEY_FILE).read_text)
    try:
        async with Admin(f"http://127.0.0.1:{port}", key.strip()) as admin:
            await wait_until(lambda: _listens(port), "the admin plane")
            yield registry, admin
    finally:
        stop.set()
        await server
        await publisher.close()
        await committer.close()
        engine.close()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@pytest.mark.timeout(300)
async def test_an_actor_ships_serves_survives_a_bad_ship_and_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as (registry, admin):
        shipped = await admin.ship(ACCOUNT)
        assert shipped.version["actor_types"] == ["Account"]
        assert shipped.version["handler"] is True
        assert shipped.version["sdk"].startswith("typescript/")
        before = registry.owner("default", "Account")
        assert before is not None

        manifest = b'name = "account"\nmain = "src/index.ts"\ncompatibility_date = "2026-05-01"\n'
        with pytest.raises(ShipFailed) as caught:  # an empty component: it exports nothing
            await admin.deploy("account", zip_of({"tenure.toml": manifest, "component.wasm": b"\0asm\x0d\0\x01\0"}))
        assert caught.value.version["errors"]
        assert registry.owner("default", "Account") is before

        too_large = await admin.upload("account", bytes(60 << 20))
        assert too_large.status_code == 413
        assert too_large.json()["errors"][0]["code"] == "too_large"
        key = admin.http.headers["authorization"]
    async with running(tmp_path) as (registry, admin):
        assert admin.http.headers["authorization"] == key
        after = registry.owner("default", "Account")
        assert after is not None
        assert (after.number, after.digest, after.artifact) == (1, before.digest, before.artifact)
        function = await admin.function("account")
        assert (function["status"], function["version"], function["versions"]) == ("deploy_failed", 1, 2)
