"""How an execution is stopped by a signal."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import mlflow
from mlflow.exceptions import MlflowException

from jetexp.errors import JetexpError
from jetexp.mlflow_store import connect, masked

__all__ = ["STOPPING", "before_parent", "first_signal_raises", "killed_stays_killed"]

logger = logging.getLogger(__name__)

# Ctrl-C; kill, an eviction; what batch systems send before an eviction, or when time is nearly up
STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)


@contextmanager
def first_signal_raises() -> Iterator[None]:
    """Let the first INT, TERM or eviction signal raise, and ignore any after it.

    Under ``mlflow run``, Ctrl-C arrives as INT and at once again as TERM; a second exception in the
    midst of the first one's cleaning up would leave runs without a status.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # what nohup, or a shell for a job in the background, has ignored stays so
    numbers = [one for one in STOPPING if signal.getsignal(one) is not signal.SIG_IGN]

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
