"""/v1/alarms: a tenant's alarms, waiting and dead, and putting dead ones back."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta
from quart import Blueprint

from host.actors.dead import DeadAlarm, WaitingAlarm
from host.admin.auth import caller
from host.admin.contract import Input, NonEmpty, takes
from host.admin.paging import Paging, cursor_of, read_cursor, wrong_cursor
from host.admin.services import services
from host.admin.shapes import Alarm, AlarmPage, Retried
from host.admin.views import moment
from host.model.errors import Unavailable, UsageError
from host.model.ids import ActorId
from host.supervisor.alarms import AlarmSource

blueprint = Blueprint("alarms", __name__)


class AlarmsQuery(Paging):
    state: Annotated[Literal["dead", "waiting"], Meta(description="Dead: it failed with all its retries.")] = "dead"
    type: Annotated[str | None, Meta(description="Of this actor type.")] = None


class Retry(Input):
    """One actor's by type and name, or all of a type."""

    type: NonEmpty
    name: Annotated[NonEmpty | None, Meta(description="Of one actor.")] = None
    all: Annotated[bool, Meta(description="In place of a name: all of the type, at most 1,000.")] = False


@blueprint.get("/alarms")
@takes()
async def list_alarms(query: AlarmsQuery) -> AlarmPage:
    """List alarms of your actors, in order of type and name."""
    tenant = caller().tenant
    after = _actor_of(tenant, query.cursor) if query.cursor else None
    if query.state == "dead":
        dead, following = await _alarms().dead(tenant, query.type, after, query.limit)
        shown = [_dead_json(alarm) for alarm in dead]
    else:
        waiting, following = await _alarms().waiting(tenant, query.type, after, query.limit)
        shown = [_waiting_json(alarm) for alarm in waiting]
    return {"alarms": shown, "next": None if following is None else cursor_of((following.type, following.name))}


@blueprint.post("/alarms/retry")
@takes()
async def retry_alarms(body: Retry) -> Retried:
    """Put dead alarms back: due now, with no retries counted."""
    tenant = caller().tenant
    if body.all == (body.name is not None):
        raise UsageError('Name one actor with "name", or say "all": true for all of the type; not both.')
    if body.name is None:
        retried, more = await _alarms().retry_all(tenant, body.type)
        return {"retried": retried, "more": more}
    await _alarms().retry(ActorId(tenant, body.type, body.name))
    return {"retried": 1, "more": False}


def _alarms() -> AlarmSource:
    alarms = services().alarms
    if alarms is None:
        raise Unavailable("This host runs no actors, so it has no alarms.")
    return alarms


def _dead_json(alarm: DeadAlarm) -> Alarm:
    return {
        "type": alarm.actor.type,
        "name": alarm.actor.name,
        "due_at": moment(alarm.due_ms),
        "failed_at": moment(alarm.failed_ms),
        "error": alarm.error,
        "message": alarm.message,
    }


def _waiting_json(alarm: WaitingAlarm) -> Alarm:
    return {
        "type": alarm.actor.type,
        "name": alarm.actor.name,
        "due_at": moment(alarm.due_ms),
        "retries": alarm.retries,
    }


def _actor_of(tenant: str, cursor: str) -> ActorId:
    """A cursor holds the actor's type and name; its tenant is always the caller's."""
    place = read_cursor(cursor)
    if len(place) != 2 or not all(isinstance(part, str) for part in place):
        raise wrong_cursor()
    actor_type, name = map(str, place)
    try:
        (actor_type + name).encode()
    except UnicodeEncodeError:
        raise wrong_cursor() from None
    return ActorId(tenant, actor_type, name)
