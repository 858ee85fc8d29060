"""What MLflow could not take yet, on disk and in order: recording waits for no server that is away."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from pydantic import ValidationError
from requests.exceptions import RequestException
from sqlalchemy.exc import SQLAlchemyError

from jetexp.delivery import ITEM, TEXTS, Artifact, Item, TornUploadError, with_known_ids
from jetexp.errors import JetexpError
from jetexp.files import whole_file, whole_folder
from jetexp.mlflow_store import AWAY_TIME, StoreAwayError, StoreError, first_line, is_away

__all__ = ["Outbox", "temporary_outbox", "undelivered"]

logger = logging.getLogger(__name__)

IDS = "ids.json"
RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
MAXIMUM_ITEM = 200_000_000
# seconds between two tries
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0


class Outbox:
    """Delivers items to MLflow, at once or, while it is away, when it is back; in order, each once.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    folder : Path
        Where items wait; those that an earlier process left there come first.
    patience : float
        Seconds that a server which is away is waited for where nothing can go on without it.
    lasting : bool
        Whether the folder stays when the process ends.

    Attributes
    ----------
    client, folder
        As given.
    payload_bytes : int
        Size of all files that were sent.
    """

    def __init__(
        self, client: MlflowClient, folder: Path, *, patience: float = AWAY_TIME, lasting: bool = True
    ) -> None:
        self.client = client
        self.folder = folder
        self.payload_bytes = 0
        self._patience = patience
        self._lasting = lasting
        self._ids: dict[str, str] = _read_ids(folder)
        self._waiting = deque(undelivered(folder))
        _remove_orphans(folder)
        self._next = int(self._waiting[-1].stem) + 1 if self._waiting else 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._closed = False
        self._refusal: StoreError | None = None
        self._last_error: Exception | None = None

    def __len__(self) -> int:
        """Count the items that wait."""
        return len(self._waiting)

    def resolved(self, text: str) -> str:
        """Put MLflow's ids in the place of those that were pending.

        Parameters
        ----------
        text : str
            An id or address, or any text with some.

        Returns
        -------
        str
            The text; an id whose item still waits stays pending.
        """
        return with_known_ids(text, self._ids)

    def send(self, item: Item, payload: Path | None = None) -> None:
        """Deliver an item, or keep it until MLflow is back.

        Parameters
        ----------
        item : Item
            What is to be done.
        payload : Path, optional
            The file or folder that belongs to it; it may be moved away.

        Raises
        ------
        StoreError
            If MLflow refuses it, or refused one that waited.
        JetexpError
            If it cannot be kept on disk.
        """
        if self._refusal is not None:
            raise self._refusal
        if payload is not None:
            files = payload.rglob("*") if payload.is_dir() else [payload]
            self.payload_bytes += sum(file.stat().st_size for file in files if file.is_file())
        if not self._waiting and not self._stopping:
            try:
                self._deliver(item, payload, again=False)
                return
            except StoreAwayError as error:
                self._last_error = error
                logger.warning(
                    "MLflow does not answer: what is recorded is kept in %s meanwhile, and delivered when it "
                    "is back.",
                    self.folder,
                )
                logger.debug("%s", error)
        self._keep(item, payload)
        with self._changed:
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._deliver_all, daemon=True, name="outbox")
                self._thread.start()

    def flush(self, patience: float | None = None) -> None:
        """Wait until everything is delivered.

        Parameters
        ----------
        patience : float, optional
            Seconds to wait for MLflow; by default as the outbox was made with.

        Raises
        ------
        StoreAwayError
            If it does not come back in this time.
        StoreError
            If it refused an item.
        """
        end = time.monotonic() + (self._patience if patience is None else patience)
        with self._changed:
            if self._waiting and self._thread is None and self._refusal is None:
                self._thread = threading.Thread(target=self._deliver_all, daemon=True, name="outbox")
                self._thread.start()
            while self._waiting and self._refusal is None:
                if not self._changed.wait(timeout=max(end - time.monotonic(), 0)):
                    break
                if time.monotonic() > end:
                    break
        if self._refusal is not None:
            raise self._refusal
        if self._waiting:
            kept = (
                f"is kept in {self.folder}; `jetexp deliver` delivers it, and the same command goes on"
                if self._lasting
                else "is lost"
            )
            raise StoreAwayError(
                f"MLflow did not come back: what it has not got ({len(self._waiting)} items) {kept}.",
                self._last_error,
            )

    def hurry(self) -> None:
        """Keep on disk what comes now, as the process is about to end: it waits for no server any more."""
        self._stopping = True

    def close(self, patience: float | None = None) -> None:
        """Wait until everything is delivered, and deliver nothing afterwards.

        Parameters
        ----------
        patience, and what is raised
            As of ``flush``.
        """
        try:
            self.flush(patience)
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def _keep(self, item: Item, payload: Path | None) -> None:
        """Put an item on disk: its payload first, so that an item which is there is whole."""
        path = self.folder / f"{self._next:08d}.json"
        self._next += 1
        if payload is not None:
            target = _payload(path)
            if payload.is_dir():
                with whole_folder(target) as folder:
                    shutil.copytree(payload, folder, dirs_exist_ok=True)
            else:
                with whole_file(target) as file:
                    shutil.copyfile(payload, file)
        with whole_file(path) as temporary:
            temporary.write_bytes(ITEM.dump_json(item))
        with self._changed:
            self._waiting.append(path)
            self._changed.notify_all()

    def _deliver_all(self) -> None:
        """Deliver what waits, the oldest first, again and again until nothing does."""
        wait, count = FIRST_WAIT, 0
        while True:
            with self._changed:
                if self._closed:
                    return
                if not self._waiting:
                    self._thread = None
                    # what is only kept as the process is about to end is no news
                    if count and not self._stopping:
                        logger.info("MLflow is back: everything is delivered (%d items had waited).", count)
                    return
                path = self._waiting[0]
            try:
                self._deliver_kept(path)
            except StoreAwayError as error:
                self._last_error = error
                # jitter, lest all who wait come back at the same moment
                seconds = wait * random.uniform(0.5, 1.5)  # noqa: S311 (no secret)
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, timeout=seconds)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            except Exception as error:
                with self._changed:
                    self._refusal = (
                        error if isinstance(error, StoreError) else StoreError(f"{path}: {error}", error)
                    )
                    self._thread = None
                    self._changed.notify_all()
                return
            wait, count = FIRST_WAIT, count + 1
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()

    def _deliver_kept(self, path: Path) -> None:
        payload = _payload(path)
        try:
            item = _read(path)
        except (OSError, ValidationError) as error:
            raise StoreError(f"{path} cannot be read: {error}", error) from error
        self._deliver(item, payload if payload.exists() else None, again=True)
        path.unlink()
        if payload.is_dir():
            shutil.rmtree(payload)
        else:
            payload.unlink(missing_ok=True)

    def _deliver(self, item: Any, payload: Path | None, *, again: bool) -> None:
        known = self._with_ids(item)
        if isinstance(item, Artifact) and payload is not None and Path(item.name).suffix in TEXTS:
            _replace_ids(payload, self._ids)
        try:
            with _answers_at_once():
                named = known.deliver(self.client, payload, again=again)
        except TornUploadError as error:
            raise StoreAwayError(f"MLflow: {error}.", error) from error
        except (MlflowException, SQLAlchemyError, RequestException, OSError) as error:
            if is_away(error):
                raise StoreAwayError(f"MLflow does not answer ({first_line(error)}).", error) from error
            raise StoreError(f"MLflow cannot do what it is asked: {first_line(error)}.", error) from error
        if named is not None:
            self._ids[named[0]] = named[1]
            if again:
                with whole_file(self.folder / IDS) as temporary:
                    temporary.write_text(json.dumps(self._ids), encoding="utf-8")

    def _with_ids(self, item: Any) -> Any:
        """Give the item with the ids that are known by now; of a new run or model, its own stays."""
        content = item.model_dump_json()
        found = with_known_ids(content, self._ids)
        return item if found == content else ITEM.validate_json(found)


def undelivered(folder: Path) -> list[Path]:
    """List what waits in a folder.

    Parameters
    ----------
    folder : Path
        Of an outbox; it need not exist.

    Returns
    -------
    list of Path
        One file an item, the oldest first.
    """
    return sorted(folder.glob("[0-9]*.json"))


@contextmanager
def temporary_outbox(client: MlflowClient, *, patience: float = AWAY_TIME) -> Iterator[Outbox]:
    """Give an outbox of which nothing is left: what MLflow has not taken at the end is lost.

    Parameters
    ----------
    client : mlflow.MlflowClient
        Connected.
    patience : float
        As of the outbox.

    Yields
    ------
    Outbox
        In a folder of its own.
    """
    with TemporaryDirectory(prefix="jetexp-outbox-") as folder:
        yield Outbox(client, Path(folder), patience=patience, lasting=False)


def _payload(path: Path) -> Path:
    return path.with_suffix(".payload")


def _read(path: Path) -> Any:
    if path.stat().st_size > MAXIMUM_ITEM:
        raise OSError(f"{path} is too large for an item")
    return ITEM.validate_json(path.read_bytes())


def _remove_orphans(folder: Path) -> None:
    """Remove what was left by a process that was killed while it wrote or removed an item."""
    for path in [*folder.glob("*.payload"), *folder.glob(".*")]:
        if path.suffix == ".payload" and path.with_suffix(".json").exists():
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _answers_at_once() -> Iterator[None]:
    """Keep MLflow from its own retries, in which it would wait for minutes."""
    before = os.environ.get(RETRIES)
    os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[RETRIES]
        else:
            os.environ[RETRIES] = before


def _read_ids(folder: Path) -> dict[str, str]:
    try:
        content = json.loads((folder / IDS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise JetexpError(f"{folder / IDS} cannot be read: {error}.") from error
    return {str(pending): str(given) for pending, given in content.items()}


def _replace_ids(path: Path, ids: dict[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    found = with_known_ids(text, ids)
    if found != text:
        # torn by a kill, it would be delivered torn
        with whole_file(path) as temporary:
            temporary.write_text(found, encoding="utf-8")
