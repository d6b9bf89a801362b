"""API keys: made once, shown once, stored as a hash.

A key has 256 random bits, so one round of SHA-256 is enough (there is nothing to guess by trying likely ones) and
looking the hash up in a dictionary tells an attacker who measures time nothing about the key.

When a key was last used is kept in memory only: it is a hint for people, not worth a write per request.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from host.model.clock import Clock
from host.registry.records import ApiKeyRecord, Role

KEY_PREFIX = "tnr_"
KEY = re.compile(r"tnr_[A-Za-z0-9_-]{43}")


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def new_key() -> str:
    """`tnr_` and 43 URL-safe characters."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


class ApiKeys:
    """The keys in memory, by hash."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_hash: dict[str, ApiKeyRecord] = {}
        self._used_ms: dict[str, float] = {}

    def add(self, record: ApiKeyRecord) -> None:
        self._by_hash[record.hash] = record

    def of_role(self, role: Role) -> list[ApiKeyRecord]:
        return [record for record in self._by_hash.values() if record.role == role]

    def authenticate(self, key: str) -> ApiKeyRecord | None:
        """Whose key this is, or None."""
        if not KEY.fullmatch(key):
            return None
        record = self._by_hash.get(hash_key(key))
        if record is not None:
            self._used_ms[record.hash] = self._clock.now()
        return record

    def last_used_ms(self, record: ApiKeyRecord) -> float | None:
        """Milliseconds since 1970, or None if the key was not used since the host started."""
        return self._used_ms.get(record.hash)
