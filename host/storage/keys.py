r"""The layout of every key in the engine.

A key begins with its *kind*, one byte that is never used for anything else, not even after it is retired. Then come its
parts, with no separator between them:

    text      its UTF-8 with every 00 written as 00 FF, then 00 01       "a\0b" -> 61 00 FF 62 00 01
    u32, u64  big-endian, unsigned
    rest      bytes as they are, only as the last part

So keys sort like their parts (texts by UTF-8 bytes, numbers by value), and no encoded text is the beginning of
another: whatever a tenant calls its actors, the range of one actor, type or tenant holds that one's keys only.

Ranges are (start, end) with start <= key < end, ready for `Engine.scan(*range)`.
"""

from __future__ import annotations

from enum import IntEnum, unique

from host.model.ids import ActorId

Range = tuple[bytes, bytes]

FORMAT_VERSION = 1
"""Of this layout. It grows when an older host could not read what a newer one wrote; see `storage.upgrade`."""


@unique
class Kind(IntEnum):
    """The first byte of a key. A retired kind stays here, marked as such."""

    FORMAT = 0x01  # -> the layout's version, as decimal text

    STATE = 0x10  # text tenant, text actor type, text name, rest user key -> wire value
    ACTOR = 0x11  # text tenant, text actor type, text name -> ActorRecord
    ALARM = 0x12  # u64 due ms, text tenant, text actor type, text name -> retry count so far, as decimal text
    DEAD_ALARM = 0x13  # text tenant, text actor type, text name -> JSON
    ACTOR_USE = 0x14  # text tenant, text actor type, text name -> when it last had a turn, ms as decimal text

    TENANT = 0x20  # text tenant -> JSON
    FUNCTION = 0x21  # text tenant, text function id -> JSON
    VERSION = 0x22  # text tenant, text function id, u32 number -> JSON
    API_KEY = 0x23  # rest hash of the key -> JSON
    API_KEY_USE = 0x24  # rest hash of the key -> when it was last used, ms since 1970 as decimal text
    SECRET = 0x25  # text tenant, text name -> JSON
    KEPT_REPLY = 0x26  # text tenant, rest hash -> JSON
    DOMAIN = 0x27  # text tenant, text host name -> JSON
    USAGE = 0x28  # u32 day since 1970, text tenant, text function id -> JSON


_STATE, _ACTOR, _ALARM, _DEAD_ALARM, _TENANT, _FUNCTION, _VERSION, _API_KEY = (
    bytes([kind])
    for kind in (
        Kind.STATE,
        Kind.ACTOR,
        Kind.ALARM,
        Kind.DEAD_ALARM,
        Kind.TENANT,
        Kind.FUNCTION,
        Kind.VERSION,
        Kind.API_KEY,
    )
)
_API_KEY_USE, _SECRET, _KEPT_REPLY = (bytes([kind]) for kind in (Kind.API_KEY_USE, Kind.SECRET, Kind.KEPT_REPLY))
_ACTOR_USE, _DOMAIN = bytes([Kind.ACTOR_USE]), bytes([Kind.DOMAIN])
_USAGE = bytes([Kind.USAGE])
_END = b"\x00\x01"
_U64_MAX = (1 << 64) - 1

FORMAT_KEY = bytes([Kind.FORMAT])


def _text(value: str) -> bytes:
    """Raises ValueError for a text with a lone surrogate, which has no UTF-8."""
    return value.encode().replace(b"\x00", b"\x00\xff") + _END


def _actor(actor: ActorId) -> bytes:
    return _text(actor.tenant) + _text(actor.type) + _text(actor.name)


def after(prefix: bytes) -> bytes:
    """The first key above all that begin with `prefix`. Raises ValueError if there is none (empty or only FF)."""
    head = prefix.rstrip(b"\xff")
    if not head:
        raise ValueError("there is no key above this prefix")
    return head[:-1] + bytes([head[-1] + 1])


def under(prefix: bytes) -> Range:
    """The range of all keys that begin with `prefix`."""
    return prefix, after(prefix)


# --- an actor's state -------------------------------------------------------------------------------------------------


def state_prefix(actor: ActorId) -> bytes:
    """What all of an actor's keys begin with: made once per activation, a key is this and the user key's UTF-8.

    Shape: 10, text tenant, text actor type, text name.
    """
    return _STATE + _actor(actor)


def state_range(actor: ActorId) -> Range:
    return under(state_prefix(actor))


# --- actors -----------------------------------------------------------------------------------------------------------


