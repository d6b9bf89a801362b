"""Style that a machine can hold: sizes, docstrings, no leftovers. Beyond a size, look for the second idea inside."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES_MAX = 400
TEST_MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
PYTHON = {
    path.relative_to(ROOT): path.read_text()
    for folder in ("host", "tools", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not {"node_modules", ".tenure"} & set(path.parts)
}
TREES = {path: ast.parse(text) for path, text in PYTHON.items()}
SCRIPTS = {
    path.relative_to(ROOT): path.read_text()
    for folder in ("guest_sdk", "functions", "host/cli/templates")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".ts", ".js", ".mjs"} and not {"node_modules", "dist", ".tenure"} & set(path.parts)
}
PROGRAMS = {Path("host/sandbox/compile_child.py"), Path("host/server.py")}
"""Modules that run as a process of their own, whose stdout is how they answer; `server.run` is `tenure serve`."""


def test_a_module_is_short_enough_to_hold_one_idea() -> None:
    lines = {path: len(text.splitlines()) for path, text in (PYTHON | SCRIPTS).items()}
    long = {
        str(path): count
        for path, count in lines.items()
        if count > (TEST_MODULE_LINES_MAX if {"tests", "test"} & set(path.parts) else MODULE_LINES_MAX)
    }
    assert long == {}


def test_a_function_fits_on_a_screen() -> None:
    long = {
        f"{path}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_a_module_that_has_code_opens_with_what_it_is_for() -> None:
    assert [str(path) for path, tree in TREES.items() if tree.body and not ast.get_docstring(tree)] == []


def test_only_the_command_line_prints() -> None:
    """The host's own log is `host.telemetry.log`."""
    calls = [
        f"{path}:{node.lineno}"
        for path, tree in TREES.items()
        if path.parts[0] == "host" and path.parts[1] != "cli" and path not in PROGRAMS
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert calls == []


def test_nothing_is_left_to_do_in_a_comment() -> None:
    """What is left to do is an issue, or a decision with its "Revisit when"."""
    mark = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    assert [str(path) for path, text in (PYTHON | SCRIPTS).items() if mark.search(text)] == []
