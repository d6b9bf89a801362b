"""What a host counts: each function for its tenant, all of it for Prometheus, and for nobody else."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from host import server
from host.config import check_open_metrics
from host.model.address import Address
from tests.conftest import GUESTS, Ship, config_in
from tests.kit.admin import Admin

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(admin: Admin) -> Samples:
    reply = await admin.http.get("/metrics")
    reply.raise_for_status()
    assert reply.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(reply.text))
    assert all(family.documentation and family.type != "unknown" for family in families)
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    """The sum over all samples with these labels."""
    return sum(number for (one, given), number in samples.items() if one == name and set(labels.items()) <= given)


async def test_a_functions_metrics_are_what_was_asked_of_it(ship: Ship, admin: Admin, host: server.Host) -> None:
    site = await ship(GUESTS / "observed")
    for path in ("/add/alice", "/add/alice", "/add/bob", "/throw", "/refuse/alice"):
        await site.get(path)
    host.hand_on()
    found: dict[str, Any] = (await admin.http.get("/v1/functions/observed/metrics?minutes=5")).json()
    assert (found["count"], found["errors"]) == (9, 3), "five requests, and four turns of actors"
    assert found["outcomes"] == {"ok": 6, "failed": 3}
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"] < 60_000
    assert found["cpu_ms"] > 0
    assert found["instances"] == {"actor": 2, "handler": 1}
    used: dict[str, Any] = (await admin.http.get("/v1/functions/observed/usage")).json()
    stored_mib = next(quota["used"] for quota in used["quotas"] if quota["name"] == "storage_mb")
    assert 0 < found["stored_bytes"] == round(stored_mib * 2**20)
    assert sum(minute["count"] for minute in found["series"]) == 9
    for wrong in ("0", "61", "x", "-1"):
        assert (await admin.http.get(f"/v1/functions/observed/metrics?minutes={wrong}")).status_code == 400


async def test_prometheus_reads_functions_workers_and_storage(ship: Ship, admin: Admin, host: server.Host) -> None:
    site = await ship(GUESTS / "observed")
    await asyncio.gather(*(site.get("/add/alice") for _ in range(20)))
    await site.get("/throw")
    host.hand_on()
    samples = await scrape(admin)
    of = {"tenant": "default", "function": "observed"}
    assert value(samples, "tenure_invocations_total", kind="method", outcome="ok", **of) == 20
    assert value(samples, "tenure_invocations_total", kind="request", outcome="failed", **of) == 1
    assert value(samples, "tenure_invocation_duration_seconds_count", **of) == 41
    assert value(samples, "tenure_invocation_duration_seconds_bucket", le="+Inf", **of) == 41
    assert value(samples, "tenure_invocation_cpu_seconds_total", **of) > 0
    assert value(samples, "tenure_function_instances", kind="actor", **of) == 1
    assert value(samples, "tenure_function_stored_bytes", **of) > 0
    assert value(samples, "tenure_commits_total", worker="0") >= 20
    assert 0 < value(samples, "tenure_syncs_total") <= value(samples, "tenure_commits_total")
    assert value(samples, "tenure_sync_seconds_total") > 0
    waits, waited_s = (value(samples, f"tenure_mailbox_wait{name}_total") for name in ("s", "_seconds"))
    assert (waits > 0) == (waited_s > 0), "a quick host lets no turn wait"
    assert value(samples, "tenure_scheduler_rounds_total") > 0
    assert value(samples, "tenure_worker_up", worker="0") == 1
    assert value(samples, "tenure_log_lines_total") == 62


async def test_metrics_need_an_operators_key_unless_they_are_open(
    host: server.Host, admin: Admin, tmp_path: Path
) -> None:
    await host.control.registry.create_tenant("acme")
    key = await host.control.registry.create_key("acme", "ci")
    async with httpx.AsyncClient(base_url=host.control.admin_url, trust_env=False) as client:
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/metrics", headers={"authorization": f"Bearer {key}"})).status_code == 403
    assert (await admin.http.get("/metrics")).status_code == 200
    async with (
        server.running(replace(config_in(tmp_path / "open"), metrics_open=True)) as opened,
        httpx.AsyncClient(base_url=opened.control.admin_url, trust_env=False) as client,
    ):
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.get("/v1/status")).status_code == 401


def test_metrics_are_open_on_loopback_only() -> None:
    for loopback in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        check_open_metrics(Address(loopback, 8788))
    for outside in ("0.0.0.0", "192.168.0.1", "::", "host.example"):
        with pytest.raises(ValueError, match="loopback"):
            check_open_metrics(Address(outside, 8788))
