"""Functions on whole hosts: the URL they have behind a proxy, their share of the storage, and old versions that go."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from host import server
from host.model.clock import ManualClock
from host.model.keep import Keep
from host.registry.pruning import SETTLED_MS
from host.registry.upkeep import EVERY_S
from tests.conftest import FUNCTIONS, admin_of, config_in
from tests.kit.admin import Admin, Json
from tests.kit.bundles import bundle_of
from tests.kit.http import Site
from tests.kit.logs import lines_of
from tests.kit.process import HostProcess
from tests.kit.releases import project_of

ACCOUNT = FUNCTIONS / "account"
PUBLIC_URL = "https://fns.example.com:8443"
DEADLINE_S = 20.0
MOST_MB = 0.0001
"""104 bytes: room for a few balances."""


def tenure(process: HostProcess, *words: str) -> Any:
    """What the command line says, as JSON."""
    environ = {**os.environ, "TENURE_ENDPOINT": process.admin_url, "TENURE_API_KEY": process.key}
    command = [str(Path(sys.executable).with_name("tenure")), *words, "--json"]
    return json.loads(subprocess.run(command, env=environ, capture_output=True, check=True, timeout=60).stdout)


async def storage_of(admin: Admin, name: str) -> Json:
    """The function's quota of storage and what it uses of it, once that is counted."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            found = (await admin.http.get(f"/v1/functions/{name}/usage")).raise_for_status().json()
            if found["counted"]:
                return next(one for one in found["quotas"] if one["name"] == "storage_mb")
            await asyncio.sleep(0.01)


async def test_functions_behind_a_proxy_and_their_share_of_the_storage(tmp_path: Path) -> None:
    flags = ("--workers", "2", "--public-url", PUBLIC_URL, "--keep-versions", "30")
    process = HostProcess(tmp_path / "data", flags=flags)
    await asyncio.to_thread(process.start)
    try:
        async with process.admin() as admin:
            made = await admin.create("account")
            host = urlsplit(made["url"]).netloc
            assert made["url"].startswith("https://account-")
            assert host.endswith(".fns.example.com:8443")
            commands = [asyncio.to_thread(tenure, process, command) for command in ("list", "status")]
            (shown,), status = await asyncio.gather(*commands)
            assert (shown["url"], shown["rule"]) == (made["url"], {"keep": 30, "days": 7, "set": False})
            assert status["functions_url"] == "https://NAME-ID.fns.example.com:8443"
            assert f"Functions  {status['functions_url']}\n" in process.log.read_text()

            share = f"\n[limits]\nstorage_mb = {MOST_MB}\n"
            await admin.deploy(made["id"], bundle_of(ACCOUNT, made["id"], made["name"], share))
            site = Site(f"http://127.0.0.1:{process.port}", host)
            try:
                replies = [await site.post(f"/accounts/b{number}/deposit", json={"amount": 1}) for number in range(20)]
                assert {reply.status_code for reply in replies} == {200, 500}
                kept = sum(reply.status_code == 200 for reply in replies)
                before = await storage_of(admin, "account")
                assert (before["limit"], before["set"]) == (MOST_MB, True)
                assert 0 < before["used"] <= MOST_MB
                whole = (await admin.http.get("/v1/usage")).raise_for_status().json()
                assert before["used"] in [one["used"] for one in whole["quotas"] if one["name"] == "storage_mb"]
            finally:
                await site.close()
            process.kill()
            await asyncio.to_thread(process.start)
        async with process.admin() as admin:
            assert await storage_of(admin, "account") == before
            site = Site(f"http://127.0.0.1:{process.port}", host.partition(":")[0])
            try:
                full = [await site.post(f"/accounts/c{number}/deposit", json={"amount": 1}) for number in range(8)]
                assert 500 in {reply.status_code for reply in full}
                there = [await site.get(f"/accounts/b{number}/balance") for number in range(20)]
                assert sum(reply.json()["balance"] for reply in there) == kept
            finally:
                await site.close()
    finally:
        process.kill()


async def test_old_versions_go_by_the_hosts_rule_while_the_function_answers(tmp_path: Path) -> None:
    clock = ManualClock()
    config = replace(config_in(tmp_path), keep=Keep(versions=1, days=0))
    async with server.running(config, clock) as host, admin_of(host) as admin:
        made = await admin.create("deploys")
        site = Site(host.control.listen_url, urlsplit(made["url"]).netloc)
        digests = []
        try:
            for number, release in enumerate(("one", "two", "two"), 1):
                project = project_of(release, tmp_path / str(number))
                version = await admin.deploy(made["id"], bundle_of(project, made["id"], made["name"]))
                digests.append(version["digest"])
                assert set((await site.get("/")).json()["handler"]) == {release}
            assert await numbers_of(admin) == [3, 2, 1], "what served a moment ago stays"
            compiled = config.compiled_dir
            assert len(list(compiled.glob("*.cwasm"))) == 2
            clock.advance(SETTLED_MS / 1000 + EVERY_S)
            await host.control.upkeep.idle()
            assert await numbers_of(admin) == [3, 2]
            assert set((await site.get("/")).json()["handler"]) == {"two"}
            assert {path.name for path in (config.data_dir / "blobs").glob("*/*")} == {digests[2]}
            assert len(list(compiled.glob("*.cwasm"))) == 1
            (line,) = await lines_of(host, made["id"], 0, "notice")
            assert (line["level"], line["text"]) == ("info", "removed by rule: version 1. What stays: the newest 1")
            counted = (await admin.http.get("/metrics")).raise_for_status().text
            assert "\ntenure_versions_pruned_total 1.0\n" in counted
        finally:
            await site.close()


async def numbers_of(admin: Admin) -> list[int]:
    found = (await admin.http.get("/v1/functions/deploys/versions")).raise_for_status().json()
    return [one["number"] for one in found["versions"]]