def actor_key(actor: ActorId) -> bytes:
    """Shape: 11, text tenant, text actor type, text name."""
    return _ACTOR + _actor(actor)


def actors_range(tenant: str, actor_type: str | None = None) -> Range:
    """A tenant's actors, in order of (type, name), or those of one type in order of name."""
    return under(_ACTOR + _text(tenant) + (b"" if actor_type is None else _text(actor_type)))


def actors_named(tenant: str, actor_type: str, beginning: str) -> Range:
    """A tenant's actors of a type whose name begins so, in order of name."""
    return under(_ACTOR + _text(tenant) + _text(actor_type) + _text(beginning)[: -len(_END)])


def actor_use_key(actor: ActorId) -> bytes:
    """Shape: 14, text tenant, text actor type, text name."""
    return _ACTOR_USE + _actor(actor)


def actors_after(actor: ActorId) -> bytes:
    """Where a page of actors goes on after this one: replaces the start of `actors_range`."""
    return actor_key(actor) + b"\x00"


def decode_actor(key: bytes) -> ActorId:
    """The actor of an ACTOR or DEAD_ALARM key. Raises ValueError for any other."""
    if key[:1] not in (_ACTOR, _DEAD_ALARM):
        raise ValueError("not the key of an actor")
    return _read_actor(key, 1)


def actors_type(key: bytes) -> tuple[str, str]:
    """The tenant and the actor type of an ACTOR key."""
    (tenant, actor_type), _ = _read_texts(_expect(key, _ACTOR), 1, 2)
    return tenant, actor_type


ACTORS: Range = under(_ACTOR)
"""Those of all tenants."""


# --- alarms -----------------------------------------------------------------------------------------------------------


def alarm_key(due_ms: int, actor: ActorId) -> bytes:
    """Shape: 12, u64 due ms since 1970, text tenant, text actor type, text name. A time beyond u64 becomes its edge."""
    return _ALARM + _u64(due_ms) + _actor(actor)


def alarms_due(until_ms: int) -> Range:
    """Alarms due at `until_ms` or before, the earliest first."""
    return _ALARM, after(_ALARM + _u64(until_ms))


ALARMS: Range = under(_ALARM)
"""All alarms, the earliest first."""


def decode_alarm(key: bytes) -> tuple[int, ActorId]:
    """(due ms, actor) of an ALARM key. Raises ValueError for any other."""
    if key[:1] != _ALARM or len(key) < 9:
        raise ValueError("not the key of an alarm")
    return int.from_bytes(key[1:9], "big"), _read_actor(key, 9)


def dead_alarm_key(actor: ActorId) -> bytes:
    """Shape: 13, text tenant, text actor type, text name."""
    return _DEAD_ALARM + _actor(actor)


def dead_alarms_range(tenant: str, actor_type: str | None = None) -> Range:
    """A tenant's dead alarms, in order of (type, name), or those of one type in order of name."""
    return under(_DEAD_ALARM + _text(tenant) + (b"" if actor_type is None else _text(actor_type)))


def dead_alarms_after(actor: ActorId) -> bytes:
    """Where a page of dead alarms goes on after this one: replaces the start of `dead_alarms_range`."""
    return dead_alarm_key(actor) + b"\x00"


# --- all that belongs to actors ---------------------------------------------------------------------------------------

ACTOR_DATA: dict[str, Range] = {
    "state": under(_STATE),
    "actors": under(_ACTOR),
    "alarms": ALARMS,
    "dead alarms": under(_DEAD_ALARM),
    "uses": under(_ACTOR_USE),
}
"""The kinds of keys that are in the shard of their actor, by name."""


def actor_part(key: bytes) -> tuple[ActorId, bytes]:
    """The actor that a key of ACTOR_DATA belongs to, and what all keys of that kind and actor begin with (of an alarm:
    all there is). Raises ValueError for any other key.
    """
    at = 9 if key[:1] == _ALARM else 1
    if key[:1] not in (_STATE, _ACTOR, _ALARM, _DEAD_ALARM, _ACTOR_USE) or len(key) < at:
        raise ValueError("not a key of an actor")
    texts, end = _read_texts(key, at, 3)
    return ActorId(*texts), key[:end]


# --- the registry -----------------------------------------------------------------------------------------------------


def tenant_key(tenant: str) -> bytes:
    """Shape: 20, text tenant."""
    return _TENANT + _text(tenant)


