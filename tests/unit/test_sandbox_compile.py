"""Publishing a component: what the compiling child refuses and in which words, its limits, what it leaves behind."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.model.errors import BundleError, HostError
from host.model.limits import BundleLimits, MiB
from host.sandbox import compile_child, component
from host.sandbox.component import Compiler
from host.sandbox.engine import Component, Engine, SandboxError
from host.sandbox.instance import Instance
from host.sandbox.library import load
from tests.kit import raw

UNDESCRIBED = "the component does not describe itself as the contract asks (`describe`)"


async def test_a_component_is_compiled_once_and_found_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = Compiler(tmp_path / "cache")
    first = await compiler.compile(raw.probe())
    assert (first.handler, first.actors, first.sdk) == (True, ("Probe",), "raw/0")
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert first.artifact.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    assert await compiler.compile(raw.probe()) == first
    async with raw.room(str(first.artifact)) as room:
        assert await room.value("count") == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is not a WebAssembly component: build it with this host's SDK"),
        (b"hello", "it is not a WebAssembly component: build it with this host's SDK"),
        (b"(component)", "it is not a WebAssembly component: build it with this host's SDK"),
        (b"\0asm\1\0\0\0", "it is a core WebAssembly module, not a component: build it with this host's SDK"),
        (b"\0asm\r\0\1\0", "it does not export tenure:edge/guest@0.1.0: build it with this host's SDK"),
        (b"\0asm\r\0\1\0\xff\xff", "the component does not compile: "),
    ],
)
async def test_a_file_that_is_no_component_is_refused_in_words(tmp_path: Path, data: bytes, reason: str) -> None:
    file = tmp_path / "component.wasm"
    file.write_bytes(data)
    with pytest.raises(BundleError) as refused:
        await Compiler(tmp_path / "cache").compile(file)
    assert refused.value.detail.startswith(reason)
    assert not any((tmp_path / "cache").iterdir())


async def test_a_truncated_component_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "component.wasm"
    file.write_bytes(raw.probe().read_bytes()[:300_000])
    with pytest.raises(BundleError, match="the component does not compile"):
        await Compiler(tmp_path / "cache").compile(file)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (BundleLimits(compile_cpu_s=0.01), "CPU time"),
        (BundleLimits(compile_wall_s=0.01), r"compiling took longer than 0\.01 s"),
        (BundleLimits(compile_memory_bytes_max=64 * MiB), "64 MiB of memory"),
    ],
    ids=["cpu", "wall", "memory"],
)
async def test_compiling_is_held_to_its_limits(tmp_path: Path, limits: BundleLimits, reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        await Compiler(tmp_path, limits).compile(raw.probe())
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".cwasm"]  # noqa: ASYNC240


async def test_a_compiler_that_cannot_start_is_the_hosts_fault_and_says_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(HostError) as failed:
        await Compiler(tmp_path).compile(raw.probe())
    assert failed.value.details == (component.COMPILER_FAILED,)


async def test_a_compiler_that_fails_tells_the_hosts_log_and_not_the_tenant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(HostError) as failed:
        await Compiler(tmp_path).compile(raw.probe())
    assert failed.value.details == (component.COMPILER_FAILED,)
    assert "event=compiler_failed" in capsys.readouterr().err


async def test_a_package_in_the_working_folder_is_not_taken_for_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "__init__.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "component.wasm"
    file.write_bytes(b"hello")
    with pytest.raises(BundleError):
        await Compiler(tmp_path / "cache").compile(file)


# `describe`, in this process, so that its wall clock can be short.

DESCRIPTIONS = {
    "throws": ("throw new Error('no')", "the component does not start: "),
    "loops": ("for (;;);", "the component does not start: it was still busy after 0.2 s"),
    "waits": ("await new Promise(() => {})", "the component does not start: "),
    "uses storage": ("return storage.get(0, 'k')", "the component does not start: "),
    "answers": ("outcome.fail('a', 'b', 'c')", "the component does not start: "),
    "text": ("return 'nonsense'", UNDESCRIBED),
    "array": ("return '[]'", UNDESCRIBED),
    "deep": ("return '['.repeat(30000)", UNDESCRIBED),
    "long": ("return JSON.stringify({ actors: [], sdk: 'x'.repeat(70000) })", UNDESCRIBED),
    "no list": ("return JSON.stringify({ actors: 'Account' })", UNDESCRIBED),
    "no name": ("return JSON.stringify({ actors: ['no name'] })", UNDESCRIBED),
    "number": ("return JSON.stringify({ actors: [1] })", UNDESCRIBED),
}
"""What the guest does -> its code, and how the refusal begins."""


def _describer() -> Path:
    """A guest whose `describe` does what its configuration says."""
    bodies = ", ".join(f"{json.dumps(name)}: async () => {{ {body} }}" for name, (body, _) in DESCRIPTIONS.items())
    return raw.build(f"""
        import * as storage from "tenure:edge/storage@0.1.0";
        import * as outcome from "tenure:edge/outcome@0.1.0";
        import {{ get }} from "tenure:edge/config@0.1.0";
        const does = {{ {bodies} }};
        export const guest = {{
          async describe() {{ return does[get()](); }},
          async invoke() {{}}, async fetch() {{}}, async alarm() {{}},
          async resolve() {{}}, async resolveResponse() {{}}, async reject() {{}},
        }};
    """)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    opened = Engine()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def describer(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Component]:
    artifact = raw.by_force(_describer().read_bytes(), tmp_path_factory.mktemp("describer"))
    loaded = load(engine, Path(artifact))
    yield loaded
    loaded.release()


@pytest.mark.parametrize("does", DESCRIPTIONS)
def test_a_guest_that_does_not_describe_itself_is_refused(
    engine: Engine, describer: Component, monkeypatch: pytest.MonkeyPatch, does: str
) -> None:
    monkeypatch.setattr(compile_child, "DESCRIBE_WALL_S", 0.2)
    monkeypatch.setattr(compile_child._Describing, "config", does.encode())
    with pytest.raises(compile_child._Refused) as refused:
        compile_child._describe(engine, describer, 32 * MiB)
    assert refused.value.reasons[0].startswith(DESCRIPTIONS[does][1])
    assert (engine.stores, engine.fibers) == (0, 0)


# Artifacts.


@pytest.fixture
async def artifact(tmp_path: Path) -> Path:
    """A copy of the probe's artifact that a test may spoil."""
    copy = tmp_path / "probe.cwasm"
    shutil.copyfile(await raw.artifact_of(raw.probe()), copy)
    copy.chmod(0o600)
    return copy


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_an_artifact_that_others_can_write_is_not_loaded(engine: Engine, artifact: Path, mode: int) -> None:
    artifact.chmod(mode)
    with pytest.raises(SandboxError, match="writable by others"):
        load(engine, artifact)


@pytest.mark.parametrize("keep", [0, 64, 4096, 100_000, -1])
def test_a_truncated_artifact_is_an_error_and_not_a_crash(engine: Engine, artifact: Path, keep: int) -> None:
    artifact.write_bytes(artifact.read_bytes()[:keep])
    with pytest.raises(SandboxError, match="failed to load code"):
        load(engine, artifact)


def test_an_artifact_that_is_something_else_is_an_error(engine: Engine, artifact: Path) -> None:
    for data in (b"hello" * 1000, bytes(100_000), raw.probe().read_bytes()):
        artifact.write_bytes(data)
        with pytest.raises(SandboxError):
            load(engine, artifact)


def test_a_component_is_unmapped_when_it_is_released_and_its_last_instance_closed(
    engine: Engine, artifact: Path
) -> None:
    def mapped() -> bool:
        return str(artifact) in Path("/proc/self/maps").read_text()

    loaded: Component = load(engine, artifact)
    instance = Instance(engine, loaded, 32 * MiB, 1000)
    loaded.release()
    loaded.release()
    assert mapped()
    instance.close()
    assert loaded.pointer is None
    assert not mapped()
