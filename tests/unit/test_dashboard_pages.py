"""The dashboard over HTTP, on the admin API's real application: who gets in, what is refused, what is escaped."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

import httpx
import pytest
from quart import Quart
from quart.wrappers import Response

from host.dashboard import sessions
from host.dashboard.app import create_dashboard
from host.dashboard.mount import WithDashboard
from host.model import attempts
from host.model.ids import ActorId
from host.registry.records import DEFAULT_TENANT, SCOPES, Scope
from host.storage import keys
from host.storage.records import ActorRecord
from tests.unit.admin_kit import BACKUP, services_of
from tests.unit.admin_kit import app_of as admin_app_of
from tests.unit.registry_kit import Host
from tests.unit.test_admin_access import CLAIMED, Claimants, Owned, furnish, stored

EVIL = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>"""
PAGES = (
    "/",
    "/functions/rows",
    "/functions/acme-account",
    "/functions/acme-account/charts",
    "/functions/acme-account/versions",
    "/functions/acme-account/versions/prune?keep=1",
    "/functions/acme-account/usage",
    "/functions/acme-account/domains",
    "/functions/acme-account/settings",
    "/functions/acme-account/settings?version=1",
    "/functions/acme-account/logs",
    "/actors",
    "/actors?type=Account&prefix=a",
    "/actor?type=Account&name=alice",
    "/actor/key?type=Account&name=alice&key=note",
    "/alarms",
    "/alarms?state=waiting",
    "/secrets",
    "/usage",
    "/usage?days=30",
)
OPERATORS_PAGES = (
    *("/tenants", "/tenants/acme", "/tenants/acme/usage", "/workers", "/workers/rows"),
    *("/backups", "/backups/rows"),
)
WRITES: dict[str, Scope] = {
    "/functions/acme-account/versions/1/deploy": "deploy",
    "/functions/acme-account/split": "deploy",
    "/functions/acme-account/versions/prune": "admin",
    "/functions/acme-account/versions/rule": "admin",
    "/functions/acme-account/versions/rule/clear": "admin",
    "/functions/acme-account/release": "deploy",
    f"/functions/acme-account/domains/verify?name={CLAIMED}": "deploy",
    "/functions/acme-account/secrets": "deploy",
    "/functions/acme-account/secrets/delete?name=fresh": "deploy",
    "/alarms/retry?type=Account&name=alice": "deploy",
    "/actor/key?type=Account&name=alice&key=note": "deploy",
    "/actor/key/delete?type=Account&name=alice&key=note": "deploy",
    "/actor/delete?type=Account&name=alice": "admin",
}
"""In an order in which all of them can be done."""
OWN_WRITES: dict[str, Scope] = {"/secrets": "deploy", "/secrets/delete?name=fresh": "deploy"}
"""Of what no path says whose it is: always of who is signed in."""
OPERATORS_WRITES = (
    "/tenants",
    "/tenants/acme/suspend",
    "/tenants/acme/resume",
    "/tenants/acme/keys",
    "/tenants/acme/keys/nobodys/revoke",
    "/tenants/acme/functions/acme-account/release",
    "/tenants/acme/quotas",
    "/tenants/acme/quotas/clear?quota=functions",
    "/backups",
    f"/backups/{BACKUP}/delete",
)
FORM = {
    **{"confirmed": "yes", "value": "1", "id": "fresh", "name": "fresh", "scope": "read"},
    **{"weight-1": "1", "keep": "1", "days": "0", "quota": "functions", "limit": "5"},
}
PROXY = "10.0.0.1"


