"""The admin API of a real host, tried by schemathesis over HTTP against its own OpenAPI document.

It sends what the document allows and what it does not, the same in every run, to every route: none fails on the
host's side, and every reply is one that the document has. What is sent in place of what it made up is in `kit.tried`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from host import server
from tests.conftest import GUESTS, Ship

CHECKS_LEFT_OUT = ("positive_data_acceptance", "missing_required_header")
"""The document says what form data has; that a name is taken, or a cursor another list's, is said by a 400. And a key
is sent with every request but those of `ignored_auth`, which are about just that.
"""
CASES_PER_ROUTE = 2
TRIED_S_MAX = 240.0
"""On a machine that is busy with other things, too."""


@pytest.mark.timeout(TRIED_S_MAX + 60)
async def test_no_request_fails_on_the_hosts_side_and_every_reply_is_in_the_document(
    host: server.Host, ship: Ship
) -> None:
    site = await ship(GUESTS / "observed")
    assert (await site.post("/add/alice", content=b"1")).status_code == 200
    known = {"ref": "observed", "type": "Counter", "name": "alice", "tenant": "default", "number": "1", "key": "count"}
    hooks = Path(__file__).parents[1] / "kit" / "tried.py"
    tried = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{host.control.admin_url}/v1/openapi.json",
        "--header", f"Authorization: Bearer {host.control.operator_key}",
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(CASES_PER_ROUTE),
        "--exclude-checks", ",".join(CHECKS_LEFT_OUT), "--generation-deterministic", "--no-shrink",
        "--continue-on-failure", "--request-timeout", "30", "--warnings", "off", "--no-color",
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(hooks), "TENURE_TRIED": json.dumps(known)},
        cwd=hooks.parents[2], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        async with asyncio.timeout(TRIED_S_MAX):
            said, _ = await tried.communicate()
    finally:
        if tried.returncode is None:
            tried.kill()
            await tried.wait()
    assert tried.returncode == 0, said.decode()[-20_000:]
    assert "No issues found" in said.decode()
