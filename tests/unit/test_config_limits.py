"""What `serve` makes of limits that the machine cannot keep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from host.config import within_mappings
from host.model.limits import HOST_LIMITS


@pytest.mark.parametrize(("workers", "most"), [(1, 1_000), (3, 3_000)])
def test_no_more_actors_are_in_memory_than_the_kernel_lets_workers_map(tmp_path: Path, workers: int, most: int) -> None:
    setting = tmp_path / "max_map_count"
    setting.write_text("11000\n")
    asked = replace(HOST_LIMITS, activations_max=most)
    assert within_mappings(asked, workers, setting) == (asked, "")
    kept, told = within_mappings(replace(asked, activations_max=most + workers), workers, setting)
    assert kept == asked
    assert told.endswith("sysctl -w vm.max_map_count=11007")


def test_a_machine_without_that_setting_has_no_such_bound(tmp_path: Path) -> None:
    asked = replace(HOST_LIMITS, activations_max=10_000_000)
    assert within_mappings(asked, 1, tmp_path / "none") == (asked, "")
