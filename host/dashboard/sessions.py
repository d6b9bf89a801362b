"""Who is signed in: an API key, held for as long as the session lasts, behind a token that only the browser has.

Sessions live in memory: they end with the control process. What a session may do is what its key may do at each moment,
because every page asks the admin API with the key; a key that is revoked, or has expired, ends the session at its next
request. The token is looked up by its hash, so how long a look-up takes tells nothing about tokens.

Invariants: at most `SESSIONS_MAX` sessions and `KEY_SESSIONS_MAX` of one key, those used longest ago go first; none is
older than `LIFE_S` or unused for `IDLE_S`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from host.model.clock import Clock

SESSIONS_MAX = 1_000
KEY_SESSIONS_MAX = 20
LIFE_S = 12 * 3600.0
IDLE_S = 2 * 3600.0
NOTICES_MAX = 5


@dataclass(slots=True, eq=False)
class Session:
    """`csrf` is what every form carries; `notices` are sentences for the next page."""

    key: str = field(repr=False)
    began_s: float
    used_s: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    notices: list[str] = field(default_factory=list)

    def notice(self, sentence: str) -> None:
        self.notices = [*self.notices, sentence][-NOTICES_MAX:]


class Sessions:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_hash: OrderedDict[str, Session] = OrderedDict()

    def begin(self, key: str) -> str:
        """A new session with an API key. Returns its token, which is told to nobody else."""
        now = self._clock.monotonic()
        self._end_old(now)
        same = [name for name, one in self._by_hash.items() if one.key == key]
        for name in same[: max(0, len(same) - KEY_SESSIONS_MAX + 1)]:
            del self._by_hash[name]
        if len(self._by_hash) >= SESSIONS_MAX:
            self._by_hash.popitem(last=False)
        token = secrets.token_urlsafe(32)
        self._by_hash[_hash(token)] = Session(key, now, now)
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token; it counts as used now. None if there is none or it has ended."""
        name, now = _hash(token), self._clock.monotonic()
        session = self._by_hash.get(name)
        if session is None:
            return None
        if _is_over(session, now):
            del self._by_hash[name]
            return None
        session.used_s = now
        self._by_hash.move_to_end(name)
        return session

    def goes_on(self, session: Session) -> bool:
        """Whether what was begun in a session may go on. It does not count as used."""
        return session in self._by_hash.values() and not _is_over(session, self._clock.monotonic())

    def end(self, token: str) -> None:
        self._by_hash.pop(_hash(token), None)

    def _end_old(self, now: float) -> None:
        for name in [name for name, one in self._by_hash.items() if _is_over(one, now)]:
            del self._by_hash[name]


def _is_over(session: Session, now: float) -> bool:
    return now - session.began_s >= LIFE_S or now - session.used_s >= IDLE_S


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
