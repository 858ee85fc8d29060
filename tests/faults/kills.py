"""Kill the main job again and again, call it again until it ends, and compare with one left in peace.

``python tests/faults/kills.py --kills 40 --seed 1`` kills at random moments, -9 and TERM by turns, the
process group and ``mlflow run`` alone by turns, as often in each of jets, search, seeds, evaluation and
registry.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PHASES = ("jets", "search", "seeds", "evaluation", "registry")
TRIALS, SEEDS, EPOCHS = 3, 2, 2
# seconds: from the start of a phase to its kill at most, for a process to end after TERM, and for one call
LATEST = {"jets": 4.0, "search": 12.0, "seeds": 10.0, "evaluation": 8.0, "registry": 4.0}
TO_EXIT = 10.0
PATIENCE = 600.0


@dataclass
class Job:
    """The main job on a small budget, with a store and folders of its own."""

    folder: Path
    per_class: int
    seed: int = 0
    chunks: dict[Path, tuple[int, int]] = field(default_factory=dict)
    finished: dict[str, str] = field(default_factory=dict)
    before: set[str] = field(default_factory=set)

    @property
    def store(self) -> Path:
        return self.folder / "mlflow.db"

    def start(self) -> subprocess.Popen[bytes]:
        """Call ``mlflow run``, in a process group of its own."""
        self.before = {run_id for (run_id,) in self.rows("select run_uuid from runs")}
        parameters = {
            "per_class": self.per_class,
            "trials": TRIALS,
            "seeds": SEEDS,
            "epochs": EPOCHS,
            "seed": self.seed,
        }
        given = [word for name, value in parameters.items() for word in ("-P", f"{name}={value}")]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "mlflow", "run", str(ROOT), "--env-manager", "local", *given],
                env={
                    **os.environ,
                    "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
                    "MLFLOW_TRACKING_URI": f"sqlite:///{self.store}",
                    "MLFLOW_EXPERIMENT_NAME": "kills",
                    "JETEXP_JETS": str(self.folder / "jets"),
                    "JETEXP_EXECUTIONS": str(self.folder / "executions"),
                    "TF_DETERMINISTIC_OPS": "1",
                    "TF_NUM_INTRAOP_THREADS": "1",
                },
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the store; nothing while it is not there yet, or locked."""
        if not self.store.exists():
            return []
        try:
            with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=5)) as store:
                return store.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []

    def phase(self) -> str:
        """Say how far the call that runs has come."""
        if not list(self.folder.glob("executions/starting-*")):
            return "start"
        parents = [
            run_id
            for (run_id,) in self.rows("select run_uuid from runs where status = 'RUNNING'")
            if run_id not in self.before and (self.folder / f"executions/starting-{run_id}").exists()
        ]
        for parent in parents:
            names = Counter(
                (name.rstrip("0123456789"), status)
                for name, status in self.rows(
                    "select r.name, r.status from runs r join tags t on t.run_uuid = r.run_uuid "
                    f"where t.key = 'mlflow.parentRunId' and t.value = '{parent}'"
                )
            )
            if self.rows("select 1 from model_versions"):
                return "registry"
            if names["seed-", "FINISHED"] == SEEDS:
                return "evaluation"
            if any(name == "seed-" for name, _ in names):
                return "seeds"
            if any(name == "trial-" for name, _ in names):
                return "search"
            return "jets"
        return "start"

    def note(self) -> None:
        """Take note of what is finished, which nothing may make again."""
        for path in (self.folder / "jets").glob("chunks/*/*/[0-9]*.parquet"):
            made = path.stat().st_mtime_ns, path.stat().st_ino
            if self.chunks.setdefault(path, made) != made:
                raise AssertionError(f"{path} was made twice")
        query = (
            "select r.name, r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid "
            "where t.key = 'mlflow.parentRunId' and r.status = 'FINISHED'"
        )
        for name, run_id in self.rows(query):
            if self.finished.setdefault(name, run_id) != run_id:
                raise AssertionError(f"{name} was made twice")


