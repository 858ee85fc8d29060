"""Memory that there is not enough of. Apart from ``memory.py``, which served models import."""

from __future__ import annotations

import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

__all__ = ["available_memory", "bounded_memory"]

# of a Linux control group, as batch systems and containers use them: its limit, and what is taken of it
GROUP_LIMIT, GROUP_TAKEN = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def available_memory() -> int:
    """Say how much memory this process can still take.

    Returns
    -------
    int
        Bytes: of the machine, or of the process's control group where that has less.
    """
    available = int(psutil.virtual_memory().available)
    try:
        left = int(GROUP_LIMIT.read_text()) - int(GROUP_TAKEN.read_text())
    except (OSError, ValueError):
        # no such group, or one without a limit
        return available
    return max(min(available, left), 0)


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let what asks for more memory than there is fail, lest the system kill the whole process.

    Within the block an allocation beyond :func:`available_memory` raises ``MemoryError``, or the error that
    Keras's backend makes of it. Other systems than Linux do nothing here.
    """
    if platform.system() != "Linux":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = psutil.Process().memory_info().data + available_memory()
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_DATA, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
