"""See to it that a run which was stopped under ``mlflow run`` ends KILLED.

Run by path in a process that outlives the stopped one: ``python -I last_status.py RUN END``. MLflow
3.17 overwrites the status of every run whose process did not succeed with FAILED (its
``_maybe_set_run_terminated`` means not to, but compares a name with numbers), after that process.
"""

from __future__ import annotations

import sys
import time

__all__ = ["main"]

# seconds that MLflow may take to have its say
PATIENCE = 20.0


def main(run_id: str, end_time: str) -> None:
    """Wait until MLflow has called the run FAILED, and put it right.

    Parameters
    ----------
    run_id : str
        A run that is KILLED.
    end_time : str
        When it ended, in milliseconds since 1970.
    """
    from mlflow import MlflowClient

    client = MlflowClient()
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if client.get_run(run_id).info.status == "FAILED":
            client.set_terminated(run_id, "KILLED", end_time=int(end_time))
            return
        time.sleep(0.2)


if __name__ == "__main__":
    main(*sys.argv[1:])
