"""Accounts under load and faults: every history that clients can record is one that a single account could give.

TENURE_SIM_WALKS=2000 walks for longer; TENURE_SIM_SEED=17 begins at another seed. A failure names its seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kit.rooms import compiled
from tests.sim.history import check
from tests.sim.load import ACCOUNT, walk
from tests.sim.planted import SEEN_BY_CLIENTS
from tests.sim.still import still_rooms

WALKS = int(os.environ.get("TENURE_SIM_WALKS", "30"))
SEED = int(os.environ.get("TENURE_SIM_SEED", "1"))
SEEDS_TO_FIND = 20
"""Walks in which a planted bug must show."""

pytestmark = pytest.mark.timeout(120 + WALKS)


@pytest.fixture(scope="module", autouse=True)
def _still() -> Iterator[None]:
    compiled(ACCOUNT)
    yield from still_rooms()


def test_whatever_fails_each_account_is_linearizable() -> None:
    answered = lost = 0
    for seed in range(SEED, SEED + WALKS):
        history = walk(seed)
        violations = check(history)
        assert not violations, f"seed {seed}:\n" + "\n".join(map(str, violations))
        lost += sum(operation.lost for operation in history)
        answered += sum(not operation.lost for operation in history)
    assert answered > 50 * WALKS
    assert lost > WALKS


def test_a_seed_gives_the_same_history_again() -> None:
    for seed in range(SEED, SEED + 5):
        assert walk(seed) == walk(seed)


@pytest.mark.parametrize("bug", SEEN_BY_CLIENTS)
def test_the_checker_finds_what_is_planted(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    SEEN_BY_CLIENTS[bug].plant(monkeypatch)
    for seed in range(SEEDS_TO_FIND):
        violations = check(walk(seed, SEEN_BY_CLIENTS[bug].engine()))
        if violations:
            assert "no order of its operations explains" in str(violations[0])
            print(f"{bug}: seed {seed}")
            return
    pytest.fail(f"{bug}: not found in {SEEDS_TO_FIND} walks")
