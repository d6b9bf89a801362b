"""`fetch` from real guests on a real host, to a real server: where it goes, where it never goes, and what it says.

Names are resolved by a table of the test's, so that `api.test` is a service the operator permits (127.0.0.2) and
`inside.test` a public name that points into a private network.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio

from host import server
from tests.conftest import GUESTS, admin_of, config_in, shipping_to
from tests.guests.outbound.origin import ADDRESS, Origin, serving
from tests.kit.bundles import component_of, manifest_text, zip_of
from tests.kit.http import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROJECT = GUESTS / "outbound"
NAMES = {
    "api.test": [ADDRESS],
    "other.test": [ADDRESS],
    "a.wild.test": [ADDRESS],
    "wild.test": [ADDRESS],
    "unlisted.test": [ADDRESS],
    "inside.test": ["10.0.0.1"],
    "mixed.test": [ADDRESS, "192.168.0.1"],
    "six.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
}
ALLOW = [
    "api.test", "other.test", "*.wild.test", "inside.test", "mixed.test", "six.test", "mapped.test", "nowhere.test",
    "127.0.0.1", "169.254.169.254",
]  # fmt: skip
PRIVATE = "resolves to an address that functions may not reach"
DEADLINE_S = 10.0

Run = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module", autouse=True)
def names() -> Iterator[None]:
    """Resolves NAMES; everything else as always."""
    patch = pytest.MonkeyPatch()
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".test") and host not in NAMES:
            raise socket.gaierror("no such name")
        addresses = NAMES.get(host, [host])
        return [found for address in addresses for found in real(address, port, *arguments, **options)]

    patch.setattr(socket, "getaddrinfo", resolve)
    yield
    patch.undo()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[server.Host]:
    config = replace(config_in(tmp_path_factory.mktemp("outbound")), outbound_permitted=(ip_network(f"{ADDRESS}/32"),))
    async with server.running(config) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def origin() -> AsyncIterator[Origin]:
    async with serving() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(host: server.Host, origin: Origin) -> AsyncIterator[Run]:
    """`await run(code)` is what the code returns in a guest; ORIGIN in it is `http://api.test:PORT`, PORT the port."""
    async with admin_of(host) as admin:
        function = await admin.create("open")
        text = manifest_text(PROJECT).replace('name = "outbound"', 'name = "open"', 1)
        text += f'\n[edge_compute]\nfunc_id = "{function["id"]}"\nfunc_name = "open"\n'
        text += f"\n[outbound]\nallow = {json.dumps(ALLOW)}\n"
        files = {"tenure.toml": text.encode(), "component.wasm": component_of(PROJECT).read_bytes()}
        await admin.deploy(function["id"], zip_of(files))
    site = Site(host.control.listen_url, function["url"].removeprefix("http://"))

    async def evaluate(code: str, actor: str | None = None) -> Any:
        code = code.replace("ORIGIN", "http://api.test:PORT").replace("PORT", str(origin.port))
        reply = await site.post("/" if actor is None else f"/?actor={actor}", content=code)
        assert reply.status_code == 200, reply.text
        return reply.json()

    yield evaluate
    await site.close()


async def refused(run: Run, url: str, init: str = "{}") -> str:
    """Why a fetch fails: a TypeError's message."""
    said = await run(f"return (await fetch(`{url}`, {init})).status")
    assert isinstance(said, dict), said
    assert said["error"] == "TypeError"
    return str(said["message"])


async def test_a_function_reaches_nothing_unless_its_manifest_says_so(host: server.Host, origin: Origin) -> None:
    before = len(origin.seen)
    async with shipping_to(host) as ship:
        reply = await (await ship(GUESTS / "closed")).post("/", content=f"http://api.test:{origin.port}/echo")
    assert reply.json() == {
        "error": "TypeError",
        "message": 'fetch failed: api.test is not in the manifest: add it to [outbound] allow = ["api.test"]',
    }
    assert len(origin.seen) == before


@pytest.mark.parametrize("actor", [None, "one"])
async def test_an_allowed_host_is_reached_by_handlers_and_actors(run: Run, actor: str | None) -> None:
    code = """
        const reply = await fetch("ORIGIN/echo?q=1#part", { method: "PUT", body: "é", headers: { "X-A": "b" } });
        const { ok, status, url, redirected, type } = reply;
        return { ok, status, url, redirected, type, from: reply.headers.get("x-from"), seen: await reply.json() };
    """
    said = await run(code, actor)
    seen = said.pop("seen")
    port = said["url"].split(":")[2].split("/")[0]
    assert said == {
        "ok": True, "status": 200, "url": f"http://api.test:{port}/echo?q=1", "redirected": False, "type": "basic",
        "from": "origin",
    }  # fmt: skip
    assert (seen["method"], seen["url"], seen["body"]) == ("PUT", "/echo?q=1", "é".encode().decode("latin-1"))
    headers = dict(seen["headers"])
    assert (headers["x-a"], headers["host"], headers["content-length"]) == ("b", f"api.test:{port}", "2")


