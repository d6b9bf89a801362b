"""Two releases of one guest, and load on it that sees which of them answers: a reply that mixes them is wrong."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kit.http import Site
from tests.kit.until import wait_until

GUEST = Path(__file__).resolve().parents[1] / "guests" / "deploys"
RELEASES = ("one", "two")
CLIENTS = 12


def project_of(release: str, folder: Path) -> Path:
    """The guest as this release: another source and another environment, so another component and another manifest."""
    target = folder / f"deploys-{release}"
    shutil.copytree(GUEST, target)
    for path in (target / "src" / "index.ts", target / "tenure.toml"):
        text = path.read_text()
        assert '= "one"' in text
        path.write_text(text.replace('= "one"', f'= "{release}"'))
    return target


class Load:
    """Clients that ask until told to stop: deposits of 1 to a few accounts, and requests that reach no actor."""

    def __init__(self, site: Site, accounts: Sequence[str]) -> None:
        self._site = site
        self._accounts = accounts
        self._stop = False
        self.acknowledged: Counter[str] = Counter()
        self.handlers: Counter[str] = Counter()
        self.turns: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def __aenter__(self) -> Load:
        self._clients = [asyncio.create_task(self._ask(number)) for number in range(CLIENTS)]
        await wait_until(lambda: len(self.turns) > 0, "the first reply")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        await asyncio.gather(*self._clients)

    async def _ask(self, number: int) -> None:
        account = self._accounts[number % len(self._accounts)]
        while not self._stop:
            reply = await (self._site.get("/") if number % 4 == 0 else self._site.post(f"/{account}"))
            if reply.status_code != 200:
                self.wrong.append(f"{reply.status_code} {reply.text}")
                continue
            value: dict[str, Any] = reply.json()
            self._count(self.handlers, value["handler"])
            if "seen" in value:
                self.acknowledged[account] += 1
                self._count(self.turns, value["seen"])

    def _count(self, counter: Counter[str], seen: list[str]) -> None:
        """All that a handler or a turn saw of its version has to be the same one."""
        if len(set(seen)) == 1 and seen[0] in RELEASES:
            counter[seen[0]] += 1
        else:
            self.wrong.append(f"split: {seen}")
