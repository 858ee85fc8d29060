"""Worker processes that end with their parent, and leave standard output alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from jetexp.errors import JetexpError

__all__ = ["cores", "finished_tasks"]

Task = TypeVar("Task")

# workers are processes already: threads within them would only get in each other's way
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def cores() -> int:
    """Give the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def finished_tasks(
    function: Callable[..., Any],
    next_task: Callable[[Collection[Task]], Task | None],
    arguments: Callable[[Task], tuple[Any, ...]],
    workers: int,
) -> Iterator[Task]:
    """Do tasks in worker processes; give each when it is finished.

    Parameters
    ----------
    function : callable
        Does one task, in a worker; importable, and without a result.
    next_task : callable
        Chooses the next task, given those under way; None if there is none for now.
    arguments : callable
        The arguments of ``function`` for a task.
    workers : int
        Number of processes.

    Yields
    ------
    Task
        In the order in which they finish, until there is none under way and none to come.

    Raises
    ------
    JetexpError
        If a worker was killed. What ``function`` raises is raised here.
    """
    # loky does not run the caller's script again in its workers, as multiprocessing would
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    pool = ProcessPoolExecutor(
        max_workers=workers, initializer=_watch_parent, initargs=(os.getpid(),), env=ENVIRONMENT
    )
    running: dict[Future[None], Task] = {}
    try:
        while True:
            while len(running) < workers and (task := next_task(running.values())) is not None:
                running[pool.submit(_quietly, function, *arguments(task))] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                future.result()
                yield running.pop(future)
    except BrokenProcessPool as error:
        raise JetexpError(
            "A worker process was killed, perhaps for want of memory; run again to go on where it stopped."
        ) from error
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _watch_parent(parent: int) -> None:
    """End this worker when its parent is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _quietly(function: Callable[..., None], *arguments: Any) -> None:
    """Do one task in a worker, with nothing on standard output."""
    with _quiet_stdout():
        function(*arguments)


@contextmanager
def _quiet_stdout() -> Iterator[None]:
    """Keep FastJet's banner, written by C++, off standard output."""
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
