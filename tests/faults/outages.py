"""Kill MLflow's server again and again while the main job records to it, and compare with one left in peace.

``python tests/faults/outages.py --outages 10 --seed 1`` kills it ten times from the search on, once for two
minutes. The store must be the same in the end: runs, parameters, metric histories, files by checksum.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent))

from jobs import PATIENCE, Job, artifacts, check, histories
from servers import TrackingServer


def run(
    folder: Path, outages: int, seed: int, per_class: int, trials: int, *, longest: float = 120.0
) -> dict[str, Any]:
    """Do all of it; give what was seen."""
    rng = random.Random(seed)
    jobs = {}
    phases: Counter[str] = Counter()
    away = [longest] + [rng.uniform(1, 6) for _ in range(outages - 1)]
    rng.shuffle(away)
    for name, times in (("quiet", []), ("away", away)):
        server = TrackingServer(folder / name).start()
        job = Job(folder / name, per_class, trials=trials, tracking=server.address)
        jobs[name] = job
        try:
            process = job.start()
            end = time.monotonic() + PATIENCE
            while times and job.phase() in ("start", "jets") and time.monotonic() < end:
                assert process.poll() is None, job.log.read_text()
                time.sleep(0.1)
            for number, seconds in enumerate(times):
                time.sleep(rng.uniform(1, 8))
                assert process.poll() is None, "it was over before the server was killed as often as asked"
                phases[job.phase()] += 1
                server.kill()
                time.sleep(seconds)
                server.start()
                print(f"{number + 1:3d} {job.phase()}: away for {seconds:.0f} s", flush=True)
            status = process.wait()
            assert status == 0, job.log.read_text()[-2000:]
        finally:
            server.kill()
    check(jobs["away"], jobs["quiet"])
    first, second = artifacts(jobs["away"]), artifacts(jobs["quiet"])
    differing = [key for key in first.keys() | second.keys() if first.get(key) != second.get(key)]
    assert not differing, differing
    first, second = histories(jobs["away"]), histories(jobs["quiet"])
    differing = [key for key in first.keys() | second.keys() if first.get(key) != second.get(key)]
    assert not differing, differing
    log = jobs["away"].log.read_text()
    assert "Traceback" not in log, log[-3000:]
    return {
        "outages": outages,
        "phases": dict(phases),
        "files": len(artifacts(jobs["away"])),
        "metrics": len(first),
        "told": log.count("does not answer"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outages", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-class", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        seen = run(asked.folder or Path(temporary), asked.outages, asked.seed, asked.per_class, asked.trials)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
