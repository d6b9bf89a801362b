"""Host names that tenants bring along: who claims which, and whose it is shown to be.

A manifest's [[domains]] claims a name; a claim leads nowhere until the tenant has shown that the name is its own, with
a TXT record that holds a token only this tenant is given. That a name points to this host shows nothing: it would for
any tenant of it. DNS decides, and decides again: a claim of somebody else waits beside a verified one for as long as it
likes, and takes the name over when the record has its token and no longer that of the other, whose name it then no
longer is. So nobody can take a name by asking first, or keep one that is not theirs.

Invariants: at most one tenant has a name verified; at most one function of a tenant claims it; no name is the host's
own or below it.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace

from host.model.clock import Clock
from host.model.errors import Conflict, NotFound, Unavailable, UsageError
from host.registry import store
from host.registry.changes import Changes
from host.registry.ports import Resolver
from host.registry.records import DomainRecord
from host.storage.ports import Write

CLAIMS_MAX = 200
"""Names that a tenant claims, or did and has verified."""
RECORD = "_tenure."
"""What stands before the name where its TXT record is."""

NO_DNS = "This host does not ask DNS."
NOT_THERE = (
    "DNS has no TXT record at {record} with the text {token}. Add it where the DNS of {name} is kept, and try again "
    "when it is known: that can take as long as the time to live of what was there before."
)
ANOTHERS = (
    "{name} is verified for another tenant of this host, whose TXT record is still at {record}. Remove that record if "
    "the name is yours, and try again."
)


class Domains:
    """`await renew(tenant)` makes what is verified lead where it should. Of each registry there is one."""

    def __init__(
        self,
        kept: store.Store,
        changes: Changes,
        clock: Clock,
        base_domain: str,
        resolver: Resolver | None,
        renew: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = kept
        self._changes = changes
        self._clock = clock
        self._base = base_domain.strip(".").lower()
        self._resolver = resolver
        self._renew = renew
        self._records: dict[tuple[str, str], DomainRecord] = {}
        self._verified: dict[str, DomainRecord] = {}

    def load(self) -> None:
        """Blocks. Raises UnreadableRecord."""
        for record in self._store.read(DomainRecord):
            self._remember(record)

    def record(self, tenant: str, name: str) -> DomainRecord:
        """Raises NotFound for a name that the tenant does not claim."""
        found = self._records.get((tenant, name))
        if found is None:
            raise not_claimed(name)
        return found

    def verified(self, tenant: str, names: Collection[str]) -> tuple[str, ...]:
        """Those of `names` that are the tenant's."""
        return tuple(name for name in names if name in self._verified and self._verified[name].tenant == tenant)

    # --- claiming, within a change of the registry --------------------------------------------------------------------

    def claim(
        self, tenant: str, names: Sequence[str], others: Mapping[str, str]
    ) -> tuple[list[DomainRecord], list[Write]]:
        """(new claims, what is to be written) for a function that claims `names`; `others` are the names that the
        tenant's other functions claim, and which. What nobody claims any more and was never verified is forgotten.

        Raises Conflict (another function of the tenant claims it), UsageError (the host's own name; too many).
        """
        for name in names:
            if name == self._base or name.endswith("." + self._base):
                raise UsageError(f"[[domains]]: {name} belongs to this host. Claim a name of your own.")
            if name in others:
                raise Conflict(
                    f"The function {others[name]!r} claims {name} already. Remove it from that manifest and ship that "
                    "one first."
                )
        mine = [record for (owner, _), record in self._records.items() if owner == tenant]
        gone = [one for one in mine if one.verified_ms is None and one.name not in others and one.name not in names]
        now = self._clock.now()
        new = [
            DomainRecord(tenant, name, f"tenure-{secrets.token_hex(16)}", now)
            for name in names
            if (tenant, name) not in self._records
        ]
        if len(mine) - len(gone) + len(new) > CLAIMS_MAX:
            raise UsageError(f"You claim {CLAIMS_MAX} host names, the most allowed.")
        return new, [*map(store.put_domain, new), *map(store.drop_domain, gone)]

    def claimed(self, tenant: str, names: Sequence[str], others: Mapping[str, str], new: list[DomainRecord]) -> None:
        """What `claim` gave is written."""
        for key, one in list(self._records.items()):
            if key[0] == tenant and one.verified_ms is None and one.name not in others and one.name not in names:
                del self._records[key]
        for record in new:
            self._remember(record)

    # --- showing whose it is ------------------------------------------------------------------------------------------

    async def verify(self, tenant: str, name: str) -> DomainRecord:
        """Look for the token in DNS; the name leads to its function when this returns.

        Raises NotFound (not claimed), Conflict (the token is not there; another tenant's is, too), Unavailable (DNS
        cannot be asked), StorageBroken.
        """
        self.record(tenant, name)
        if self._resolver is None:
            raise Unavailable(NO_DNS)
        texts = await self._resolver.txt(RECORD + name)

        async def change() -> DomainRecord:
            record = self.record(tenant, name)
            holder = self._verified.get(name)
            if record.token not in texts:
                raise Conflict(NOT_THERE.format(record=RECORD + name, token=record.token, name=name))
            if holder is not None and holder.tenant == tenant:
                return holder
            if holder is not None and holder.token in texts:
                raise Conflict(ANOTHERS.format(record=RECORD + name, name=name))
            record = replace(record, verified_ms=self._clock.now())
            lost = [] if holder is None else [replace(holder, verified_ms=None)]
            await self._store.commit([store.put_domain(one) for one in (*lost, record)])
            for one in (*lost, record):
                self._remember(one)
                await self._renew(one.tenant)
            return record

        return await self._changes.run(change())

    async def delete_all(self, tenant: str) -> None:
        """Of a tenant that is deleted. Raises StorageBroken, Unavailable."""

        async def change() -> None:
            mine = [record for (owner, _), record in self._records.items() if owner == tenant]
            if mine:
                await self._store.commit([store.drop_domain(record) for record in mine])
            for record in mine:
                del self._records[tenant, record.name]
                if self._verified.get(record.name) is record:
                    del self._verified[record.name]

        await self._changes.run(change())

    def _remember(self, record: DomainRecord) -> None:
        before = self._records.get((record.tenant, record.name))
        self._records[record.tenant, record.name] = record
        if record.verified_ms is not None:
            self._verified[record.name] = record
        elif before is not None and self._verified.get(record.name) is before:
            del self._verified[record.name]


def not_claimed(name: str) -> NotFound:
    return NotFound(f"The function does not claim {name[:253]!r}. Name it in [[domains]] of its manifest, and ship.")
