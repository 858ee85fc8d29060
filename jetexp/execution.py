"""The home of an execution: what of it is finished, whose it is, and how the same command goes on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import psutil
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE
from pydantic import BaseModel, ConfigDict, ValidationError

from jetexp.errors import JetexpError
from jetexp.experiment import Experiment
from jetexp.files import whole_file
from jetexp.fit_store import CODE_OF_KIND, FitStore, code_key
from jetexp.mlflow_store import delivered, masked
from jetexp.parts import JetParts
from jetexp.starting import LOCK, RECORD

__all__ = ["Child", "Execution", "close_abandoned", "execution_key", "open_execution", "stop_with_mlflow"]

logger = logging.getLogger(__name__)

MAXIMUM_RECORD = 50_000_000
# tag of a run: what took its place
CONTINUED_BY = "continued_by"
# what stands between `mlflow run` and the command that it runs
SHELLS = {"sh", "bash", "dash", "zsh", "env"}
POLL_SECONDS = 1.0


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
    """

    model_config = ConfigDict(extra="forbid")

    run_id: str
    finished: bool = False
    model_uri: str | None = None
    kept: dict[str, Any] | None = None


class _Record(BaseModel):
    """What a home says of its execution."""

    model_config = ConfigDict(extra="forbid")

    key: str
    store: str
    parents: list[str] = []
    children: dict[str, Child] = {}
    # whether the runs that a killed process left open have been closed
    closed: bool = False


class Execution:
    """One execution, and its home on disk, which this process owns.

    Parameters
    ----------
    folder : Path
        The home.
    record : _Record
        What it says.
    """

    def __init__(self, folder: Path, record: _Record) -> None:
        self.folder = folder
        self._record = record

    @property
    def fits(self) -> FitStore:
        """Its finished fits and searches."""
        return FitStore(self.folder / "fits")

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

    def opened(self, name: str, run_id: str) -> None:
        """Take note of a child run before anything is recorded to it.

        Parameters
        ----------
        name : str
            Its name.
        run_id : str
            The MLflow run.
        """
        self._record.children[name] = Child(run_id=run_id)
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

    def begin(self, client: MlflowClient, run_id: str) -> None:
        """Put everything that is finished under a new parent run, and end what was interrupted.

        Parameters
        ----------
        client : mlflow.MlflowClient
            Connected.
        run_id : str
            The parent run.
        """
        before = [one for one in self._record.parents if one != run_id]
        self._record.parents = [*before, run_id]
        self._record.closed = False
        self._save()
        _close(client, self._record, except_for=run_id)
        for parent in before:
            if _status(client, parent) is not None:
                delivered(client.set_tag, parent, CONTINUED_BY, run_id)
        for name, one in list(self._record.children.items()):
            status = _status(client, one.run_id) if one.finished else "KILLED"
            if status is None:
                # deleted by its owner: it is recorded anew
                del self._record.children[name]
            elif one.finished:
                if status != "FINISHED":
                    delivered(client.set_terminated, one.run_id, "FINISHED")
                delivered(client.set_tag, one.run_id, MLFLOW_PARENT_RUN_ID, run_id)
        self._save()
        if before:
            done = sum(one.finished for one in self._record.children.values())
            logger.info("Going on with the execution in %s: %d runs are finished.", self.folder, done)

    def _save(self) -> None:
        with whole_file(self.folder / RECORD) as temporary:
            temporary.write_text(self._record.model_dump_json(indent=1), encoding="utf-8")


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
        "versions": {name: version(name) for name in ("jetexp", "keras", "keras-tuner", "tensorflow")},
        "store": masked(mlflow.get_tracking_uri()),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]


