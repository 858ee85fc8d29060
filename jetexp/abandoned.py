"""Executions whose process is gone: their runs are ended, and MLflow gets what it has not got of them."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
from mlflow import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE

from jetexp.execution import OUTBOX, Record, close_runs, owned, read_record, with_ids
from jetexp.mlflow_store import StoreError, delivered, masked
from jetexp.outbox import Outbox, undelivered

__all__ = ["Delivery", "close_abandoned", "deliver"]

logger = logging.getLogger(__name__)

# seconds that the next start waits for MLflow to take what an earlier one left
AT_A_START = 30.0


@dataclass(frozen=True)
class Delivery:
    """What became of the outbox of one execution.

    Attributes
    ----------
    home : Path
        Of the execution.
    items : int
        How many waited there.
    outcome : str
        In a few words.
    """

    home: Path
    items: int
    outcome: str


def close_abandoned(client: MlflowClient, folder: Path) -> None:
    """End the runs of all executions that say RUNNING with no living process behind them.

    What MLflow has not got of them yet is delivered before.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    folder : Path
        Where homes are.
    """
    for home, record in _abandoned(folder):
        if record.store not in ("", masked(mlflow.get_tracking_uri())):
            continue
        if record.closed and not undelivered(home / OUTBOX):
            continue
        try:
            _settle(client, home, record, AT_A_START)
        except StoreError as error:
            logger.warning("%s", error)
    _close_never_started(client)


def deliver(client: MlflowClient, folder: Path, *, patience: float) -> list[Delivery]:
    """Deliver to MLflow what it has not got yet of executions whose process is gone.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    folder : Path
        Where homes are.
    patience : float
        Seconds to wait for MLflow if it does not answer.

    Returns
    -------
    list of Delivery
        One an execution of which something waited.

    Raises
    ------
    StoreError
        If MLflow does not answer, or refuses something.
    """
    here = masked(mlflow.get_tracking_uri())
    found = []
    for home, record in _abandoned(folder):
        items = len(undelivered(home / OUTBOX))
        if items and record.store != here:
            outcome = f"belongs to {record.store}: set MLFLOW_TRACKING_URI to that"
        elif items:
            _settle(client, home, record, patience)
            outcome = "delivered" if record.ended else "delivered; the same command goes on with the rest"
        else:
            continue
        found.append(Delivery(home, items, outcome))
    return found


def _abandoned(folder: Path) -> Iterator[tuple[Path, Record]]:
    """Give homes without a living owner, and own each meanwhile."""
    for home in sorted(folder.glob("*/")):
        lock = owned(home)
        if lock is None:
            continue
        try:
            record = read_record(home)
            if record is not None:
                yield home, record
        finally:
            lock.release()


def _settle(client: MlflowClient, home: Path, record: Record, patience: float) -> None:
    outbox = Outbox(client, home / OUTBOX)
    outbox.close(patience)
    record = with_ids(record, outbox)
    close_runs(client, record)
    if record.key and not record.ended:
        record.closed = True
        record.save(home)
    else:
        shutil.rmtree(home, ignore_errors=True)


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