def function_key(tenant: str, function_id: str) -> bytes:
    """Shape: 21, text tenant, text function id."""
    return _FUNCTION + _text(tenant) + _text(function_id)


def functions_range(tenant: str) -> Range:
    return under(_FUNCTION + _text(tenant))


def version_key(tenant: str, function_id: str, number: int) -> bytes:
    """Shape: 22, text tenant, text function id, u32 number. Raises OverflowError beyond u32."""
    return _VERSION + _text(tenant) + _text(function_id) + number.to_bytes(4, "big")


def versions_range(tenant: str, function_id: str) -> Range:
    """A function's versions, in order of their number."""
    return under(_VERSION + _text(tenant) + _text(function_id))


def api_key_key(key_hash: bytes) -> bytes:
    """Shape: 23, rest hash."""
    return _API_KEY + key_hash


def api_key_use_key(key_hash: bytes) -> bytes:
    """Shape: 24, rest hash."""
    return _API_KEY_USE + key_hash


def secret_key(tenant: str, name: str) -> bytes:
    """Shape: 25, text tenant, text name."""
    return _SECRET + _text(tenant) + _text(name)


def kept_reply_key(tenant: str, request: bytes) -> bytes:
    """Shape: 26, text tenant, rest hash."""
    return _KEPT_REPLY + _text(tenant) + request


def domain_key(tenant: str, name: str) -> bytes:
    """Shape: 27, text tenant, text host name."""
    return _DOMAIN + _text(tenant) + _text(name)


def usage_key(day: int, tenant: str, function_id: str) -> bytes:
    """Shape: 28, u32 day since 1970, text tenant, text function id."""
    return _USAGE + day.to_bytes(4, "big") + _text(tenant) + _text(function_id)


def usage_range(day: int, tenant: str | None = None) -> Range:
    """What all functions used on a day, or those of a tenant."""
    return under(_USAGE + day.to_bytes(4, "big") + (b"" if tenant is None else _text(tenant)))


def decode_usage(key: bytes) -> tuple[str, str]:
    """(tenant, function id)."""
    (tenant, function_id), _ = _read_texts(_expect(key, _USAGE), 5, 2)
    return tenant, function_id


TENANTS: Range = under(_TENANT)
FUNCTIONS: Range = under(_FUNCTION)
VERSIONS: Range = under(_VERSION)
API_KEYS: Range = under(_API_KEY)
API_KEY_USES: Range = under(_API_KEY_USE)
SECRETS: Range = under(_SECRET)
KEPT_REPLIES: Range = under(_KEPT_REPLY)
DOMAINS: Range = under(_DOMAIN)
USAGE: Range = under(_USAGE)
REGISTRY: Range = _TENANT, bytes([0x30])
"""All kinds of the registry, and those it may get."""


def decode_tenant(key: bytes) -> str:
    (tenant,), _ = _read_texts(_expect(key, _TENANT), 1, 1)
    return tenant


def decode_function(key: bytes) -> tuple[str, str]:
    """(tenant, function id)."""
    (tenant, function_id), _ = _read_texts(_expect(key, _FUNCTION), 1, 2)
    return tenant, function_id


def decode_version(key: bytes) -> tuple[str, str, int]:
    """(tenant, function id, number)."""
    (tenant, function_id), end = _read_texts(_expect(key, _VERSION), 1, 2)
    return tenant, function_id, int.from_bytes(key[end:], "big")


# --- parts ------------------------------------------------------------------------------------------------------------


def _u64(number: int) -> bytes:
    return min(max(number, 0), _U64_MAX).to_bytes(8, "big")


def _expect(key: bytes, kind: bytes) -> bytes:
    if key[:1] != kind:
        raise ValueError(f"a key of kind {kind.hex()} was expected, this begins with {key[:1].hex() or 'nothing'}")
    return key


def _read_texts(key: bytes, at: int, count: int) -> tuple[list[str], int]:
    """`count` texts from offset `at`, and the offset behind them. Raises ValueError if they do not end."""
    texts = []
    for _ in range(count):
        end = key.find(_END, at)
        if end < 0:
            raise ValueError("a text in this key does not end")
        texts.append(key[at:end].replace(b"\x00\xff", b"\x00").decode())
        at = end + len(_END)
    return texts, at


def _read_actor(key: bytes, at: int) -> ActorId:
    (tenant, actor_type, name), end = _read_texts(key, at, 3)
    if end != len(key):
        raise ValueError("this key is longer than an actor's")
    return ActorId(tenant, actor_type, name)
