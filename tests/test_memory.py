import os
import platform
from pathlib import Path

import pytest

from jetexp.memory import release_memory

PIECES = 600
BYTES = 100_000


def resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries need no telling")
def test_freed_memory_goes_back_to_the_system() -> None:
    pieces = [b"\1" * BYTES for _ in range(PIECES)]
    # what lies behind the others keeps them from going back by themselves
    behind = pieces[-1]
    pieces.clear()
    before = resident()
    release_memory()
    assert len(behind) == BYTES
    assert before - resident() > PIECES * BYTES / 2
