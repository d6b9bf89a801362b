"""The admin API as the CLI calls it: one method for each route, JSON in and out, and every failure as a sentence.

Nothing here retries: a command is started by a person, who can start it again, and a second POST could do twice what
was asked once. httpx is imported when the first request is made, so that `tenure --help` stays quick.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from host.cli.console import CliError
from host.cli.settings import Settings

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 5.0
REPLY_TIMEOUT_S = 60.0
PAGE = 500
"""Entries that are asked for at once."""
_CHUNK_BYTES = 1 << 16

Json = dict[str, Any]


class AdminError(CliError):
    """The host answered with an error. `status` is the HTTP status, `code` the API's own code."""

    def __init__(self, status: int, code: str, message: str, hint: str = "", *, more: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint, more=more)
        self.status = status
        self.code = code


class AdminClient:
    """Calls to one host with one key. Every method raises CliError (AdminError when the host answered)."""

    def __init__(self, settings: Settings) -> None:
        self.endpoint = settings.endpoint
        self._key = settings.api_key
        self._http: httpx.Client | None = None

    def status(self) -> Json:
        return self._call("GET", "/v1/status")

    def openapi(self) -> Json:
        return self._call("GET", "/v1/openapi.json")

    def whoami(self) -> Json:
        return self._call("GET", "/v1/whoami")

    def functions(self) -> list[Json]:
        return self._list("/v1/functions", "functions")

    def function(self, ref: str) -> Json:
        """One function by id or name."""
        return self._call("GET", f"/v1/functions/{_segment(ref)}")

    def create_function(self, name: str, actor: bool) -> Json:
        return self._call("POST", "/v1/functions", json={"name": name, "actor": actor})

    def release(self, ref: str) -> Json:
        return self._call("POST", f"/v1/functions/{_segment(ref)}/release")

    def release_of(self, tenant: str, ref: str) -> Json:
        return self._call("POST", f"/v1/tenants/{_segment(tenant)}/functions/{_segment(ref)}/release")

    def delete_function(self, ref: str) -> None:
        self._call("DELETE", f"/v1/functions/{_segment(ref)}")

    def upload(self, function_id: str, bundle: Path, sent: Callable[[int], None], *, deploy: bool = True) -> Json:
        """Ship a bundle; `sent` hears the bytes of each piece. Returns the version as the host accepted it."""
        headers = {"content-type": "application/zip", "content-length": str(bundle.stat().st_size)}
        path = f"/v1/functions/{_segment(function_id)}/versions"
        params = {} if deploy else {"deploy": "false"}
        return self._call("POST", path, content=_pieces(bundle, sent), headers=headers, params=params)

    def version(self, function_id: str, number: int) -> Json:
        return self._call("GET", f"/v1/functions/{_segment(function_id)}/versions/{number}")

    def versions(self, ref: str) -> list[Json]:
        """The newest first."""
        return self._list(f"/v1/functions/{_segment(ref)}/versions", "versions")

    def deployments(self, ref: str) -> list[Json]:
        """The newest first."""
        return self._list(f"/v1/functions/{_segment(ref)}/deployments", "deployments")

    def deploy(self, ref: str, version: int) -> Json:
        """Let an existing version serve. Returns the deployment, with "warnings"."""
        return self._call("POST", f"/v1/functions/{_segment(ref)}/deployments", json={"version": version})

    def split(self, ref: str, weights: dict[int, int]) -> Json:
        """Let several existing versions serve, each by its weight. Returns the deployment, with "warnings"."""
        split = [{"version": version, "weight": weight} for version, weight in weights.items()]
        return self._call("POST", f"/v1/functions/{_segment(ref)}/deployments", json={"split": split})

    def prune(self, ref: str, keep: int, days: float, *, dry_run: bool) -> Json:
        """Remove old versions. Returns what went, and why the others stayed."""
        body = {"keep": keep, "days": days, "dry_run": dry_run}
        return self._call("POST", f"/v1/functions/{_segment(ref)}/versions/prune", json=body)

    def set_rule(self, ref: str, keep: int, days: float) -> Json:
        """By which old versions go by themselves. Returns the function."""
        return self._call("PUT", f"/v1/functions/{_segment(ref)}/versions/rule", json={"keep": keep, "days": days})

    def clear_rule(self, ref: str) -> None:
        self._call("DELETE", f"/v1/functions/{_segment(ref)}/versions/rule")

    def domains(self, ref: str) -> list[Json]:
        return self._list(f"/v1/functions/{_segment(ref)}/domains", "domains")

    def verify_domain(self, ref: str, name: str) -> Json:
        return self._call("POST", f"/v1/functions/{_segment(ref)}/domains/verify", json={"name": name})

    def logs(self, ref: str, params: dict[str, str]) -> list[Json]:
        """All lines that `params` ask for, the oldest first."""
        path = f"/v1/functions/{_segment(ref)}/logs"
        if "last" in params:
            return list(self._call("GET", path, params=params)["logs"])
        return self._list(path, "logs", params)

    def metrics(self, ref: str, minutes: int) -> Json:
        return self._call("GET", f"/v1/functions/{_segment(ref)}/metrics", params={"minutes": str(minutes)})

    def follow_logs(self, ref: str, params: dict[str, str]) -> Iterator[Json]:
        """Lines as they come, until the host ends it."""
        path = f"/v1/functions/{_segment(ref)}/logs"
        with self._opened("GET", path, params={**params, "follow": "true"}) as response:
            for line in response.iter_lines():
                if line:
                    yield json.loads(line)

    def actor_types(self) -> list[Json]:
        found: list[Json] = self._call("GET", "/v1/actor-types")["types"]
        return found

    def actors(self, actor_type: str | None, prefix: str) -> Iterator[Json]:
        """In order of type and name, asked for as they are needed."""
        params = {**({"type": actor_type} if actor_type else {}), **({"prefix": prefix} if prefix else {})}
        return self._entries("/v1/actors", "actors", params)

    def actor(self, actor_type: str, name: str) -> Json:
        return self._call("GET", "/v1/actor", params={"type": actor_type, "name": name})

    def delete_actor(self, actor_type: str, name: str) -> None:
        self._call("DELETE", "/v1/actor", params={"type": actor_type, "name": name})

    def actor_keys(self, actor_type: str, name: str, prefix: str) -> Iterator[Json]:
        """`key`, and "value" or "text"; asked for as they are needed."""
        return self._entries("/v1/actor/keys", "keys", {"type": actor_type, "name": name, "prefix": prefix})

    def actor_key(self, actor_type: str, name: str, key: str) -> Json:
        return self._call("GET", "/v1/actor/key", params={"type": actor_type, "name": name, "key": key})

    def put_actor_key(self, actor_type: str, name: str, key: str, value: str) -> Json:
        """`value` is JSON."""
        params = {"type": actor_type, "name": name, "key": key}
        return self._call("PUT", "/v1/actor/key", params=params, content=value.encode())

    def delete_actor_key(self, actor_type: str, name: str, key: str) -> None:
        self._call("DELETE", "/v1/actor/key", params={"type": actor_type, "name": name, "key": key})

    def invoke_actor(self, actor_type: str, name: str, method: str, arguments: list[Any]) -> Any:
        """What the method returned."""
        params, body = {"type": actor_type, "name": name}, {"method": method, "args": arguments}
        return self._call("POST", "/v1/actor/invoke", params=params, json=body)["result"]

    def fetch_actor(self, actor_type: str, name: str, request: Json) -> Json:
        """`request`: "method", "path", "headers", "body". The reply: "status", "headers", "body", "base64"."""
        return self._call("POST", "/v1/actor/fetch", params={"type": actor_type, "name": name}, json=request)

    def export_actors(self, actor_type: str | None, name: str | None, tenant: str | None) -> Iterator[bytes]:
        """One actor, or all of a tenant (the own one): pieces of lines."""
        params = {} if actor_type is None or name is None else {"type": actor_type, "name": name}
        return self._stream(_actors_path(tenant, "export"), params)

    def import_actors(self, export: bytes, tenant: str | None, *, replace: bool, check: bool = False) -> Json:
        """`imported`: how many. With `check` only what would refuse it does."""
        params = {"replace": str(replace).lower(), "check": str(check).lower()}
        return self._call("POST", _actors_path(tenant, "import"), params=params, content=export, timeout=None)

    def alarms(self, state: str, actor_type: str | None, cursor: str = "") -> Json:
        """A page: "alarms" and "next". `state` is "dead" or "waiting"."""
        params = {"state": state, "cursor": cursor, "limit": str(PAGE), **({"type": actor_type} if actor_type else {})}
        return self._call("GET", "/v1/alarms", params=params)

    def retry_alarm(self, actor_type: str, name: str) -> Json:
        return self._call("POST", "/v1/alarms/retry", json={"type": actor_type, "name": name})

    def retry_alarms(self, actor_type: str) -> Json:
        """As many of the type's dead alarms as one request takes: "retried", and "more" if there are others."""
        return self._call("POST", "/v1/alarms/retry", json={"type": actor_type, "all": True})

    def secrets(self) -> list[Json]:
        return self._list("/v1/secrets", "secrets")

    def put_secret(self, name: str, value: str) -> Json:
        return self._call("PUT", f"/v1/secrets/{_segment(name)}", json={"value": value})

    def delete_secret(self, name: str) -> None:
        self._call("DELETE", f"/v1/secrets/{_segment(name)}")

    def rotate_secrets_key(self) -> Json:
        """ "sealed": how many secrets have the new key."""
        return self._call("POST", "/v1/secrets-key/rotate")

    def backups(self) -> list[Json]:
        """The oldest first."""
        return self._list("/v1/backups", "backups")

    def backup(self, backup_id: str) -> Json:
        return self._call("GET", f"/v1/backups/{_segment(backup_id)}")

    def create_backup(self, keep: int | None) -> Json:
        """It is begun, "running"."""
        return self._call("POST", "/v1/backups", json={} if keep is None else {"keep": keep})

    def delete_backup(self, backup_id: str) -> None:
        self._call("DELETE", f"/v1/backups/{_segment(backup_id)}")

    def tenants(self) -> list[Json]:
        return self._list("/v1/tenants", "tenants")

    def tenant(self, tenant: str) -> Json:
        return self._call("GET", f"/v1/tenants/{_segment(tenant)}")

    def create_tenant(self, tenant: str) -> Json:
        return self._call("POST", "/v1/tenants", json={"id": tenant})

    def suspend_tenant(self, tenant: str) -> Json:
        return self._call("POST", f"/v1/tenants/{_segment(tenant)}/suspend")

    def resume_tenant(self, tenant: str) -> Json:
        return self._call("POST", f"/v1/tenants/{_segment(tenant)}/resume")

    def delete_tenant(self, tenant: str) -> None:
        self._call("DELETE", f"/v1/tenants/{_segment(tenant)}")

    def quotas(self, tenant: str) -> Json:
        """ "quotas", each with what is used of it, and "counted"."""
        return self._call("GET", f"/v1/tenants/{_segment(tenant)}/quotas")

    def change_quotas(self, tenant: str, quotas: Json) -> Json:
        """A number, None for none, or "default" for each."""
        return self._call("PATCH", f"/v1/tenants/{_segment(tenant)}/quotas", json=quotas)

    def usage(self, function: str | None, tenant: str | None, days: int) -> Json:
        """Of a function of one's own, or of a tenant: the own one when none is named. "days", and as `quotas`."""
        of = f"/functions/{_segment(function)}" if function is not None else ""
        of = f"/tenants/{_segment(tenant)}" if tenant is not None else of
        return self._call("GET", f"/v1{of}/usage", params={"days": str(days)})

    def keys(self, tenant: str | None = None) -> list[Json]:
        """Of a tenant, for its operator, or of one's own."""
        return self._list(_keys_path(tenant), "keys")

    def create_key(
        self, name: str, scope: str, expires_at: str | None, *, tenant: str | None = None, role: str = "tenant"
    ) -> Json:
        """The key as it is listed, and in "key" the key itself. `role` counts with a `tenant` only."""
        body = {"name": name, "scope": scope, "expires_at": expires_at, **({"role": role} if tenant else {})}
        return self._call("POST", _keys_path(tenant), json=body)

    def revoke_key(self, key_id: str, tenant: str | None = None) -> None:
        self._call("DELETE", f"{_keys_path(tenant)}/{_segment(key_id)}")

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    def _list(self, path: str, field: str, wanted: Mapping[str, str] = MappingProxyType({})) -> list[Json]:
        """All pages of a list."""
        found: list[Json] = []
        params = {**wanted, "limit": str(PAGE)}
        while True:
            page = self._call("GET", path, params=params)
            found += page[field]
            if not page.get("next"):
                return found
            params["cursor"] = page["next"]

    def _entries(self, path: str, field: str, params: dict[str, str]) -> Iterator[Json]:
        """The entries of a list, whose pages are asked for one after the other."""
        params = {**params, "limit": str(PAGE)}
        while True:
            page = self._call("GET", path, params=params)
            yield from page[field]
            if not page.get("next"):
                return
            params["cursor"] = page["next"]

    def _stream(self, path: str, params: dict[str, str]) -> Iterator[bytes]:
        """The body of a reply as it comes."""
        with self._opened("GET", path, params=params) as response:
            yield from response.iter_bytes()

    def _call(self, method: str, path: str, **arguments: Any) -> Json:
        with self._opened(method, path, **arguments) as response:
            response.read()
            return self._json(response)

    @contextmanager
    def _opened(self, method: str, path: str, **arguments: Any) -> Iterator[httpx.Response]:
        """A reply whose body is still to be read. Raises CliError, for what goes wrong while it is read, too."""
        import httpx

        if not self._key:
            raise CliError(
                "No API key is set.",
                "Run `tenure auth api-key set KEY`; the host wrote its first key to DATA/operator.key.",
            )
        if self._http is None:
            timeout = httpx.Timeout(REPLY_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
            self._http = httpx.Client(base_url=self.endpoint, timeout=timeout)
        headers = {"authorization": f"Bearer {self._key}", **arguments.pop("headers", {})}
        try:
            with self._http.stream(method, path, headers=headers, **arguments) as response:
                if not response.is_success:
                    response.read()
                    self._json(response)  # raises
                yield response
        except httpx.ConnectError:
            raise CliError(
                f"No Tenure host answers at {self.endpoint}.",
                "Start one with `tenure serve`, or set TENURE_ENDPOINT to the admin address of yours.",
            ) from None
        except httpx.TimeoutException:
            raise CliError(f"The host at {self.endpoint} did not answer in time.", "Try again in a moment.") from None
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as error:
            raise CliError(f"Talking to {self.endpoint} failed: {error or type(error).__name__}.") from None

    def _json(self, response: httpx.Response) -> Json:
        if response.status_code == 204:
            return {}
        try:
            value = response.json()
        except ValueError:
            value = None
        if response.is_success and isinstance(value, dict):
            return value
        if response.status_code == 401:
            raise AdminError(
                401,
                "unauthorized",
                f"The host at {self.endpoint} does not accept this API key.",
                "Set a valid one with `tenure auth api-key set KEY` (see DATA/operator.key on the host).",
            )
        errors = value.get("errors") if isinstance(value, dict) else None
        if not isinstance(errors, list) or not errors:
            raise CliError(
                f"{self.endpoint} answered {response.status_code}, but not like a Tenure admin API.",
                "Check TENURE_ENDPOINT: it is the host's admin address (port 8788 by default), not a function's.",
            )
        code = str(errors[0].get("code", ""))
        details = tuple(_detail(error) for error in errors)
        if len(details) == 1:
            raise AdminError(response.status_code, code, details[0])
        raise AdminError(response.status_code, code, f"The host refused this for {len(details)} reasons:", more=details)


def _detail(error: Json) -> str:
    """What an error says. That of an actor has a name, by which its author knows it."""
    detail = str(error.get("detail") or error.get("title"))
    return f"{error.get('title')}: {detail}" if error.get("code") == "actor_failed" else detail


def _actors_path(tenant: str | None, what: str) -> str:
    return f"/v1/actors/{what}" if tenant is None else f"/v1/tenants/{_segment(tenant)}/actors/{what}"


def _keys_path(tenant: str | None) -> str:
    return "/v1/keys" if tenant is None else f"/v1/tenants/{_segment(tenant)}/keys"


def _segment(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def _pieces(path: Path, sent: Callable[[int], None]) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            yield piece
            sent(len(piece))
