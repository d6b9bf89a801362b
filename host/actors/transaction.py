"""A turn's view of its actor's storage: what it wrote over what is committed, and what of it is to be committed.

Writes wait in *levels*. Level 0 is the turn; `begin` opens a level above another, `commit` pours it into the one below,
`rollback` drops it. A read looks through the levels from the top down, then in the engine. When the constructor is done
(`ready`), what it wrote is sealed: it will be committed even if the method that follows fails, because the activation
that remembers it lives on.

Nothing reaches the engine before `batch`, so a turn that fails leaves no trace. May be used on the sandbox's background
thread: it touches this object and reads the engine, nothing else.

What was read is kept for the size of the write that often follows; dropping it at any moment changes nothing but time.

Not here: when the batch is written and when the reply may leave (`actor`).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from host.model.ids import ActorId
from host.model.limits import Limits, MiB
from host.quotas.stored import Room
from host.sandbox.call import GuestFault
from host.sandbox.ports import Refusal
from host.storage.keys import Range, actor_key, after, alarm_key, dead_alarm_key, under
from host.storage.ports import DeleteRange, Engine, Write
from host.storage.records import ActorRecord

Batch = list[Write]

RESERVED_PREFIXES = (b"__telnyx_", b"__tenure_")
WRITE_BYTES_MIN = 128
"""What a write counts for at least, of a key that its turn has not written yet: a commit costs the loop a microsecond
or two for each key, however small (measured: 160 ms for 100,000), and all other turns wait for it."""
LIST_LIMIT_MAX = 1_000
LIST_BYTES_MAX = 32 * MiB
SCAN_CHUNK_FIRST, SCAN_CHUNK = 16, 64
READ_CACHE_KEYS_MAX, READ_CACHE_BYTES_MAX = 256, 64 << 10
CLEAR_KEYS_MAX, CLEAR_BYTES_MAX = 1_000, 256 << 10
"""How much `deleteAll` deletes key by key; more is one range. Each range in RocksDB's memory slows the read after the
next one (measured: by 30 us with 100 ranges, 170 with 1,000, 2,100 with 10,000). A range that was filled with so much
before is paid for: RocksDB's write buffer is full before there are many."""
DATE_MS_MAX = 8.64e15


class _Level:
    """Writes that are not committed yet. `cleared`: everything below is as if deleted. `growth`: by how many bytes the
    actor is larger than as seen from the level below.
    """

    __slots__ = ("below", "cleared", "growth", "writes")

    def __init__(self, below: _Level | None) -> None:
        self.below = below
        self.cleared = False
        self.growth = 0
        self.writes: dict[bytes, bytes | None] = {}


