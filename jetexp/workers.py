"""Worker processes that end with their parent, and leave standard output alone."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from jetexp.cluster import Pool, dask_pool
from jetexp.console import silenced
from jetexp.errors import JetexpError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Workers", "cores", "finished_tasks"]

Task = TypeVar("Task")
# processes of this machine, or a Dask cluster's
Workers: TypeAlias = "int | Client"

# what numerical libraries, TensorFlow among them, take the number of their threads from
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
POLL_SECONDS = 1.0


def cores() -> int:
    """Give the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def finished_tasks(
    function: Callable[..., Any],
    next_task: Callable[[Collection[Task]], Task | None],
    arguments: Callable[[Task], tuple[Any, ...]],
    workers: Workers,
    *,
    meanwhile: Callable[[], None] | None = None,
) -> Generator[tuple[Task, Future[None]], None, None]:
    """Do tasks in worker processes; give each when it has ended.

    The cores are shared out among the workers: threads beyond that would only get in each other's way.

    Parameters
    ----------
    function : callable
        Does one task, in a worker; importable, and without a result.
    next_task : callable
        Chooses the next task, given those under way; None if there is none for now.
    arguments : callable
        The arguments of ``function`` for a task.
    workers : int or distributed.Client
        Number of processes, or a Dask cluster that has some.
    meanwhile : callable, optional
        Called about once a second while tasks are under way.

    Yields
    ------
    Task
        In the order in which they end, until there is none under way and none to come.
    Future
        Its ``result()`` raises what ``function`` raised.

    Raises
    ------
    JetexpError
        If a worker was killed; of a cluster, several over the same task.
    """
    running: dict[Future[None], Task] = {}
    with _processes(workers) if isinstance(workers, int) else dask_pool(workers) as pool:
        while True:
            while len(running) < pool.size() and (task := next_task(running.values())) is not None:
                running[pool.submit(_quietly, function, *arguments(task))] = task
            if not running:
                return
            ended = wait(
                running, timeout=POLL_SECONDS if meanwhile else None, return_when=FIRST_COMPLETED
            ).done
            if meanwhile:
                meanwhile()
            for future in ended:
                if isinstance(future.exception(), pool.broken):
                    future.result()
                yield running.pop(future), future


@contextmanager
def _processes(workers: int) -> Iterator[Pool]:
    """Have processes of this machine do tasks."""
    # loky does not run the caller's script again in its workers, as multiprocessing would
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    threads = str(max(1, cores() // workers))
    executor = ProcessPoolExecutor(
        max_workers=workers,
        initializer=_watch_parent,
        initargs=(os.getpid(),),
        env=dict.fromkeys(THREADS, threads),
    )

    def submit(function: Callable[..., None], *arguments: Any) -> Future[None]:
        with _own_code_first():
            future: Future[None] = executor.submit(function, *arguments)
        return future

    try:
        yield Pool(lambda: workers, submit, BrokenProcessPool)
    except BrokenProcessPool as error:
        raise JetexpError(
            "A worker process was killed, perhaps for want of memory; fewer --workers need less of it."
        ) from error
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _watch_parent(parent: int) -> None:
    """End this worker when its parent is gone, however that ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _quietly(function: Callable[..., None], *arguments: Any) -> None:
    """Do one task in a worker, with nothing on standard output: FastJet's banner is written by C++."""
    with silenced(sys.stdout):
        function(*arguments)


@contextmanager
def _own_code_first() -> Iterator[None]:
    """Have workers that start meanwhile find this jetexp, not the copy of a model that MLflow loaded."""
    before = [*sys.path]
    sys.path.insert(0, str(Path(__file__).parent.parent))
    try:
        yield
    finally:
        sys.path[:] = before
