"""Rings of turns that wait for each other over several workers: found within milliseconds, one call of each refused.

What is stuck is what `host.actors.deadlock` says: a turn that waits for nothing but calls of actors whose own turns are
stuck. Here its workers must be asked. A turn that waits for `LOOK_AFTER_S` while its worker waits for another one
is looked at: its worker collects all that is reachable from it, asking each worker in whose hands a call is. If
anything reachable runs, or is on its way, nothing is stuck, and the look is over with the first that is found free. If
all wait, and every one of them for the one that was looked at, it is a ring.

What was collected comes from different moments, so a ring is believed only when a second collection, begun after the
first one ended, finds the same turns waiting for the same calls: then all of them waited at the moment in between.

Whoever finds a ring chooses the same call of it to be refused: of those that have not begun, the least by its actors'
names. So two that find it at once agree; the second finds that call gone. A turn that goes on waiting is looked at
again, ever more rarely: what a look missed because a call was on its way, a later one sees.

    PROBE      {"tenant", "calls": [[actor, number]]} -> {"nodes": [[actor, turn, [edge]]], "held": [[number, queued]]},
               or {} when something that is reached here is free. actor: [type, name]; edge: [operation, actor, number
               (0: in the same worker), queued]
    WITHDRAW   {"tenant", "caller", "operation", "actor", "number", "message"} -> nothing
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from host.actors.actor import Actor
from host.actors.deadlock import Awaited, Rings, ring_text
from host.actors.turn import Turn
from host.cluster.kinds import Kind
from host.cluster.link import Done, Handlers, Link, LinkError, Reply
from host.model.clock import Clock, TimerHandle
from host.model.errors import ActorDeadlockError
from host.model.ids import ActorId
from host.sandbox.call import Call

LOOK_AFTER_S = (0.005, 0.02, 0.08, 0.32, 1.28)
"""How long a turn has waited when it is looked at, and how much longer before each next look; the last goes on."""

LOOKS_AT_ONCE_MAX = 8
"""A worker whose calls are all slow has better things to do than to ask about each of them."""

TURNS_PER_LOOK_MAX = 10_000


class Edge(NamedTuple):
    """A turn waits, with its `operation`, for a call of `actor`, which other workers know by `number` (0: it is in the
    same worker). `queued`: the call has not begun; of a call in another worker its own worker says so.
    """

    operation: int
    actor: ActorId
    number: int
    queued: bool


class Node(NamedTuple):
    """A turn that waits. `turn` is another value when the actor runs another one."""

    turn: int
    edges: tuple[Edge, ...]


Graph = dict[ActorId, Node]


class ClusterRings(Rings):
    """One worker's part. `ask(slot, kind, payload, done)` asks another worker, `slot_of` says which has an actor."""

    def __init__(
        self,
        find: Callable[[ActorId], Actor | None],
        sent: dict[Turn, int],
        arrived: dict[int, tuple[ActorId, Turn]],
        slot: int,
        slot_of: Callable[[ActorId], int],
        ask: Callable[[int, int, bytes, Done], None],
        clock: Clock,
    ) -> None:
        super().__init__(find)
        self.handlers: Handlers = {Kind.PROBE: self._probed, Kind.WITHDRAW: self._withdrawn}
        self.slot, self.slot_of, self.ask = slot, slot_of, ask
        self._sent, self._arrived = sent, arrived
        self._clock = clock
        self._watched: dict[Call, int] = {}  # with the number of the wait
        self._waits = 0
        self._queues: list[deque[tuple[float, Call, int]]] = [deque() for _ in LOOK_AFTER_S]
        self._looks = 0
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0

    def waiting(self, call: Call) -> None:
        if not self.broke_ring(call) and self._sent:
            self._waits += 1
            self._watched[call] = self._waits
            self._look_later(call, self._waits, 0)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._watched.clear()

    # --- when to look -------------------------------------------------------------------------------------------------

    def _look_later(self, call: Call, wait: int, queue: int) -> None:
        due = self._clock.monotonic() + LOOK_AFTER_S[queue]
        self._queues[queue].append((due, call, wait))
        if self._timer is None or self._timer_at > due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = self._clock.call_later(LOOK_AFTER_S[queue], self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        for number, queue in enumerate(self._queues):
            while queue and queue[0][0] <= now:
                _, call, wait = queue.popleft()
                if self._watched.get(call) != wait:
                    continue  # it went on since, and maybe waits again
                if call.waits() is None:
                    del self._watched[call]
                    continue
                self._look_later(call, wait, min(number + 1, len(self._queues) - 1))
                if self._looks < LOOKS_AT_ONCE_MAX:
                    self._looks += 1
                    _Look(self, call.context.chain[-1], self._looked).collect()
        due = [queue[0][0] for queue in self._queues if queue]
        if due and self._timer is None:
            self._timer_at = min(due)
            self._timer = self._clock.call_later(max(self._timer_at - now, 0.001), self._sweep)

    def _looked(self) -> None:
        self._looks -= 1

    # --- what is known here -------------------------------------------------------------------------------------------

    def explore(self, graph: Graph, actors: list[ActorId]) -> bool:
        """Add to `graph` what is reachable from `actors` within this worker. False when one of them is free."""
        unseen = list(actors)
        while unseen:
            actor = unseen.pop()
            if actor in graph:
                continue
            found = self.find(actor)
            awaited = self._operations(found)
            if found is None or awaited is None or len(graph) >= TURNS_PER_LOOK_MAX:
                return False
            edges = []
            for operation, each in awaited:
                number = self._sent.get(each.turn, 0)
                target = None if number else self.find(each.actor)
                if target is not None and target.holds(each.turn):
                    unseen.append(each.actor)
                elif not number:
                    return False  # its answer is on the way
                edges.append(Edge(operation, each.actor, number, target is not None and not target.runs(each.turn)))
            graph[actor] = Node(id(found.call), tuple(edges))
        return True

    def _operations(self, actor: Actor | None) -> list[tuple[int, Awaited]] | None:
        """What its running turn waits for; None when it runs none, or not only for actors."""
        pending = None if actor is None or actor.call is None else actor.call.waits()
        if pending is None:
            return None
        awaited = [(operation, each) for operation, each in pending.items() if isinstance(each, Awaited)]
        return awaited if len(awaited) == len(pending) else None

    def explain(self, calls: list[tuple[ActorId, int]]) -> tuple[Graph, dict[int, bool]] | None:
        """What is reachable here from calls that came from other workers, and whether each is queued. None when one of
        them has ended, has not come yet, or leads to what is free.
        """
        held: dict[int, bool] = {}
        for actor, number in calls:
            known, turn = self._arrived.get(number, (None, None))
            found = self.find(actor)
            if turn is None or known != actor or found is None or not found.holds(turn):
                return None
            held[number] = not found.runs(turn)
        graph: Graph = {}
        return (graph, held) if self.explore(graph, [actor for actor, _ in calls]) else None

    def refuse(self, caller: ActorId, edge: Edge, message: str) -> None:
        """Refuse the call that `edge` is, in the worker that has it, unless it has begun since."""
        asked = {
            "tenant": caller.tenant,
            "caller": caller[1:],
            "operation": edge.operation,
            "actor": edge.actor[1:],
            "number": edge.number,
            "message": message,
        }
        slot = self.slot_of(edge.actor)
        if slot == self.slot:
            self._refuse(asked)
        else:
            self.ask(slot, Kind.WITHDRAW, orjson.dumps(asked), _nothing)

    def _refuse(self, asked: dict[str, Any]) -> None:
        tenant = asked["tenant"]
        actor = ActorId(tenant, *asked["actor"])
        if asked["number"]:
            _, turn = self._arrived.get(asked["number"], (None, None))
        else:
            waits = dict(self._operations(self.find(ActorId(tenant, *asked["caller"]))) or ())
            awaited = waits.get(asked["operation"])
            turn = awaited.turn if awaited is not None and awaited.actor == actor else None
        if turn is not None and self.withdraw(Awaited(actor, turn)):
            turn.reply(ActorDeadlockError(asked["message"]))

    # --- what other workers ask ---------------------------------------------------------------------------------------

    def _probed(self, link: Link, payload: bytes, reply: Reply) -> None:
        asked = orjson.loads(payload)
        tenant = asked["tenant"]
        found = self.explain([(ActorId(tenant, *actor), number) for actor, number in asked["calls"]])
        if found is None:
            reply(b"{}")
            return
        graph, held = found
        nodes = [
            [actor[1:], node.turn, [[edge.operation, edge.actor[1:], edge.number, edge.queued] for edge in node.edges]]
            for actor, node in graph.items()
        ]
        reply(orjson.dumps({"nodes": nodes, "held": list(held.items())}))

    def _withdrawn(self, link: Link, payload: bytes, reply: Reply) -> None:
        self._refuse(orjson.loads(payload))
        reply(b"")


class _Look:
    """Is this actor in a ring? Collects twice what is reachable from it, refuses a call, and calls `over` once."""

    def __init__(self, rings: ClusterRings, actor: ActorId, over: Callable[[], None]) -> None:
        self._rings, self._actor, self._over = rings, actor, over
        self._before: tuple[Graph, dict[int, bool]] | None = None
        self._graph: Graph = {}
        self._held: dict[int, bool] = {}
        self._asked: set[int] = set()
        self._outstanding = 0
        self._free = False

    def collect(self) -> None:
        self._graph, self._held, self._asked = {}, {}, set()
        self._free = not self._rings.explore(self._graph, [self._actor])
        self._ask()

    def _ask(self) -> None:
        """Ask about the calls in other workers that are new, or be done when there is none."""
        rings = self._rings
        wanted: dict[int, list[tuple[ActorId, int]]] = {}
        for node in self._graph.values():
            for edge in node.edges:
                if edge.number and edge.number not in self._asked:
                    self._asked.add(edge.number)
                    wanted.setdefault(rings.slot_of(edge.actor), []).append((edge.actor, edge.number))
        if self._free or not wanted:
            self._collected()
            return
        self._outstanding = len(wanted)
        for slot, calls in wanted.items():
            if slot == rings.slot:
                found = rings.explain(calls)
                self._learn(*found) if found is not None else self._learn()
            else:
                asked = {"tenant": self._actor.tenant, "calls": [[actor[1:], number] for actor, number in calls]}
                rings.ask(slot, Kind.PROBE, orjson.dumps(asked), self._answered)

    def _answered(self, outcome: bytes | LinkError) -> None:
        answer = {} if isinstance(outcome, LinkError) else orjson.loads(outcome)
        if not answer:
            self._learn()
            return
        tenant = self._actor.tenant
        graph = {
            ActorId(tenant, *actor): Node(
                turn, tuple(Edge(edge[0], ActorId(tenant, *edge[1]), *edge[2:]) for edge in edges)
            )
            for actor, turn, edges in answer["nodes"]
        }
        self._learn(graph, dict(answer["held"]))

    def _learn(self, graph: Graph | None = None, held: dict[int, bool] | None = None) -> None:
        """What one worker says; nothing when something reachable there is free."""
        if graph is None or held is None or len(self._graph) > TURNS_PER_LOOK_MAX:
            self._free = True
        else:
            self._graph.update(graph)
            self._held.update(held)
        self._outstanding -= 1
        if not self._outstanding:
            self._ask()

    def _collected(self) -> None:
        if self._free:
            self._over()
            return
        found = self._graph, self._held
        if self._before is None:
            self._before = found
            self.collect()
            return
        if found == self._before:
            self._break_ring()
        self._over()

    def _break_ring(self) -> None:
        callers: dict[ActorId, list[ActorId]] = {}
        for actor, node in self._graph.items():
            for edge in node.edges:
                callers.setdefault(edge.actor, []).append(actor)
        if len(_reached(self._actor, callers)) < len(self._graph):
            return  # it only waits for a ring: those in it will look themselves
        calls = [
            (actor, edge)
            for actor, node in self._graph.items()
            for edge in node.edges
            if (self._held[edge.number] if edge.number else edge.queued)
        ]
        if calls:
            caller, edge = min(calls, key=lambda call: (call[0], call[1].actor, call[1].operation))
            self._rings.refuse(caller, edge, ring_text(self._ring(caller, edge.actor)))

    def _ring(self, caller: ActorId, actor: ActorId) -> list[ActorId]:
        """`caller`, `actor`, and a shortest way from there back to `caller`."""
        came_from: dict[ActorId, ActorId] = {}
        unseen = deque([actor])
        while unseen and caller not in came_from:
            one = unseen.popleft()
            for edge in self._graph[one].edges:
                if edge.actor not in came_from:
                    came_from[edge.actor] = one
                    unseen.append(edge.actor)
        path = [caller]
        while path[-1] != actor or len(path) == 1:
            path.append(came_from[path[-1]])
        return [caller, *reversed(path)]


def _reached(start: ActorId, steps: dict[ActorId, list[ActorId]]) -> set[ActorId]:
    reached = {start}
    unseen = [start]
    while unseen:
        for one in steps.get(unseen.pop(), ()):
            if one not in reached:
                reached.add(one)
                unseen.append(one)
    return reached


def _nothing(outcome: bytes | LinkError) -> None:
    """Whether it was refused is seen at the next look."""
