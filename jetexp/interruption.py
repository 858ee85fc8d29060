"""Runs that `mlflow run` opened end KILLED where their command was stopped."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from jetexp.errors import JetexpError
from jetexp.mlflow_store import connect, masked
from jetexp.stopping import first_signal_raises, stop_prevails

__all__ = ["before_parent", "killed_stays_killed"]

logger = logging.getLogger(__name__)


@contextmanager
def killed_stays_killed(run_id: str | None) -> Iterator[None]:
    """Keep `mlflow run`, if it opened the run, from calling it FAILED where it was stopped.

    Parameters
    ----------
    run_id : str or None
        The run that it opened.
    """
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
    with first_signal_raises(), killed_stays_killed(run_id):
        try:
            with stop_prevails():
                yield
        except Exception:
            raise
        except BaseException:
            if run_id is not None:
                _end_killed(run_id)
            raise


def _end_killed(run_id: str) -> None:
    try:
        connect().set_terminated(run_id, "KILLED")
    except (JetexpError, MlflowException) as error:
        # the next start ends it
        logger.warning("run %s could not be ended: %s", run_id, masked(str(error)))