def kill(job: Job, phase: str, number: int, rng: random.Random, latest: float) -> str:
    """Call the job, and kill it some time after a phase has begun; say what was done."""
    process = job.start()
    end = time.monotonic() + PATIENCE
    passed = PHASES[: PHASES.index(phase)]
    while job.phase() in ("start", *passed) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    until = time.monotonic() + rng.uniform(0, min(LATEST[phase], latest))
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.02)
    reached = job.phase()
    if process.poll() is not None or reached == "start":
        if process.wait():
            raise AssertionError(f"the job fails: {(job.folder / 'log').read_text()[-2000:]}")
        return "over"
    how = signal.SIGKILL if number % 2 else signal.SIGTERM
    alone = number // 2 % 2
    if alone:
        process.send_signal(how)
    else:
        os.killpg(process.pid, how)
    process.wait()
    began = time.monotonic()
    while _alive(process.pid):
        if time.monotonic() - began > TO_EXIT + 2:
            os.killpg(process.pid, signal.SIGKILL)
            raise AssertionError(f"processes live {TO_EXIT:.0f} s after {how.name}, {reached}")
        time.sleep(0.05)
    seconds = time.monotonic() - began
    whom = "mlflow run alone" if alone else "the group"
    return f"{reached}: {how.name} to {whom}, {seconds:.1f} s to the end of all"


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def content(job: Job) -> dict[str, Any]:
    """Give what a finished job left in the store, by the names of its runs."""
    query = (
        "select r.name, r.run_uuid from runs r join tags t on t.run_uuid = r.run_uuid "
        "where t.key = 'mlflow.parentRunId' and r.status = 'FINISHED'"
    )
    found: dict[str, Any] = {}
    for name, run_id in job.rows(query):
        assert name not in found, f"{name} is finished twice"
        metrics = job.rows(f"select key, step, value from metrics where run_uuid = '{run_id}'")
        twice = [
            point for point, times in Counter((key, step) for key, step, _ in metrics).items() if times > 1
        ]
        assert not twice, f"{name} has {twice[:3]} twice"
        found[name] = {
            "parameters": dict(job.rows(f"select key, value from params where run_uuid = '{run_id}'")),
            "metrics": sorted((key, step) for key, step, _ in metrics),
            "val_auc": [value for _, value in sorted((s, v) for key, s, v in metrics if key == "val_auc")],
        }
    return found


def check(killed: Job, quiet: Job) -> None:
    """Compare a job that was killed again and again with one that was not."""
    statuses = Counter(status for (status,) in killed.rows("select status from runs"))
    assert not statuses["RUNNING"], statuses
    assert not statuses["FAILED"], statuses
    assert killed.rows("select count(*) from model_versions") == [(1,)]
    aliases = "select alias, version from registered_model_aliases"
    assert killed.rows(aliases) == quiet.rows(aliases) != []
    first, second = content(killed), content(quiet)
    assert set(first) == set(second), set(first) ^ set(second)
    for name, expected in second.items():
        assert first[name]["parameters"] == expected["parameters"], name
        assert first[name]["metrics"] == expected["metrics"], name
        assert first[name]["val_auc"] == expected["val_auc"], name
    parents = killed.rows(
        "select distinct t.value from runs r join tags t on t.run_uuid = r.run_uuid "
        "where t.key = 'mlflow.parentRunId' and r.status = 'FINISHED'"
    )
    assert len(parents) == 1, "finished runs stand under several parents"
    assert not list((killed.folder / "executions").glob("*/")), "a home is left"


def run(folder: Path, kills: int, seed: int, per_class: int, *, latest: float = math.inf) -> dict[str, Any]:
    """Do all of it; give what was seen. A phase is over before ``latest`` seconds, if that is small."""
    rng = random.Random(seed)
    quiet = Job(folder / "quiet", per_class)
    if quiet.start().wait():
        raise SystemExit(f"the job itself fails: {(quiet.folder / 'log').read_text()[-2000:]}")
    reached: Counter[str] = Counter()
    jobs = 0
    done = 0
    while done < kills:
        # a job has more kills than it takes to see every phase, and is then let end
        job = Job(folder / f"killed-{jobs}", per_class)
        jobs += 1
        order = PHASES if kills - done <= len(PHASES) else [phase for phase in PHASES for _ in range(2)]
        ended = False
        for phase in order[: kills - done]:
            told = kill(job, phase, done, rng, latest)
            job.note()
            # it may end well before it can be killed
            ended = told == "over"
            if ended:
                break
            reached[told.split(":")[0]] += 1
            done += 1
            print(f"{done:3d} {told}", flush=True)
        if not ended and job.start().wait():
            raise SystemExit(f"the job does not end: {(job.folder / 'log').read_text()[-2000:]}")
        job.note()
        check(job, quiet)
        shutil.rmtree(job.folder)
    return {"kills": done, "jobs": jobs, "phases": dict(reached)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-class", type=int, default=300)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(run(asked.folder or Path(temporary), asked.kills, asked.seed, asked.per_class)))


if __name__ == "__main__":
    main()
