"""The SDK inside a real guest: built by build.mjs, compiled and run by the host's own sandbox."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from small_host import SmallHost  # noqa: E402

from host.model.message import HttpRequest  # noqa: E402
from host.sandbox.instance import FETCH, INVOKE  # noqa: E402


@pytest.fixture(scope="module")
def component(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("guest") / "guest.wasm"
    command = ["node", str(HERE.parent / "build.mjs"), "--project", str(HERE / "guest"), "--out", str(out)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return out


@pytest_asyncio.fixture
async def guest(component: Path) -> AsyncIterator[SmallHost]:
    cache = component.parent / "cache"
    cache.mkdir(mode=0o700, exist_ok=True)
    host = await SmallHost.open(component, cache, {"PROBE": "Probe"})
    yield host
    host.close()


async def returned(guest: SmallHost, method: str, *arguments: Any, name: str = "one") -> Any:
    outcome = await guest.invoke("Probe", name, method, *arguments)
    assert outcome.kind == "returned", outcome
    return json.loads(outcome.value)


async def failed(guest: SmallHost, method: str, *arguments: Any, name: str = "one") -> tuple[str, str]:
    outcome = await guest.invoke("Probe", name, method, *arguments)
    assert outcome.kind == "failed", outcome
    return outcome.name, outcome.message


async def test_after_its_first_call_an_export_no_longer_goes_through_the_toolchains_glue(guest: SmallHost) -> None:
    def glue(export: str) -> str:
        return f"String(globalThis.__cqjs.asyncExports.guest.{export}).includes('native code')"

    assert await returned(guest, "evaluate", glue("fetch")) is True
    assert await returned(guest, "evaluate", glue("invoke")) is False


async def test_a_guest_that_tampers_with_the_glue_breaks_its_own_instance_only(guest: SmallHost) -> None:
    tamper = "(delete globalThis.__cqjs.asyncExports.guest.invoke, 1)"
    assert await returned(guest, "evaluate", tamper) == 1
    assert (await guest.invoke("Probe", "one", "inherited")).kind == "crashed"
    assert await returned(guest, "inherited", name="another") == "from the base"
    assert await returned(guest, "inherited") == "from the base"


async def test_a_methods_start_waits_for_what_the_constructor_began(guest: SmallHost) -> None:
    assert await returned(guest, "startedBy", name="begins") == ["began"]


async def test_methods_of_the_class_and_its_bases_are_callable(guest: SmallHost) -> None:
    assert await returned(guest, "inherited") == "from the base"
    assert await returned(guest, "echo", {"__proto__": 1, "a": [None]}) == {"__proto__": 1, "a": [None]}
    assert await returned(guest, "nothing") == {"$undefined": 0}


@pytest.mark.parametrize("name", [
    "missing", "fetch", "alarm", "webSocket", "constructor", "__proto__", "toString", "hasOwnProperty", "getter",
    "arrow", "ctx", "env", "started", "",
])  # fmt: skip
async def test_what_is_no_method_is_unknown(guest: SmallHost, name: str) -> None:
    assert (await failed(guest, name))[0] == "ActorUnknownMethodError"


async def test_a_leading_underscore_is_private(guest: SmallHost) -> None:
    assert (await failed(guest, "_hidden"))[0] == "ActorPrivateMethodError"
    assert (await failed(guest, "_missing"))[0] == "ActorPrivateMethodError"


async def test_whatever_is_thrown_is_told_by_name_and_message(guest: SmallHost) -> None:
    assert await failed(guest, "throws") == ("TypeError", "on purpose")
    assert await failed(guest, "throwsText") == ("Error", "a value that is no Error was thrown: just text")
    assert (await failed(guest, "throwsHostile"))[0] == "Error"
    name, message = await failed(guest, "returnsFunction")
    assert name == "CodecError"
    assert message.startswith("$.deep[0]")


async def test_a_rejection_nobody_handles_does_not_end_the_guest(guest: SmallHost) -> None:
    assert await returned(guest, "leavesRejection") == "still here"
    assert await returned(guest, "inherited") == "from the base"


async def test_endless_recursion_ends_the_call_and_a_fresh_instance_answers(guest: SmallHost) -> None:
    outcome = await guest.invoke("Probe", "one", "recurses")
    assert outcome.kind == "crashed"
    assert await returned(guest, "inherited") == "from the base"


async def test_running_out_of_memory_is_an_error_inside_the_guest_and_a_crash_when_nobody_catches_it(
    guest: SmallHost,
) -> None:
    assert await returned(guest, "hoards", True) == "out of memory"
    outcome = await guest.invoke("Probe", "one", "hoards", False)
    assert (outcome.kind, outcome.message) == ("crashed", "the code ran out of memory")
    assert await returned(guest, "inherited") == "from the base"


async def test_the_guest_writes_and_reads_the_vectors_of_the_wire_form(guest: SmallHost) -> None:
    vectors = json.loads((HERE.parents[1] / "conformance" / "codec.json").read_text())
    for vector in vectors["values"]:
        text = vector["text"].encode()
        if "reads" not in vector:
            outcome = await guest.invoke("Probe", "one", "evaluate", vector["value"])
            assert outcome.value == text, vector["name"]
        outcome = await guest.outcome(("Probe", "one"), INVOKE, b"echo", b"[%s]" % text)
        assert "reads" in vector or outcome.value == text, vector["name"]
    for vector in vectors["refused"]:
        outcome = await guest.outcome(("Probe", "one"), INVOKE, b"echo", b"[%s]" % vector["text"].encode())
        assert outcome.name == "CodecError", vector["name"]
    for vector in vectors["unsendable"]:
        name, message = await failed(guest, "evaluate", vector["value"])
        assert (name, message.split(" cannot be")[0]) == ("CodecError", vector["place"])


async def test_the_deepest_value_crosses_and_a_deeper_one_is_refused(guest: SmallHost) -> None:
    nest = "((depth) => { let value = []; while (--depth) value = [value]; return value })"
    assert (await guest.invoke("Probe", "one", "evaluate", f"{nest}(256)")).value == b"[" * 256 + b"]" * 256
    for depth in (257, 50_000):
        name, message = await failed(guest, "evaluate", f"{nest}({depth})")
        assert name == "CodecError"
        assert message.endswith("nested more than 256 levels deep")


async def test_timers_fire_in_the_order_of_their_time(guest: SmallHost) -> None:
    assert await returned(guest, "order") == [1, 15, 30]
    assert await returned(guest, "interval") == 3


async def test_calls_under_promise_all_are_all_under_way_before_one_ends(guest: SmallHost) -> None:
    assert await returned(guest, "fanOut") == ["a", "b", "c"]
    assert [step for step, _, _ in guest.trace] == ["start"] * 3 + ["done"] * 3


async def test_an_error_of_another_actor_arrives_with_its_class_and_cause(guest: SmallHost) -> None:
    assert await returned(guest, "caught") == ["ActorMethodError", "on purpose", "TypeError", "ActorMethodError", True]


async def test_an_argument_that_cannot_cross_is_refused_with_its_place(guest: SmallHost) -> None:
    name, message, of_class = await returned(guest, "refusedArgument")
    assert (name, of_class) == ("CodecError", True)
    assert message == "$[0].list[1].when cannot be sent or stored: a symbol"


async def test_a_stub_is_no_promise_and_reaches_the_actors_fetch(guest: SmallHost) -> None:
    assert await returned(guest, "stubs") == ["x", "undefined", True, '{"id":"x"}', 7]
    assert await returned(guest, "stubFetch") == [201, "2", "POST ?q=1 1 hi"]


async def test_nothing_runs_before_the_constructor_is_done(guest: SmallHost) -> None:
    assert await returned(guest, "startedBy", name="blocks") == ["blocked"]
    assert guest.storages["Probe", "blocks"].readied == 1
    assert await returned(guest, "startedBy", name="blocks") == ["blocked"]
    assert guest.storages["Probe", "blocks"].readied == 1


@pytest.mark.parametrize("name", ["breaks", "blocks-and-breaks"])
async def test_a_constructor_that_throws_fails_the_call_and_is_tried_again(guest: SmallHost, name: str) -> None:
    for _ in range(2):
        assert await failed(guest, "inherited", name=name) == ("RangeError", "no start")
    assert guest.storages["Probe", name].readied == 0


async def test_storage_keeps_its_rules(guest: SmallHost) -> None:
    assert await returned(guest, "storage") == [
        1, {"$date": 5}, {"$undefined": 0}, {"$undefined": 0}, ["z", "a"], ["a", "b", "c", "z", "é"], ["b", "c"],
        [["é", [{"$bigint": "1"}]], ["z", {"$map": [["k", {"$set": [{"$number": "NaN"}]}]]}]],
        True, False, 2, 0,
    ]  # fmt: skip
    assert await returned(guest, "refusals") == [
        "TypeError", "TypeError", "TypeError", "RangeError", "RangeError", "TypeError", "TypeError", "TypeError",
        "RangeError", "TypeError", "CodecError", "RangeError", "TypeError", "TypeError", "TypeError", "RangeError",
    ]  # fmt: skip


async def test_a_transaction_that_throws_drops_only_its_own_writes(guest: SmallHost) -> None:
    assert await returned(guest, "transactions") == [2, "no", 2]


async def test_alarms_are_set_read_and_fired(guest: SmallHost) -> None:
    assert await returned(guest, "alarms") == [None, 1234, None]
    assert (await guest.alarm("Probe", "one", 2)).kind == "returned"
    stored = guest.storages["Probe", "one"].layers[0][1][b"alarm"]
    assert json.loads(stored) == {"retryCount": 2, "isRetry": True}


async def test_clocks_and_randomness_come_from_the_host_and_never_from_the_build(guest: SmallHost) -> None:
    built_at, at_build, *rest = await returned(guest, "clocks")
    assert built_at == 0
    assert "not available while the module is being built" in at_build
    expected = [True, True, True, True, 0, "2020-01-01T00:00:00.000Z", "string", True, True, 8, True]
    assert rest == expected


async def test_the_web_platform_works_inside_the_guest(guest: SmallHost) -> None:
    href, host, both, path, same, size, clone, reason, text, lossy, can = await returned(guest, "platform")
    assert href == "http://user@example.com/new?x=1&y=a+b%26#h"
    assert (host, both, path) == ("a.example:8443", ["1", "2"], "/p/q")
    assert (same, size, clone, reason, text) == (True, 600, {"a": [1]}, "TimeoutError", True)
    assert (lossy, can) == ("\ufffdA", False)
    assert guest.lines[0] == ("info", 'seen { a: [ 1, "x" ], at: 1970-01-01T00:00:00.000Z } 5n')
    assert guest.lines[1][1].startswith("RangeError: logged\n")


@pytest.mark.parametrize(("code", "expected"), [
    ("[...new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(0)))].slice(0, 2)", [0xE3, 0xB0]),
    ("""await (async () => {
        const key = await crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-512" }, true, ["sign", "verify"]);
        const text = new TextEncoder().encode("text");
        const signature = await crypto.subtle.sign("HMAC", key, text);
        return [signature.byteLength, await crypto.subtle.verify("HMAC", key, signature, text)];
    })()""", [64, True]),
    ("""await (async () => {
        const unhex = (text) => Uint8Array.fromHex(text);
        const raw = unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        const key = await crypto.subtle.importKey("raw", raw, "Ed25519", false, ["verify"]);
        const signature = unhex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
          + "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b");
        return [await crypto.subtle.verify("Ed25519", key, signature, new Uint8Array(0)),
          await crypto.subtle.verify("Ed25519", key, signature, new Uint8Array(1))];
    })()""", [True, False]),
    ("await crypto.subtle.importKey('raw', new Uint8Array(32), 'AES-GCM', false, []).catch((e) => e.name)",
     "NotSupportedError"),
    ("""await (async () => {
        const form = new FormData();
        form.append("é", "ü");
        form.append("file", new Blob([new Uint8Array([0, 255])]), "n.bin");
        const read = await new Request("http://a/", { method: "POST", body: form }).formData();
        return [read.get("é"), read.get("file").name, [...await read.get("file").bytes()]];
    })()""", ["ü", "n.bin", [0, 255]]),
    ("await new Response(ReadableStream.from([new Uint8Array([97]), new Uint8Array([98])])).text()", "ab"),
    ("[navigator.userAgent, btoa('a'), atob('YQ=='), await new Blob(['é']).text()]", ["Tenure", "YQ==", "a", "é"]),
])  # fmt: skip
async def test_the_rest_of_the_web_platform_works_inside_the_guest(guest: SmallHost, code: str, expected: Any) -> None:
    assert await returned(guest, "evaluate", f"(async () => {code})()") == expected


async def test_a_handler_answers_with_a_stream(guest: SmallHost) -> None:
    reply = await guest.fetch(HttpRequest("GET", "http://x/stream"))
    assert (reply.status, base64.b64decode(reply.body), reply.binary) == (200, b"one two", True)


async def test_env_is_one_object(guest: SmallHost) -> None:
    assert await returned(guest, "environment") == [True, "hello", "s3cret", {"$undefined": 0}, "one"]


async def test_the_handler_sees_the_request_as_it_came(guest: SmallHost) -> None:
    headers = b"host: x\naccept: a\naccept: b\ncontent-type: application/json\n"
    reply = await guest.fetch(HttpRequest("POST", "http://x.localhost:1/", headers, b'{"a":"\xc3\xa9"}', False))
    assert reply.headers == b"x-seen: yes\ncontent-type: application/json\n"
    assert json.loads(reply.body) == {
        "same": True, "body": '{"a":"é"}', "json": {"a": "é"},
        "headers": [["accept", "a, b"], ["content-type", "application/json"], ["host", "x"]],
    }  # fmt: skip


async def test_bytes_and_cookies_leave_as_they_were(guest: SmallHost) -> None:
    body = base64.b64encode(bytes(range(256)))
    reply = await guest.fetch(HttpRequest("POST", "http://x/binary", b"", body, True))
    assert (reply.status, reply.body, reply.binary) == (200, body, True)
    reply = await guest.fetch(HttpRequest("GET", "http://x/cookies"))
    assert (reply.status, reply.headers) == (204, b"set-cookie: a=1\nset-cookie: b=2\nx-y: z\n")


@pytest.mark.parametrize(("path", "kind", "name"), [
    ("/throws", "failed", "TypeError"), ("/nothing", "failed", "TypeError"), ("/never", "stalled", ""),
])  # fmt: skip
async def test_a_handler_that_does_not_answer_is_told_apart(guest: SmallHost, path: str, kind: str, name: str) -> None:
    outcome = await guest.outcome(None, FETCH, b"GET", b"http://x" + path.encode(), b"", b"", False)
    assert (outcome.kind, outcome.name) == (kind, name)
