"""Keep in mind the run that `mlflow run` opened, from the first moment: this imports nothing slow."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from jetexp.files import whole_file

__all__ = ["LOCK", "RECORD", "starting"]

# of every home of an execution: what it says, and the lock that says whose it is
RECORD, LOCK = "record.json", ".lock"


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
        try:
            yield
        except Exception:
            shutil.rmtree(home, ignore_errors=True)
            raise
        # a process that is stopped, before it could end its run perhaps, leaves it to the next one
        shutil.rmtree(home, ignore_errors=True)
