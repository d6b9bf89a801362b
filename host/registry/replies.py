"""Replies to requests with an Idempotency-Key, kept for a day: a client that lost one asks again and gets the same.

A request is *claimed* durably before it is carried out. So when the host stops in between, the same request is not
carried out a second time: nobody knows what became of the first, and the client is told so.

A reply may hold what is shown once only (a new API key), and a request's body what must not be kept at all (a secret).
So a reply is sealed with a key that is made of the caller's own API key, which the host does not have, and a body is
known by a digest that is keyed the same way. What is stored opens to nobody but the caller.

Invariants: a claim belongs to the API key it was made with; of two requests with one idempotency key at once the second
is refused; at most `KEPT_MAX` are kept for a tenant.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from host.model.clock import Clock
from host.model.errors import Conflict, IdempotencyKeyReused, UsageError
from host.registry import store
from host.registry.records import KeptReplyRecord

KEPT_MS = 86_400_000
KEPT_MAX = 10_000
"""Kept replies of one tenant."""
KEY_CHARS_MAX = 255
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply, as it is sent again. `content_type` is "" for one without a body."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to carry a request out, to be given back with `settle` or `release`."""

    record: KeptReplyRecord
    cipher: AESGCM


class KeptReplies:
    """One per registry, whose `load` comes first."""

    def __init__(self, kept: store.Store, clock: Clock) -> None:
        self._store = kept
        self._clock = clock
        self._records: dict[str, dict[str, KeptReplyRecord]] = {}
        self._running: set[str] = set()

    def load(self) -> None:
        """Read what is stored. Raises UnreadableRecord."""
        for record in sorted(self._store.read(KeptReplyRecord), key=lambda record: record.created_ms):
            self._records.setdefault(record.tenant, {})[record.id] = record

    async def claim(self, tenant: str, api_key: str, key: str, request: bytes, body: bytes) -> Claim | Reply:
        """What was replied to this request before, or the right to carry it out.

        `api_key` is the caller's, as it was sent; `key` the idempotency key; `request` names the method and the path;
        `body` is the request's, or a digest of it. Raises UsageError (the key, too many), IdempotencyKeyReused (with
        another request), Conflict (it is being carried out, or was cut off), StorageBroken, Unavailable.
        """
        if not 0 < len(key) <= KEY_CHARS_MAX or not (key.isascii() and key.isprintable()):
            raise UsageError(f"An Idempotency-Key has 1 to {KEY_CHARS_MAX} printable ASCII characters.")
        secret = hmac.digest(api_key.encode(), b"tenure kept reply\0" + key.encode(), "sha256")
        name = hashlib.sha256(b"name\0" + secret).hexdigest()
        digest = hmac.new(secret, request + b"\0" + body, "sha256").hexdigest()
        cipher = AESGCM(hmac.digest(secret, b"seal", "sha256"))
        found = self._records.get(tenant, {}).get(name)
        if found is not None and not self._expired(found):
            return self._again(found, digest, cipher)
        expired = [store.drop_kept_reply(record) for record in self._forget_expired(tenant)]
        mine = self._records.setdefault(tenant, {})
        if len(mine) >= KEPT_MAX:
            raise UsageError(
                f"{KEPT_MAX:,} replies of yours are kept, the most allowed in a day. Send no Idempotency-Key."
            )
        record = KeptReplyRecord(tenant, name, digest, self._clock.now())
        mine[name] = record
        self._running.add(name)
        try:
            await self._store.commit([*expired, store.put_kept_reply(record)])
        except BaseException:
            self._running.discard(name)
            mine.pop(name, None)
            raise
        return Claim(record, cipher)

    def _again(self, found: KeptReplyRecord, digest: str, cipher: AESGCM) -> Reply:
        if not hmac.compare_digest(found.digest, digest):
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used for another request within the last day. Use a new key for each."
            )
        if found.id in self._running:
            raise Conflict("The request with this Idempotency-Key is being carried out. Ask again in a moment.")
        if found.status is None:
            raise Conflict(
                "The request with this Idempotency-Key was cut off, so it may or may not have been carried out. "
                "Look at what is there, and use another key."
            )
        sealed = base64.b64decode(found.sealed)
        try:
            body = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], found.id.encode())
        except InvalidTag:
            raise Conflict("The reply that was kept for this Idempotency-Key is damaged. Use another key.") from None
        return Reply(found.status, found.content_type, body)

    async def settle(self, claim: Claim, reply: Reply) -> None:
        """Keep the reply; it may be sent when this returns. Raises StorageBroken, Unavailable."""
        try:
            nonce = os.urandom(_NONCE_BYTES)
            sealed = nonce + claim.cipher.encrypt(nonce, reply.body, claim.record.id.encode())
            record = replace(
                claim.record,
                status=reply.status,
                content_type=reply.content_type,
                sealed=base64.b64encode(sealed).decode(),
            )
            await self._store.commit([store.put_kept_reply(record)])
            self._records[record.tenant][record.id] = record
        finally:
            self._running.discard(claim.record.id)

    async def release(self, claim: Claim) -> None:
        """The request changed nothing and may be tried again with the same key. Raises StorageBroken, Unavailable."""
        self._running.discard(claim.record.id)
        self._records.get(claim.record.tenant, {}).pop(claim.record.id, None)
        await self._store.commit([store.drop_kept_reply(claim.record)])

    def abandon(self, claim: Claim) -> None:
        """The request was cut off, and nobody knows how far it came."""
        self._running.discard(claim.record.id)

    async def delete_all(self, tenant: str) -> None:
        """Raises StorageBroken, Unavailable."""
        mine = self._records.pop(tenant, {})
        await self._store.commit([store.drop_kept_reply(record) for record in mine.values()])

    def _expired(self, record: KeptReplyRecord) -> bool:
        return record.created_ms + KEPT_MS <= self._clock.now() and record.id not in self._running

    def _forget_expired(self, tenant: str) -> Iterator[KeptReplyRecord]:
        """Those of a tenant, which are in the order they were made."""
        mine = self._records.get(tenant, {})
        for record in list(mine.values()):
            if not self._expired(record):
                return
            yield mine.pop(record.id)
