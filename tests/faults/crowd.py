"""Start the main job several times at once, on one store and one folder of jets.

``python tests/faults/crowd.py --jobs 6`` starts six, each of another seed of its fits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

sys.path.insert(0, str(Path(__file__).parent))

from jobs import SEEDS, TRIALS, Job

# seconds; all of them share the processor
PATIENCE = 3000.0


def run(folder: Path, number: int, per_class: int) -> dict[str, Any]:
    """Do all of it; give what was seen."""
    # MLflow itself makes a new store and experiment before jetexp is called, and races for that
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(uri).create_experiment("faults", artifact_location=str(folder / "mlruns"))
    # two of each: the same execution at once too
    jobs = [Job(folder, per_class, seed=one // 2, log=folder / f"log-{one}") for one in range(number)]
    processes = [job.start() for job in jobs]
    chunks: dict[Path, tuple[int, int]] = {}
    homes: set[str] = set()
    began = time.monotonic()
    while any(process.poll() is None for process in processes) and time.monotonic() - began < PATIENCE:
        for path in (folder / "jets").glob("chunks/*/*/[0-9]*.parquet"):
            made = path.stat().st_mtime_ns, path.stat().st_ino
            assert chunks.setdefault(path, made) == made, f"{path} was made twice"
        homes |= {path.parent.name for path in (folder / "executions").glob("w_vs_qcd-*/record.json")}
        time.sleep(0.1)
    logs = [job.log.read_text() for job in jobs]
    for process, log in zip(processes, logs, strict=True):
        assert process.wait() == 0, log[-3000:]
        assert "database is locked" not in log, log
        assert "Traceback" not in log, log
    one = jobs[0]
    statuses = Counter(status for (status,) in one.rows("select status from runs"))
    assert set(statuses) == {"FINISHED"}, statuses
    parents = Counter(
        parent for (parent,) in one.rows("select value from tags where key = 'mlflow.parentRunId'")
    )
    children = one.rows(
        "select t.value, r.name from runs r join tags t on t.run_uuid = r.run_uuid "
        "where t.key = 'mlflow.parentRunId'"
    )
    assert len(set(children)) == len(children), "a run stands twice under one parent"
    assert len(parents) == number
    assert all(count >= TRIALS + SEEDS for count in parents.values()), parents
    assert len(homes) == number, homes
    assert one.rows("select count(*) from model_versions") == [(number,)]
    aliases = dict(one.rows("select alias, version from registered_model_aliases"))
    assert not list((folder / "executions").glob("*/")), "a home is left"
    return {
        "jobs": number,
        "runs": sum(statuses.values()),
        "chunks": len(chunks),
        "aliases": aliases,
        "waited for jets": sum("wait" in log for log in logs),
        "seconds": round(time.monotonic() - began),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--per-class", type=int, default=300)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(run(Path(temporary), asked.jobs, asked.per_class)))


if __name__ == "__main__":
    main()
