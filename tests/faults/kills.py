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
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from jobs import PATIENCE, PHASES, Job, check

# seconds: from the start of a phase to its kill at most, and for a process to end after TERM
LATEST = {"jets": 4.0, "search": 12.0, "seeds": 10.0, "evaluation": 8.0, "registry": 4.0}
TO_EXIT = 10.0


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