class Visitor:
    """A browser, as far as these tests need one: it keeps cookies, and sends the token of the page it is on."""

    def __init__(self, app: Quart, *, secure: bool = False, address: str = "192.0.2.7", forwarded: str = "") -> None:
        self.client = app.test_client()
        self.csrf = ""
        self._scheme = "https" if secure else "http"
        self._scope = {"client": (address, 1)}
        self._headers = {"x-forwarded-for": forwarded} if forwarded else {}

    async def open(self, method: str, path: str, **arguments: Any) -> Response:
        headers = {**self._headers, **arguments.pop("headers", {})}
        arguments |= {"scheme": self._scheme, "scope_base": self._scope}
        response = await self.client.open(f"/dashboard{path}", method=method, headers=headers, **arguments)
        assert isinstance(response, Response)
        return response

    async def get(self, path: str, status: int = 200, **headers: str) -> str:
        response = await self.open("GET", path, headers=headers)
        text = await response.get_data(as_text=True)
        assert response.status_code == status, text
        if found := re.search(r'name="csrf" value="([^"]+)"', text):
            self.csrf = found[1]
        return text

    async def post(self, path: str, headers: dict[str, str] | None = None, **form: str) -> Response:
        return await self.open("POST", path, form={"csrf": self.csrf, **form}, headers=headers or {})

    async def sign_in(self, key: str) -> Response:
        await self.get("/sign-in")
        response = await self.post("/sign-in", key=key)
        if response.status_code == 303:
            await self.get("/alarms")
        return response


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    host = Host(tmp_path)
    host.resolver = Claimants(host)
    await host.start()
    yield host
    await host.stop()


@pytest.fixture
async def acme(host: Host) -> Owned:
    return await furnish(host, "acme")


def app_of(host: Host, **arguments: Any) -> Quart:
    return create_dashboard(admin_app_of(services_of(host)), host.clock, **arguments)


async def visitor_with(host: Host, tenant: str = "acme", scope: Scope = "admin") -> Visitor:
    role = "operator" if tenant == DEFAULT_TENANT else "tenant"
    visitor = Visitor(app_of(host))
    key = await host.registry.create_key(tenant, f"{scope} visitor", role, scope=scope)
    assert (await visitor.sign_in(key)).status_code == 303
    return visitor


def everything(host: Host) -> dict[bytes, bytes]:
    return dict(host.engine.scan(b"", b"\xff"))


# --- who gets in ------------------------------------------------------------------------------------------------------


async def test_without_a_session_there_is_nothing_but_the_way_to_sign_in(host: Host, acme: Owned) -> None:
    visitor = Visitor(app_of(host))
    for path in (*PAGES, *OPERATORS_PAGES, "/functions/acme-account/logs/stream", "/nowhere"):
        response = await visitor.open("GET", path)
        assert response.status_code == 303, path
        assert response.headers["location"].startswith("/dashboard/sign-in")
        assert await visitor.get(path, 401, **{"x-fragment": "1"}) == ""


async def test_without_a_session_nothing_is_written(host: Host, acme: Owned) -> None:
    before, visitor = everything(host), Visitor(app_of(host))
    for path in (*WRITES, *OPERATORS_WRITES):
        assert (await visitor.post(path, **FORM)).status_code == 303, path
    assert everything(host) == before


async def test_the_page_that_was_asked_for_is_shown_after_signing_in_and_no_other_site(host: Host, acme: Owned) -> None:
    key, app = await host.registry.create_key("acme", "k"), app_of(host)
    for wanted, shown in (
        ("/dashboard/actors?type=Account", "/dashboard/actors?type=Account"),
        ("https://evil.example/", "/dashboard/"),
        ("//evil.example/dashboard/", "/dashboard/"),
        ("/dashboard/\\evil.example", "/dashboard/"),
        ("/v1/keys", "/dashboard/"),
    ):
        visitor = Visitor(app)
        await visitor.get("/sign-in")
        response = await visitor.post(f"/sign-in?{urlencode({'next': wanted})}", key=key)
        assert response.headers["location"] == shown


@pytest.mark.parametrize("secure", [False, True])
async def test_the_cookie_is_for_this_site_and_no_script(host: Host, acme: Owned, secure: bool) -> None:
    visitor = Visitor(app_of(host), secure=secure)
    response = await visitor.sign_in(await host.registry.create_key("acme", "k"))
    cookie = response.headers.getlist("set-cookie")[0]
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert ("Secure" in cookie.split("; ")) == secure
    assert cookie.startswith("__Host-tenure=" if secure else "tenure=")
    assert ("Path=/" if secure else "Path=/dashboard") in cookie.split("; ")
    assert "Domain" not in cookie


