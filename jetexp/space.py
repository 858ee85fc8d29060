"""Whether the disk can hold what an execution will write, before anything is made."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import mlflow

from jetexp.errors import JetexpError
from jetexp.experiment import Experiment
from jetexp.files import free_space
from jetexp.parts import JetParts
from jetexp.recording import served_settings

__all__ = ["check_space"]

# of one run, measured: its figures 1.5 MB, its model 1 MB, for the default network
BYTES_PER_RUN = 4_000_000
# runs that there are beside trials and seeds: the parent, the ensemble, the calibrated network
MORE_RUNS = 3


def check_space(experiment: Experiment, jets: Mapping[str, JetParts], executions: Path | None) -> None:
    """Refuse, before any work, what the disks cannot hold.

    Parameters
    ----------
    experiment : Experiment
        What will be done.
    jets : mapping of str to JetParts
        Of each variant.
    executions : Path or None
        Where finished fits will be kept, if they are.

    Raises
    ------
    JetexpError
        If there is too little room for finished fits, for MLflow's files on this machine, or for
        temporary ones; it says where, how much, and of what.
    """
    fits = len(jets) * sum(one.seeds for one in experiment.taggers)
    trials = 0 if experiment.search is None else experiment.search.trials * len(jets)
    # one run's files at a time, and the test jets as the images that the gate's judges are given
    images = 4 * served_settings(experiment).pixels ** 2 * max(len(one.test) for one in jets.values())
    needed = {Path(tempfile.gettempdir()): 2 * BYTES_PER_RUN + images}
    if mlflow.get_tracking_uri().startswith("sqlite"):
        needed[Path("mlruns")] = (trials + fits + MORE_RUNS) * BYTES_PER_RUN
    if executions is not None:
        needed[executions] = fits * BYTES_PER_RUN
    taken: dict[int, int] = {}
    for folder, size in needed.items():
        free, device = free_space(folder)
        taken[device] = taken.get(device, 0) + size
        if free < taken[device]:
            raise JetexpError(
                f"{experiment.name} needs about {taken[device] / 1e6:.0f} MB of disk for {trials} trials, "
                f"{fits} fits and their files, but {free / 1e6:.0f} MB are free in {folder.absolute()}."
            )
