"""A host name of a function's own on a whole host: its requests arrive once DNS has shown whose it is, not before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from host import server
from tests.conftest import admin_of, config_in
from tests.kit.bundles import bundle_of
from tests.kit.dns import dns_server
from tests.kit.http import Site
from tests.kit.releases import project_of

NAME = "shop.example.com"


async def test_requests_to_a_verified_name_reach_the_function(tmp_path: Path) -> None:
    project = project_of("two", tmp_path)
    manifest = project / "tenure.toml"
    manifest.write_text(manifest.read_text() + f'\n[[domains]]\nname = "{NAME}"\n')
    async with (
        dns_server() as records,
        server.running(replace(config_in(tmp_path), dns=records.address)) as host,
        admin_of(host) as admin,
    ):
        made = await admin.create("shop")
        await admin.deploy(made["id"], bundle_of(project, made["id"], made["name"]))
        site = Site(host.control.listen_url, NAME)
        try:
            assert (await site.get("/")).status_code == 404
            path = f"/v1/functions/{made['id']}/domains"
            (claimed,) = (await admin.http.get(path)).json()["domains"]
            records.texts[claimed["record"]["name"]] = [claimed["record"]["value"]]
            (await admin.http.post(f"{path}/verify", json={"name": NAME})).raise_for_status()
            for written in (NAME, "Shop.Example.COM:8787", f"{NAME}."):
                reply = await site.get("/", headers={"host": written})
                assert (reply.status_code, set(reply.json()["handler"])) == (200, {"two"}), written
            for other in (f"www.{NAME}", "example.com", f"{NAME}.localhost", f"{NAME}@x", ""):
                assert (await site.get("/", headers={"host": other})).status_code in (400, 404), other
            await admin.delete(made["id"])
            assert (await site.get("/")).status_code == 404
        finally:
            await site.close()
