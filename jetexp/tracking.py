"""Writes runs to MLflow: opens the run that all others of an execution belong to."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from jetexp.delivery import create_run
from jetexp.errors import JetexpError
from jetexp.interruption import killed_stays_killed
from jetexp.mlflow_store import AWAY_TIME, StoreError, connect, delivered, is_away, masked
from jetexp.outbox import temporary_outbox
from jetexp.recorder import NOTE_LENGTH, MlflowRecorder, git_tags, run_status
from jetexp.stopping import first_signal_raises

if TYPE_CHECKING:
    from jetexp.execution import Execution
    from jetexp.outbox import Outbox
    from jetexp.serving import ServedSettings

__all__ = ["MlflowRecorder", "git_tags", "open_parent"]

logger = logging.getLogger(__name__)

# seconds that MLflow is waited for at the end of an execution which was stopped or failed
AFTER_A_FAULT = 4.0
# names such as "gifted-bee-12", which MLflow invents where nobody gave one
INVENTED_NAME = re.compile(r"[a-z]+-[a-z]+-\d+")


def _opened_by_mlflow(client: MlflowClient, run_id: str) -> Run:
    """Take over the run that `mlflow run` opened."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if is_away(error):
            raise
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
def open_parent(
    experiment_name: str | None,
    run_name: str,
    *,
    served: ServedSettings | None = None,
    description: str = "",
    execution: Execution | None = None,
    patience: float = AWAY_TIME,
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
    patience : float
        Seconds that MLflow is waited for where nothing can go on without it, if it is away: at the end for
        one.

    Yields
    ------
    MlflowRecorder
        Records to the parent run; it is FINISHED when the block ends, FAILED with the traceback
        as an artifact if it raises, KILLED if it is stopped.

    Raises
    ------
    StoreAwayError
        If MLflow has not got everything at the end.
    JetexpError
        If MLflow's server or store cannot be reached or used.
    """
    client = connect()
    tags = git_tags()
    if description:
        tags[MLFLOW_RUN_NOTE] = description[:NOTE_LENGTH]
    run_id = os.environ.get("MLFLOW_RUN_ID") or None
    if run_id is not None:
        run = delivered(_opened_by_mlflow, client, run_id)
        name = run.info.run_name or ""
        if INVENTED_NAME.fullmatch(name):
            delivered(client.update_run, run_id, name=run_name)
            name = run_name
    else:
        experiment_id = delivered(_experiment_id, client, experiment_name)
        run = _new_run(client, experiment_id, run_name, tags)
        name = run_name
    with ExitStack() as stack:
        outbox = (
            stack.enter_context(temporary_outbox(client, patience=patience))
            if execution is None
            else execution.outbox(client, patience)
        )
        recorder = MlflowRecorder(
            outbox,
            run.info.run_id,
            run.info.experiment_id,
            name,
            served=served,
            prefix="settings.",
            execution=execution,
        )
        stack.enter_context(first_signal_raises())
        stack.enter_context(killed_stays_killed(run_id))
        stack.enter_context(_delivered_at_the_end(outbox))
        with run_status(recorder):
            if execution is not None:
                execution.begin(recorder.run_id)
            recorder.tags(tags)
            yield recorder
        if execution is not None:
            execution.ended()


def _new_run(client: MlflowClient, experiment_id: str, name: str, tags: Mapping[str, str]) -> Run:
    """Create a run, and look for it first where the answer to a call before may have been lost."""
    start_time, calls = int(time.time() * 1000), count()
    tags = {**resolve_tags(), **tags}

    def create() -> Run:
        return create_run(client, experiment_id, name, tags, start_time, again=next(calls) > 0)

    return delivered(create)


@contextmanager
def _delivered_at_the_end(outbox: Outbox) -> Iterator[None]:
    """Wait for MLflow until it has everything, or only for some seconds where an execution went wrong."""
    try:
        yield
    except BaseException:
        try:
            outbox.close(AFTER_A_FAULT)
        except StoreError as error:
            logger.warning("%s", error)
        raise
    outbox.close()
