"""What `serve` makes of limits that the machine cannot keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from host.config import ADDRESSED_MAX, within_process
from host.model.limits import HOST_LIMITS


@pytest.mark.parametrize(("workers", "most"), [(1, 1_000), (3, 3_000)])
def test_no_more_actors_are_in_memory_than_the_kernel_lets_workers_map(tmp_path: Path, workers: int, most: int) -> None:
    setting = tmp_path / "max_map_count"
    setting.write_text("11000\n")
    asked = replace(HOST_LIMITS, activations_max=most)
    assert within_process(asked, workers, setting) == (asked, "")
    kept, told = within_process(replace(asked, activations_max=most + workers), workers, setting)
    assert kept == asked
    assert told.endswith("sysctl -w vm.max_map_count=11007")


def test_a_worker_has_addresses_for_so_many_however_many_mappings_it_may_have(tmp_path: Path) -> None:
    setting = tmp_path / "max_map_count"
    setting.write_text("1000000\n")
    asked = replace(HOST_LIMITS, activations_max=2 * ADDRESSED_MAX)
    for path in (setting, tmp_path / "none"):
        assert within_process(asked, 2, path) == (asked, "")
        kept, told = within_process(asked, 1, path)
        assert kept.activations_max == ADDRESSED_MAX
        assert told.endswith("--workers")
