"""The CLI with nothing replaced: real processes, a real host, the real compiler.

The quick start's page is followed with the CLI; its files are those of `functions/account`, which are the page's own.
Only `npm install` is not run, since tests need no network: the packages are those that `make setup` installed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import FUNCTIONS
from tests.kit.process import HostProcess

TENURE = str(Path(sys.executable).with_name("tenure"))
ACCOUNT = FUNCTIONS / "account"
COMMAND_DEADLINE_S = 90.0

PAGE_MANIFEST = """\
name = "account"
main = "src/index.ts"
compatibility_date = "2026-05-01"

[[actors]]
binding = "ACCOUNT"   # the property on env — your handle
type    = "Account"   # the class to instantiate per account name

[edge_compute]
func_id = "..."       # created by new-func; leave as-is
func_name = "account"
"""


DEV_SOURCE = """\
interface Asked { readonly of: number }

function deep(asked: Asked): Response {
  throw new RangeError(`${asked.of} is too deep`);
}

export default {
  fetch(req: Request): Response {
    console.log("asked");
    const of: string | null = new URL(req.url).searchParams.get("of");
    return of === null ? new Response("one") : deep({ of: Number(of) });
  },
};
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TENURE_")}
    return {**kept, "TENURE_CONFIG": str(tmp_path / "config.json"), "NO_PROXY": "127.0.0.1", "PYTHONUTF8": "1"}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostProcess]:
    process = HostProcess(tmp_path / "data")
    process.start()
    try:
        yield process
    finally:
        process.stop()


def call(url: str, method: str, path: str, body: str = "") -> str:
    """The reply of a function, whose name every resolver would send to loopback, as this does."""
    target = httpx.URL(url)
    local, headers = f"http://127.0.0.1:{target.port}{path}", {"host": target.netloc.decode()}
    return httpx.request(method, local, content=body, headers=headers, timeout=COMMAND_DEADLINE_S).text


def use_installed_packages(project: Path) -> None:
    """The example's node_modules, under both names that a scaffold's package.json has for the SDK."""
    scope = project / "node_modules"
    scope.mkdir()
    for package in (ACCOUNT / "node_modules").iterdir():
        if not package.name.startswith((".", "@t")):
            (scope / package.name).symlink_to(package)
    (scope / "@typescript").symlink_to(ACCOUNT / "node_modules" / "@typescript")
    sdk = next((ACCOUNT / "node_modules").glob("@t*/edge-runtime"))
    for name in ("@telnyx", "@tenure"):
        (scope / name).mkdir()
        (scope / name / "edge-runtime").symlink_to(sdk)


def test_the_quick_start_can_be_followed_to_the_letter(
    tmp_path: Path, environ: dict[str, str], host: HostProcess
) -> None:
    def tenure(*arguments: str, cwd: Path = tmp_path) -> str:
        done = subprocess.run(
            [TENURE, *arguments], cwd=cwd, env=environ, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    tenure("auth", "api-key", "set", host.key, "--endpoint", host.admin_url)
    assert "operator" in tenure("auth", "status")
    tenure("new-func", "--actor", "--name=account")
    project = tmp_path / "account"
    created = json.loads(tenure("inspect", "account", "--json"))
    assert (created["status"], created["id"] in (project / "telnyx.toml").read_text()) == ("created", True)

    use_installed_packages(project)
    shutil.copyfile(ACCOUNT / "src" / "account.ts", project / "src" / "account.ts")
    shutil.copyfile(ACCOUNT / "src" / "index.ts", project / "src" / "index.ts")
    (project / "telnyx.toml").write_text(PAGE_MANIFEST, encoding="utf-8")
    compiler = str(project / "node_modules" / "typescript" / "bin" / "tsc")
    checked = subprocess.run([compiler, "--noEmit", "--strict"], cwd=project, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")

    first, url = tenure("ship", cwd=project / "src").splitlines()
    assert first == "✅ Func 'account' is now deployed!"
    assert call(url, "GET", "/health/liveness") == "ok"
    assert call(url, "POST", "/accounts/alice/deposit", '{"amount":100}') == '{"account":"alice","balance":100}'
    assert [(row["id"], row["status"]) for row in json.loads(tenure("list", "--json"))] == [
        (created["id"], "deploy_ok")
    ]
    tenure("delete-func", "account", "--yes")


async def read_until(process: Process, *words: str) -> str:
    """What the process says up to a line with one of the words. Raises TimeoutError, or AssertionError at its end."""
    assert process.stdout is not None
    seen = ""
    async with asyncio.timeout(COMMAND_DEADLINE_S):
        while line := (await process.stdout.readline()).decode():
            seen += line
            if any(word in line for word in words):
                return seen
    raise AssertionError(f"it ended without any of {words}:\n{seen}")


async def test_dev_serves_what_was_saved_last_shows_where_it_threw_and_a_mistake_changes_nothing(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    project = tmp_path / "hello"
    (project / "src").mkdir(parents=True)
    (project / "telnyx.toml").write_text('name = "hello"\nmain = "src/index.ts"\ncompatibility_date = "2026-05-01"\n')
    source = project / "src" / "index.ts"
    text = DEV_SOURCE
    source.write_text(text)
    use_installed_packages(project)
    process = await asyncio.create_subprocess_exec(
        TENURE,
        "dev",
        "--listen",
        "127.0.0.1:0",
        cwd=project,
        env=environ,
        stdout=PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said = await read_until(process, "Watching for changes")
        url = next(word for word in said.split() if word.startswith("http://hello-"))
        assert await asyncio.to_thread(call, url, "GET", "/") == "one"
        assert "handler: asked" in await read_until(process, "asked")

        source.write_text("export default {")
        assert "src/index.ts:1:" in await read_until(process, "goes on serving")
        assert await asyncio.to_thread(call, url, "GET", "/") == "one"

        source.write_text(text.replace("one", "two"))
        await read_until(process, "deployed in")
        assert await asyncio.to_thread(call, url, "GET", "/") == "two"
        assert "too deep" not in await asyncio.to_thread(call, url, "GET", "/deep?of=3")
        said = await read_until(process, "index.ts:4:")
        assert "RangeError: 3 is too deep" in said
        assert "at deep (src/index.ts:4:" in said, "not a place in what the compiler made of it"
        assert "func_id" not in (project / "telnyx.toml").read_text()

        process.send_signal(signal.SIGINT)
        await read_until(process, "Stopped.")
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