@contextmanager
def open_execution(
    folder: Path, experiment: Experiment, jets: Mapping[str, JetParts], *, fresh: bool
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
        record = _read(home / RECORD) or _Record(key=key, store=masked(mlflow.get_tracking_uri()))
        try:
            yield Execution(home, record)
        except BaseException:
            logger.info("What is finished is kept in %s: the same command goes on from there.", home)
            raise
        shutil.rmtree(home, ignore_errors=True)
    finally:
        lock.release()


def _own(folder: Path, name: str, key: str, *, fresh: bool) -> tuple[Path, FileLock]:
    """Find an unfinished home without an owner, or make one; give it, and the lock that says whose it is."""
    for home in sorted(folder.glob(f"{name}-*")):
        lock = _locked(home)
        if lock is None:
            continue
        record = _read(home / RECORD)
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
        lock = _locked(home, timeout=10)
        if lock is not None:
            return home, lock


def _locked(home: Path, timeout: float = 0) -> FileLock | None:
    """Become the owner of a home; None if it has one, or is gone."""
    lock = FileLock(home / LOCK)
    try:
        lock.acquire(timeout=timeout)
    except (Timeout, OSError):
        return None
    if not home.is_dir():
        lock.release()
        return None
    return lock


def _read(path: Path) -> _Record | None:
    try:
        if path.stat().st_size > MAXIMUM_RECORD:
            return None
        return _Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        logger.warning("%s cannot be read, and what it knows is made again: %s", path, error)
        return None


def close_abandoned(client: MlflowClient, folder: Path) -> None:
    """End the runs of all executions that say RUNNING with no living process behind them.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    folder : Path
        Where homes are.
    """
    for home in sorted(folder.glob("*/")):
        lock = _locked(home)
        if lock is None:
            continue
        try:
            record = _read(home / RECORD)
            if record is None or record.closed:
                continue
            if record.store not in ("", masked(mlflow.get_tracking_uri())):
                continue
            _close(client, record)
            if record.key:
                record.closed = True
                Execution(home, record)._save()
            else:
                shutil.rmtree(home, ignore_errors=True)
        finally:
            lock.release()
    _close_never_started(client)


def _close_never_started(client: MlflowClient) -> None:
    """End the runs that ``mlflow run`` opened here, and was killed before its command had begun.

    Nothing tells where such a run was opened: so they are looked for in stores of one machine alone, and
    when no other ``mlflow run`` is alive there.
    """
    own = os.environ.get("MLFLOW_RUN_ID")
    if own is None or not mlflow.get_tracking_uri().startswith("sqlite") or _others_alive():
        return
    experiments = [one.experiment_id for one in client.search_experiments()]
    here = f"tags.`{MLFLOW_SOURCE_TYPE}` = 'PROJECT' and attributes.status = 'RUNNING'"
    for run in client.search_runs(experiments, here):
        source = run.data.tags.get(MLFLOW_SOURCE_NAME, "").removeprefix("file://")
        same = Path(source).resolve() == Path.cwd().resolve()
        if same and run.info.run_id != own and MLFLOW_PARENT_RUN_ID not in run.data.tags:
            delivered(client.set_terminated, run.info.run_id, "KILLED")


def _others_alive() -> bool:
    """Say whether another ``mlflow run`` than the one that started this process is alive, or may be."""
    above = {one.pid for one in psutil.Process().parents()}
    for process in psutil.process_iter(["cmdline"]):
        words = [Path(word).name for word in process.info["cmdline"] or []]
        if process.pid not in above and "run" in words and any("mlflow" in word for word in words):
            return True
    return False


def _close(client: MlflowClient, record: _Record, except_for: str = "") -> None:
    unfinished = [one.run_id for one in record.children.values() if not one.finished]
    for run_id in [*record.parents, *unfinished]:
        if run_id != except_for and _status(client, run_id) in ("RUNNING", "SCHEDULED"):
            delivered(client.set_terminated, run_id, "KILLED")


def _status(client: MlflowClient, run_id: str) -> str | None:
    """Say how a run stands; None if there is none, or it was deleted."""
    try:
        run = client.get_run(run_id)
    except MlflowException:
        return None
    return str(run.info.status) if run.info.lifecycle_stage == "active" else None


@contextmanager
def stop_with_mlflow() -> Iterator[None]:
    """Stop as on TERM when the ``mlflow run`` that started this process is gone.

    It dies of a TERM and leaves behind the command that it runs, or a shell around that.
    """
    watched = _up_to_mlflow() if "MLFLOW_RUN_ID" in os.environ else []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if not all(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in watched):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    if watched:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _up_to_mlflow() -> list[psutil.Process]:
    """Give the processes above this one up to ``mlflow run``; none if that did not start it."""
    above = []
    try:
        for process in psutil.Process().parents():
            above.append(process)
            if process.name() in SHELLS:
                continue
            return above if any("mlflow" in Path(word).name for word in process.cmdline()) else []
    except psutil.Error:
        # gone already, or somebody else's
        pass
    return []
