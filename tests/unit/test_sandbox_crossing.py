"""Both ways across, the plain one and the compiled one, do the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from host.sandbox import capi, crossing, native

WAYS = [crossing] if native.crossing is crossing else [crossing, native.crossing]


def test_the_compiled_part_is_in_use_where_it_can_be_built() -> None:
    buildable = shutil.which(os.environ.get("CC") or "cc") and Path(sysconfig.get_path("include"), "Python.h").exists()
    assert native.is_native == bool(buildable and not os.environ.get("TENURE_PLAIN"))


@pytest.mark.skipif(not native.is_native, reason="the other tests run the plain way already")
@pytest.mark.timeout(300)
def test_the_sandbox_keeps_its_contract_the_plain_way() -> None:
    files = [str(Path(__file__).with_name(name)) for name in ("test_sandbox.py", "test_sandbox_contract.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", *files]
    done = subprocess.run(command, env={**os.environ, "TENURE_PLAIN": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout


def test_a_compiled_part_of_another_source_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "_crossing.c"
    other.write_text("another text")
    monkeypatch.setattr(native, "SOURCE", other)
    assert native._load() is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kinds", "parameters", "error"),
    [
        ([capi.STRING], (b"\xff",), UnicodeDecodeError),
        ([capi.STRING], (b"eight by\xff",), UnicodeDecodeError),
        ([capi.STRING], ("text",), TypeError),
        ([capi.STRING, capi.STRING], (b"one",), TypeError),
        ([capi.U32], (1 << 32,), Exception),
        ([capi.U32], (-1,), Exception),
        ([capi.U16], (1 << 16,), Exception),
        ([capi.U32], (None,), Exception),
    ],
)
def test_wrong_arguments_are_refused_before_the_library_sees_them(
    way: Any, kinds: list[int], parameters: tuple[Any, ...], error: type[Exception]
) -> None:
    block = (capi.c_uint64 * 64)()
    with pytest.raises(error):
        way.begin(0, 0, capi.addressof(block), bytes(kinds), parameters, 0, 0, 0)
