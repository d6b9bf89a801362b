"""Whatever text a guest passes for a wire value, the host carries it as it is, and nobody but its reader is harmed.

Values are opaque to the host, so nothing in it may depend on what they say. A guest without the SDK stores, returns,
throws and sends texts that are no JSON, nested without end, full of NULs; an SDK's guest of the same tenant reads them;
a neighbour of another tenant must notice nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from host.actors import turn
from host.model.errors import ActorError
from host.model.ids import ActorId
from host.model.limits import MiB
from host.model.manifest import ActorBinding
from host.model.message import CallContext
from host.model.version import Version
from host.sandbox.component import Compiler
from tests.conformance.runner import CONFORMANCE
from tests.kit.artifacts import artifacts
from tests.kit.raw import RAW, build
from tests.kit.rooms import DEADLINE_S, TENANT, Rooms, compiled, open_rooms, version_of

RIVAL = "rival"
READER = CONFORMANCE / "typescript"
READERS_OWN = ("CodecError", "ActorCrashedError")


class Text(str):
    """A text that a failing test does not print whole."""

    def __repr__(self) -> str:
        return f"{self[:60]!r}... ({len(self)} characters)" if len(self) > 80 else str.__repr__(self)


NASTY = [
    "",
    "\0",
    "nothing like JSON",
    '"unfinished',
    "1,2",
    '],["k2",2',
    '"\\ud800"',
    "[" * 100_000,
    "[" * 5_000 + "]" * 5_000,
    '{"a":' * 2_000 + "1" + "}" * 2_000,
    '{"$map":[[' * 300 + "1",
    "[" * 3_000 + '{"$date":1}' + "]" * 3_000,
    '{"$nope":{"__proto__":null}}',
    '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}',
    '{"$regexp":["(a+)+$","g"]}',
    '{"$bigint":"' + "9" * 50_000 + '"}',
    "1e999999",
    "x" * 300_000,
    "\U0001f980" * 1_000,
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: (
        st.lists(inside, max_size=4)
        | st.dictionaries(st.sampled_from(["$map", "$date", "$bytes", "$object", "__proto__", "then", "a"]), inside)
    ),
    max_leaves=12,
)
texts = (st.text(max_size=200) | json_values.map(json.dumps) | st.sampled_from(NASTY)).map(Text)


class Site:
    """Rooms with the vault and its reader of one tenant, and a neighbour, in a loop of their own."""

    def __init__(self, runner: asyncio.Runner, vault: Version, reader: Version) -> None:
        self.runner = runner
        self.opened = open_rooms(version=reader)
        self.rooms: Rooms = runner.run(self.opened.__aenter__())
        self.rooms.serve(vault)
        self.rooms.serve(replace(reader, tenant=RIVAL, function_id="neighbour"))

    def close(self) -> None:
        self.runner.run(self.opened.__aexit__(None, None, None))

    async def ask(self, method: str, text: str, name: str = "vault") -> str | ActorError:
        """The answer of the vault, as text."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        work = turn.invoke(method.encode(), text.encode(), CallContext(), future.set_result)
        self.rooms.directory.deliver(ActorId(TENANT, "Vault", name), work)
        answer = await asyncio.wait_for(future, DEADLINE_S)
        return answer if isinstance(answer, ActorError) else answer.decode()

    async def neighbour_is_well(self) -> None:
        script = [["put", "k", "mine"], ["get", "k"], ["list"]]
        done = await asyncio.wait_for(self.rooms.invoke("a", "run", script, tenant=RIVAL), DEADLINE_S)
        assert done[1:] == ["mine", {"$map": [["k", "mine"]]}]
        await self.rooms.committer.drain()
        await self.rooms.quiet()
        assert self.rooms.scheduler.calls == 0, "calls are left under way"
        assert not self.rooms.committer.broken


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    found = asyncio.run(Compiler(artifacts()).compile(build((RAW / "vault.js").read_text())))
    compiled(READER)
    plain = version_of(READER)
    manifest = replace(plain.manifest, actors=(*plain.manifest.actors, ActorBinding("VAULT", "Vault")))
    reader = replace(plain, manifest=manifest)
    vault = replace(
        plain,
        function_id="vault",
        manifest=manifest,
        digest=found.digest,
        artifact=str(found.artifact),
        has_handler=found.handler,
        actor_types=found.actors,
        sdk=found.sdk,
    )
    with asyncio.Runner() as runner:
        made = Site(runner, vault, reader)
        yield made
        made.close()


