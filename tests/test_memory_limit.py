"""Nobody may ask for more memory than there is."""

import platform
from pathlib import Path

import numpy as np
import psutil
import pytest

from jetexp import memory_limit
from jetexp.memory_limit import available_memory, bounded_memory


@pytest.mark.parametrize(
    ("limit", "expected"), [("5000000000", 4_000_000_000), ("max", None), ("500000000", 0)]
)
def test_what_is_available_is_what_the_control_group_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, expected: int | None
) -> None:
    (tmp_path / "max").write_text(f"{limit}\n")
    (tmp_path / "current").write_text("1000000000\n")
    monkeypatch.setattr(memory_limit, "GROUP_LIMIT", tmp_path / "max")
    monkeypatch.setattr(memory_limit, "GROUP_TAKEN", tmp_path / "current")
    machine = 1 << 50
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": machine}))
    assert available_memory() == (machine if expected is None else expected)


@pytest.mark.skipif(platform.system() != "Linux", reason="only Linux counts what a process has asked for")
def test_more_than_there_is_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_limit, "available_memory", lambda: 400_000_000)
    with bounded_memory():
        np.zeros(100_000_000, dtype=np.uint8)
        with pytest.raises(MemoryError):
            np.zeros(1_000_000_000, dtype=np.uint8)
    np.zeros(1_000_000_000, dtype=np.uint8)
