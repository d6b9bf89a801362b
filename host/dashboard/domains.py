"""Host names of a function's own: which it claims, the TXT record that each needs, and looking whether it is there.

Claims are part of a version's manifest; so a name is added and removed by shipping, which the page says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from quart import Blueprint, render_template, request, url_for

from host.dashboard.api import ApiError
from host.dashboard.forms import asked, done
from host.dashboard.guard import Reply, ask

blueprint = Blueprint("domains", __name__)


@blueprint.get("/functions/<ref>/domains")
async def domains(ref: str) -> str:
    return await _page(ref)


@blueprint.post("/functions/<ref>/domains/verify")
async def verify(ref: str) -> Reply | tuple[str, int]:
    try:
        domain = await ask("POST", f"/functions/{ref}/domains/verify", body={"name": request.args.get("name", "")})
    except ApiError as error:
        if error.status not in (409, 503):
            raise
        return await _page(ref, error.sentences), error.status
    return done(f"{domain['name']} is verified: it leads to this function now.", url_for("domains.domains", ref=ref))


async def _page(ref: str, errors: Iterable[str] = ()) -> str:
    found, page = await asyncio.gather(
        ask("GET", f"/functions/{ref}"), ask("GET", f"/functions/{ref}/domains", asked("cursor"))
    )
    return await render_template("domains.html", function=found, page=page, errors=errors)
