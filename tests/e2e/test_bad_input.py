"""Shipping what cannot serve: each is refused with a clear reason, and what served before still serves."""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio
import wasmtime

from host import server
from tests.conftest import GUESTS, SESSION, Ship, admin_of
from tests.kit.admin import Admin, ShipFailed
from tests.kit.bundles import component_of, manifest_text, zip_of
from tests.kit.http import Site

pytestmark = SESSION

MiB = 1 << 20
ECHO = GUESTS / "echo"
# as wide a door as there is: a guest that could open files
FOREIGN = """
(component
  (import "wasi:filesystem/types@0.2.0" (instance (export "open" (func (param "path" string)))))
)
"""
THREE_MISTAKES = """
name = "Not A Name"
main = "src/index.ts"
compatibility_date = "yesterday"

[[actors]]
binding = "HAS__TWO"
type = "Account"
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def echo(shared: Ship) -> Site:
    return await shared(ECHO)


@pytest_asyncio.fixture(loop_scope="session")
async def operator(shared_host: server.Host, echo: Site) -> Any:
    """The admin API; whatever a test does to `echo` with it, `echo` must still serve its one version afterwards."""
    async with admin_of(shared_host) as admin:
        yield admin
        assert (await echo.post("/text", content="still here")).text == "still here"
        assert (await admin.function("echo"))["version"] == 1


def _details(reply: httpx.Response) -> list[str]:
    errors = reply.json()["errors"]
    assert all(set(error) == {"code", "title", "detail"} for error in errors)
    return [error["detail"] for error in errors]


def _bundle(manifest: str | None = None, component: bytes | None = None) -> bytes:
    return zip_of(
        {
            "tenure.toml": (manifest if manifest is not None else manifest_text(ECHO)).encode(),
            "component.wasm": component if component is not None else component_of(ECHO).read_bytes(),
        }
    )


async def test_a_file_that_is_no_zip_is_refused(operator: Admin) -> None:
    reply = await operator.upload("echo", b"this is not a zip")
    assert reply.status_code == 422
    assert "zip" in _details(reply)[0]


async def test_a_zip_bomb_is_refused_before_it_is_inflated(operator: Admin) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tenure.toml", manifest_text(ECHO))
        with archive.open("component.wasm", "w", force_zip64=True) as entry:
            for _ in range(300):
                entry.write(bytes(MiB))
    assert len(out.getvalue()) < MiB
    reply = await operator.upload("echo", out.getvalue())
    assert reply.status_code in (413, 422)
    assert _details(reply)


async def test_a_component_with_a_foreign_import_is_refused_naming_it(operator: Admin) -> None:
    with pytest.raises(ShipFailed) as caught:
        await operator.deploy("echo", _bundle(component=bytes(wasmtime.wat2wasm(FOREIGN))))
    assert caught.value.version["status"] == "deploy_failed"
    assert "wasi:filesystem/types@0.2.0" in str(caught.value.version["errors"])


async def test_a_component_that_fails_to_start_is_refused(operator: Admin) -> None:
    with pytest.raises(ShipFailed) as caught:
        await operator.deploy("echo", _bundle(component=component_of(GUESTS / "broken").read_bytes()))
    assert "does not start" in str(caught.value.version["errors"])


async def test_a_component_that_is_no_component_is_refused(operator: Admin) -> None:
    for data in (b"", b"\0asm\1\0\0\0", b"#!/bin/sh\n", b"\0asm\x0d\0\1\0" + os.urandom(1000)):
        reply = await operator.upload("echo", _bundle(component=data))
        if reply.status_code == 202:
            number = reply.json()["number"]
            with pytest.raises(ShipFailed):
                await operator.settled("echo", number)
        else:
            assert reply.status_code == 422
            assert _details(reply)


async def test_a_bundle_of_60_mib_is_refused(operator: Admin) -> None:
    reply = await operator.upload("echo", os.urandom(60 * MiB))
    assert reply.status_code == 413
    assert "50 MiB" in _details(reply)[0]


async def test_all_three_mistakes_of_a_manifest_are_named(operator: Admin) -> None:
    reply = await operator.upload("echo", _bundle(manifest=THREE_MISTAKES))
    assert reply.status_code == 422
    details = _details(reply)
    assert len(details) == 3
    for part in ("name", "compatibility_date", "HAS__TWO"):
        assert any(part in detail for detail in details), part


async def test_a_wrong_key_is_refused_for_everything(operator: Admin, shared_host: server.Host) -> None:
    for key in ("x", "wrong", shared_host.control.operator_key[:-1], shared_host.control.operator_key + "x"):
        async with admin_of(shared_host, key) as stranger:
            replies = [
                await stranger.http.get("/v1/status"),
                await stranger.http.get("/v1/functions/echo"),
                await stranger.http.delete("/v1/functions/echo"),
                await stranger.upload("echo", _bundle()),
            ]
        assert [reply.status_code for reply in replies] == [401] * 4


async def test_a_function_whose_first_version_failed_serves_its_second(
    operator: Admin, shared_host: server.Host
) -> None:
    function = await operator.create("second-try")
    with pytest.raises(ShipFailed):
        await operator.deploy(function["id"], _bundle(component=bytes(wasmtime.wat2wasm(FOREIGN))))
    assert (await operator.function("second-try"))["status"] == "deploy_failed"
    assert (await operator.deploy(function["id"], _bundle()))["status"] == "deploy_ok"
    site = Site(shared_host.control.listen_url, urlsplit(function["url"]).netloc)
    assert (await site.post("/text", content="here")).text == "here"
    await site.close()
