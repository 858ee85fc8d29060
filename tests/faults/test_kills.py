"""The main job is killed in each of its phases, and goes on; the driver beside this does it forty times."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import kills


@pytest.mark.slow
def test_a_job_that_is_killed_in_each_phase_ends_as_one_that_is_not(tmp_path: Path) -> None:
    # soon after each phase has begun, so that it is not over
    seen = kills.run(tmp_path, len(kills.PHASES), seed=1, per_class=200, latest=1.5)
    assert seen["kills"] == len(kills.PHASES)
    assert len(seen["phases"]) >= len(kills.PHASES) - 1
