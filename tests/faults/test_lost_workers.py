"""Workers and the chief are killed, and the search ends whole; the driver beside this does it ten times."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import lost_workers


@pytest.mark.slow
def test_a_search_ends_whole_though_workers_and_chief_are_killed(tmp_path: Path) -> None:
    seen = lost_workers.run(tmp_path, 1, seed=1, seconds=25.0)
    assert seen["killed"] >= 2
