"""MLflow's server is killed under the main job; the driver beside this does it ten times, once for long."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import outages


@pytest.mark.slow
def test_the_store_is_the_same_though_its_server_was_killed(tmp_path: Path) -> None:
    seen = outages.run(tmp_path, 3, seed=1, per_class=200, trials=3, longest=12.0)
    assert seen["outages"] == 3
    assert seen["told"] >= 1
    assert seen["files"] > 200
