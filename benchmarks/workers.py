"""Four workers of a chief against one: 60 trials of five seconds' sleep, timed from the first one's start.

Chief, workers, protocol, leases and MLflow are real, the trials alone do nothing: so what is measured is what
the handing out costs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import mlflow
import numpy as np
from default_network import ROOT

from jetexp.chief import Chief
from jetexp.execution import open_execution
from jetexp.experiment import Experiment
from jetexp.images import ImageSettings
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings
from jetexp.parts import JetParts
from jetexp.recorder import MlflowRecorder
from jetexp.search import Trial, search_on_workers
from jetexp.search_settings import Range, SearchSettings
from jetexp.taggers.settings import CnnSettings, TrainingSettings
from jetexp.tasks import Report, Task, TrialTask
from jetexp.tracking import open_parent
from jetexp.worker import Worker


class Sleeping(Worker):
    """Does nothing, for a while."""

    def __init__(self, chief: str, seconds: float) -> None:
        super().__init__(chief, jets_folder=Path.cwd())
        self.seconds = seconds

    def perform(self, task: Task, experiment: Experiment, recorder: MlflowRecorder) -> Report:
        assert isinstance(task, TrialTask)
        recorder.parameters(task.values)
        recorder.tags({"began": str(time.time())})
        time.sleep(self.seconds)
        objective = float(task.values["learning_rate"])
        recorder.metrics({"val_auc": objective}, step=1)
        recorder.tags({"ended": str(time.time())})
        trial = Trial(task.name, "finished", task.values, task.epochs, objective, self.seconds)
        return Report(run_id=task.run_id, outcome="finished", objective=objective, kept=asdict(trial))


def seconds_with(workers: int, trials: int, seconds: float, port: int) -> float:
    """Search with so many workers; give the time from the start of the first trial to the end of the last."""
    space = {"learning_rate": Range(min=1e-4, max=1e-1, scale="log")}
    experiment = Experiment(
        name="sleeping",
        classes=("QCD", "W"),
        signal="W",
        jets=GenerationSettings(),
        images=ImageSettings(),
        tagger=CnnSettings(),
        training=TrainingSettings(),
        search=SearchSettings(method="random", trials=trials, epochs=1, space=space),
    )
    jets = {"": JetParts(*(some_jets(number) for number in range(3)))}
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        mlflow.create_experiment("sleeping", artifact_location=f"{folder}/artifacts")
        processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--work-for", address, "--seconds", str(seconds)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for _ in range(workers)
        ]
        with (
            Chief(address) as chief,
            open_execution(
                Path(folder) / "executions", experiment, jets, fresh=False, with_workers=True
            ) as home,
            open_parent("sleeping", "sleeping", execution=home) as parent,
        ):
            chief.keep_state_in(home.folder)
            while len(chief.workers) < workers:
                time.sleep(0.1)
            found = search_on_workers(
                experiment, chief, recorder=parent, key="none", train="none", validation="none"
            )
            chief.dismiss()
        if [process.wait() for process in processes] != [0] * workers:
            raise SystemExit("a worker failed")
        runs = mlflow.MlflowClient().search_runs(
            [parent.experiment_id], f"tags.mlflow.parentRunId = '{parent.run_id}'"
        )
        if len(found.trials) != trials or len(runs) != trials:
            raise SystemExit(f"{len(found.trials)} trials in {len(runs)} runs, not {trials}")
        return max(float(run.data.tags["ended"]) for run in runs) - min(
            float(run.data.tags["began"]) for run in runs
        )


def some_jets(number: int) -> Jets:
    """Give four jets of one constituent."""
    ones = np.ones(4, dtype=np.float32)
    return Jets(
        offsets=np.arange(5),
        constituent_eta=0 * ones,
        constituent_phi=0 * ones,
        constituent_pt=(1 + number) * ones,
        label=np.array([0, 1, 0, 1]),
        pt=ones,
        eta=ones,
        mass=ones,
        classes=("QCD", "W"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--work-for", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work_for:
        Sleeping(asked.work_for, asked.seconds).run()
        return
    one = seconds_with(1, asked.trials, asked.seconds, 8731)
    four = seconds_with(4, asked.trials, asked.seconds, 8732)
    print(f"{asked.trials} trials of {asked.seconds:g} s: one worker {one:.1f} s, four {four:.1f} s")
    print(f"four are {one / four:.2f} times sooner; without any cost, 4")


if __name__ == "__main__":
    main()