async def test_several_fetches_are_under_way_at_once(run: Run, origin: Origin) -> None:
    origin.hanging.clear()
    code = """
        const controller = new AbortController();
        const hanging = fetch("ORIGIN/hang", { signal: controller.signal }).catch((error) => error.name);
        const others = await Promise.all([1, 2, 3].map((n) => fetch(`ORIGIN/echo?${n}`)));
        controller.abort();
        return [await hanging, ...await Promise.all(others.map(async (one) => (await one.json()).url))];
    """
    assert await run(code) == ["AbortError", "/echo?1", "/echo?2", "/echo?3"]


async def test_a_wildcard_allows_the_names_below_it_and_not_the_name_itself(run: Run) -> None:
    assert await run("return (await fetch('http://a.wild.test:PORT/echo')).status") == 200
    assert "wild.test is not in the manifest" in await refused(run, "http://wild.test:PORT/echo")
    assert "not in the manifest" in await refused(run, "http://notwild.test:PORT/echo")


@pytest.mark.parametrize(("url", "reason"), [
    ("http://127.0.0.1:PORT/", PRIVATE),
    ("http://2130706433:PORT/", PRIVATE),
    ("http://0x7f000001:PORT/", PRIVATE),
    ("http://0177.0.0.1:PORT/", PRIVATE),
    ("http://127.1:PORT/", PRIVATE),
    ("http://169.254.169.254/latest/meta-data/", PRIVATE),
    ("http://inside.test/", PRIVATE),
    ("http://mixed.test:PORT/", PRIVATE),
    ("http://six.test:PORT/", PRIVATE),
    ("http://mapped.test:PORT/", PRIVATE),
    ("http://[::1]:PORT/", "not in the manifest"),
    ("http://[::ffff:127.0.0.1]:PORT/", "not in the manifest"),
    ("http://0.0.0.0:PORT/", "not in the manifest"),
    ("http://localhost:PORT/", "not in the manifest"),
    ("http://unlisted.test:PORT/", "not in the manifest"),
    ("http://nowhere.test/", "nowhere.test cannot be resolved"),
    ("file:///etc/passwd", "file: is not fetched"),
    ("data:,x", "data: is not fetched"),
])  # fmt: skip
async def test_a_private_address_is_reached_neither_directly_nor_by_a_redirect(
    run: Run, origin: Origin, url: str, reason: str
) -> None:
    before = len(origin.seen)
    assert reason in await refused(run, url)
    assert len(origin.seen) == before
    assert reason in await refused(run, f"ORIGIN/redirect?to=${{encodeURIComponent('{url}')}}")
    assert len(origin.seen) == before + 1


async def test_redirects_are_followed_told_or_refused_as_the_request_says(run: Run, origin: Origin) -> None:
    followed = """
        const reply = await fetch("ORIGIN/redirect?to=/echo%3Fx", { method: "POST", body: "gone" });
        return [reply.url, reply.redirected, (await reply.json()).method, [...reply.headers.keys()].includes(":url")];
    """
    assert await run(followed) == [f"http://api.test:{origin.port}/echo?x", True, "GET", False]
    kept = "return (await (await fetch('ORIGIN/redirect?status=307&to=/echo', {method:'POST',body:'k'})).json()).body"
    assert await run(kept) == "k"
    manual = """
        const reply = await fetch("ORIGIN/redirect?to=/echo", { redirect: "manual" });
        return [reply.status, reply.headers.get("location"), reply.redirected];
    """
    assert await run(manual) == [302, "/echo", False]
    assert "forbids" in await refused(run, "ORIGIN/redirect?to=/echo", '{ redirect: "error" }')
    assert await run("return (await fetch('ORIGIN/loop?n=20')).status") == 200
    assert "more than 20 times" in await refused(run, "ORIGIN/loop?n=21")


async def test_credentials_do_not_follow_a_redirect_to_another_origin(run: Run) -> None:
    code = """
        const headers = { authorization: "secret", cookie: "a=1", "x-kept": "yes" };
        const to = encodeURIComponent("http://HOST:PORT/echo");
        return Object.fromEntries((await (await fetch(`ORIGIN/redirect?to=${to}`, { headers })).json()).headers);
    """
    same = await run(code.replace("HOST", "api.test"))
    assert (same["authorization"], same["cookie"], same["x-kept"]) == ("secret", "a=1", "yes")
    other = await run(code.replace("HOST", "other.test"))
    assert "authorization" not in other
    assert "cookie" not in other
    assert other["x-kept"] == "yes"
    assert "user name" in await refused(run, "http://me:secret@api.test:PORT/echo")


