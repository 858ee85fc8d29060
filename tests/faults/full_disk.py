"""Fill the disk under the main job at many points, make room, and call it again until it ends.

``python tests/faults/full_disk.py --points 10 --seed 1`` needs the right to mount a file system in memory.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from jobs import PATIENCE, PHASES, Job, artifacts, check

# seconds from the start of a phase, at most
LATEST = {"jets": 3.0, "search": 10.0, "seeds": 8.0, "evaluation": 5.0, "registry": 2.0}
SIZE = 400_000_000


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """Mount a small disk in memory."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "jetexp", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Take all room, and whatever becomes free meanwhile."""
    ballast, over = folder / "ballast", threading.Event()

    def fill() -> None:
        with ballast.open("ab", buffering=0) as stream:
            while not over.is_set():
                for size in (1 << 20, 1 << 12, 1):
                    try:
                        while stream.write(bytes(size)) == size:
                            pass
                    except OSError:
                        continue
                over.wait(0.01)

    filler = threading.Thread(target=fill)
    filler.start()
    try:
        yield
    finally:
        over.set()
        filler.join()
        ballast.unlink()


def torn(job: Job) -> list[str]:
    """Name files that are not whole: of jets and executions all, of the store those of finished runs."""
    finished = [run_id for (run_id,) in job.rows("select run_uuid from runs where status = 'FINISHED'")]
    places = [job.folder / "jets", job.folder / "executions"]
    places += [place for run_id in finished for place in job.folder.glob(f"mlruns/*/{run_id}")]
    found = []
    for path in (path for place in places for path in place.rglob("*") if path.is_file()):
        if any(part.startswith(".") for part in path.relative_to(job.folder).parts):
            continue  # a temporary name
        try:
            if path.suffix == ".parquet":
                pq.read_table(path)
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix in {".npz", ".keras"}:
                with ZipFile(path) as archive:
                    assert archive.testzip() is None
            elif path.suffix == ".png":
                with Image.open(path) as image:
                    image.load()
        except Exception as error:  # whatever it is, the file is not whole
            found.append(f"{path}: {error}")
    return found


def told(log: str) -> list[str]:
    """Give jetexp's sentences; raise where a user sees a traceback of it."""
    tracebacks = re.findall(r"Traceback \(most recent call last\):\n(?:[ ].*\n|\n)*\S.*", log)
    ours = [one for one in tracebacks if "/jetexp/" in one]
    assert not ours, ours[0]
    return re.findall(r"^jetexp: .*", log, re.MULTILINE)


def run(folder: Path, points: int, seed: int, per_class: int) -> dict[str, Any]:
    """Do all of it; give what was seen."""
    rng = random.Random(seed)
    quiet = Job(folder / "quiet", per_class)
    assert quiet.start().wait() == 0, quiet.log.read_text()[-2000:]
    seen: Counter[str] = Counter()
    for number in range(points):
        phase = PHASES[number % len(PHASES)]
        with disk(folder / f"disk-{number}") as place, tempfile.TemporaryDirectory() as logs:
            (place / "tmp").mkdir()
            job = Job(place, per_class, more={"TMPDIR": str(place / "tmp")}, log=Path(logs) / "log")
            process = job.start()
            end = time.monotonic() + PATIENCE
            passed = ("start", *PHASES[: PHASES.index(phase)])
            while job.phase() in passed and process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            time.sleep(rng.uniform(0, LATEST[phase]))
            reached = job.phase()
            with full(place):
                status = process.wait(PATIENCE)
            sentences = told(job.log.read_text())
            print(f"{number + 1:3d} {reached}: status {status}; {sentences}", flush=True)
            damaged = torn(job)
            assert not damaged, damaged
            if status:
                assert len(sentences) == 1, sentences
                seen[reached] += 1
                assert job.start().wait() == 0, job.log.read_text()[-3000:]
            check(job, quiet, failed=True)
            first, second = artifacts(job), artifacts(quiet)
            # networks by their scores of every jet: Keras numbers layers by how many it has built before
            differing = [
                key
                for key in first.keys() | second.keys()
                if first.get(key) != second.get(key) and not key[1].endswith(("network.txt", ".keras"))
            ]
            assert not differing, differing
    return {"points": points, "ended by the full disk": dict(seen)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-class", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(json.dumps(run(Path(temporary), asked.points, asked.seed, asked.per_class)))


if __name__ == "__main__":
    main()
