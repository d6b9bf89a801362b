"""API keys: made once, shown once, stored as a hash.

A key has 256 random bits, so one round of SHA-256 is enough (there is nothing to guess by trying likely ones) and
looking the hash up in a dictionary tells an attacker who measures time nothing about the key.

When a key was last used is a hint for people, not worth a write per request: it is written at most once in
`USE_WRITTEN_EVERY_MS` for each key, without waiting for the disk, so a crash may lose the last minutes of it.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from host.model.clock import Clock
from host.registry import store
from host.registry.records import ApiKeyRecord, Role

KEY_PREFIX = "tnr_"
KEY = re.compile(r"tnr_[A-Za-z0-9_-]{43}")
USE_WRITTEN_EVERY_MS = 600_000


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> str:
    """`tnr_` and 43 URL-safe characters."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


class ApiKeys:
    """The keys in memory, by hash."""

    def __init__(self, kept: store.Store, clock: Clock) -> None:
        self._store = kept
        self._clock = clock
        self._by_hash: dict[str, ApiKeyRecord] = {}
        self._used_ms: dict[str, float] = {}
        self._written_ms: dict[str, float] = {}

    def add(self, record: ApiKeyRecord, used_ms: float | None = None) -> None:
        self._by_hash[record.hash] = record
        if used_ms is not None:
            self._used_ms[record.hash] = self._written_ms[record.hash] = used_ms

    def remove(self, record: ApiKeyRecord) -> None:
        """The key is nobody's from now on."""
        for table in (self._by_hash, self._used_ms, self._written_ms):
            table.pop(record.hash, None)

    def of_role(self, role: Role) -> list[ApiKeyRecord]:
        """Those that are still good."""
        return [one for one in self._by_hash.values() if one.role == role and not self.expired(one)]

    def of_tenant(self, tenant: str) -> list[ApiKeyRecord]:
        """In the order they were made, expired ones as well."""
        mine = (record for record in self._by_hash.values() if record.tenant == tenant)
        return sorted(mine, key=lambda record: (record.created_ms, record.hash))

    def expired(self, record: ApiKeyRecord) -> bool:
        return record.expires_ms is not None and record.expires_ms <= self._clock.now()

    def find(self, key: str) -> ApiKeyRecord | None:
        """Whose key this is, expired or not, without counting it as used."""
        return self._by_hash.get(hash_key(key)) if KEY.fullmatch(key) else None

    def authenticate(self, key: str) -> ApiKeyRecord | None:
        """Whose key this is; None for one that is not known, was revoked or has expired."""
        record = self.find(key)
        if record is None or self.expired(record):
            return None
        now = self._used_ms[record.hash] = self._clock.now()
        if now - self._written_ms.get(record.hash, -USE_WRITTEN_EVERY_MS) >= USE_WRITTEN_EVERY_MS:
            self._written_ms[record.hash] = now
            self._store.note(store.put_api_key_use(record, now))
        return record

    def last_used_ms(self, record: ApiKeyRecord) -> float | None:
        """Milliseconds since 1970, or None if the key was never used."""
        return self._used_ms.get(record.hash)
