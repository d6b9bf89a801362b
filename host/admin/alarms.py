"""/v1/alarms: a tenant's alarms, waiting and dead, and putting dead ones back."""

from __future__ import annotations

from typing import Any

from quart import Blueprint, request

from host.actors.dead import DeadAlarm, WaitingAlarm
from host.admin.auth import caller
from host.admin.paging import cursor_of, page_query, read_cursor, wrong_cursor
from host.admin.requests import flag_field, read_json, text_field
from host.admin.services import services
from host.admin.views import moment
from host.model.errors import Unavailable, UsageError
from host.model.ids import ActorId
from host.supervisor.alarms import AlarmSource

blueprint = Blueprint("alarms", __name__)


@blueprint.get("/alarms")
async def list_alarms() -> dict[str, Any]:
    tenant = caller().tenant
    state, actor_type = request.args.get("state", "dead"), request.args.get("type")
    limit, cursor = page_query()
    after = _actor_of(tenant, cursor) if cursor else None
    if state not in ("dead", "waiting"):
        raise UsageError('"state" has to be dead or waiting.')
    if state == "dead":
        dead, following = await _alarms().dead(tenant, actor_type, after, limit)
        shown = [_dead_json(alarm) for alarm in dead]
    else:
        waiting, following = await _alarms().waiting(tenant, actor_type, after, limit)
        shown = [_waiting_json(alarm) for alarm in waiting]
    return {"alarms": shown, "next": None if following is None else cursor_of((following.type, following.name))}


@blueprint.post("/alarms/retry")
async def retry_alarms() -> dict[str, Any]:
    """One actor's by type and name, or all of a type."""
    tenant = caller().tenant
    body = await read_json(("type", "name", "all"))
    actor_type, every = text_field(body, "type"), flag_field(body, "all")
    if every == ("name" in body):
        raise UsageError('Name one actor with "name", or say "all": true for all of the type; not both.')
    if every:
        retried, more = await _alarms().retry_all(tenant, actor_type)
        return {"retried": retried, "more": more}
    await _alarms().retry(ActorId(tenant, actor_type, text_field(body, "name")))
    return {"retried": 1, "more": False}


def _alarms() -> AlarmSource:
    alarms = services().alarms
    if alarms is None:
        raise Unavailable("This host runs no actors, so it has no alarms.")
    return alarms


def _dead_json(alarm: DeadAlarm) -> dict[str, Any]:
    return {
        "type": alarm.actor.type,
        "name": alarm.actor.name,
        "due_at": moment(alarm.due_ms),
        "failed_at": moment(alarm.failed_ms),
        "error": alarm.error,
        "message": alarm.message,
    }


def _waiting_json(alarm: WaitingAlarm) -> dict[str, Any]:
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
