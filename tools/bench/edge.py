"""`python -m tools.bench.edge`: what the gateway adds to a bare ASGI callable on the same server, without any guest.

Both run behind `UvicornEdge` in a process of their own and answer the same bytes; the load generator's own share of
the machine is the same for both, so the difference is the gateway's.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.connection
import statistics
import tempfile
from pathlib import Path
from typing import Any

from host.gateway.app import Gateway
from host.gateway.listen import listening_socket, new_event_loop
from host.gateway.serve import UvicornEdge
from host.model.manifest import Manifest
from host.model.message import HttpRequest, HttpResponse
from host.model.version import Version
from tools.bench.load import LoadGenerator, Target

HOST = "hello-0198c2c58a.localhost"
BODY = b"hello, world\n"
REPETITIONS = 5
SECONDS = 1.0


async def _bare(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(BODY))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


def _gateway() -> Gateway:
    version = Version("t", "id", "hello", 1, "", Manifest("hello", "src/index.ts"), "", True, ())
    response = HttpResponse(200, b"content-type: text/plain\n", BODY)

    def fetch(version: Version, request: HttpRequest) -> asyncio.Future[HttpResponse]:
        future: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        # a guest answers in a later round of the loop, as here
        asyncio.get_running_loop().call_soon(future.set_result, response)
        return future

    return Gateway({HOST.split(".")[0]: version}.get, fetch, "localhost")


def _serve(with_gateway: bool, ready: multiprocessing.connection.Connection) -> None:
    async def run() -> None:
        sock = listening_socket("127.0.0.1", 0)
        await UvicornEdge(_gateway() if with_gateway else _bare, sock).start()
        ready.send(sock.getsockname()[1])
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run())


def main() -> None:
    context = multiprocessing.get_context("spawn")
    rates: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        generator = LoadGenerator(Path(folder))
        for _ in range(REPETITIONS):
            for with_gateway in rates:
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(with_gateway, theirs), daemon=True)
                process.start()
                target = Target(f"127.0.0.1:{ours.recv()}", HOST, "/", BODY.decode())
                load = generator.run(target, connections=64, seconds=SECONDS)
                process.kill()
                process.join()
                assert load.failures == 0, load.first_bad
                rates[with_gateway].append(load.requests_per_s)
    bare, gateway = (statistics.median(rates[with_gateway]) for with_gateway in (False, True))
    print(f"bare ASGI callable on this edge: {bare:,.0f} requests/s (median of {REPETITIONS})")
    print(f"gateway on this edge:            {gateway:,.0f} requests/s")
    print(f"ratio {gateway / bare:.2f}; the gateway adds {(1 / gateway - 1 / bare) * 1e6:.1f} us a request")


if __name__ == "__main__":
    main()