@pytest.mark.parametrize("trusted", [False, True])
async def test_the_cookie_is_secure_when_a_proxy_that_is_trusted_says_so(
    host: Host, acme: Owned, trusted: bool
) -> None:
    visitor = Visitor(app_of(host, proxies=(ip_network(PROXY),) if trusted else ()), address=PROXY)
    response = await visitor.open("GET", "/sign-in", headers={"x-forwarded-proto": "https"})
    assert ("Secure" in response.headers["set-cookie"].split("; ")) == trusted


async def test_a_session_ends_with_its_key_its_time_or_when_it_is_not_used(host: Host, acme: Owned) -> None:
    key = await host.registry.create_key("acme", "k")
    record = host.registry.accounts.find_key(key)
    assert record is not None
    app = app_of(host)
    visitor, other = Visitor(app), Visitor(app)
    await visitor.sign_in(key)
    host.clock.advance(sessions.IDLE_S - 1)
    await visitor.get("/actors")
    host.clock.advance(sessions.IDLE_S)
    await visitor.get("/actors", 303)
    await visitor.sign_in(key)
    for _ in range(int(sessions.LIFE_S / sessions.IDLE_S * 2)):
        await visitor.get("/actors")
        host.clock.advance(sessions.IDLE_S / 2)
    await visitor.get("/actors", 303)
    for one in (visitor, other):
        await one.sign_in(key)
    assert (await visitor.post("/sign-out")).status_code == 303
    await visitor.get("/actors", 303)
    await other.get("/actors")
    await host.registry.accounts.revoke_key("acme", record.id)
    await other.get("/actors", 303)


async def test_a_suspended_tenant_is_told_so(host: Host, acme: Owned) -> None:
    visitor = await visitor_with(host)
    await host.registry.set_tenant_status("acme", "suspended")
    assert "suspended" in await visitor.get("/", 403)
    assert (await visitor.post("/sign-out")).status_code == 303


async def test_who_tries_many_keys_has_to_wait_and_others_do_not(host: Host, acme: Owned) -> None:
    key = await host.registry.create_key("acme", "k")
    app = app_of(host, proxies=(ip_network(PROXY),))
    visitor = Visitor(app, address=PROXY, forwarded="192.0.2.1, 192.0.2.66")
    others = [
        Visitor(app, address=PROXY, forwarded="192.0.2.66, 192.0.2.1"),
        Visitor(app, address="192.0.2.1", forwarded="192.0.2.66"),
    ]
    for _ in range(attempts.FAILURES_MAX):
        assert (await visitor.sign_in("tnr_" + "x" * 43)).status_code == 401
    refused = await visitor.sign_in(key)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= attempts.FORGIVEN_EVERY_S
    assert [(await other.sign_in(key)).status_code for other in others] == [303, 303]
    host.clock.advance(attempts.FORGIVEN_EVERY_S)
    assert (await visitor.sign_in(key)).status_code == 303


# --- what is refused --------------------------------------------------------------------------------------------------


async def test_a_write_needs_the_token_of_its_session(host: Host, acme: Owned) -> None:
    visitor, other = await visitor_with(host), await visitor_with(host, scope="deploy")
    before = everything(host)
    for path in (*WRITES, *OWN_WRITES, "/sign-out"):
        for token in ("", "wrong", "é", other.csrf):
            assert (await visitor.post(path, **{**FORM, "csrf": token})).status_code == 403, path
        assert (await visitor.post(path, {"sec-fetch-site": "same-site"}, **FORM)).status_code == 403, path
    assert everything(host) == before
    await visitor.get("/actors")


@pytest.mark.parametrize("scope", SCOPES)
async def test_a_write_needs_the_scope_that_the_admin_api_asks_for(host: Host, acme: Owned, scope: Scope) -> None:
    visitor = await visitor_with(host, scope=scope)
    for path, needed in {**WRITES, **OWN_WRITES}.items():
        refused = SCOPES.index(scope) < SCOPES.index(needed)
        assert (await visitor.post(path, **FORM)).status_code == (403 if refused else 303), path


