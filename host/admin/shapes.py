"""What replies look like: TypedDicts, which mypy holds the code to and `openapi` makes the public document of.

A docstring describes a shape to the reader of that document, `Annotated[..., Meta(description=...)]` a field. A page of
a list has the list and `next`. Times are ISO 8601 in UTC. Those of functions are in `function_shapes`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from host.registry.records import Role, Scope, TenantStatus

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Next = Annotated[str | None, Meta(description="The `cursor` of the next page; null on the last one.")]
By = Annotated[str, Meta(description='Name of the API key that did it; "" if unknown.')]
Digest = Annotated[str, Meta(description="SHA-256 of the component, in hex.")]
Size = Annotated[int, Meta(description="Bytes.", ge=0)]
Count = Annotated[int, Meta(ge=0)]
Over = Annotated[dict[str, int], Meta(description="How often something was refused, by quota.")]


class Whoami(TypedDict):
    """The key that asks."""

    tenant: str
    name: str
    role: Role
    scope: Scope


class HostStatus(TypedDict, total=False):
    """A tenant sees `version`, `uptime_s`, `functions_url` and `functions`, the number of its own; an operator all the
    others too, which are counts of the whole host and may change with each release.
    """

    version: Annotated[str, Meta(description="Of the host.")]
    uptime_s: float
    functions_url: Annotated[str, Meta(description="NAME-ID is what each function has in its place.")]
    functions: Count


# --- logs and metrics -------------------------------------------------------------------------------------------------


class LogLine(TypedDict):
    """A line of a function's log. `text` is not there in an invocation; `method` and what follows is there only. A
    notice, which the host writes, has no `version`.
    """

    time: Time
    type: Literal["console", "error", "invocation", "notice"]
    level: Literal["debug", "info", "warn", "error"]
    instance: Annotated[str, Meta(description="`handler`, or type and name of an actor, such as `Account/bob`.")]
    version: NotRequired[Annotated[int, Meta(description="Not in a notice.")]]
    request_id: str
    cursor: Annotated[str, Meta(description="What comes after this line is asked for with it.")]
    text: NotRequired[str]
    method: NotRequired[str]
    path: NotRequired[str]
    outcome: NotRequired[str]
    status: NotRequired[int]
    error: NotRequired[str]
    wall_ms: NotRequired[float]
    cpu_ms: NotRequired[float]
    bytes_in: NotRequired[int]
    bytes_out: NotRequired[int]


class LogPage(TypedDict):
    logs: list[LogLine]
    next: Next
    cursor: Annotated[str, Meta(description="Where to go on when more has come.")]


class Sums(TypedDict):
    """Of invocations. Percentiles are of their wall time; null when there was none."""

    count: Count
    errors: Count
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cpu_ms: float
    bytes_in: Count
    bytes_out: Count


class Minute(Sums):
    time: Time


class Instances(TypedDict):
    """In memory now."""

    actor: Count
    handler: Count


class Metrics(Sums):
    minutes: int
    outcomes: Annotated[dict[str, int], Meta(description="Invocations by how they ended.")]
    outbound: Annotated[Count, Meta(description="Requests to the outside.")]
    over: Over
    instances: Instances
    memory_bytes_max: Annotated[int, Meta(description="What the instances may take together.")]
    stored_bytes: Annotated[Count, Meta(description="What its actors store.")]
    series: Annotated[list[Minute], Meta(description="The minutes in which it was called.")]


# --- actors and alarms ------------------------------------------------------------------------------------------------


class ActorType(TypedDict):
    """`more`: there are more actors than were counted."""

    type: str
    function: Annotated[str | None, Meta(description="The one that owns the type.")]
    actors: Count
    size: Size
    more: bool


class ActorTypes(TypedDict):
    types: list[ActorType]


class Actor(TypedDict):
    type: str
    name: str
    size: Size
    created_at: Time | None
    last_used_at: Annotated[Time | None, Meta(description="When it had a turn, to ten minutes.")]
    alarm_at: Time | None


class ActorPage(TypedDict):
    actors: list[Actor]
    next: Next


class DeadAlarmOfActor(TypedDict):
    due_at: Time | None
    failed_at: Time | None
    error: str
    message: str


class InspectedActor(Actor):
    dead_alarm: DeadAlarmOfActor | None
    in_memory: Annotated[bool, Meta(description="It has an activation.")]
    busy: Annotated[bool, Meta(description="A turn runs.")]
    waiting: Annotated[Count, Meta(description="Calls in its queue.")]


class Stored(TypedDict):
    """A key of an actor: its `value`, a wire value, or `text` for what is no JSON."""

    key: str
    value: NotRequired[Any]
    text: NotRequired[str]


class StoredPage(TypedDict):
    keys: list[Stored]
    next: Next


class Returned(TypedDict):
    """What the method returned, a wire value."""

    result: Any


class Fetched(TypedDict):
    """An actor's reply to a request. `body` is a text, or base64 if `base64` is true."""

    status: int
    headers: Annotated[list[list[str]], Meta(description="Pairs of a name and a value.")]
    body: str
    base64: bool


class Imported(TypedDict):
    imported: Annotated[Count, Meta(description="How many actors.")]


class Alarm(TypedDict):
    """`retries` is there for one that is set; `failed_at`, `error` and `message` for a dead one."""

    type: str
    name: str
    due_at: Time | None
    retries: NotRequired[Count]
    failed_at: NotRequired[Time | None]
    error: NotRequired[str]
    message: NotRequired[str]


class AlarmPage(TypedDict):
    alarms: list[Alarm]
    next: Next


class Retried(TypedDict):
    retried: Count
    more: Annotated[bool, Meta(description="There are others: ask again.")]


# --- accounts ---------------------------------------------------------------------------------------------------------


class Secret(TypedDict):
    """Never with its value."""

    name: str
    created_at: Time
    updated_at: Time
    by: By
    used_by: Annotated[list[str], Meta(description="Functions whose serving version binds it.")]


class SecretPage(TypedDict):
    secrets: list[Secret]
    next: Next


class Sealed(TypedDict):
    sealed: Annotated[Count, Meta(description="How many secrets have the new key.")]


class Key(TypedDict):
    """An API key, without the key itself."""

    id: str
    name: str
    scope: Scope
    role: Role
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


class NewlyMadeKey(Key):
    """With the key itself, this once."""

    key: str


class KeyPage(TypedDict):
    keys: list[Key]
    next: Next


class Tenant(TypedDict):
    id: str
    status: TenantStatus
    created_at: Time
    status_since: Time
    functions: Count
    keys: Count
    secrets: Count


class TenantPage(TypedDict):
    tenants: list[Tenant]
    next: Next
