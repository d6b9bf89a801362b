"""`make tour`: what an operator and two tenants do with a host, from an empty folder to a restored backup.

Real processes, the CLI and curl, as in the demo. `acme$` and `globex$` are tenants, `operator$` runs the host. Every
step is checked, and `docs/tour.md` is the output of a run: `python -m tools.tour --write` renews it, and a test holds
it to what the tour prints, but for times, ids, keys and counts.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from tools.machine import write_section
from tools.stage import REPOSITORY, TENURE, ShowError, Stage, play, say, show

PAGE = REPOSITORY / "docs" / "tour.md"
LINE_S, LOAD_S = 20.0, 30.0

GREETER = """\
export default {
  async fetch(request: Request, env: { RELEASE: string; SECRETS: { get(name: string): Promise<string> } }) {
    const path = new URL(request.url).pathname;
    if (path !== "/sign") return new Response(`hello from ${env.RELEASE}`);
    const secret = new TextEncoder().encode(await env.SECRETS.get("SIGNING"));
    const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const signed = new Uint8Array(await crypto.subtle.sign("HMAC", key, await request.arrayBuffer()));
    return new Response([...signed.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0")).join(""));
  },
};
"""
MANIFEST = """
[env_vars]
RELEASE = "{release}"

[[secrets]]
binding = "SIGNING"
name    = "signing-key"
"""
SIGNED = "1ad1f6637c96aeb4"
"""The first bytes of HMAC-SHA-256 of `pay 5` with the key `open sesame`."""


class Tour(Stage):
    def expect(self, what: str, is_so: bool) -> None:
        if not is_so:
            self.wrong.append(what)

    def ask(self, who: str, url: str, arguments: str, expected: str) -> None:
        """One curl command, `$U` in it being `url`; its reply is shown and compared."""
        show(f"curl -sS {arguments}", who)
        reply = self.curl(url, shlex.split(arguments.replace("$U", url)))
        print(reply.rstrip("\n"), flush=True)
        self.expect(
            f"curl -sS {arguments}\n    expected {expected}\n    got      {reply}", reply.rstrip("\n") == expected
        )

    def run(self) -> None:
        """The whole tour."""
        with self.serving(who="operator"):
            self.people()
            account, greeter = self.functions()
            self.secret(greeter)
            self.quota(greeter)
            self.split(greeter)
            self.rollback(greeter)
            self.tail(account)
            self.edit(account)
            backup = self.backup(account)
        self.restore(backup, account, greeter)

    def people(self) -> None:
        say("the operator takes the key of the first start, and lets two tenants in")
        key = (self.home / "data" / "operator.key").read_text().strip()
        self._sign_in("operator", key, "$(cat data/operator.key)")
        for tenant in ("acme", "globex"):
            self.tenure("admin", "tenants", "create", tenant, who="operator")
            key = self.tenure("admin", "keys", "create", tenant, "--name", "ci", who="operator").strip()
            self._sign_in(tenant, key, "KEY")

    def _sign_in(self, who: str, key: str, shown: str) -> None:
        shown = f'auth api-key set "{shown}" --endpoint {self.endpoint}'
        self.tenure("auth", "api-key", "set", key, "--endpoint", self.endpoint, shown=shown, who=who)

    def functions(self) -> tuple[str, str]:
        say("acme ships an actor, globex a rate limiter and a function of its own")
        account = self.ship(self.project("account"), "acme")
        self.ask("acme", account, _deposit(70),
                 '{"account":"alice","balance":70}')  # fmt: skip
        limiter = self.ship(self.project("rate-limiter"), "globex")
        self.ask("globex", limiter, "-H 'x-api-key: k' $U", '{"answer":42,"remaining":19}')
        self.tenure("new-func", "--name", "greeter", who="globex")
        greeter = self.ship(self._edit("blue"), "globex")
        self.ask("globex", greeter, "$U", "hello from blue")
        say("neither sees anything of the other")
        found = self.tenure("list", who="acme")
        self.expect("acme sees functions of globex", "greeter" not in found and "account" in found)
        return account, greeter

    def _edit(self, name: str) -> Path:
        """The project of the greeter, with the release of this name in it."""
        folder = self.home / "greeter"
        show(f"edit src/index.ts telnyx.toml   # RELEASE is {name}", "globex")
        (folder / "src" / "index.ts").write_text(GREETER)
        manifest = folder / "telnyx.toml"
        own = manifest.read_text().partition("\n[env_vars]")[0].rstrip("\n") + "\n"
        manifest.write_text(own + MANIFEST.format(release=name))
        if not (folder / "node_modules").exists():
            (folder / "node_modules").symlink_to(REPOSITORY / "functions" / "hello" / "node_modules")
        return folder

    def secret(self, greeter: str) -> None:
        say("a secret: encrypted on the host, in the function's hands only")
        self.tenure(
            "secrets", "add", "signing-key", who="globex", shown="secrets add signing-key < key", given="open sesame"
        )
        self.tenure("secrets", "list", who="globex")
        self.ask("globex", greeter, "-d 'pay 5' $U/sign", SIGNED)

    def quota(self, greeter: str) -> None:
        say("the operator gives globex five requests a second; the seventh in a row is too many")
        self.tenure("admin", "quotas", "set", "globex", "requests_per_second=5", who="operator")
        codes = self._burst(greeter, 12)
        self.expect(f"some of twelve requests at once pass, the others are refused: {codes}", set(codes) == {200, 429})
        self.tenure("usage", who="globex")
        self.tenure("admin", "quotas", "set", "globex", "requests_per_second=default", who="operator")

    def _burst(self, url: str, count: int) -> Counter[int]:
        show(
            f"for i in $(seq {count}); do curl -sS -o /dev/null -w '%{{http_code}}\\n' $U; done | sort | uniq -c",
            "globex",
        )
        with _client(url) as client:
            codes = Counter(client.get("/").status_code for _ in range(count))
        print("".join(f"{times:7} {code}\n" for code, times in sorted(codes.items())), end="", flush=True)
        return codes

    def split(self, greeter: str) -> None:
        say("the next release gets a quarter of the requests")
        folder = self._edit("green")
        show("cd greeter", "globex")
        self.tenure("ship", "--no-deploy", cwd=folder, who="globex")
        self.tenure("deploy", "greeter", "--split", "v1=75,v2=25", who="globex")
        show("for i in $(seq 400); do curl -sS $U; echo; done | sort | uniq -c", "globex")
        with _client(greeter) as client:
            seen = Counter(client.get("/").text for _ in range(400))
        print("".join(f"{times:7} {text}\n" for text, times in sorted(seen.items())), end="", flush=True)
        self.expect(f"about 300 blue and 100 green: {seen}", 50 <= seen["hello from green"] <= 150)

    def rollback(self, greeter: str) -> None:
        say("all of them, and back again under load")
        self.tenure("deploy", "greeter", "v2", who="globex")
        with self._load(greeter) as seen:
            self.tenure("rollback", "greeter", "v1", who="globex")
            _until(lambda: seen["200 hello from blue"] > 100, "requests after the rollback")
        print(f"# {sum(seen.values())} requests meanwhile, {_failed(seen)} failed", flush=True)
        self.expect(f"no request fails during a rollback: {seen}", _failed(seen) == 0)
        self.expect(f"both releases were seen: {seen}", len(seen) == 2)
        self.tenure("deployments", "greeter", who="globex")

    @contextlib.contextmanager
    def _load(self, url: str) -> Iterator[Counter[str]]:
        seen: Counter[str] = Counter()
        over = threading.Event()

        def go() -> None:
            with _client(url) as client:
                while not over.is_set():
                    try:
                        reply = client.get("/")
                        seen[f"{reply.status_code} {reply.text}"] += 1
                    except httpx.HTTPError as error:
                        seen[repr(error)] += 1

        threads = [threading.Thread(target=go) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            _until(lambda: sum(seen.values()) > 100, "requests")
            yield seen
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def tail(self, account: str) -> None:
        say("acme watches its log while somebody deposits")
        show("tenure logs account --tail &", "acme")
        command = [str(TENURE), "logs", "account", "--tail"]
        with subprocess.Popen(
            command, env=self.environ("acme"), cwd=self.home, stdout=subprocess.PIPE, text=True
        ) as tail:
            assert tail.stdout is not None
            try:
                self.ask("acme", account, _deposit(30),
                         '{"account":"alice","balance":100}')  # fmt: skip
                stopper = threading.Timer(LINE_S, tail.kill)
                stopper.start()
                lines = [tail.stdout.readline() for _ in range(4)]
                stopper.cancel()
            finally:
                tail.kill()
        print("".join(sorted(lines)), end="", flush=True)
        self.expect(f"the log has the request and the turn: {lines}", all("ok" in line for line in lines))

    def edit(self, account: str) -> None:
        say("alice's balance is wrong; acme looks and mends it, as a turn of its own")
        self.tenure("actors", "inspect", "Account", "alice", who="acme")
        self.tenure("actors", "put", "Account", "alice", "balance", "50", who="acme")
        self.ask("acme", account, "$U/accounts/alice/balance", '{"account":"alice","balance":50}')
        self.tenure("actors", "invoke", "Account", "alice", "deposit", "5", who="acme")

    def backup(self, account: str) -> Path:
        say("the operator makes a backup; what comes later is not in it")
        self.tenure("backup", "create", who="operator")
        self.tenure("backup", "list", who="operator")
        [folder] = (self.home / "data" / "backups").iterdir()
        self.ask("acme", account, _deposit(1000),
                 '{"account":"alice","balance":1055}')  # fmt: skip
        return folder

    def restore(self, folder: Path, account: str, greeter: str) -> None:
        say("the host is gone; the backup becomes a host again")
        place = f"data/backups/{folder.name}"
        self.tenure("backup", "restore", place, "--data", "restored", who="operator")
        show("cp data/secrets.key restored/", "operator")
        shutil.copy(self.home / "data" / "secrets.key", self.home / "restored")
        with self.serving("restored", "operator"):
            self.ask("acme", account, "-f --retry 60 --retry-delay 1 $U/accounts/alice/balance",
                     '{"account":"alice","balance":55}')  # fmt: skip
            self.ask("globex", greeter, "-f --retry 60 --retry-delay 1 -d 'pay 5' $U/sign", SIGNED)


def _deposit(amount: int) -> str:
    """curl's arguments."""
    return f"-X POST $U/accounts/alice/deposit -H 'content-type: application/json' -d '{{\"amount\":{amount}}}'"


def _client(url: str) -> httpx.Client:
    """A client of the function at `url`, whatever this machine's resolver knows of its name."""
    name, _, port = url.removeprefix("http://").partition(":")
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"host": f"{name}:{port}"}, timeout=60, trust_env=False
    )


def _failed(seen: Counter[str]) -> int:
    return sum(times for what, times in seen.items() if not what.startswith("200 "))


def _until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LOAD_S
    while not done():
        if time.monotonic() > deadline:
            raise ShowError(f"{what} did not come within {LOAD_S:.0f} s")
        time.sleep(0.02)


_VARIES = re.compile(r"127\.0\.0\.1:\d+|\d{8}T\d{6}Z-\d+|^# \d+ requests")


def steps(text: str) -> list[str]:
    """The commands and remarks of a tour's output, with what differs from run to run taken out. The tour itself sees
    to what they print.
    """
    lines = (line for line in text.splitlines() if re.match(r"# |\w+\$ ", line))
    return [_VARIES.sub("…", line) for line in lines]


def main() -> int:
    if "--write" not in sys.argv:
        return play(Tour, Tour.run, "All is as it should be.")
    ended = subprocess.run([sys.executable, "-m", "tools.tour"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    if ended.returncode == 0:
        shown = re.sub(r"\btnr_\S+", "tnr_…", ended.stdout)  # keys of a host that is gone, but keys
        write_section(PAGE, "tour", f"```console\n{shown}```")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
