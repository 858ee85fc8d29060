"""Writes runs to MLflow: opens the run that all others of an execution belong to."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from jetexp.errors import JetexpError
from jetexp.mlflow_store import connect, delivered, masked
from jetexp.recorder import NOTE_LENGTH, MlflowRecorder, git_tags, run_status

if TYPE_CHECKING:
    from jetexp.execution import Execution
    from jetexp.serving import ServedSettings

__all__ = ["MlflowRecorder", "before_parent", "git_tags", "open_parent"]

# names such as "gifted-bee-12", which MLflow invents where nobody gave one
INVENTED_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")


def _opened_by_mlflow(client: MlflowClient, run_id: str) -> Run:
    """Take over the run that `mlflow run` opened."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise JetexpError(
            f"MLFLOW_RUN_ID is {run_id}, but there is no such run: {masked(error.message)}; unset it."
        ) from error
    if run.info.lifecycle_stage != "active" or run.info.status not in ("RUNNING", "SCHEDULED"):
        raise JetexpError(f"MLFLOW_RUN_ID is {run_id}, but that run is over; unset it.")
    return run


def _experiment_id(client: MlflowClient, name: str | None) -> str:
    """Find or make the MLflow experiment; one that the environment names goes first."""
    if identifier := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return identifier
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or name
    if name is None:
        return "0"
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:
            # another process was faster
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage != "active":
        raise JetexpError(
            f"The MLflow experiment {name!r} is deleted; restore it with "
            f"`mlflow experiments restore --experiment-id {experiment.experiment_id}`."
        )
    return str(experiment.experiment_id)


@contextmanager
def _first_signal_raises() -> Iterator[None]:
    """Let the first INT or TERM raise, and ignore any after it.

    Under ``mlflow run``, Ctrl-C arrives as INT and at once again as TERM; a second exception in the
    midst of the first one's cleaning up would leave runs without a status.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)

    def ignore(number: int, frame: FrameType | None) -> None:
        # not SIG_IGN: Python complains on stderr of a signal that came before its handler was changed
        pass

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        for one in numbers:
            signal.signal(one, ignore)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _killed_stays_killed(run_id: str | None) -> Iterator[None]:
    """Keep `mlflow run`, if it opened the run, from calling it FAILED where it was stopped."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        if run_id is not None:
            script = Path(__file__).with_name("last_status.py").resolve()
            subprocess.Popen(
                [sys.executable, "-I", str(script), run_id, str(int(time.time() * 1000))],
                env={**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        raise


@contextmanager
def before_parent() -> Iterator[None]:
    """Do what comes before a parent run is opened; where ``mlflow run`` opened it, a stop ends it KILLED."""
    run_id = os.environ.get("MLFLOW_RUN_ID") or None
    with _first_signal_raises(), _killed_stays_killed(run_id):
        try:
            yield
        except Exception:
            raise
        except BaseException:
            if run_id is not None:
                delivered(connect().set_terminated, run_id, "KILLED")
            raise


@contextmanager
def open_parent(
    experiment_name: str | None,
    run_name: str,
    *,
    served: ServedSettings | None = None,
    description: str = "",
    execution: Execution | None = None,
) -> Iterator[MlflowRecorder]:
    """Open the parent run of an execution.

    Under ``mlflow run`` it is the run that MLflow opened already, in the experiment that was
    chosen there; else a new one.

    Parameters
    ----------
    experiment_name : str or None
        MLflow experiment for a new run; None is MLflow's ``Default``.
    run_name : str
        Name of the run.
    served : ServedSettings, optional
        What a network needs to be served.
    description : str
        Shown by the UI above the run.
    execution : Execution, optional
        Goes on under this run.

    Yields
    ------
    MlflowRecorder
        Records to the parent run; it is FINISHED when the block ends, FAILED with the traceback
        as an artifact if it raises, KILLED if it is stopped.

    Raises
    ------
    JetexpError
        If MLflow's server or store cannot be reached or used.
    """
    client = connect()
    tags = git_tags()
    if description:
        tags[MLFLOW_RUN_NOTE] = description[:NOTE_LENGTH]
    run_id = os.environ.get("MLFLOW_RUN_ID") or None
    if run_id is not None:
        run = _opened_by_mlflow(client, run_id)
        recorder = MlflowRecorder(client, run, served=served, prefix="settings.", execution=execution)
        if INVENTED_NAME.fullmatch(recorder.name or ""):
            delivered(client.update_run, run_id, name=run_name)
            recorder.name = run_name
    else:
        experiment_id = delivered(_experiment_id, client, experiment_name)
        run = delivered(client.create_run, experiment_id, tags={**resolve_tags(), **tags}, run_name=run_name)
        recorder = MlflowRecorder(client, run, served=served, prefix="settings.", execution=execution)
    with _first_signal_raises(), _killed_stays_killed(run_id), run_status(recorder):
        if execution is not None:
            execution.begin(client, recorder.run_id)
        recorder.tags(tags)
        yield recorder
