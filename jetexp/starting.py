"""What `mlflow run` has begun, from the first moment: its run, and whether it lives. Imports nothing slow."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from filelock import FileLock

from jetexp.files import whole_file

__all__ = ["LOCK", "RECORD", "starting", "stop_with_mlflow"]

# of every home of an execution: what it says, and the lock that says whose it is
RECORD, LOCK = "record.json", ".lock"
# what stands between `mlflow run` and the command that it runs
SHELLS = {"sh", "bash", "dash", "zsh", "env"}
POLL_SECONDS = 1.0


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """Make a home for a run that is not known yet to belong to an execution.

    Parameters
    ----------
    folder : Path
        Where homes are: if this process is killed, the next one finds the run there, and ends it.

    Raises
    ------
    JetexpError
        If the folder cannot be written.
    """
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        yield
        return
    home = folder / f"starting-{run_id}"
    with whole_file(home / RECORD) as temporary:
        temporary.write_text(json.dumps({"key": "", "store": "", "parents": [run_id]}), encoding="utf-8")
    with FileLock(home / LOCK):
        yield
        # whatever ends before that, and before it could end its run perhaps, leaves it to the next one
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def stop_with_mlflow() -> Iterator[None]:
    """Stop as on TERM when the ``mlflow run`` that started this process is gone.

    It dies of a TERM and leaves behind the command that it runs, or a shell around that.
    """
    watched = _up_to_mlflow() if "MLFLOW_RUN_ID" in os.environ else []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if not all(_lives(one) for one in watched):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    if watched:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        # gone between the two questions
        return False


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
