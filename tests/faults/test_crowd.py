"""Several jobs at once, on one store and one folder of jets; the driver beside this starts six."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import crowd


@pytest.mark.slow
def test_jobs_at_once_share_jets_and_store_and_nothing_else(tmp_path: Path) -> None:
    seen = crowd.run(tmp_path, 3, per_class=200)
    assert seen["waited for jets"] == 2
    assert seen["aliases"]