async def test_what_is_the_operators_is_refused_to_a_tenant(host: Host, acme: Owned) -> None:
    visitor = await visitor_with(host)
    before = everything(host)
    for path in OPERATORS_PAGES:
        await visitor.get(path, 403)
    for path in OPERATORS_WRITES:
        assert (await visitor.post(path, **FORM)).status_code == 403, path
    assert everything(host) == before
    assert "/dashboard/tenants" not in await visitor.get("/")


async def test_nothing_of_another_tenant_is_shown_or_changed(host: Host, acme: Owned) -> None:
    await host.registry.create_tenant("other")
    visitor = await visitor_with(host, "other")
    before = stored(host, "acme")
    for path in PAGES:
        response = await visitor.open("GET", path)
        text = await response.get_data(as_text=True)
        assert response.status_code == (404 if "acme" in path or "alice" in path else 200), path
        traces = (acme.function_id, "note of acme", "acme-secret", "spare of acme")
        assert [trace for trace in traces if trace in text] == [], path
        assert response.status_code == 404 or "alice" not in text
    for path in WRITES:
        assert (await visitor.post(path, **FORM)).status_code == 404, path
    for path in OWN_WRITES:
        assert (await visitor.post(path, **FORM)).status_code == 303, path
    assert stored(host, "acme") == before


async def test_a_key_that_reads_sees_no_form_that_changes_anything(host: Host, acme: Owned) -> None:
    tenant = await visitor_with(host, scope="read")
    operator = await visitor_with(host, DEFAULT_TENANT, scope="read")
    for visitor, paths in ((tenant, PAGES), (operator, OPERATORS_PAGES)):
        for path in paths:
            text = await (await visitor.open("GET", path)).get_data(as_text=True)
            actions = re.findall(r'<form method="post" action="([^"]*)"', text)
            assert set(actions) <= {"/dashboard/sign-out"}, path
            assert len(actions) == text.count('method="post"'), path


async def test_an_operator_lets_a_tenants_function_serve_again(host: Host, acme: Owned) -> None:
    await host.registry.quarantine(acme.function_id, 1)
    visitor = await visitor_with(host, DEFAULT_TENANT)
    answer = await visitor.post("/tenants/acme/functions/acme-account/release")
    assert answer.headers["location"] == "/dashboard/workers"
    assert host.registry.function("acme", acme.function_id).quarantined is None


# --- what a page is ---------------------------------------------------------------------------------------------------


async def test_no_page_runs_or_shows_what_is_not_a_file_of_the_dashboard(host: Host, acme: Owned) -> None:
    tenant, operator = await visitor_with(host), await visitor_with(host, DEFAULT_TENANT)
    for path in (*PAGES, "/sign-in", "/nowhere", "/static/style.css"):
        await check_page(await tenant.open("GET", path), path)
    for path in OPERATORS_PAGES:
        await check_page(await operator.open("GET", path), path)


async def check_page(response: Response, path: str) -> None:
    headers, text = response.headers, await response.get_data(as_text=True)
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("frame-ancestors") == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if "static" in path else "no-store")
    assert not re.search(
        r"<script(?! type=\"module\" src=\"/dashboard/static/)|<style|\sstyle=|\son\w+=|javascript:", text
    )
    assert re.findall(r"(?:src|href|action)=\"(?!/dashboard/|#content|http://acme-account-)[^\"]*\"", text) == []


