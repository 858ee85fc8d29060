"""Final fits: a worker process a core, against one after the other in this process with all cores.

The default network, on the jets of its experiment; both begin with Keras imported here, so that the workers'
start counts against them.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from jetexp.experiment_file import override, read_experiment
from jetexp.fit_store import FitStore
from jetexp.fit_task import FitTask, fit_into_store, task_of
from jetexp.parts import load_parts
from jetexp.recorder_protocol import NullRecorder
from jetexp.workers import cores, finished_tasks

ROOT = Path(__file__).parent.parent
JETS = ROOT / "jets"
EPOCHS = 6


def tasks(number: int) -> list[FitTask]:
    experiment = override(read_experiment(ROOT / "experiments" / "w_vs_qcd.yaml"), epochs=EPOCHS)
    jets = load_parts(experiment, JETS)
    one = experiment.taggers[0]
    cache = JETS / "observables"
    return [task_of(experiment, jets, one, seed, name=f"seed-{seed}", cache=cache) for seed in range(number)]


def at_once(wanted: list[FitTask], store: FitStore) -> None:
    coming = list(range(len(wanted)))
    endings = finished_tasks(
        fit_into_store,
        lambda running: coming.pop(0) if coming else None,
        lambda number: (wanted[number], store),
        cores(),
    )
    for _, ended in endings:
        ended.result()


def main() -> None:
    wanted = tasks(2 * cores())
    wanted[0].run(NullRecorder())  # Keras, and what it compiles once
    started = time.perf_counter()
    for task in wanted:
        task.run(NullRecorder())
    sequential = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        at_once(wanted, FitStore(Path(folder)))
        parallel = time.perf_counter() - started
    print(f"{len(wanted)} fits of {EPOCHS} epochs, one after the other: {sequential:6.1f} s")
    print(f"{len(wanted)} fits of {EPOCHS} epochs, {cores()} workers:        {parallel:6.1f} s")
    print(f"ratio {sequential / parallel:.2f}")


if __name__ == "__main__":
    main()
