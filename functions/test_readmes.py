"""Every command in the examples' READMEs is run by a shell, with real curl, and gives the reply that is printed there.

A transcript is the indented lines of a README: `$ ` and a command, then its output up to the next command. Times are
compared as times only, and of headers (`curl -i`) those that the README shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable

import pytest

from host import server
from host.config import ServeConfig
from host.model.clock import ManualClock, SystemClock
from tests.conftest import FUNCTIONS, shipping_to
from tests.kit.until import wait_until

EXAMPLES = sorted(path.parent.name for path in FUNCTIONS.glob("*/tenure.toml"))
DEADLINE_S = 10.0

Step = tuple[str, list[str]]


def transcript(readme: str, url: str) -> list[Step]:
    """Commands with the lines they print, for a function at `url`."""
    steps: list[Step] = []
    for line in re.findall(r"^ {4}(.+)$", readme, re.M):
        if line.startswith("$ "):
            steps.append((re.sub(r"http://[a-z-]+-<id>\.localhost:8787", url, line[2:]), []))
        elif steps:
            steps[-1][1].append(line)
    return [
        (command.replace("curl ", "curl -sS "), output) for command, output in steps if not command.startswith("B=")
    ]


async def shell(command: str, url: str) -> str:
    """What `command` prints."""
    environment = {**os.environ, "B": url, "no_proxy": "*"}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(DEADLINE_S):
        return (await process.communicate())[0].decode().replace("\r\n", "\n")


def timeless(line: str) -> str:
    return re.sub(r"\b20[12]\d-\d\d-\d\dT[\d:.]+Z", "TIME", line.strip())


def shown(output: str, expected: list[str]) -> list[str]:
    """The lines of `output` without empty ones; of headers those with a name that is in `expected`, in its order."""
    if not output.startswith("HTTP/"):
        return [line for line in output.splitlines() if line]
    names = [line.partition(":")[0] for line in expected]
    status, _, rest = output.partition("\n")
    head, _, body = rest.partition("\n\n")
    headers = [line for line in head.splitlines() if line.partition(":")[0] in names]
    return [status, *sorted(headers, key=lambda line: names.index(line.partition(":")[0])), *body.splitlines()]


@pytest.mark.parametrize("name", EXAMPLES)
async def test_the_commands_of_a_readme_give_the_replies_it_prints(serve_config: ServeConfig, name: str) -> None:
    # time stands still for the rate limiter: a busy machine takes long for its 25 curls, and a token would come back
    clock = ManualClock() if name == "rate-limiter" else SystemClock()
    async with server.running(serve_config, clock) as host, shipping_to(host) as ship:
        site = await ship(FUNCTIONS / name)
        url = f"http://{site.host}"
        steps = transcript((FUNCTIONS / name / "README.md").read_text(), url)
        assert steps, "the README shows no command"
        for command, lines in steps:
            await follow(command, lines, url)


async def follow(command: str, lines: list[str], url: str) -> None:
    """Runs `command` and compares. What only reads may be asked again for a while: an alarm takes the time it takes."""
    deadline_s = DEADLINE_S if " -X " not in command else 0
    seen: list[str] = []

    async def agrees() -> bool:
        seen[:] = shown(await shell(command, url), lines)
        return [timeless(line) for line in seen] == [timeless(line) for line in lines]

    probe: Callable[[], bool | Awaitable[bool]] = agrees
    with contextlib.suppress(AssertionError):
        await wait_until(probe, command, deadline_s)
    assert [command, *map(timeless, seen)] == [command, *map(timeless, lines)]
