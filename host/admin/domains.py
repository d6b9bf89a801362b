"""/v1/functions/{id or name}/domains: host names of a function's own, and showing whose they are."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta
from quart import Blueprint

from host.admin.auth import caller
from host.admin.contract import Input, NonEmpty, takes
from host.admin.function_shapes import Domain, DomainPage
from host.admin.paging import Paging, page_of
from host.admin.services import services
from host.admin.views import domain_json
from host.registry.domains import not_claimed

blueprint = Blueprint("domains", __name__)


class HostName(Input):
    name: Annotated[NonEmpty, Meta(description="One that the function claims in [[domains]].")]


@blueprint.get("/functions/<ref>/domains")
@takes()
async def list_domains(ref: str, query: Paging) -> DomainPage:
    """List the host names that a function claims, in order."""
    tenant, registry = caller().tenant, services().registry
    names = registry.claims(registry.function(tenant, ref))
    records = [registry.domains.record(tenant, name) for name in sorted(names)]
    page, following = page_of(query, records, lambda domain: (domain.name,))
    return {"domains": [domain_json(domain) for domain in page], "next": following}


@blueprint.post("/functions/<ref>/domains/verify")
@takes()
async def verify_domain(ref: str, body: HostName) -> Domain:
    """Look for the TXT record of a claimed host name. With the right text in it the name leads to the function."""
    tenant, registry = caller().tenant, services().registry
    function, name = registry.function(tenant, ref), body.name.lower().removesuffix(".")
    if name not in registry.claims(function):
        raise not_claimed(name)
    return domain_json(await registry.domains.verify(tenant, name))
