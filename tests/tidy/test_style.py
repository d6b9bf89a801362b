"""Style that a machine can hold: sizes, docstrings, no leftovers. Beyond a size, look for the second idea inside."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
PYTHON = sorted(path for folder in ("host", "tools", "tests") for path in (ROOT / folder).rglob("*.py"))
HOST = [path for path in PYTHON if path.is_relative_to(ROOT / "host")]
SDK = sorted(
    path
    for path in (ROOT / "guest_sdk" / "typescript").rglob("*.ts")
    if not {"node_modules", "dist"} & set(path.relative_to(ROOT).parts)
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON + SDK, ids=name)
def test_a_module_is_short_enough_to_hold_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES_MAX


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [
        f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a module that has code opens with a docstring"


@pytest.mark.parametrize("path", [path for path in HOST if "cli" not in path.relative_to(ROOT).parts], ids=name)
def test_only_the_command_line_prints(path: Path) -> None:
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert calls == [], "the host's own log is host.telemetry.log"


@pytest.mark.parametrize("path", [path for path in PYTHON + SDK if path != Path(__file__).resolve()], ids=name)
def test_nothing_is_left_to_do_in_a_comment(path: Path) -> None:
    found = re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b.*", path.read_text())
    assert found == [], "write an issue, or a decision with its 'Revisit when'"
