"""The admin API through its real application: keys, isolation, the one error shape, uploads, shipping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from host.admin import bodies
from host.model.limits import BUNDLE_LIMITS
from host.model.manifest import LIMIT_KEYS
from host.model.quotas import Quotas
from host.registry.records import DEFAULT_TENANT
from tests.unit.admin_kit import Api, api_of
from tests.unit.registry_kit import Host, bundle, component, manifest

UPLOAD_BYTES_MAX = 100_000


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    limits = replace(BUNDLE_LIMITS, compressed_bytes_max=UPLOAD_BYTES_MAX)
    host = await Host(tmp_path, bundle_limits=limits, quotas=Quotas(functions=3)).start()
    yield host
    await host.stop()


@pytest.fixture
async def operator(host: Host) -> Api:
    key = await host.registry.create_key(DEFAULT_TENANT, "operator", "operator")
    return await api_of(host, key)


@pytest.fixture
async def acme(host: Host, operator: Api) -> Api:
    await host.registry.create_tenant("acme")
    return operator.with_key(await host.registry.create_key("acme", "ci", "tenant"))


async def test_a_function_is_created_shipped_looked_at_and_deleted(host: Host, operator: Api) -> None:
    made = await operator.json("POST", "/functions", 201, json={"name": "account", "actor": True})
    label = "account-" + made["id"].replace("-", "")[:10]
    assert made["url"] == f"http://{label}.localhost:8787"
    assert (made["status"], made["version"], made["actors"], made["actor"]) == ("created", None, [], True)
    assert made["created_at"] == "2023-11-14T22:13:20.000Z"

    version = await operator.ship(made["id"], bundle(manifest("Account"), component("Account")))
    assert (version["number"], version["status"]) == (1, "compiling")
    await host.publisher.idle()
    version = await operator.json("GET", f"/functions/{made['id']}/versions/1")
    assert (version["status"], version["errors"], version["actor_types"]) == ("deploy_ok", [], ["Account"])

    by_name = await operator.json("GET", "/functions/account")
    assert by_name == await operator.json("GET", f"/functions/{made['id']}")
    assert await operator.json("GET", "/functions") == {"functions": [by_name], "next": None}
    assert by_name["actors"] == [{"binding": "ACCOUNT", "type": "Account"}]
    assert (by_name["status"], by_name["version"], by_name["versions"]) == ("deploy_ok", 1, 1)
    assert (by_name["size"], by_name["sdk"], by_name["errors"]) == (len(component("Account")), "unit/1", [])
    assert by_name["digest"] == version["digest"]

    response = await operator("DELETE", "/functions/account")
    assert (response.status_code, await response.get_data()) == (204, b"")
    assert await operator.json("GET", "/functions") == {"functions": [], "next": None}
    await operator.refused("GET", "/functions/account", 404)


async def test_a_failed_ship_shows_its_reasons_and_what_serves(host: Host, operator: Api) -> None:
    await operator.json("POST", "/functions", 201, json={"name": "account"})
    await operator.ship("account", bundle(manifest(), component()))
    await operator.ship("account", bundle(manifest(), component(errors=("foreign import", "wrong world"))))
    await host.publisher.idle()
    version = await operator.json("GET", "/functions/account/versions/2")
    assert (version["status"], version["errors"]) == ("deploy_failed", ["foreign import", "wrong world"])
    function = await operator.json("GET", "/functions/account")
    assert (function["status"], function["version"]) == ("deploy_failed", 1)
    assert function["errors"] == ["foreign import", "wrong world"]


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer nope", "Basic YTpi", "tnr_x", "Bearer tnr_" + "a" * 43]
)
@pytest.mark.parametrize("path", ["/status", "/whoami", "/functions", "/functions/x", "/functions/x/versions/1"])
async def test_without_a_known_key_nothing_is_said(operator: Api, header: str | None, path: str) -> None:
    headers = {} if header is None else {"authorization": header}
    response = await operator.client.get("/v1" + path, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-request-id"]
    (error,) = (await response.get_json())["errors"]
    assert error["code"] == "unauthorized"


async def test_a_tenant_cannot_tell_anothers_function_from_none(host: Host, operator: Api, acme: Api) -> None:
    made = await operator.json("POST", "/functions", 201, json={"name": "account"})
    await operator.ship("account", bundle(manifest(), component()))
    await host.publisher.idle()
    for ref in (made["id"], "account"):
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/versions/1"), ("POST", "/versions")):
            (error,) = await acme.refused(method, f"/functions/{ref}{path}", 404)
            assert error["detail"] == f"There is no function {ref!r}. List yours with `tenure list`."
    assert await acme.json("GET", "/functions") == {"functions": [], "next": None}
    assert (await operator.json("GET", "/functions/account"))["version"] == 1


async def test_who_am_i(operator: Api, acme: Api) -> None:
    assert await acme.json("GET", "/whoami") == {"tenant": "acme", "name": "ci", "role": "tenant", "scope": "admin"}
    assert (await operator.json("GET", "/whoami"))["role"] == "operator"


async def test_only_operators_see_the_whole_host(operator: Api, acme: Api) -> None:
    assert (await operator.json("GET", "/status"))["counts"] == {"tenants": 2}
    url = "http://NAME-ID.localhost:8787"
    shown = {"version": "0.1.0", "uptime_s": 1.5, "functions_url": url, "functions": 0}
    assert await acme.json("GET", "/status") == shown


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "has to be a JSON object"),
        (b"{}", '"name" has to be a non-empty string'),
        (b'{"name": 7}', '"name" has to be a non-empty string'),
        (b'{"name": "a", "actor": 1}', '"actor" has to be true or false'),
        (b'{"name": "a", "nam": 1}', "Unknown fields: nam"),
        (b'{"name": "A B"}', "cannot be a function's name"),
    ],
)
async def test_a_bad_body_is_told_what_is_wrong(operator: Api, body: bytes, words: str) -> None:
    (error,) = await operator.refused("POST", "/functions", 400, data=body)
    assert words in error["detail"]


async def test_a_body_that_is_too_large_for_json_is_refused(operator: Api) -> None:
    await operator.refused("POST", "/functions", 413, data=b" " * (65 << 10))


async def test_a_taken_name_is_a_conflict(operator: Api, acme: Api) -> None:
    await operator.json("POST", "/functions", 201, json={"name": "account"})
    (error,) = await operator.refused("POST", "/functions", 409, json={"name": "account"})
    assert error["code"] == "conflict"
    await acme.json("POST", "/functions", 201, json={"name": "account"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/functions/a/versions/one", 404),
        ("GET", "/functions/a/versions/-1", 404),
        ("GET", "/functions/a%2Fb", 404),
        ("PUT", "/functions", 405),
        ("POST", "/functions/a", 405),
    ],
)
async def test_what_is_no_route_answers_in_the_same_shape(operator: Api, method: str, path: str, status: int) -> None:
    await operator.refused(method, path, status)


async def test_a_missing_version_is_not_found(operator: Api) -> None:
    await operator.json("POST", "/functions", 201, json={"name": "account"})
    for number in (1, 10**30):
        (error,) = await operator.refused("GET", f"/functions/account/versions/{number}", 404)
        assert f"no version {number}" in error["detail"]


async def test_all_mistakes_of_a_manifest_are_entries_of_their_own(operator: Api) -> None:
    await operator.json("POST", "/functions", 201, json={"name": "account"})
    text = 'name = "Account"\nmain = 7\ncompatibility_date = "soon"\n'
    errors = await operator.refused("POST", "/functions/account/versions", 422, data=bundle(text, component()))
    assert [error["code"] for error in errors] == ["invalid_manifest"] * 3
    for word, error in zip(("name", "main", "compatibility_date"), errors, strict=True):
        assert error["detail"].startswith(word)


async def test_an_upload_over_the_limit_is_refused_and_nothing_is_stored(host: Host, operator: Api) -> None:
    await operator.json("POST", "/functions", 201, json={"name": "account"})
    (error,) = await operator.refused("POST", "/functions/account/versions", 413, data=b"x" * (UPLOAD_BYTES_MAX + 1))
    assert "larger than" in error["detail"]
    assert host.work_files() == []
    (error,) = await operator.refused("POST", "/functions/account/versions", 422, data=b"x" * UPLOAD_BYTES_MAX)
    assert "not a zip" in error["detail"]
    assert host.work_files() == []


async def test_an_upload_of_unknown_length_is_refused_before_its_end(
    host: Host, operator: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "DRAIN_IDLE_S_MAX", 0.01)
    await operator.json("POST", "/functions", 201, json={"name": "account"})
    headers = {"authorization": f"Bearer {operator.key}"}
    path = "/v1/functions/account/versions"
    async with operator.client.request(path, method="POST", headers=headers) as connection:
        for _ in range(UPLOAD_BYTES_MAX // 10_000 + 1):  # the body has no end: the reply comes without one
            await connection.send(bytes(10_000))
        await asyncio.wait_for(connection.receive(), 10)
        assert connection.status_code == 413
    assert host.work_files() == []


async def test_an_upload_without_end_is_cut_off(host: Host, operator: Api) -> None:
    await operator.json("POST", "/functions", 201, json={"name": "account"})
    headers = {"authorization": f"Bearer {operator.key}"}
    path = "/v1/functions/account/versions"
    async with operator.client.request(path, method="POST", headers=headers) as connection:
        for _ in range(bodies.DRAIN_FACTOR + 1):
            await connection.send(bytes(UPLOAD_BYTES_MAX))
        await asyncio.wait_for(connection.receive(), 10)
        assert connection.status_code == 413


async def test_a_body_over_the_limit_is_not_kept_in_memory() -> None:
    body = bodies.CountedBody(None, 1_000)
    for _ in range(100):
        body.append(bytes(600))
    assert body.too_large
    assert body.received == 60_000
    assert len(await anext(body)) == 600


async def test_an_upload_whose_client_goes_away_leaves_nothing(host: Host, operator: Api) -> None:
    await operator.json("POST", "/functions", 201, json={"name": "account"})
    headers = {"authorization": f"Bearer {operator.key}"}
    async with operator.client.request("/v1/functions/account/versions", method="POST", headers=headers) as connection:
        await connection.send(bundle(manifest(), component())[:100])
        await connection.disconnect()
    assert host.work_files() == []
    assert (await operator.json("GET", "/functions/account"))["versions"] == 0


async def test_an_unexpected_fault_tells_the_caller_its_request_id_only(
    host: Host, operator: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(host.registry, "functions", fail)
    response = await operator("GET", "/functions")
    assert response.status_code == 500
    (error,) = (await response.get_json())["errors"]
    assert response.headers["x-request-id"] in error["detail"]
    assert "secret" not in (await response.get_data(as_text=True))
    logged = capsys.readouterr().err
    assert response.headers["x-request-id"] in logged
    assert "/secret/path" in logged


async def test_every_request_has_an_id_of_its_own(operator: Api) -> None:
    ids = {(await operator("GET", "/whoami")).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


async def test_the_documentation_names_every_route_and_limit(operator: Api) -> None:
    text = (Path(__file__).parents[2] / "docs" / "admin-api.md").read_text()
    headings = {line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")}
    for rule in operator.client.app.url_map.iter_rules():
        path = rule.rule.replace("<ref>", "{id or name}").replace("<int:number>", "{number}")
        path = path.replace("_id>", " id>").replace("<", "{").replace(">", "}")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            assert f"{method} {path}" in headings
    for key in LIMIT_KEYS:
        assert f"| `{key}` |" in text
