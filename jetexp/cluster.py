"""A Dask cluster: worker processes on this machine or others, which see the same folder of jets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from jetexp.errors import JetexpError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Pool", "check_workers", "connected", "dask_pool"]

logger = logging.getLogger(__name__)

# seconds: for the scheduler to answer, and for its first worker to come, as from a batch system's queue
ANSWER_TIME, QUEUE_TIME = 10, 600


@dataclass(frozen=True)
class Pool:
    """Workers that do tasks.

    Attributes
    ----------
    size : callable
        Gives their number, which may change.
    submit : callable
        Begins a task: a function, and its arguments.
    broken : type
        What a task raises whose worker was lost.
    """

    size: Callable[[], int]
    submit: Callable[..., Future[None]]
    broken: type[BaseException]


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to a Dask cluster.

    Parameters
    ----------
    address : str
        Of its scheduler, such as ``tcp://host:8786``.

    Yields
    ------
    distributed.Client
        With at least one worker.

    Raises
    ------
    JetexpError
        If no scheduler answers there, or no worker comes within ten minutes.
    """
    from distributed import Client
    from distributed.comm.addressing import parse_address

    try:
        parse_address(address, strict=True)
        client = Client(address, timeout=ANSWER_TIME, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise JetexpError(
            f"No Dask scheduler answers at {address} ({error or type(error).__name__}); an address such as "
            "tcp://host:8786 would be right."
        ) from error
    try:
        if not _workers(client):
            logger.info("The Dask cluster at %s has no worker yet: waiting for one.", address)
        try:
            client.wait_for_workers(1, timeout=QUEUE_TIME)
        except TimeoutError:
            raise JetexpError(f"No worker came to the Dask cluster at {address}.") from None
        yield client
    finally:
        client.close(timeout=ANSWER_TIME)


def check_workers(client: Client, folder: Path, software: Callable[[], Any]) -> None:
    """Make sure that every worker can do what is asked, before any work.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    folder : Path
        Where their results belong: they must see the same.
    software : callable
        Gives, here as there, what their results depend on; importable.

    Raises
    ------
    JetexpError
        If a worker has several threads, lacks jetexp, has other software or another folder.
    """
    several = [address for address, threads in _workers(client).items() if threads != 1]
    if several:
        raise JetexpError(
            f"The Dask worker {several[0]} has several threads, which Pythia cannot share: processes with "
            "one thread each (`dask worker --nworkers N --nthreads 1`) would be right."
        )
    with NamedTemporaryFile(prefix=".seen-by-workers-", dir=folder) as mark:
        seen = client.run(_look, str(Path(mark.name).resolve()), software, on_error="return")
    expected = software()
    for address, answer in seen.items():
        if isinstance(answer, BaseException):
            raise JetexpError(f"The Dask worker {address} cannot do it: {type(answer).__name__}: {answer}.")
        there, theirs = answer
        if not there:
            raise JetexpError(
                f"The Dask worker {address} does not see {folder}: a shared folder would be right."
            )
        if theirs != expected:
            raise JetexpError(f"The Dask worker {address} has other software: {theirs}, here {expected}.")


@contextmanager
def dask_pool(client: Client) -> Iterator[Pool]:
    """Have a cluster do tasks; those of workers that are lost are done by others.

    Parameters
    ----------
    client : distributed.Client
        Connected.

    Yields
    ------
    Pool
        Of as many workers as there are.

    Raises
    ------
    JetexpError
        If several workers were lost over one task, or the scheduler is.
    """
    from distributed import KilledWorker

    executor = client.get_executor(pure=False)
    try:
        yield Pool(lambda: max(1, len(_workers(client))), executor.submit, KilledWorker)
    except KilledWorker as error:
        raise JetexpError(
            "Several Dask workers were lost over the same task, perhaps for want of memory."
        ) from error
    except CancelledError as error:
        raise JetexpError("The Dask scheduler is gone; what it had finished is kept.") from error
    finally:
        executor.shutdown(wait=False)


def _workers(client: Client) -> dict[str, int]:
    """Give the number of threads of each worker."""
    return {str(address): int(threads) for address, threads in client.nthreads().items()}


def _look(mark: str, software: Callable[[], Any]) -> tuple[bool, Any]:
    """Say, in a worker, whether it sees a file, and what software it has."""
    return Path(mark).exists(), software()
