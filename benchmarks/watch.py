"""The memory of a process and of all that it starts, watched from outside (Linux)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

# between two looks
SECONDS = 0.5


def peak_memory(process: subprocess.Popen[str]) -> float:
    """Wait until a process ends; give the peak of the memory of it and all below it, at one moment, in GB."""
    highest = 0
    while process.poll() is None:
        highest = max(highest, sum(map(memory, tree(process.pid))))
        time.sleep(SECONDS)
    return highest / 1e6


def tree(root: int) -> list[int]:
    """List a process and all below it."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # the name, in brackets, may hold anything
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        below.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for one in found:
        found += below.get(one, [])
    return found


def memory(process: int) -> int:
    """Give the memory of a process in kB; what it shares with others is shared out among them."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        # it has ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