class Transaction:
    """Implements `sandbox.ports.Storage` for one turn. `prefix` is `keys.state_prefix(actor)`.

    `takes_alarm`: the turn answers to the actor's alarm, which its commit therefore removes unless it sets a new one.
    `room`: what may still be stored.
    """

    __slots__ = (
        "_actor",
        "_alarm",
        "_alarm_set",
        "_engine",
        "_levels",
        "_limits",
        "_next",
        "_prefix",
        "_read",
        "_read_bytes",
        "_record",
        "_room",
        "_sealed",
        "_sealed_alarm",
        "_takes_alarm",
        "_written",
        "is_ready",
    )

    def __init__(
        self,
        engine: Engine,
        actor: ActorId,
        prefix: bytes,
        record: ActorRecord,
        limits: Limits,
        takes_alarm: bool = False,
        room: Room | None = None,
    ) -> None:
        self._engine = engine
        self._actor = actor
        self._prefix = prefix
        self._record = record
        self._limits = limits
        self._levels: dict[int, _Level] = {0: _Level(None)}
        self._next = 1
        self._room = room
        self._read: dict[bytes, bytes | None] = {}
        self._read_bytes = 0
        self._written = 0
        self._takes_alarm = takes_alarm
        self._alarm: float | None = None if takes_alarm else record.alarm_ms
        self._alarm_set = False
        self._sealed: _Level | None = None
        self._sealed_alarm: tuple[float | None, bool] = (None, False)
        self.is_ready = False

    def get(self, txn: int, key: bytes) -> bytes | None:
        return self._seen(self._level(txn), key)

    def put(self, txn: int, key: bytes, value: bytes) -> None:
        level = self._level(txn)
        self._check_key(key)
        if len(value) > self._limits.value_bytes_max:
            raise Refusal("RangeError", f"a value takes at most {self._limits.value_bytes_max} bytes, not {len(value)}")
        growth = len(key) + len(value) - self._size(level, key)
        self._meter(level, key, len(key) + len(value))
        if growth > 0:
            used = self._used(level) + growth
            if used > self._limits.actor_bytes_max:
                raise Refusal("QuotaExceededError", f"one actor holds at most {self._limits.actor_bytes_max >> 20} MiB")
            if self._room is not None and (why_not := self._room.why_not(used - self._record.bytes_used)):
                raise Refusal("QuotaExceededError", why_not)
        level.writes[key] = value
        level.growth += growth

    def delete(self, txn: int, key: bytes) -> bool:
        level = self._level(txn)
        self._check_key(key)
        size = self._size(level, key)
        if size:
            self._meter(level, key, len(key))
            level.writes[key] = None
            level.growth -= size
        return size > 0

    def list(
        self, txn: int, prefix: bytes, start: bytes, end: bytes | None, reverse: bool, limit: int
    ) -> list[tuple[bytes, bytes]]:
        levels: list[_Level] = []
        level: _Level | None = self._level(txn)
        while level is not None:
            levels.append(level)
            if level.cleared:
                break
            level = level.below
        low, high = _bounds(prefix, start, end)
        over: dict[bytes, bytes | None] = {}
        for layer in reversed(levels):
            over.update((key, value) for key, value in layer.writes.items() if low <= key and (not high or key < high))
        limit = min(limit, LIST_LIMIT_MAX)
        found = {key: value for key, value in over.items() if value is not None}
        if not levels[-1].cleared:
            found.update(self._committed_list(low, high, reverse, limit, over))
        pairs = sorted(found.items(), reverse=reverse)[:limit]
        if sum(len(value) for _, value in pairs) > LIST_BYTES_MAX:
            raise GuestFault(f"a list holds at most {LIST_BYTES_MAX >> 20} MiB: ask for it in parts, with a limit")
        return pairs

    def delete_all(self, txn: int) -> None:
        self._clear(self._level(txn))

    def begin(self, txn: int) -> int:
        below = self._level(txn)
        if len(self._levels) > self._limits.operations_max:
            raise GuestFault("too many transactions are open at once")
        number, self._next = self._next, self._next + 1
        self._levels[number] = _Level(below)
        return number

    def commit(self, txn: int) -> None:
        level = self._close(txn)
        below = level.below
        assert below is not None
        if level.cleared:
            self._clear(below)
        for key, value in level.writes.items():  # one by one: what is below may have changed since `begin`
            below.growth += (0 if value is None else len(key) + len(value)) - self._size(below, key)
            below.writes[key] = value

    def rollback(self, txn: int) -> None:
        self._close(txn)

    def get_alarm(self) -> float | None:
        return self._alarm

    def set_alarm(self, at_ms: float | None) -> None:
        if at_ms is not None and not -DATE_MS_MAX <= at_ms <= DATE_MS_MAX:
            raise GuestFault("an alarm's time is a Date's")
        self._alarm, self._alarm_set = (None if at_ms is None else max(float(int(at_ms)), 0.0)), True

    def created(self, created_ms: int) -> None:
        """The actor was made then, somewhere else or before: for an import."""
        self._record = self._record._replace(created_ms=created_ms)

    def ready(self) -> None:
        if self.is_ready:
            raise GuestFault("an actor becomes ready once")
        self.is_ready = True
        self._sealed = self._levels[0]
        self._sealed_alarm = (self._alarm, self._alarm_set)
        self._levels = {0: _Level(self._sealed)}

    # For the actor, when the turn has ended.

    @property
    def left_open(self) -> bool:
        """Whether a transaction was neither committed nor rolled back: what it wrote is in no batch."""
        return len(self._levels) > 1

    def batch(self, success: bool, now_ms: float, alarm_now_ms: int | None) -> tuple[Batch, ActorRecord]:
        """What to commit, and the actor's record once it is. Without `success` only what the constructor sealed.

        `alarm_now_ms`: the alarm that the actor's record has now; it may have been moved since the turn began.
        """
        alarm_ms, alarm_set = (self._alarm, self._alarm_set) if success else self._sealed_alarm
        if success and self._takes_alarm:
            alarm_set = True
        level = self._levels[0] if success else self._sealed
        if level is None or (not _touched(level) and not alarm_set):
            return [], self._record
        writes: Batch = []
        final, cleared = _merged(level)
        if cleared:
            writes += self._clearing()
        looks = len(final) <= READ_CACHE_KEYS_MAX  # at more a delete of nothing costs less than to see that it is one
        for key, value in final.items():
            if value is not None or (not cleared and (not looks or self._committed(key) is not None)):
                writes.append((self._prefix + key, value))
        record = ActorRecord(max(self._used(level), 0), self._record.created_ms or int(now_ms), alarm_now_ms)
        if alarm_set:
            record = record._replace(alarm_ms=None if alarm_ms is None else int(alarm_ms))
            writes += _alarm_writes(self._actor, alarm_now_ms, record.alarm_ms)
            if self._engine.get(dead := dead_alarm_key(self._actor)) is not None:
                writes.append((dead, None))  # the actor has said what is to become of its alarm
        if record != self._record._replace(alarm_ms=alarm_now_ms):
            writes.append((actor_key(self._actor), record.encode()))
        return writes, record

    # Within.

    def _level(self, txn: int) -> _Level:
        level = self._levels.get(txn)
        if level is None:
            raise GuestFault(f"transaction {txn} is not open")
        return level

    def _close(self, txn: int) -> _Level:
        if txn == 0:
            raise GuestFault("the turn itself ends by its outcome")
        level = self._level(txn)
        del self._levels[txn]
        return level

    def _seen(self, level: _Level | None, key: bytes) -> bytes | None:
        while level is not None:
            if key in level.writes:
                return level.writes[key]
            if level.cleared:
                return None
            level = level.below
        return self._committed(key)

    def _size(self, level: _Level, key: bytes) -> int:
        """Bytes of the pair as seen from `level`; 0 when there is none."""
        value = self._seen(level, key)
        return 0 if value is None else len(key) + len(value)

    def _used(self, level: _Level | None) -> int:
        """Bytes of the whole actor as seen from `level`."""
        used = self._record.bytes_used
        while level is not None:
            used += level.growth
            level = level.below
        return used

    def _clear(self, level: _Level) -> None:
        level.writes.clear()
        level.cleared = True
        level.growth = -self._used(level.below)

    def _committed(self, key: bytes) -> bytes | None:
        read = self._read
        if key in read:
            return read[key]
        value = self._engine.get(self._prefix + key)
        size = len(key) + (0 if value is None else len(value))
        if size <= READ_CACHE_BYTES_MAX // 8:
            if len(read) >= READ_CACHE_KEYS_MAX or self._read_bytes + size > READ_CACHE_BYTES_MAX:
                read.clear()
                self._read_bytes = 0
            read[key] = value
            self._read_bytes += size
        return value

    def _clearing(self) -> Batch:
        """Deletes all that is committed."""
        low, high = under(self._prefix)
        if self._record.bytes_used <= CLEAR_BYTES_MAX:
            pairs = self._engine.scan(low, high, limit=CLEAR_KEYS_MAX + 1)
            if len(pairs) <= CLEAR_KEYS_MAX:
                return [(key, None) for key, _ in pairs]
        return [DeleteRange(low, high)]

    def _check_key(self, key: bytes) -> None:
        if not key:
            raise Refusal("TypeError", "a key is not empty")
        if len(key) > self._limits.key_bytes_max:
            raise Refusal("RangeError", f"a key takes at most {self._limits.key_bytes_max} bytes, not {len(key)}")
        if key.startswith(RESERVED_PREFIXES):
            raise Refusal("TypeError", "keys that begin with __telnyx_ or __tenure_ are reserved")

    def _meter(self, level: _Level, key: bytes, size: int) -> None:
        self._written += size if key in level.writes else max(size, WRITE_BYTES_MIN)
        if self._written > self._limits.turn_write_bytes_max:
            raise Refusal(
                "QuotaExceededError", f"one turn writes at most {self._limits.turn_write_bytes_max >> 20} MiB"
            )

    def _committed_list(
        self, low: bytes, high: bytes, reverse: bool, limit: int, over: Container[bytes]
    ) -> Iterator[tuple[bytes, bytes]]:
        """The first `limit` committed pairs of a range that nothing in `over` hides.

        It ends early beyond LIST_BYTES_MAX: a list that would need them all is refused, another needs no more of them.
        """
        size = 0
        for key, value in self._scan(low, high, reverse):
            if key in over:
                continue
            yield key, value
            limit -= 1
            size += len(value)
            if limit == 0 or size > LIST_BYTES_MAX:
                return

    def _scan(self, low: bytes, high: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """Committed pairs with low <= key < high ("" is no end), keys without the prefix, read in growing chunks."""
        prefix, cut = self._prefix, len(self._prefix)
        start, end = prefix + low, (prefix + high if high else after(prefix))
        size = SCAN_CHUNK_FIRST
        while True:
            chunk = self._engine.scan(start, end, reverse=reverse, limit=size)
            for key, value in chunk:
                yield key[cut:], value
            if len(chunk) < size:
                return
            size = min(size * 2, SCAN_CHUNK)
            if reverse:
                end = chunk[-1][0]
            else:
                start = chunk[-1][0] + b"\x00"


def _bounds(prefix: bytes, start: bytes, end: bytes | None) -> Range:
    """The range of keys that have `prefix` and lie in [start, end). An empty second bound is no bound."""
    low, high = max(prefix, start), b""
    if prefix.rstrip(b"\xff"):
        high = after(prefix)
    if end is not None and (not high or end < high):
        high = end
        if not end:
            return b"\x01", b"\x00"  # nothing lies below the empty key
    return low, high


def _touched(level: _Level | None) -> bool:
    while level is not None:
        if level.writes or level.cleared:
            return True
        level = level.below
    return False


def _merged(level: _Level) -> tuple[dict[bytes, bytes | None], bool]:
    """All writes from the bottom up to `level`, and whether what was there before is cleared."""
    below, cleared = _merged(level.below) if level.below is not None else ({}, False)
    if level.cleared:
        below, cleared = {}, True
    below.update(level.writes)
    return below, cleared


def _alarm_writes(actor: ActorId, before: int | None, now: int | None) -> Iterable[Write]:
    if before is not None and before != now:
        yield alarm_key(before, actor), None
    if now is not None:  # even at the same time: its tries are counted anew
        yield alarm_key(now, actor), b"0"
