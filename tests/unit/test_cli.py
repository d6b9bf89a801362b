"""What people meet at the terminal: exit codes, sentences, streams, the stored key.

The host here is a script of replies on a real socket: what is tried is the CLI's side of the conversation. That the
two sides fit is tried with a real host in `tests/e2e`.
"""

from __future__ import annotations

import io
import json
import re
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from host.cli import scaffold
from host.cli.console import CliError, say
from host.cli.main import main
from host.cli.settings import check_endpoint

KEY = "tenure_0123456789abcdef"
FUNCTION = {
    "id": "0198c2c5-8a00-7000-8000-000000000001",
    "name": "account",
    "status": "deploy_ok",
    "url": "http://account-0198c2c58a.localhost:8787",
    "version": 1,
    "errors": [],
}
MANIFEST = 'name = "account"\nmain = "src/index.ts"\ncompatibility_date = "2026-05-01"\n'


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Scripted(ThreadingHTTPServer):
    """Answers each (method, path) with the next of its replies; the last one stays. Records what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.bodies: list[bytes] = []

    def on(self, method: str, path: str, *replies: tuple[int, Any]) -> None:
        self.replies[method, path] = list(replies)


class _Handler(BaseHTTPRequestHandler):
    server: Scripted

    def _answer(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
        self.server.asked.append((self.command, self.path, self.headers.get("authorization", "")))
        replies = self.server.replies.get((self.command, self.path), [(404, {"errors": [{"detail": "Not here."}]})])
        status, value = replies.pop(0) if len(replies) > 1 else replies[0]
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    with Scripted() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("TENURE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("TENURE_API_KEY", KEY)
        server.on(
            "GET", "/v1/whoami", (200, {"tenant": "default", "name": "operator", "role": "operator", "scope": "admin"})
        )
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TENURE_ENDPOINT", "TENURE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TENURE_CONFIG", str(tmp_path / "settings" / "config.json"))
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


Tenure = Callable[..., Ended]


@pytest.fixture
def tenure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tenure:
    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["tenure", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


def test_no_host_at_the_endpoint_says_how_to_start_one(tenure: Tenure, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TENURE_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        monkeypatch.setenv("TENURE_API_KEY", KEY)
        ended = tenure("list")
    assert (ended.code, ended.out) == (1, "")
    assert "No Tenure host answers at http://127.0.0.1:" in ended.err
    assert "tenure serve" in ended.err


def test_no_key_says_where_the_first_one_is(tenure: Tenure) -> None:
    ended = tenure("list")
    assert ended.code == 1
    assert "No API key is set." in ended.err
    assert "operator.key" in ended.err


def test_a_refused_key_says_how_to_set_another(tenure: Tenure, scripted: Scripted) -> None:
    scripted.on("GET", "/v1/functions?limit=500", (401, {"errors": [{"code": "unauthorized", "detail": "no"}]}))
    ended = tenure("list")
    assert ended.code == 1
    assert "does not accept this API key" in ended.err
    assert "tenure auth api-key set" in ended.err


def test_an_endpoint_that_is_no_admin_api_is_named_as_such(tenure: Tenure, scripted: Scripted) -> None:
    scripted.on("GET", "/v1/functions?limit=500", (200, b"<html>hello</html>"))
    ended = tenure("list")
    assert ended.code == 1
    assert "not like a Tenure admin API" in ended.err


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(CliError, match="is not the URL of a host"):
        check_endpoint("localhost:8788")


def test_wrong_usage_is_exit_code_2(tenure: Tenure) -> None:
    ended = tenure("list", "--nonsense")
    assert (ended.code, ended.out) == (2, "")
    assert "--nonsense" in ended.err


def test_an_address_that_is_none_is_wrong_usage(tenure: Tenure) -> None:
    ended = tenure("serve", "--listen", "8787")
    assert ended.code == 2
    assert "write HOST:PORT" in ended.err


def test_the_key_is_stored_for_its_owner_only_and_shown_masked(
    tenure: Tenure, scripted: Scripted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TENURE_API_KEY")
    assert tenure("auth", "api-key", "set", KEY).code == 0
    path = tmp_path / "settings" / "config.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ended = tenure("auth", "status")
    assert ended.code == 0
    assert "default" in ended.out
    assert KEY not in ended.out
    assert "tenu…cdef" in ended.out
    assert scripted.asked == [("GET", "/v1/whoami", f"Bearer {KEY}")]
    assert tenure("auth", "logout").code == 0
    assert KEY not in path.read_text()
    assert tenure("auth", "api-key", "status").code == 1


def test_the_key_can_come_from_stdin(tenure: Tenure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(KEY + "\n"))
    assert tenure("auth", "api-key", "set", "-", "--endpoint", "http://127.0.0.1:9/").code == 0
    stored = json.loads((tmp_path / "settings" / "config.json").read_text())
    assert stored == {"endpoint": "http://127.0.0.1:9", "api_key": KEY}


def test_list_is_a_table_or_json(tenure: Tenure, scripted: Scripted) -> None:
    scripted.on("GET", "/v1/functions?limit=500", (200, {"functions": [FUNCTION]}))
    table = tenure("list").out.splitlines()
    assert table[0].split() == ["NAME", "STATUS", "URL", "ID"]
    assert table[1].split() == ["account", "deploy_ok", FUNCTION["url"], FUNCTION["id"]]
    assert json.loads(tenure("list", "--json").out) == [FUNCTION]


def test_deleting_without_a_terminal_needs_a_yes(tenure: Tenure, scripted: Scripted) -> None:
    scripted.on("GET", "/v1/functions/account", (200, FUNCTION))
    scripted.on("DELETE", f"/v1/functions/{FUNCTION['id']}", (204, b""))
    ended = tenure("delete-func", "account")
    assert (ended.code, "Add --yes." in ended.err) == (1, True)
    assert [method for method, *_ in scripted.asked] == ["GET"]
    assert tenure("delete-func", "account", "--yes").out == "Function 'account' is deleted.\n"
    assert scripted.asked[-1][0] == "DELETE"


def ready_bundle(folder: Path) -> Path:
    import zipfile

    (folder / "tenure.toml").write_text(MANIFEST)
    with zipfile.ZipFile(folder / "bundle.zip", "w") as archive:
        archive.writestr("tenure.toml", MANIFEST)
        archive.writestr("component.wasm", b"\0asm")
    return folder / "bundle.zip"


def test_ship_registers_uploads_waits_and_prints_the_url(tenure: Tenure, scripted: Scripted, home: Path) -> None:
    bundle = ready_bundle(home)
    versions = f"/v1/functions/{FUNCTION['id']}/versions"
    scripted.on("POST", "/v1/functions", (201, FUNCTION))
    scripted.on("POST", versions, (202, {"number": 1, "status": "compiling"}))
    done = {"number": 1, "status": "deploy_ok", "warnings": ["Type 'Ledger' has no owner yet."]}
    scripted.on("GET", f"{versions}/1", (200, {"number": 1, "status": "compiling"}), (200, done))
    ended = tenure("ship", "--bundle", str(bundle))
    assert ended.code == 0
    assert ended.out == f"✅ Func 'account' is now deployed!\n{FUNCTION['url']}\n"
    assert "Warning: Type 'Ledger' has no owner yet." in ended.err
    assert FUNCTION["id"] in (home / "tenure.toml").read_text(), "the manifest now says which function it is"


def test_a_failed_ship_gives_every_reason(tenure: Tenure, scripted: Scripted, home: Path) -> None:
    bundle = ready_bundle(home)
    versions = f"/v1/functions/{FUNCTION['id']}/versions"
    scripted.on("POST", "/v1/functions", (201, FUNCTION))
    failed = {"number": 2, "status": "deploy_failed", "errors": ["It imports wasi:sockets.", "It exports no guest."]}
    scripted.on("POST", versions, (202, failed))
    ended = tenure("ship", "--bundle", str(bundle))
    assert (ended.code, ended.out) == (1, "")
    assert "• It imports wasi:sockets.\n  • It exports no guest.\n" in ended.err


def test_a_bundle_the_host_refuses_at_once_gives_every_reason(tenure: Tenure, scripted: Scripted, home: Path) -> None:
    bundle = ready_bundle(home)
    scripted.on("POST", "/v1/functions", (201, FUNCTION))
    errors = [{"code": "invalid_manifest", "title": "", "detail": f"Mistake {number}."} for number in (1, 2, 3)]
    scripted.on("POST", f"/v1/functions/{FUNCTION['id']}/versions", (422, {"errors": errors}))
    ended = tenure("ship", "--bundle", str(bundle))
    assert ended.code == 1
    assert all(f"• Mistake {number}." in ended.err for number in (1, 2, 3))


def test_a_pasted_placeholder_finds_its_function_by_name(tenure: Tenure, scripted: Scripted, home: Path) -> None:
    bundle = ready_bundle(home)
    (home / "tenure.toml").write_text(MANIFEST + '\n[edge_compute]\nfunc_id = "..."   # leave as-is\n')
    scripted.on("GET", "/v1/functions/account", (200, FUNCTION))
    scripted.on("POST", f"/v1/functions/{FUNCTION['id']}/versions", (202, {"number": 1, "status": "deploy_ok"}))
    ended = tenure("ship", "--bundle", str(bundle))
    assert (ended.code, ended.err.count("Warning")) == (0, 0)
    assert f'func_id = "{FUNCTION["id"]}"   # leave as-is\n' in (home / "tenure.toml").read_text()


def test_a_name_that_is_taken_says_how_to_ship_to_it(tenure: Tenure, scripted: Scripted, home: Path) -> None:
    bundle = ready_bundle(home)
    scripted.on("POST", "/v1/functions", (409, {"errors": [{"code": "conflict", "detail": "'account' is taken."}]}))
    ended = tenure("ship", "--bundle", str(bundle))
    assert ended.code == 1
    assert "'account' is taken." in ended.err
    assert "`tenure inspect account`" in ended.err


@pytest.fixture
def tarball(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / scaffold.SDK_TARBALL
    path.write_bytes(b"packed")
    monkeypatch.setattr(scaffold, "sdk_tarball", lambda: path)


def test_new_func_makes_the_project_and_registers_it(
    tenure: Tenure, scripted: Scripted, home: Path, tarball: None
) -> None:
    scripted.on("POST", "/v1/functions", (201, FUNCTION))
    ended = tenure("new-func", "--actor", "--name=account")
    assert ended.code == 0
    text = (home / "account" / "telnyx.toml").read_text()
    assert f'func_id = "{FUNCTION["id"]}"' in text
    assert "[[actors]]" in text
    again = tenure("new-func", "--actor", "--name=account")
    assert (again.code, "is not empty" in again.err) == (1, True)
    assert len(scripted.asked) == 1


def test_new_func_without_a_host_leaves_nothing_behind(tenure: Tenure, home: Path, tarball: None) -> None:
    ended = tenure("new-func", "--name", "account")
    assert (ended.code, "tenure auth api-key set" in ended.err) == (1, True)
    assert list(home.iterdir()) == []


def test_a_stream_that_is_not_utf8_gets_ascii() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    say("✅ Func 'café' → done…", to=stream)
    assert raw.getvalue() == b"[ok] Func 'caf?' -> done...\n"


def test_a_list_is_asked_for_page_by_page(tenure: Tenure, scripted: Scripted) -> None:
    scripted.on("GET", "/v1/functions?limit=500", (200, {"functions": [FUNCTION], "next": "abc"}))
    other = {**FUNCTION, "name": "other"}
    scripted.on("GET", "/v1/functions?limit=500&cursor=abc", (200, {"functions": [other], "next": None}))
    assert [one["name"] for one in json.loads(tenure("list", "--json").out)] == ["account", "other"]


MADE_KEY = {
    "id": "3f1c0a9be27d",
    "name": "ci",
    "scope": "deploy",
    "role": "tenant",
    "created_at": "2026-11-23T13:01:41.635Z",
    "expires_at": None,
    "last_used_at": None,
}


def test_a_new_key_is_alone_on_stdout(tenure: Tenure, scripted: Scripted) -> None:
    made = {**MADE_KEY, "key": "tnr_secret"}
    scripted.on("POST", "/v1/keys", (201, made))
    scripted.on("POST", "/v1/tenants/acme/keys", (201, made))
    for command in (("auth", "api-key", "create"), ("admin", "keys", "create", "acme")):
        ended = tenure(*command, "--name", "ci", "--scope", "deploy")
        assert (ended.code, ended.out) == (0, "tnr_secret\n")
        assert "this once" in ended.err


def test_keys_are_listed_without_themselves(tenure: Tenure, scripted: Scripted) -> None:
    scripted.on("GET", "/v1/keys?limit=500", (200, {"keys": [MADE_KEY], "next": None}))
    head, row = tenure("auth", "api-key", "list").out.splitlines()
    assert head.split() == ["ID", "NAME", "SCOPE", "CREATED", "LAST", "USED", "EXPIRES"]
    assert row.split() == ["3f1c0a9be27d", "ci", "deploy", MADE_KEY["created_at"], "never", "never"]


def test_a_secret_comes_from_stdin_and_is_never_an_argument(
    tenure: Tenure, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {"name": "stripe-key", "used_by": ["account"]}
    scripted.on("PUT", "/v1/secrets/stripe-key", (200, shown))
    monkeypatch.setattr(sys, "stdin", io.StringIO("two\nlines\n"))
    ended = tenure("secrets", "add", "stripe-key")
    assert (ended.code, ended.out) == (0, "Secret 'stripe-key' is stored. In use by: account; they have it now.\n")
    assert json.loads(scripted.bodies[-1]) == {"value": "two\nlines"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "no value on stdin" in tenure("secrets", "add", "stripe-key").err
    assert tenure("secrets", "add", "stripe-key", "sk_live").code == 2
    assert len(scripted.asked) == 1


@pytest.mark.parametrize("command", [("secrets", "delete", "a"), ("admin", "tenants", "delete", "acme")])
def test_what_cannot_be_taken_back_needs_a_yes(tenure: Tenure, scripted: Scripted, command: tuple[str, ...]) -> None:
    tenant = {"id": "acme", "functions": 2, "keys": 1, "secrets": 0}
    scripted.on("GET", "/v1/secrets?limit=500", (200, {"secrets": [], "next": None}))
    scripted.on("GET", "/v1/tenants/acme", (200, tenant))
    for path in ("/v1/secrets/a", "/v1/tenants/acme"):
        scripted.on("DELETE", path, (204, b""))
    ended = tenure(*command)
    assert (ended.code, "Add --yes." in ended.err) == (1, True)
    assert [method for method, *_ in scripted.asked] == ["GET"]
    assert tenure(*command, "--yes").code == 0
    assert scripted.asked[-1][0] == "DELETE"


SERVES = {"since": "2026-01-01T00:00:00.000Z", "until": None, "by": "ci", "serving": True, "warnings": []}


def test_a_split_is_deployed_by_weight(tenure: Tenure, scripted: Scripted) -> None:
    split = [{"version": 3, "weight": 90}, {"version": 4, "weight": 10}]
    scripted.on("POST", "/v1/functions/account/deployments", (201, {"version": 3, "split": split, **SERVES}))
    ended = tenure("deploy", "account", "--split", "v3=90, 4=10")
    assert (ended.code, ended.out) == (0, "✅ Versions v3=90,v4=10 of 'account' serve now.\n")
    assert json.loads(scripted.bodies[-1]) == {"split": split}
    scripted.on("POST", "/v1/functions/account/deployments", (201, {"version": 4, "split": [], **SERVES}))
    ended = tenure("deploy", "account", "v4")
    assert (ended.code, ended.out) == (0, "✅ Version 4 of 'account' serves now.\n")
    assert json.loads(scripted.bodies[-1]) == {"version": 4}


@pytest.mark.parametrize(
    "wrong", [(), ("v3", "--split", "v3=1,v4=1"), ("--split", "v3"), ("--split", "v3=1,v3=2"), ("--split", "v3=x")]
)
def test_what_is_no_split_is_wrong_usage(tenure: Tenure, wrong: tuple[str, ...]) -> None:
    assert tenure("deploy", "account", *wrong).code == 2


def test_a_rollback_from_a_split_goes_to_what_served_alone(tenure: Tenure, scripted: Scripted) -> None:
    splits = [[{"version": 3, "weight": 100 - weight}, {"version": 4, "weight": weight}] for weight in (50, 10)]
    past = [{"version": 3, "split": split, "since": "", "until": "", "by": ""} for split in (*splits, [])]
    scripted.on("GET", "/v1/functions/account/deployments?limit=500", (200, {"deployments": past, "next": None}))
    scripted.on("POST", "/v1/functions/account/deployments", (201, {"version": 3, "split": [], **SERVES}))
    assert tenure("rollback", "account").out == "✅ Version 3 of 'account' serves now.\n"
    assert json.loads(scripted.bodies[-1]) == {"version": 3}


def test_pruning_says_what_would_go_and_asks(tenure: Tenure, scripted: Scripted) -> None:
    gone = {"pruned": [{"number": 1}, {"number": 2}], "kept": [{"number": 3, "why": "serves"}], "freed": 2_400_000}
    scripted.on("POST", "/v1/functions/account/versions/prune", (200, gone))
    ended = tenure("revisions", "prune", "account", "--dry-run", "--keep", "1")
    assert ended.out == "Versions 1, 2 of 'account' would go: 2.4 MB.\n"
    assert json.loads(scripted.bodies[-1]) == {"keep": 1, "days": 7, "dry_run": True}
    ended = tenure("revisions", "prune", "account")
    assert (ended.code, "Add --yes" in ended.err) == (1, True)
    assert json.loads(scripted.bodies[-1])["dry_run"] is True
    assert tenure("revisions", "prune", "account", "--yes").out == "Versions 1, 2 of 'account' removed: 2.4 MB.\n"
    assert json.loads(scripted.bodies[-1])["dry_run"] is False
    scripted.on("POST", "/v1/functions/account/versions/prune", (200, {"pruned": [], "kept": [], "freed": 0}))
    assert tenure("revisions", "prune", "account").out == "No version of 'account' has to go.\n"


def test_a_rule_is_shown_set_and_cleared(tenure: Tenure, scripted: Scripted) -> None:
    path = "/v1/functions/account/versions/rule"
    shown = {**FUNCTION, "rule": {"keep": 20, "days": 7, "set": True}}
    scripted.on("GET", "/v1/functions/account", (200, {**FUNCTION, "rule": None}))
    assert tenure("revisions", "rule", "account").out.startswith("Old versions of 'account' stay until you prune them")
    scripted.on("PUT", path, (200, shown))
    ended = tenure("revisions", "rule", "account", "--keep", "20")
    assert json.loads(scripted.bodies[-1]) == {"keep": 20, "days": 7}
    stays = "the newest 20, and what served within 7 days (its own rule)"
    assert ended.out == f"Old versions of 'account' go by themselves. What stays: {stays}.\n"
    assert json.loads(tenure("revisions", "rule", "account", "--days", "0", "--json").out) == shown["rule"]
    assert json.loads(scripted.bodies[-1]) == {"keep": 10, "days": 0}
    scripted.on("DELETE", path, (204, b""))
    scripted.on("GET", "/v1/functions/account", (200, {**FUNCTION, "rule": {"keep": 9, "days": 0, "set": False}}))
    ended = tenure("revisions", "rule", "account", "--clear")
    assert "What stays: the newest 9 (the rule of the host)." in ended.out
    assert ("DELETE", path) in [asked[:2] for asked in scripted.asked]
    assert re.search(r"^rule +the newest 9 \(the rule of the host\)$", tenure("inspect", "account").out, re.M)
    for wrong in (("--clear", "--keep", "3"), ("--keep", "0"), ("--days", "-1")):
        assert tenure("revisions", "rule", "account", *wrong).code == 2


def test_a_version_is_shown_with_its_settings(tenure: Tenure, scripted: Scripted) -> None:
    version = {
        "number": 3,
        "status": "deploy_ok",
        "created_at": "2026-11-23T13:01:47.979Z",
        "by": "ci",
        "size": 2_399_142,
        "digest": "48985e",
        "sdk": "",
        "actors": [{"binding": "ACCOUNT", "type": "Account"}],
        "env_vars": {"GREETING": "hello\nyou"},
        "secrets": [{"binding": "STRIPE", "name": "stripe-key"}],
        "limits": [
            {"name": "cpu_ms_per_minute", "limit": 1_234_567.5, "set": True},
            {"name": "activations", "limit": None, "set": False},
        ],
        "outbound": ["api.example.com", "*.example.org"],
        "domains": [],
        "warnings": [],
        "errors": [],
    }
    scripted.on("GET", "/v1/functions/account", (200, {"version": 3}))
    scripted.on("GET", "/v1/functions/account/versions/3", (200, version))
    for given in (["v3"], ["3"], []):
        lines = tenure("revisions", "inspect", "account", *given).out.splitlines()
        assert lines[:3] == ["version    3", "status     deploy_ok", "shipped    2026-11-23T13:01:47.979Z by ci"]
        assert lines[5:] == [
            "actors     ACCOUNT → Account",
            'env vars   GREETING = "hello\\nyou"',
            "secrets    STRIPE → stripe-key",
            "limits     cpu_ms_per_minute 1,234,567.5 (manifest)",
            "           activations none",
            "outbound   api.example.com",
            "           *.example.org",
        ]
    assert json.loads(tenure("revisions", "inspect", "account", "--json").out) == version
    scripted.on("GET", "/v1/functions/account", (200, {"version": None}))
    ended = tenure("revisions", "inspect", "account")
    assert (ended.code, "No version of 'account' serves." in ended.err) == (1, True)


def test_a_host_name_is_listed_with_the_record_it_needs_and_verified(tenure: Tenure, scripted: Scripted) -> None:
    name = "shop.example.com"
    domain = {"name": name, "verified_at": None, "record": {"name": f"_tenure.{name}", "value": "tenure-1"}}
    scripted.on("GET", "/v1/functions/shop/domains?limit=500", (200, {"domains": [domain], "next": None}))
    ended = tenure("domains", "list", "shop")
    assert ended.out.splitlines()[1].split() == [name, "not", "verified", f"_tenure.{name}", "tenure-1"]
    scripted.on("POST", "/v1/functions/shop/domains/verify", (200, domain))
    assert tenure("domains", "verify", "shop", name).out == f"✅ {name} leads to 'shop' now.\n"
    assert json.loads(scripted.bodies[-1]) == {"name": name}
    scripted.on("GET", "/v1/functions/shop/domains?limit=500", (200, {"domains": [], "next": None}))
    ended = tenure("domains", "list", "shop")
    assert (ended.out, "[[domains]]" in ended.err) == ("", True)