hostile = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def each_nasty(test: Any) -> Any:
    for text in NASTY:
        test = example(text=Text(text))(test)
    return test


@each_nasty
@hostile
@given(text=texts)
def test_a_text_is_stored_listed_returned_and_shipped_as_it_is(site: Site, text: str) -> None:
    async def scenario() -> None:
        assert await site.ask("put", text) == "done"
        assert await site.ask("get", "") == text
        assert await site.ask("list", "") == f'[["k",{text}]]'
        assert await site.ask("says", text) == text
        assert await site.ask("ships", text) == "done"
        assert await site.ask("get", "", name="other") == text
        await site.neighbour_is_well()

    site.runner.run(scenario())


@each_nasty
@hostile
@given(text=texts)
def test_an_sdks_guest_that_reads_such_a_text_gets_a_value_or_an_error_of_its_own_turn(site: Site, text: str) -> None:
    """Reading what is nested thousands of levels deep takes more stack than a guest has, which ends its turn."""

    async def scenario() -> None:
        await site.ask("put", text)
        steps = [["remember", "alive"], ["try", ["call", "VAULT", "vault", "get", []]], ["var", "GREETING"]]
        future = site.rooms.invoke("reader", "run", steps)
        await asyncio.wait([future], timeout=DEADLINE_S)
        error = future.exception()
        assert error is None or getattr(error, "name", "") in READERS_OWN
        if error is None:
            _, read, greeting = future.result()
            assert "gave" in read or read["threw"] == "CodecError"
            assert greeting == "hello", "what it read has changed what it does"
        answer = await site.ask("asks", text)
        assert isinstance(answer, str) or answer.name in READERS_OWN
        for name in ("reader", "probe"):
            assert await asyncio.wait_for(site.rooms.invoke(name, "echo", {"a": 1}), DEADLINE_S) == {"a": 1}
        await site.neighbour_is_well()

    site.runner.run(scenario())


@each_nasty
@hostile
@given(text=texts)
def test_a_text_as_an_errors_name_a_key_a_method_or_an_actor_is_an_error_of_its_own_guest(
    site: Site, text: str
) -> None:
    async def scenario() -> None:
        failed = await site.ask("fails", text)
        assert isinstance(failed, ActorError)
        assert failed.detail == text
        crashed = await site.ask("crashes", text)
        assert isinstance(crashed, ActorError)
        assert crashed.name == "ActorCrashedError"
        for method in ("key", "bounds", "logs", "calls", "names", "binds", "fetches"):
            answer = await site.ask(method, text)
            assert isinstance(answer, str | ActorError)
            assert "Traceback" not in str(answer)
            assert "/host/" not in str(answer)
        assert await site.ask("says", "well", name="fresh") == "well"
        await site.neighbour_is_well()

    site.runner.run(scenario())


def test_a_value_of_just_1_MiB_is_kept_and_a_byte_more_is_the_guests_range_error(site: Site) -> None:
    async def scenario() -> None:
        for text in ("x" * MiB, "\U0001f980" * (MiB // 4), "\0" * MiB):
            assert await site.ask("put", text) == "done"
            assert await site.ask("get", "") == text
            refused = await site.ask("put", text + "x")
            assert isinstance(refused, ActorError)
            assert (refused.name, refused.cause) == ("ActorMethodError", "RangeError")
        await site.neighbour_is_well()

    site.runner.run(scenario())


def test_nothing_of_all_this_is_a_fault_of_the_host(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        for text in NASTY:
            for method in (
                "put",
                "says",
                "fails",
                "crashes",
                "key",
                "logs",
                "asks",
                "calls",
                "names",
                "binds",
                "fetches",
            ):
                await site.ask(method, text)

    site.runner.run(scenario())
    assert "level=error" not in capfd.readouterr().err
