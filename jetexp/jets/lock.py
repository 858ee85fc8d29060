"""One process at a time makes what several may want."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from jetexp.errors import JetexpError

__all__ = ["only_maker"]

logger = logging.getLogger(__name__)


@contextmanager
def only_maker(path: Path, what: str) -> Iterator[None]:
    """Let one process at a time make something; a second one waits.

    Parameters
    ----------
    path : Path
        File of the lock; its folder is made if there is none.
    what : str
        What is made, as told to who waits.

    Raises
    ------
    JetexpError
        If the folder cannot be written.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.info("Another process is making %s in %s: waiting for it.", what, folder)
            lock.acquire()
    except OSError as error:
        raise JetexpError(f"{folder} cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()
