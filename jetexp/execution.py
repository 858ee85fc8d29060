"""The home of an execution: what of it is finished, whose it is, and how the same command goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from pydantic import BaseModel, ConfigDict, ValidationError

from jetexp import __version__
from jetexp.errors import JetexpError
from jetexp.experiment import Experiment
from jetexp.files import whole_file
from jetexp.fit_store import CODE_OF_KIND, FitStore, code_key, software
from jetexp.mlflow_store import StoreError, delivered, masked
from jetexp.outbox import Outbox
from jetexp.parts import JetParts
from jetexp.starting import LOCK, RECORD

__all__ = [
    "OUTBOX",
    "Child",
    "Execution",
    "Record",
    "close_runs",
    "execution_key",
    "open_execution",
    "owned",
    "read_record",
    "with_ids",
]

logger = logging.getLogger(__name__)

OUTBOX = "outbox"
MAXIMUM_RECORD = 50_000_000
# tag of a run: what took its place
CONTINUED_BY = "continued_by"


class Child(BaseModel):
    """One child run of an execution.

    Attributes
    ----------
    run_id : str
        The MLflow run.
    finished : bool
        Whether everything of it is recorded.
    model_uri : str or None
        Where its model is, if it has one.
    kept : dict or None
        What whoever opened it needs to know of it later.
    worker : str
        Of a chief, to which it is given; empty where this process itself does it.
    """

    model_config = ConfigDict(extra="forbid")

    run_id: str
    worker: str = ""
    finished: bool = False
    model_uri: str | None = None
    kept: dict[str, Any] | None = None


class Record(BaseModel):
    """What a home says of its execution.

    Attributes
    ----------
    key : str
        All that the execution depends on; empty while that is not known.
    store : str
        MLflow's address, without credentials.
    parents : list of str
        Its parent runs, the last one last.
    children : dict of str to Child
        Its child runs, by name.
    closed : bool
        Whether the runs that a killed process left open have been closed.
    ended : bool
        Whether it ended well, and only MLflow has not got all of it yet.
    """

    model_config = ConfigDict(extra="forbid")

    key: str
    store: str
    parents: list[str] = []
    children: dict[str, Child] = {}
    closed: bool = False
    ended: bool = False

    def save(self, home: Path) -> None:
        """Write the record into a home.

        Parameters
        ----------
        home : Path
            The folder.
        """
        with whole_file(home / RECORD) as temporary:
            temporary.write_text(self.model_dump_json(indent=1), encoding="utf-8")


class Execution:
    """One execution, and its home on disk, which this process owns.

    Parameters
    ----------
    folder : Path
        The home.
    record : Record
        What it says.
    with_workers : bool
        Whether there are workers, which may go on with what they were given.
    """

    def __init__(self, folder: Path, record: Record, *, with_workers: bool = False) -> None:
        self.folder = folder
        self._record = record
        self._with_workers = with_workers
        self._outbox: Outbox | None = None

    @property
    def fits(self) -> FitStore:
        """Its finished fits and searches."""
        return FitStore(self.folder / "fits")

    @property
    def has_ended(self) -> bool:
        """Whether it ended well, though MLflow may not have got all of it yet."""
        return self._record.ended

    def child(self, name: str) -> Child | None:
        """Look a child run up.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        Child or None
            As the execution, interrupted or not, left it.
        """
        return self._record.children.get(name)

    def opened(self, name: str, run_id: str, worker: str = "") -> None:
        """Take note of a child run before anything is recorded to it.

        Parameters
        ----------
        name : str
            Its name.
        run_id : str
            The MLflow run.
        worker : str
            To which it is given, if it is.
        """
        self._record.children[name] = Child(run_id=run_id, worker=worker)
        self._save()

    def finished(self, name: str, model_uri: str | None, kept: Mapping[str, Any] | None) -> None:
        """Take note that everything of a child run is recorded.

        Parameters
        ----------
        name : str
            Its name.
        model_uri : str or None
            Where its model is.
        kept : mapping or None
            What shall be known of it later; JSON-serialisable.
        """
        one = self._record.children[name]
        kept = None if kept is None else dict(kept)
        self._record.children[name] = Child(run_id=one.run_id, finished=True, model_uri=model_uri, kept=kept)
        self._save()

    def outbox(self, client: MlflowClient, patience: float) -> Outbox:
        """Open the outbox of this execution, once: what it records while MLflow is away waits in its home.

        Parameters
        ----------
        client : mlflow.MlflowClient
            Connected.
        patience : float
            As of the outbox.

        Returns
        -------
        Outbox
            With what an earlier process left there.
        """
        self._outbox = Outbox(client, self.folder / OUTBOX, patience=patience)
        return self._outbox

    def begin(self, run_id: str) -> None:
        """Put everything that is finished under a new parent run, and end what was interrupted.

        The outbox must be open.

        Parameters
        ----------
        run_id : str
            The parent run.

        Raises
        ------
        StoreError
            If MLflow does not take what was left in the outbox.
        """
        outbox = self._outbox
        if outbox is None:
            raise ValueError("the outbox of the execution is not open")
        client = outbox.client
        outbox.flush()
        self._record = with_ids(self._record, outbox)
        before = [one for one in self._record.parents if one != run_id]
        self._record.parents = [*before, run_id]
        self._record.closed = False
        self._save()
        working = {one.run_id for one in self._record.children.values() if self._with_workers and one.worker}
        close_runs(client, self._record, except_for={run_id, *working})
        for parent in before:
            if _status(client, parent) is not None:
                delivered(client.set_tag, parent, CONTINUED_BY, run_id)
        for name, one in list(self._record.children.items()):
            goes_on = one.finished or one.run_id in working
            status = _status(client, one.run_id) if goes_on else "KILLED"
            if status is None:
                # deleted by its owner: it is recorded anew
                del self._record.children[name]
            elif goes_on:
                if one.finished and status != "FINISHED":
                    delivered(client.set_terminated, one.run_id, "FINISHED")
                elif not one.finished and status != "RUNNING":
                    delivered(client.update_run, one.run_id, status="RUNNING")
                delivered(client.set_tag, one.run_id, MLFLOW_PARENT_RUN_ID, run_id)
        self._save()
        if before:
            done = sum(one.finished for one in self._record.children.values())
            logger.info("Going on with the execution in %s: %d runs are finished.", self.folder, done)

    def ended(self) -> None:
        """Take note that it ended well: whatever MLflow has not got yet, nothing is left to be done."""
        self._record.ended = True
        self._save()

    def _save(self) -> None:
        self._record.save(self.folder)


def execution_key(experiment: Experiment, jets: Mapping[str, JetParts]) -> str:
    """Name all that an execution depends on.

    Parameters
    ----------
    experiment : Experiment
        With everything that was overridden.
    jets : mapping of str to JetParts
        Of each variant.

    Returns
    -------
    str
        Twenty hexadecimal digits.
    """
    parts = [
        [getattr(one, part).fingerprint for part in ("train", "validation", "test")] for one in jets.values()
    ]
    kinds = sorted({one.tagger.kind for one in experiment.taggers} & set(CODE_OF_KIND))
    content = {
        "experiment": experiment.content(),
        "jets": parts,
        "code": [code_key(kind) for kind in kinds],
        "versions": {"jetexp": __version__} | software(),
        "store": masked(mlflow.get_tracking_uri()),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


@contextmanager
def open_execution(
    folder: Path,
    experiment: Experiment,
    jets: Mapping[str, JetParts],
    *,
    fresh: bool,
    with_workers: bool = False,
) -> Iterator[Execution]:
    """Open the home of an execution: that of the same one that was interrupted, or a new one.

    Parameters
    ----------
    folder : Path
        Where homes are.
    experiment : Experiment
        With everything that was overridden.
    jets : mapping of str to JetParts
        Of each variant.
    fresh : bool
        Start over: an interrupted execution of the same is given up.
    with_workers : bool
        Whether there are workers of a chief, which may go on with what they were given.

    Yields
    ------
    Execution
        Owned by this process. Its home is removed when the block ends well; if it is interrupted or fails,
        the same call goes on with it.

    Raises
    ------
    JetexpError
        If the folder cannot be written.
    """
    key = execution_key(experiment, jets)
    home, lock = _own(folder, f"{experiment.name}-{key}", key, fresh=fresh)
    try:
        record = read_record(home) or Record(key=key, store=masked(mlflow.get_tracking_uri()))
        execution = Execution(home, record, with_workers=with_workers)
        try:
            yield execution
        except BaseException:
            if not execution.has_ended:
                logger.info("What is finished is kept in %s: the same command goes on from there.", home)
            raise
        shutil.rmtree(home, ignore_errors=True)
    finally:
        lock.release()


def _own(folder: Path, name: str, key: str, *, fresh: bool) -> tuple[Path, FileLock]:
    """Find an unfinished home without an owner, or make one; give it, and the lock that says whose it is."""
    for home in sorted(folder.glob(f"{name}-*")):
        lock = owned(home)
        if lock is None:
            continue
        record = read_record(home)
        if record is not None and record.ended:
            # it waits for MLflow alone
            lock.release()
            continue
        if record is not None and record.key == key and not fresh:
            return home, lock
        if record is not None:
            logger.info("The interrupted execution in %s is given up.", home)
            shutil.rmtree(home, ignore_errors=True)
        lock.release()
    number = 0
    while True:
        home = folder / f"{name}-{number}"
        try:
            home.mkdir(parents=True)
        except FileExistsError:
            number += 1
            continue
        except OSError as error:
            raise JetexpError(f"{home} cannot be made: {error.strerror or error}.") from error
        # another process may look whose it is
        lock = owned(home, timeout=10)
        if lock is not None:
            return home, lock


def owned(home: Path, timeout: float = 0) -> FileLock | None:
    """Become the owner of a home.

    Parameters
    ----------
    home : Path
        The folder.
    timeout : float
        Seconds to wait for another owner.

    Returns
    -------
    FileLock or None
        To be released; None if it has an owner, or is gone.
    """
    lock = FileLock(home / LOCK)
    try:
        lock.acquire(timeout=timeout)
    except (Timeout, OSError):
        return None
    if not home.is_dir():
        lock.release()
        return None
    return lock


def read_record(home: Path) -> Record | None:
    """Read what a home says.

    Parameters
    ----------
    home : Path
        The folder.

    Returns
    -------
    Record or None
        None where there is none, or none that can be read, which is told.
    """
    path = home / RECORD
    try:
        if path.stat().st_size > MAXIMUM_RECORD:
            return None
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        logger.warning("%s cannot be read, and what it knows is made again: %s", path, error)
        return None


def with_ids(record: Record, outbox: Outbox) -> Record:
    """Put MLflow's ids into a record that was written while MLflow was away.

    Parameters
    ----------
    record : Record
        The record.
    outbox : Outbox
        Of the same home.

    Returns
    -------
    Record
        The same, with every id that is known.
    """
    return Record.model_validate_json(outbox.resolved(record.model_dump_json()))


def close_runs(client: MlflowClient, record: Record, except_for: Collection[str] = ()) -> None:
    """End the runs of an execution that say RUNNING with no living process behind them.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    record : Record
        Of the execution.
    except_for : collection of str
        Runs that go on.
    """
    unfinished = [one.run_id for one in record.children.values() if not one.finished]
    for run_id in [*record.parents, *unfinished, *_unnoted(client, record)]:
        if run_id not in except_for and _status(client, run_id) in ("RUNNING", "SCHEDULED"):
            delivered(client.set_terminated, run_id, "KILLED")


def _unnoted(client: MlflowClient, record: Record) -> list[str]:
    """Find child runs that say RUNNING and were opened just before the process was killed, unnoted."""
    noted = {one.run_id for one in record.children.values()}
    found: list[str] = []
    for parent in record.parents:
        run = _run(client, parent)
        if run is not None:
            theirs = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}' and attributes.status = 'RUNNING'"
            found += [
                one.info.run_id for one in delivered(client.search_runs, [run.info.experiment_id], theirs)
            ]
    return [run_id for run_id in found if run_id not in noted]


def _status(client: MlflowClient, run_id: str) -> str | None:
    """Say how a run stands; None if there is none, or it was deleted."""
    run = _run(client, run_id)
    return None if run is None else str(run.info.status)


def _run(client: MlflowClient, run_id: str) -> Run | None:
    """Look a run up; None if there is none, or it was deleted."""
    try:
        run: Run = delivered(client.get_run, run_id)
    except StoreError as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None
