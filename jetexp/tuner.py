"""KerasTuner's manners, which a search with and without workers has to do with."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from keras_tuner import Oracle
    from keras_tuner.engine.trial import Trial

__all__ = ["at_home", "plain", "quiet_tuner", "tell"]


@contextmanager
def at_home(oracle: Oracle) -> Iterator[None]:
    """Give an oracle a temporary folder, for files that nobody reads.

    Parameters
    ----------
    oracle : keras_tuner.Oracle
        Without a folder.
    """
    with TemporaryDirectory(prefix="jetexp-oracle-") as folder:
        oracle.verbose = 0
        oracle._set_project_dir(folder, "keras_tuner")
        yield


def tell(oracle: Oracle, trial: Trial, objective: float | None, reason: str) -> None:
    """Tell an oracle how a trial ended.

    Parameters
    ----------
    oracle : keras_tuner.Oracle
        Which gave it out.
    trial : keras_tuner trial
        As it gave it.
    objective : float or None
        What was reached; None where it failed.
    reason : str
        Why it failed.
    """
    if objective is not None:
        oracle.update_trial(trial.trial_id, {oracle.objective.name: objective})
    trial.status = "FAILED" if objective is None else "COMPLETED"
    trial.message = reason or None
    oracle.end_trial(trial)


def plain(value: Any) -> Any:
    """Turn NumPy's numbers, which some oracles give, into Python's.

    Parameters
    ----------
    value : object
        Any.

    Returns
    -------
    object
        The same value.
    """
    return value.item() if isinstance(value, np.generic) else value


@contextmanager
def quiet_tuner() -> Iterator[None]:
    """Hide KerasTuner's use of deprecated functions, and what its oracle finds hard to fit in few points."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name in ("currentThread", "getName"):
            warnings.filterwarnings("ignore", rf"{name}\(\) is deprecated", DeprecationWarning)
        yield
