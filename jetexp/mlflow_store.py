"""The MLflow server or store: whether it is there, and made ready."""

from __future__ import annotations

import logging
import os
import random
import re
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

import filelock
import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from requests.exceptions import HTTPError, RequestException
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from jetexp.errors import JetexpError, SurroundingsError
from jetexp.files import is_full_disk

__all__ = [
    "AWAY_TIME",
    "StoreAwayError",
    "StoreError",
    "check_reachable",
    "connect",
    "delivered",
    "first_line",
    "is_away",
    "masked",
    "quiet",
]

logger = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
# seconds: how long a server may take to answer at all, and how long one that is away, or a store that is
# locked, is waited for
ANSWER_TIME = 5.0
AWAY_TIME = 600.0
DATABASE_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
# what MLflow calls errors of a server that may well answer the next time
AWAY_CODES = {"INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "DEADLINE_EXCEEDED"}
AWAY_STATUS = {408, 429, 500, 502, 503, 504}
LOCKED = re.compile(r"database (table |schema )?is locked|deadlock|could not serialize", re.IGNORECASE)


class StoreError(SurroundingsError):
    """MLflow's server or store, or the disk behind it, failed or refused.

    Parameters
    ----------
    message : str
        One sentence.
    cause : Exception, optional
        What was raised.
    """

    def __init__(self, message: str, cause: Exception | None = None) -> None:
        super().__init__(message)
        self.error_code = str(getattr(cause, "error_code", ""))


class StoreAwayError(StoreError):
    """MLflow's server does not answer, or its store is locked: the same may well do a little later."""


def masked(text: str) -> str:
    """Hide user names and passwords in addresses.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        The same with ``***`` in their place.

    Examples
    --------
    >>> masked("postgresql://anna:secret@host/mlflow is not there")
    'postgresql://***@host/mlflow is not there'
    """
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)


def is_away(error: Exception) -> bool:
    """Say whether the same call may well do a little later: a server that is away, a store that is locked.

    Parameters
    ----------
    error : Exception
        What MLflow raised.

    Returns
    -------
    bool
        False for what MLflow refuses, and for a disk of this machine that is full.
    """
    if LOCKED.search(str(error)):
        return True
    if urlsplit(mlflow.get_tracking_uri()).scheme.split("+")[0] not in ("http", "https", *DATABASE_PORTS):
        return False
    if isinstance(error, MlflowException):
        return error.error_code in AWAY_CODES
    if isinstance(error, HTTPError) and error.response is not None:
        return error.response.status_code in AWAY_STATUS
    return isinstance(error, (RequestException, OperationalError, ConnectionError, TimeoutError))


