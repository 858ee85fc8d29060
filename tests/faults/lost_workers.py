"""A chief and four workers, of whom two, and the chief, are killed at moments drawn by chance.

``python tests/faults/lost_workers.py --rounds 10 --seed 1`` compares each round's runs with those of the same
execution without workers. Each worker has a working folder and a folder of jets of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from jobs import PATIENCE, ROOT, Job, content
from servers import free_port

WORKERS, LOST = 4, 2
EXPERIMENT = """\
name: workers
classes: [QCD, W]
signal: W
jets: {source: pythia, per_class: 200, seed: 1}
images: {pixels: 16, half_width: 0.8}
tagger: {kind: cnn, width: 4, dense: 8}
training: {batch_size: 64, epochs: 2}
search:
  method: random
  trials: 8
  epochs: 2
  space:
    learning_rate: {min: 1.0e-4, max: 1.0e-2, scale: log}
    layers: {min: 1, max: 2}
seeds: 3
seed: 0
"""
NAMES = [*(f"trial-{number:02d}" for number in range(8)), *(f"seed-{number:02d}" for number in range(3))]


class Group:
    """A chief and its workers, with a store of their own."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.job = Job(folder, 0)
        self.address = f"127.0.0.1:{free_port()}"
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "experiment.yaml").write_text(EXPERIMENT)
        self.with_workers = workers > 0
        self.chief = self.start_chief()
        self.workers = [self._start(f"worker-{n}", "work", "--chief", self.address) for n in range(workers)]

    def start_chief(self) -> subprocess.Popen[bytes]:
        chief = ("--chief", self.address) if self.with_workers else ("--workers", "1")
        return self._start("chief", "run", str(self.folder / "experiment.yaml"), *chief)

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        place = self.folder / name
        place.mkdir(exist_ok=True)
        with (place / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "jetexp", *arguments],
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "MLFLOW_TRACKING_URI": f"sqlite:///{self.job.store}",
                    "JETEXP_JETS": str(place / "jets"),
                    "JETEXP_EXECUTIONS": str(self.folder / "executions"),
                    "TF_DETERMINISTIC_OPS": "1",
                    "TF_NUM_INTRAOP_THREADS": "1",
                    "OMP_NUM_THREADS": "1",
                },
                cwd=place,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self, name: str) -> str:
        return (self.folder / name / "log").read_text()[-3000:]

    def under_way(self) -> bool:
        return bool(self.job.rows("select 1 from runs where name like 'trial-%'"))


def kill_by_chance(group: Group, rng: random.Random, seconds: float) -> list[str]:
    """Kill two workers and the chief, which is started again; say when each was killed."""
    whom = [*["worker"] * LOST, "chief"]
    moments = sorted(zip((rng.uniform(0, seconds) for _ in whom), rng.sample(whom, 3), strict=True))
    end = time.monotonic() + PATIENCE
    while not group.under_way():
        assert group.chief.poll() is None, group.log("chief")
        assert time.monotonic() < end, "no trial has begun"
        time.sleep(0.05)
    began, told = time.monotonic(), []
    victims = rng.sample(range(WORKERS), LOST)
    for moment, one in moments:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        killed = group.chief if one == "chief" else group.workers[victims.pop()]
        over = killed.poll() is not None
        if not over:
            os.killpg(killed.pid, signal.SIGKILL)
            killed.wait()
        told.append(f"{one} {'was over' if over else 'killed'} at {moment:.1f} s")
        if one == "chief" and not over:
            time.sleep(rng.uniform(0, 3))
            group.chief = group.start_chief()
    return told


def check(group: Group, alone: dict[str, Any]) -> None:
    """Compare what a group left with what was done without workers."""
    statuses = Counter(status for (status,) in group.job.rows("select status from runs"))
    assert not statuses["RUNNING"], statuses
    assert not statuses["FAILED"], statuses
    # refuses a name that is finished twice, or a metric's step that is recorded twice
    found = content(group.job)
    assert sorted(found) == sorted(NAMES), sorted(found)
    for name, expected in alone.items():
        assert found[name] == expected, (name, found[name], expected)
    parents = group.job.rows(
        "select distinct t.value from runs r join tags t on t.run_uuid = r.run_uuid "
        "where t.key = 'mlflow.parentRunId' and r.status = 'FINISHED'"
    )
    assert len(parents) == 1, "finished runs stand under several parents"
    assert group.job.rows(f"select status from runs where run_uuid = '{parents[0][0]}'") == [("FINISHED",)]
    assert not list((group.folder / "executions").glob("*/")), "a home is left"


def wait(group: Group) -> None:
    """Wait until the chief, and the workers that live, have ended well."""
    assert group.chief.wait(PATIENCE) == 0, group.log("chief")
    for number, worker in enumerate(group.workers):
        code = worker.wait(60)
        assert code in (0, -signal.SIGKILL), (code, group.log(f"worker-{number}"))


def run(folder: Path, rounds: int, seed: int, seconds: float) -> dict[str, Any]:
    """Do all of it; give what was seen."""
    rng = random.Random(seed)
    quiet = Group(folder / "alone", 0)
    wait(quiet)
    alone = content(quiet.job)
    assert sorted(alone) == sorted(NAMES), sorted(alone)
    killed = 0
    for number in range(rounds):
        group = Group(folder / f"round-{number}", WORKERS)
        try:
            told = kill_by_chance(group, rng, seconds)
            wait(group)
        finally:
            for process in (group.chief, *group.workers):
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        check(group, alone)
        killed += sum(" killed " in one for one in told)
        again = group.job.rows("select count(*) from tags where key = 'retry_of'")[0][0]
        print(f"{number:2d} {'; '.join(told)}; {again} tried again", flush=True)
        shutil.rmtree(group.folder)
    return {"rounds": rounds, "killed": killed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=40.0, help="from the first trial to the last kill")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(run(asked.folder or Path(temporary), asked.rounds, asked.seed, asked.seconds)))


if __name__ == "__main__":
    main()
