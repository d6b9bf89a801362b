"""One tenant against its model: whatever it does, its actors are what plain dictionaries say they are.

TENURE_SIM_EXAMPLES=2000 runs for longer. A failure prints the steps that led to it, shortened as far as possible.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from host.actors import transaction
from tests.kit.rooms import GUEST, compiled
from tests.sim import scripts
from tests.sim.planted import SEEN_IN_STATE, Bug
from tests.sim.still import still_rooms
from tests.sim.tenant import NAMES, Tenant

EXAMPLES = int(os.environ.get("TENURE_SIM_EXAMPLES", "70"))
EXAMPLES_TO_FIND = 1000  # the first that fails ends the search
"""Within which a planted bug must show."""

pytestmark = pytest.mark.timeout(120 + EXAMPLES)

ACTORS = st.sampled_from(NAMES)
CALLS = st.lists(st.tuples(ACTORS, scripts.TURN), min_size=1, max_size=4)


class TenantMachine(RuleBasedStateMachine):
    """The rules are what a tenant, its operator and its disk may do, in any order."""

    bug = Bug()

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(transaction, "CLEAR_KEYS_MAX", 2)  # so that `deleteAll` takes both of its ways
        self.bug.plant(self.patch)
        self.runner = asyncio.Runner()
        self.tenant = Tenant(self.bug.engine())
        self.runner.run(self.tenant.open())

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            try:
                self.runner.run(self.tenant.close())
            finally:
                self.runner.close()
                self.patch.undo()

    @rule(calls=CALLS)
    def calls_are_made(self, calls: Any) -> None:
        self.runner.run(self.tenant.calls(calls))

    @rule(name=ACTORS, steps=scripts.TURN)
    def one_call_is_made(self, name: str, steps: Any) -> None:
        self.runner.run(self.tenant.calls([(name, steps)]))

    @rule(name=ACTORS, script=scripts.ON_ALARM, delay_ms=st.sampled_from(scripts.DELAYS_MS))
    def an_alarm_is_given_work(self, name: str, script: Any, delay_ms: int) -> None:
        self.runner.run(self.tenant.calls([(name, [["put", "on-alarm", script], ["setAlarmIn", delay_ms]])]))

    @rule(name=ACTORS, steps=scripts.STEPS)
    def a_turn_takes_too_long(self, name: str, steps: Any) -> None:
        self.runner.run(self.tenant.call_that_times_out(name, steps))

    @rule(calls=CALLS)
    def the_disk_is_full_for_a_moment(self, calls: Any) -> None:
        self.runner.run(self.tenant.calls_that_cannot_be_written(calls))

    @rule(seconds=st.sampled_from([0.0, 0.5, 2.0, 10.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.runner.run(self.tenant.advance(seconds))

    @rule(name=ACTORS)
    def an_alarm_fails_until_it_is_dead(self, name: str) -> None:
        script = [["put", "a", "never"], ["throw", "Error", "no"]]
        steps = [["deleteAll"], ["put", "on-alarm", script], ["setAlarmIn", 0]]
        self.runner.run(self.tenant.calls([(name, steps)]))
        for wait_s in (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0):
            self.runner.run(self.tenant.advance(wait_s))
        assert self.tenant.models[name].dead

    @rule()
    def dead_alarms_are_retried(self) -> None:
        for name in NAMES:
            self.runner.run(self.tenant.retry_dead(name))

    @rule(name=ACTORS)
    def an_activation_is_dropped(self, name: str) -> None:
        self.tenant.drop(name)

    @rule()
    def an_actor_is_evicted(self) -> None:
        self.tenant.evict()

    @rule()
    def the_host_restarts(self) -> None:
        self.runner.run(self.tenant.restart())

    @rule(calls=CALLS, when=st.sampled_from(["before", "after"]), kept=st.integers(0, 3))
    def the_power_fails_as_calls_end(self, calls: Any, when: str, kept: int) -> None:
        self.runner.run(self.tenant.power_cut(calls, when, kept, 0.0))

    @rule(when=st.sampled_from(["before", "after"]), kept=st.integers(0, 3))
    def the_power_fails_as_alarms_fire(self, when: str, kept: int) -> None:
        self.runner.run(self.tenant.power_cut([], when, kept, 10.0))

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        if hasattr(self, "tenant"):
            self.tenant.check()


SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=25,
    deadline=None,
    derandomize="TENURE_SIM_EXAMPLES" not in os.environ,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", autouse=True)
def _still() -> Iterator[None]:
    compiled(GUEST)
    yield from still_rooms()


class TestTenant(TenantMachine.TestCase):  # type: ignore[name-defined, misc]
    """Whatever a tenant does, its actors are what the model says."""

    settings = SETTINGS


@pytest.mark.parametrize("bug", SEEN_IN_STATE)
def test_the_model_finds_what_is_planted(bug: str) -> None:
    class Planted(TenantMachine):
        pass

    Planted.bug = SEEN_IN_STATE[bug]
    quick = settings(SETTINGS, max_examples=EXAMPLES_TO_FIND, derandomize=True, phases=[Phase.generate])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Planted, settings=quick)