async def test_a_file_of_the_pages_is_sent_once_and_opened_by_no_request(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = Visitor(app_of(host))
    page = await (await visitor.open("GET", "/sign-in")).get_data(as_text=True)
    paths = [path for path in re.findall(r'"/dashboard(/static/[^"]+)"', page) if "?v=" in path]
    assert {path.partition("?")[0] for path in paths} == {"/static/icon.svg", "/static/style.css", "/static/page.js"}

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a request opened a file")

    types = set()
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", refuse)
        for path in paths:
            first = await visitor.open("GET", path)
            assert first.status_code == 200
            assert await first.get_data()
            assert first.headers["cache-control"] == "public, max-age=31536000, immutable"
            types.add(first.headers["content-type"])
            again = await visitor.open("GET", path, headers={"if-none-match": first.headers["etag"]})
            assert again.status_code == 304
    assert types == {"image/svg+xml", "text/css; charset=utf-8", "text/javascript; charset=utf-8"}
    assert (await visitor.open("GET", "/static/nothing.css")).status_code == 404
    assert (await visitor.open("GET", "/static/..%2fapp.py")).status_code == 303  # no page at all: sign in first


async def test_what_a_tenant_wrote_is_escaped_wherever_it_stands(host: Host, acme: Owned) -> None:
    actor = ActorId("acme", "Account", EVIL)
    dead = b'{"due_ms": 1, "failed_ms": 2, "error": "E", "message": "m<script>alert(1)</script>"}'
    value = b'"v<script>alert(1)</script>"'
    host.engine.write(
        [
            (keys.actor_key(actor), ActorRecord(bytes_used=9, created_ms=1).encode()),
            (keys.dead_alarm_key(actor), dead),
            (keys.state_prefix(actor) + EVIL.encode(), value),
        ]
    )
    key = await host.registry.create_key("acme", EVIL[:60])
    visitor = Visitor(app_of(host))
    await visitor.sign_in(key)
    named = {"type": "Account", "name": EVIL}
    for path, query in (
        ("/actors", {}),
        ("/actors", {"type": "Account", "prefix": EVIL}),
        ("/actors", {"type": EVIL, "prefix": EVIL}),
        ("/actor", named),
        ("/actor", {**named, "prefix": EVIL}),
        ("/actor/key", {**named, "key": EVIL}),
        ("/actor/key", {**named, "key": f"absent{EVIL}"}),
        ("/alarms", {"type": "Account"}),
        ("/alarms", {"type": EVIL}),
        (f"/functions/{EVIL[:8]}", {}),
        ("/functions/acme-account/logs", {"instance": EVIL, "level": EVIL, "type": EVIL}),
    ):
        response = await visitor.open("GET", path, query_string=query)
        text = await response.get_data(as_text=True)
        assert response.status_code in (200, 404), text
        assert "<script>" not in text, path
        assert "<img" not in text, path
    refused = await visitor.post("/actor/key?type=Account&name=alice", new_key=EVIL, value=EVIL)
    text = await refused.get_data(as_text=True)
    assert refused.status_code == 400
    assert "&lt;script&gt;" in text
    assert "<script>" not in text


async def test_a_secrets_name_is_shown_and_its_value_is_on_no_page(host: Host, acme: Owned) -> None:
    visitor = await visitor_with(host)
    texts = [await visitor.get(path) for path in PAGES]
    assert not any("value of acme" in text for text in texts)


async def test_a_browser_is_sent_to_the_dashboard_and_all_else_is_the_admin_api(host: Host, acme: Owned) -> None:
    app = WithDashboard(admin_app_of(services_of(host)), host.clock)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://admin.test") as client:
        browser = await client.get("/", headers={"accept": "text/html,*/*;q=0.8"})
        assert (browser.status_code, browser.headers["location"]) == (303, "/dashboard/")
        for path in ("/", "/dashboards", "/v1/whoami"):
            reply = await client.get(path)
            assert reply.status_code in (401, 404)
            assert reply.json()["errors"]
        assert (await client.get("/dashboard")).headers["location"].startswith("/dashboard")


async def test_a_form_that_asks_first_does_nothing_before_the_answer(host: Host, acme: Owned) -> None:
    visitor = await visitor_with(host)
    before = everything(host)
    asked = await visitor.post("/actor/delete?type=Account&name=alice")
    text = await asked.get_data(as_text=True)
    assert "Delete Account “alice” with all it has stored?" in text
    assert everything(host) == before
    assert 'action="/dashboard/actor/delete?type=Account&amp;name=alice"' in text
    assert 'name="confirmed" value="yes"' in text