async def test_what_comes_back_is_bounded_also_when_it_grows_by_unpacking(run: Run) -> None:
    most = 10 << 20
    assert await run(f"return (await (await fetch('ORIGIN/bomb?bytes={1 << 20}')).bytes()).length") == 1 << 20
    for path in ("big", "bomb"):
        assert "over 10 MiB" in await refused(run, f"ORIGIN/{path}?bytes={most + 1}")
    assert "gzip" in await refused(run, "ORIGIN/cut")


async def test_a_body_of_any_kind_arrives(run: Run) -> None:
    code = """
        const send = async (body) => {
          const seen = await (await fetch("ORIGIN/echo", { method: "POST", body })).json();
          return [Object.fromEntries(seen.headers)["content-type"] ?? null, seen.body];
        };
        const stream = new ReadableStream({
          start(controller) {
            controller.enqueue(new TextEncoder().encode("a"));
            controller.enqueue(new Uint8Array([255]));
            controller.close();
          },
        });
        return [
          await send(new Uint8Array([0, 255])), await send(new URLSearchParams({ a: "b c" })),
          await send(new Blob(["x"], { type: "text/x" })), await send(stream),
        ];
    """
    assert await run(code) == [
        [None, "\x00\xff"], ["application/x-www-form-urlencoded;charset=UTF-8", "a=b+c"], ["text/x", "x"],
        [None, "a\xff"],
    ]  # fmt: skip
    form = """
        const form = new FormData();
        form.append("a", "1");
        form.append("f", new File([new Uint8Array([0, 255])], 'n".bin'));
        const seen = await (await fetch("ORIGIN/echo", { method: "POST", body: form })).json();
        const bytes = Uint8Array.from(seen.body, (one) => one.charCodeAt(0));
        const type = Object.fromEntries(seen.headers)["content-type"];
        const read = await new Response(bytes, { headers: { "content-type": type } }).formData();
        const file = read.get("f");
        return [read.get("a"), file.name, file.type, [...await file.bytes()]];
    """
    assert await run(form) == ["1", 'n".bin', "application/octet-stream", [0, 255]]


async def test_an_aborted_fetch_ends_at_once_and_closes_its_connection(run: Run, origin: Origin) -> None:
    origin.gone.clear()
    code = "return (await fetch('ORIGIN/hang', { signal: AbortSignal.timeout(50) })).status"
    assert (await run(code))["error"] == "TimeoutError"
    await asyncio.wait_for(origin.gone.wait(), DEADLINE_S)
    before = len(origin.seen)
    assert (await run("return await fetch('ORIGIN/echo', { signal: AbortSignal.abort() })"))["error"] == "AbortError"
    assert len(origin.seen) == before


async def test_a_call_that_ends_takes_its_fetches_with_it(run: Run, host: server.Host, origin: Origin) -> None:
    origin.gone.clear()
    assert await run("void fetch('ORIGIN/hang').catch(() => {}); await fetch('ORIGIN/echo'); return 1") == 1
    await asyncio.wait_for(origin.gone.wait(), DEADLINE_S)


async def test_no_header_can_smuggle_another(run: Run, origin: Origin) -> None:
    before = len(origin.seen)
    for value in ("a\\r\\nhost: evil", "a\\nx: y", "a\\u0000"):
        said = await run(f'return (await fetch("ORIGIN/echo", {{ headers: {{ x: "{value}" }} }})).status')
        assert said["error"] == "TypeError"
    assert len(origin.seen) == before
    headers = '{ Host: "evil", Connection: "x", "Transfer-Encoding": "chunked", "Content-Length": "99", ok: "1" }'
    seen = await run(f'return (await (await fetch("ORIGIN/echo", {{ headers: {headers} }})).json()).headers')
    names = [name.lower() for name, _ in seen]
    assert names.count("host") == 1
    assert dict(seen)["host"] == f"api.test:{origin.port}"
    assert not {"connection", "transfer-encoding", "content-length"} & set(names)
    assert dict(seen)["ok"] == "1"


async def test_what_an_actor_wrote_before_is_durable_when_its_fetch_leaves(
    run: Run, host: server.Host, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable: list[bool] = []
    committer = host.worker.cluster.shards[0].committer
    monkeypatch.setattr(origin, "on_request", lambda: durable.append(committer.synced == committer.stats().commits))
    for number in range(5):
        code = f"await ctx.storage.put('n', {number}); return (await fetch('ORIGIN/echo')).status"
        assert await run(code, "writer") == 200
    assert durable == [True] * 5
