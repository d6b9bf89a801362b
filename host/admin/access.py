"""What each route needs of the key that calls it: all of them, in one table.

A route that is not in the table does not start: forgetting it must not open it. A caller sees its own tenant only; what
belongs to another one is not there (404), so ids cannot be probed. What is the operator's is refused (403) before
anything is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from quart import Quart
from werkzeug.routing import Rule

from host.registry.records import Scope


class Need(NamedTuple):
    """The least scope of a key; with `operator` it has to be an operator's key, too."""

    scope: Scope
    operator: bool = False


READ, DEPLOY, ADMIN = Need("read"), Need("deploy"), Need("admin")
OPERATOR_READS, OPERATOR = Need("read", operator=True), Need("admin", operator=True)

NEEDS: Mapping[str, Need] = MappingProxyType(
    {
        "GET /v1/status": READ,
        "GET /v1/whoami": READ,
        "GET /v1/openapi.json": READ,
        "GET /v1/functions": READ,
        "POST /v1/functions": DEPLOY,
        "GET /v1/functions/<ref>": READ,
        "DELETE /v1/functions/<ref>": ADMIN,
        "POST /v1/functions/<ref>/release": DEPLOY,
        "GET /v1/functions/<ref>/versions": READ,
        "POST /v1/functions/<ref>/versions": DEPLOY,
        "GET /v1/functions/<ref>/versions/<int:number>": READ,
        "POST /v1/functions/<ref>/versions/prune": ADMIN,
        "PUT /v1/functions/<ref>/versions/rule": ADMIN,
        "DELETE /v1/functions/<ref>/versions/rule": ADMIN,
        "GET /v1/functions/<ref>/deployments": READ,
        "POST /v1/functions/<ref>/deployments": DEPLOY,
        "GET /v1/functions/<ref>/domains": READ,
        "POST /v1/functions/<ref>/domains/verify": DEPLOY,
        "GET /v1/functions/<ref>/logs": READ,
        "GET /v1/functions/<ref>/metrics": READ,
        "GET /v1/functions/<ref>/usage": READ,
        "GET /v1/usage": READ,
        "GET /metrics": OPERATOR_READS,
        "GET /v1/secrets": READ,
        "PUT /v1/secrets/<name>": DEPLOY,
        "DELETE /v1/secrets/<name>": DEPLOY,
        "GET /v1/actor-types": READ,
        "GET /v1/actors": READ,
        "GET /v1/actors/export": READ,
        "POST /v1/actors/import": DEPLOY,
        "GET /v1/actor": READ,
        "DELETE /v1/actor": ADMIN,
        "GET /v1/actor/keys": READ,
        "GET /v1/actor/key": READ,
        "PUT /v1/actor/key": DEPLOY,
        "DELETE /v1/actor/key": DEPLOY,
        "POST /v1/actor/invoke": DEPLOY,
        "POST /v1/actor/fetch": DEPLOY,
        "GET /v1/alarms": READ,
        "POST /v1/alarms/retry": DEPLOY,
        "GET /v1/keys": ADMIN,
        "POST /v1/keys": ADMIN,
        "DELETE /v1/keys/<key_id>": ADMIN,
        "GET /v1/tenants": OPERATOR_READS,
        "POST /v1/tenants": OPERATOR,
        "GET /v1/tenants/<tenant>": OPERATOR_READS,
        "DELETE /v1/tenants/<tenant>": OPERATOR,
        "POST /v1/tenants/<tenant>/functions/<ref>/release": OPERATOR,
        "POST /v1/tenants/<tenant>/suspend": OPERATOR,
        "POST /v1/tenants/<tenant>/resume": OPERATOR,
        "GET /v1/tenants/<tenant>/usage": OPERATOR_READS,
        "GET /v1/tenants/<tenant>/quotas": OPERATOR_READS,
        "PATCH /v1/tenants/<tenant>/quotas": OPERATOR,
        "GET /v1/tenants/<tenant>/actors/export": OPERATOR,
        "POST /v1/tenants/<tenant>/actors/import": OPERATOR,
        "GET /v1/tenants/<tenant>/keys": OPERATOR_READS,
        "POST /v1/tenants/<tenant>/keys": OPERATOR,
        "DELETE /v1/tenants/<tenant>/keys/<key_id>": OPERATOR,
        "POST /v1/secrets-key/rotate": OPERATOR,
        "GET /v1/backups": OPERATOR_READS,
        "POST /v1/backups": OPERATOR,
        "GET /v1/backups/<backup_id>": OPERATOR_READS,
        "DELETE /v1/backups/<backup_id>": OPERATOR,
    }
)


def need_of(rule: Rule, method: str) -> Need:
    """HEAD needs what GET does; OPTIONS, which tells nothing but the methods, any key."""
    if method == "OPTIONS":
        return READ
    return NEEDS[f"{'GET' if method == 'HEAD' else method} {rule.rule}"]


def check_declared(app: Quart) -> None:
    """Raises RuntimeError, naming them, if there are routes that the table does not have."""
    declared = {f"{method} {rule.rule}" for rule in app.url_map.iter_rules() for method in methods_of(rule)}
    if missing := sorted(declared - set(NEEDS)):
        raise RuntimeError(f"host/admin/access.py does not say what these routes need: {', '.join(missing)}")


def methods_of(rule: Rule) -> set[str]:
    """Those that a route was written for."""
    return (rule.methods or set()) - {"HEAD", "OPTIONS"}
