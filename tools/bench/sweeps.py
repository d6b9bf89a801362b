"""`python -m tools.bench.sweeps`: what one call costs against how much there is of something.

Live actors, the size of a value, of a binary body, tenants, the depth of a chain of calls: each from little to much, on
a host of one worker that was just started, one request at a time. A cost is in millions of instructions of user code
over all of the host's processes, which other work on the machine hardly moves, or milliseconds of CPU time where those
are not counted; beside it the time of a request (p50). Every reply is checked.

With `--write`, plots and a table go into docs/performance. Exit code 1 when a cost grows worse than linear.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from host.config import within_process
from host.model.limits import HOST_LIMITS, LIMITS
from tests.kit.admin import Admin
from tests.kit.bundles import component_of, manifest_text, zip_of
from tools.bench import plot
from tools.bench.counted import CountedHost
from tools.bench.counters import Instructions
from tools.bench.growth import Point
from tools.bench.load import LoadGenerator, Target
from tools.bench.subjects import ACTIVATIONS_MAX, IDLE_S
from tools.machine import ROOT, origin

SWEEPER = Path(__file__).with_name("sweeper")
KEYS = 50
SECONDS_MAX = 600.0
MEMORY_LEFT_GIB = 3.0
TENANT_SHIPS_AT_ONCE = 4


@dataclass(frozen=True)
class Sweep:
    """`sizes` from little to much, and `points` measures as many as the machine can."""

    name: str
    title: str
    axis: str
    sizes: tuple[int, ...]
    points: Callable[[Bench, tuple[int, ...]], Iterator[Point]]


class Bench:
    """A fresh host in `folder`, and how a point is measured on it. `requests` a point."""

    def __init__(self, folder: Path, requests: int) -> None:
        self.folder, self.requests = folder, requests
        self.generator = LoadGenerator(folder)
        flags = ["--max-activations", str(ACTIVATIONS_MAX), "--activation-idle-seconds", str(IDLE_S)]
        self.host = CountedHost(folder, flags=flags)
        self.host.start()

    @property
    def unit(self) -> str:
        counted = isinstance(self.host.counter, Instructions)
        return "million instructions" if counted else "ms of CPU time"

    def close(self) -> None:
        self.host.kill()
        self.host.counter.close()

    def ship(self, project: Path) -> str:
        """The Host header of a function."""

        async def shipped() -> str:
            async with self.host.admin() as admin:
                return (await admin.ship(project)).host

        return asyncio.run(shipped())

    def target(self, host: str, path: str, expected: str, method: str = "POST", body: str = "{}") -> Target:
        return Target(f"127.0.0.1:{self.host.port}", host, path, expected, method, body)

    def load(self, target: Target, requests: int, *, keys: int = KEYS, connections: int = 1, **more: Any) -> float:
        """p50 in ms. Raises RuntimeError when a reply is wrong or missing."""
        load = self.generator.run(
            target,
            connections=connections,
            seconds=SECONDS_MAX,
            requests=requests,
            keys=keys,
            **more,
        )
        if load.failures or load.sent < requests:
            raise RuntimeError(
                f"{target.path}: {load.good} good replies of {requests}; the first bad: {load.first_bad}"
            )
        return load.p50_us / 1000

    def point(self, size: int, target: Target, *, warm_up: int, keys: int = KEYS, **more: Any) -> Point:
        self.load(target, warm_up, keys=keys, connections=8 if warm_up > KEYS else 1, **more)
        return self.counted(size, lambda: self.load(target, self.requests, keys=keys, random=True, **more))

    def counted(self, size: int, measured: Callable[[], float]) -> Point:
        """`measured` sends as many requests as this makes for a point, and returns their p50 in ms."""
        before = self.host.counter.read()
        p50_ms = measured()
        cost = (self.host.counter.read() - before) / self.requests
        return Point(size, cost / 1e6 if isinstance(self.host.counter, Instructions) else cost * 1e3, p50_ms)


def live_actors(bench: Bench, sizes: tuple[int, ...]) -> Iterator[Point]:
    host = bench.ship(ROOT / "functions" / "account")
    deposit = bench.target(
        host, "/accounts/{key}/deposit", '{"account":"{key}","balance":{number}}', body='{"amount":1}'
    )
    began, begun_with = _memory_left_gib(), 0
    most = within_process(replace(HOST_LIMITS, activations_max=ACTIVATIONS_MAX), workers=1)[0].activations_max
    for size in sizes:
        if size > most:
            print(f"  {size:,} actors are more than a worker has mappings or addresses for: left out", flush=True)
            return
        each_gib = (began - _memory_left_gib()) / begun_with if begun_with else 0.0
        if _memory_left_gib() - each_gib * (size - begun_with) < MEMORY_LEFT_GIB:
            print(f"  {size:,} actors do not fit into this machine's memory: left out", flush=True)
            return
        yield bench.point(size, deposit, warm_up=size, keys=size)
        begun_with = size


def value_size(bench: Bench, sizes: tuple[int, ...]) -> Iterator[Point]:
    host = bench.ship(SWEEPER)
    for size in sizes:
        # the value's stored form has quotation marks around it
        stored = min(size, LIMITS.value_bytes_max - 2)
        target = bench.target(host, f"/swap/v{size}-{{key}}/{stored}", f'{{"size":{stored}}}')
        yield bench.point(size, target, warm_up=KEYS)


def call_depth(bench: Bench, sizes: tuple[int, ...]) -> Iterator[Point]:
    host = bench.ship(SWEEPER)
    for size in sizes:
        yield bench.point(size, bench.target(host, f"/pass/{{key}}/{size}", f'{{"size":{size}}}'), warm_up=KEYS)


def body_size(bench: Bench, sizes: tuple[int, ...]) -> Iterator[Point]:
    host = bench.ship(SWEEPER)
    for size in sizes:
        body = os.urandom(size)
        _echo(bench, host, body, 5)
        yield bench.counted(size, lambda body=body: _echo(bench, host, body, bench.requests))  # type: ignore[misc]


def _echo(bench: Bench, host: str, body: bytes, requests: int) -> float:
    """p50 in ms of requests whose body comes back."""
    connection = http.client.HTTPConnection("127.0.0.1", bench.host.port, timeout=60)
    times = []
    for _ in range(requests):
        began = time.perf_counter()
        connection.request("POST", "/echo", body, {"host": host, "content-type": "application/octet-stream"})
        reply = connection.getresponse().read()
        times.append(time.perf_counter() - began)
        if reply != body:
            raise RuntimeError(f"/echo: a body of {len(body)} bytes came back as {reply[:100]!r}")
    connection.close()
    return statistics.median(times) * 1000


def tenants(bench: Bench, sizes: tuple[int, ...]) -> Iterator[Point]:
    project = ROOT / "functions" / "hello"
    component = component_of(project).read_bytes()
    manifest = manifest_text(project)
    hosts: list[str] = []
    file = bench.folder / "hosts"
    for size in sizes:
        hosts += asyncio.run(_tenants(bench, range(len(hosts), size), manifest, component))
        file.write_text("".join(f"{host}\n" for host in hosts))
        target = bench.target("", "/", "hello, world\n", method="GET", body="")
        yield bench.point(size, target, warm_up=size * 2, keys=size, hosts=file)


async def _tenants(bench: Bench, numbers: range, manifest: str, component: bytes) -> list[str]:
    """Make tenants with one function each, of the same component. Their Host headers."""
    places = asyncio.Semaphore(TENANT_SHIPS_AT_ONCE)

    async def one(operator: Admin, number: int) -> str:
        async with places:
            name = f"tenant-{number}"
            (await operator.http.post("/v1/tenants", json={"id": name})).raise_for_status()
            made = await operator.http.post(f"/v1/tenants/{name}/keys", json={"name": "bench"})
            made.raise_for_status()
            async with bench.host.admin(made.json()["key"]) as admin:
                function = await admin.create("hello", actor=False)
                text = f'{manifest}\n[edge_compute]\nfunc_id = "{function["id"]}"\nfunc_name = "hello"\n'
                await admin.deploy("hello", zip_of({"tenure.toml": text.encode(), "component.wasm": component}))
            return str(function["url"]).partition("://")[2]

    async with bench.host.admin() as operator:
        return await asyncio.gather(*(one(operator, number) for number in numbers))


SWEEPS = (
    Sweep(
        "actors",
        "deposit, by live actors",
        "actors in memory",
        (1_000, 2_000, 5_000, 10_000, 20_000, 50_000),
        live_actors,
    ),
    Sweep("value", "read and write of a value", "bytes", (10, 100, 1 << 10, 10 << 10, 100 << 10, 1 << 20), value_size),
    Sweep("body", "echo of a binary body", "bytes", (10, 1 << 10, 10 << 10, 100 << 10, 1 << 20, 4 << 20), body_size),
    Sweep("tenants", "hello, by tenants with a function each", "tenants", (1, 10, 100, 300, 1_000), tenants),
    Sweep("depth", "call through a chain of actors", "actors in the chain", (1, 2, 4, 8, 15), call_depth),
)


def _memory_left_gib() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 2**20
    return float("inf")


def measure(sweep: Sweep, requests: int, size_max: int | None) -> plot.Swept:
    print(f"{sweep.title}", flush=True)
    sizes = tuple(size for size in sweep.sizes if size_max is None or size <= size_max)
    points = []
    with tempfile.TemporaryDirectory(prefix="tenure-sweep-") as folder:
        bench = Bench(Path(folder), requests)
        try:
            for point in sweep.points(bench, sizes):
                points.append(point)
                print(f"  {point.size:9,} {point.cost:10.2f} {bench.unit}, p50 {point.p50_ms:8.2f} ms", flush=True)
            return plot.Swept(sweep.name, sweep.title, sweep.axis, bench.unit, points)
        finally:
            bench.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.bench.sweeps", description=__doc__)
    parser.add_argument("--only", choices=[sweep.name for sweep in SWEEPS], action="append")
    parser.add_argument("--requests", type=int, default=200, metavar="N", help="for each point")
    parser.add_argument("--size-max", type=int, metavar="N", help="leave out larger sizes")
    parser.add_argument("--write", action="store_true", help="put plots and tables into docs/performance")
    options = parser.parse_args()
    if options.write:
        plot.check()
    where = origin()
    chosen = [sweep for sweep in SWEEPS if not options.only or sweep.name in options.only]
    swept = [measure(sweep, options.requests, options.size_max) for sweep in chosen]
    findings = [finding for each in swept for finding in each.findings()]
    print("\n".join(findings) or "nothing grows worse than linear")
    if options.write:
        plot.write(swept, where, options.requests)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