def delivered(
    call: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result:
    """Call MLflow, and call again while its server is away or its store locked.

    Parameters
    ----------
    call : callable
        What to do; it must do no harm when done twice.
    *args, **kwargs
        Handed to it.

    Returns
    -------
    object
        What the call returned.

    Raises
    ------
    StoreAwayError
        If it is still away after ten minutes.
    StoreError
        If MLflow refuses, or its store or disk fails.
    """
    end, wait, told = time.monotonic() + AWAY_TIME, 0.1, False
    while True:
        try:
            return call(*args, **kwargs)
        except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
            away = is_away(error)
            if not away or time.monotonic() > end:
                kind = StoreAwayError if away else StoreError
                raise kind(f"MLflow cannot do what it is asked: {first_line(error)}.", error) from error
            if not told:
                logger.warning("MLflow does not answer, it is waited for: %s.", first_line(error))
                told = True
        # jitter, lest two processes meet again and again
        time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 (no secret)
        wait = min(2 * wait, 5.0)


def quiet() -> None:
    """Silence what MLflow says about itself on the console, but for errors."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # it tells of a locked store, which is tried again, with a traceback
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # two lines of addresses at the end of every run
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def check_reachable() -> None:
    """Make sure that MLflow's tracking server or store is there, and write nothing.

    Raises
    ------
    JetexpError
        If it is not; told within seconds, without MLflow's own retries of minutes.
    """
    quiet()
    uri = mlflow.get_tracking_uri()
    scheme = urlsplit(uri).scheme.split("+")[0]
    if scheme in ("http", "https"):
        _knock_at_server(uri)
    elif scheme in DATABASE_PORTS:
        _knock_at_database(uri, DATABASE_PORTS[scheme])
    elif (path := _sqlite_file(uri)) is not None:
        _knock_at_file(path)


def connect() -> MlflowClient:
    """Reach MLflow's tracking server or store, and make the store ready if it is new.

    Its address is MLflow's own choice: ``MLFLOW_TRACKING_URI``, or ``mlflow.db`` in this folder.

    Returns
    -------
    mlflow.MlflowClient
        Bound to that address.

    Raises
    ------
    JetexpError
        If it is not there or cannot be used.
    """
    check_reachable()
    uri = mlflow.get_tracking_uri()
    path = _sqlite_file(uri)
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        # migrations of a new store race; one process makes them, the others wait
        with nullcontext() if path is None else filelock.FileLock(f"{path}.lock", timeout=AWAY_TIME):
            client = MlflowClient()
            client.search_experiments(max_results=1)
    except filelock.Timeout:
        raise JetexpError(f"{masked(uri)} is being set up by another process that does not end.") from None
    except Exception as error:
        if path is not None:
            _clear_empty(path)
        raise JetexpError(
            f"MLflow's tracking store {masked(uri)} cannot be used: {first_line(error)}; "
            "set MLFLOW_TRACKING_URI to a server or store that can."
        ) from error
    return client


def _clear_empty(path: Path) -> None:
    """Remove the empty files that an attempt to make a store leaves, on a full disk for one."""
    for file in (path, Path(f"{path}.lock")):
        if file.is_file() and file.stat().st_size == 0:
            file.unlink()


def _sqlite_file(uri: str) -> Path | None:
    """Name the file behind an SQLite address."""
    if not uri.startswith("sqlite"):
        return None
    name = uri.partition(":///")[2].partition("?")[0]
    return Path(name) if name else None


def _knock_at_file(path: Path) -> None:
    """Make sure that a store's file is SQLite's and can be written; MLflow would try for minutes."""
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=ANSWER_TIME)) as store:
            store.execute("BEGIN IMMEDIATE")
            store.rollback()
    except sqlite3.Error as error:
        if not LOCKED.search(str(error)):
            raise JetexpError(
                f"MLflow's tracking store {path} cannot be used: {error}; "
                "set MLFLOW_TRACKING_URI to a server or store that can."
            ) from error


def first_line(error: Exception) -> str:
    """Give the first line of an error, or the one that tells of a full disk, without credentials.

    Parameters
    ----------
    error : Exception
        Any.

    Returns
    -------
    str
        At most 300 characters, without a full stop.
    """
    text = str(error.message if isinstance(error, MlflowException) else error) or type(error).__name__
    lines = [line for line in text.splitlines() if line.strip()] or [text]
    # SQLAlchemy says what it was about before it says what happened
    line = next((line for line in lines if is_full_disk(OSError(line))), lines[0])
    return masked(line).strip().rstrip(".")[:300]


def _knock_at_server(uri: str) -> None:
    """Ask a server for one experiment, once."""
    from mlflow.tracking._tracking_service.utils import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        response = http_request(
            get_default_host_creds(uri),
            "/api/2.0/mlflow/experiments/search",
            "POST",
            json={"max_results": 1},
            max_retries=0,
            timeout=ANSWER_TIME,
            raise_on_status=False,
        )
    except Exception as error:
        raise JetexpError(
            f"The MLflow server {masked(uri)} does not answer; start it, or set MLFLOW_TRACKING_URI "
            "to one that does."
        ) from error
    if response.status_code in (401, 403):
        raise JetexpError(
            f"The MLflow server {masked(uri)} refuses the credentials (status {response.status_code}); "
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN."
        )
    if response.status_code != 200:
        raise JetexpError(
            f"{masked(uri)} answers with status {response.status_code}, unlike an MLflow server; "
            "set MLFLOW_TRACKING_URI to one."
        )


def _knock_at_database(uri: str, default_port: int) -> None:
    """Open a connection to a database server, once; MLflow itself would try for minutes."""
    parts = urlsplit(uri)
    if not parts.hostname:
        return
    try:
        socket.create_connection((parts.hostname, parts.port or default_port), ANSWER_TIME).close()
    except OSError as error:
        raise JetexpError(
            f"The database server of {masked(uri)} does not answer ({error.strerror or error}); start it, "
            "or set MLFLOW_TRACKING_URI to another store."
        ) from error
