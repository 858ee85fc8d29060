"""Generation of jets: its rate against bare Pythia, and whether the jets depend on how they are made.

Run ``python benchmarks/generation.py`` (about two minutes; ``--help`` shows the sizes). It prints

- events a second through the whole chain (a start of Pythia for each chunk, events, selection of
  particles, FastJet, matching, constituents, Parquet on disk) on one core, against bare
  ``Pythia.nextBatch`` on the same settings, the two taking turns so that both run under the same load;
  the ratio that is judged is that of processor time, which other programs disturb least;
- whether 1 and 2 workers, and a run killed half way and started again, give the same jets;
- the AUC of jet pT alone for each pair of classes.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scipy.stats import mannwhitneyu

from jetexp.jets.generate import (
    EVENTS_PER_BATCH,
    EVENTS_PER_CHUNK,
    PROCESSES,
    bare_batches,
    candidates,
    start_pythia,
)
from jetexp.jets.load import load_jets
from jetexp.jets.sample import concatenate
from jetexp.jets.settings import GenerationSettings
from jetexp.jets.table import write_chunk

TARGET = 0.75


def clock() -> tuple[float, float]:
    """Wall and processor time."""
    return time.perf_counter(), time.process_time()


def rates(process: str, events: int, folder: Path) -> tuple[float, float, float]:
    """Events a second of the chain and of bare batches (wall), and the ratio in processor time.

    The chain bears the start of Pythia, once a chunk of events; the bare batches do not.
    """
    settings = GenerationSettings()
    bare = start_pythia(process, 1)
    before = clock()
    chain = start_pythia(process, 1)
    chunks = events / EVENTS_PER_CHUNK
    spent = {
        "chain": [chunks * (end - start) for start, end in zip(before, clock(), strict=True)],
        "bare": [0.0, 0.0],
    }
    for warm in (chain, bare):
        candidates(next(bare_batches(warm, EVENTS_PER_BATCH)), process, settings, warm)
    found = []
    for _ in range(events // EVENTS_PER_BATCH):
        # both generators are in the same state: they make the same events
        for name, pythia in (("bare", bare), ("chain", chain)):
            before = clock()
            (batch,) = bare_batches(pythia, EVENTS_PER_BATCH)
            if name == "chain":
                found.append(candidates(batch, process, settings, pythia))
            for index, (start, end) in enumerate(zip(before, clock(), strict=True)):
                spent[name][index] += end - start
            del batch
    before = clock()
    write_chunk(concatenate(found), folder / f"{process}.parquet")
    for index, (start, end) in enumerate(zip(before, clock(), strict=True)):
        spent["chain"][index] += end - start
    return (
        events / spent["chain"][0],
        events / spent["bare"][0],
        spent["bare"][1] / spent["chain"][1],
    )


def chunk_times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.glob("chunks/*/*/[0-9]*.parquet")}


def killed_half_way(settings: GenerationSettings, classes: list[str], folder: Path) -> dict[Path, int]:
    """Start generation in a process of its own, kill -9 it half way, and give the chunks that it left."""
    code = (
        "import sys; from pathlib import Path; from jetexp.jets.load import load_jets;"
        "from jetexp.jets.settings import GenerationSettings;"
        "load_jets(GenerationSettings.model_validate_json(sys.argv[1]), sys.argv[2].split(','), "
        "Path(sys.argv[3]), workers=2)"
    )
    arguments = [settings.model_dump_json(), ",".join(classes), str(folder)]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.DEVNULL)
    while len(chunk_times(folder)) < len(classes) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # its workers notice within a batch of events
    left = chunk_times(folder)
    while True:
        time.sleep(5)
        now = chunk_times(folder)
        if now == left:
            return left
        left = now


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=1000, help="events a process for the rates")
    parser.add_argument("--per-class", type=int, default=500, help="jets a class for the comparisons")
    parser.add_argument("--classes", default="QCD,W", help="classes for the comparisons")
    options = parser.parse_args()
    classes = options.classes.split(",")
    passed = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for process in PROCESSES:
            chain, bare, ratio = rates(process, options.events, folder)
            passed &= ratio >= TARGET
            print(
                f"{process:4} whole chain {chain:6.1f} events/s, bare nextBatch {bare:6.1f} events/s, "
                f"ratio {chain / bare:.2f}, of processor time {ratio:.2f} (target {TARGET})"
            )

        settings = GenerationSettings(per_class=options.per_class, seed=7)
        prints = {}
        for workers in (1, 2):
            start = time.perf_counter()
            jets = load_jets(settings, classes, folder / f"workers{workers}", workers=workers)
            seconds = time.perf_counter() - start
            prints[f"{workers} workers"] = jets.fingerprint
            print(f"{workers} workers: {jets.fingerprint[:16]}, {len(jets) / seconds:.0f} jets/s in all")
        before = killed_half_way(settings, classes, folder / "killed")
        jets = load_jets(settings, classes, folder / "killed", workers=2)
        after = chunk_times(folder / "killed")
        prints["killed"] = jets.fingerprint
        kept = all(after[path] == stamp for path, stamp in before.items())
        print(
            f"killed with {len(before)} of {len(after)} chunks done: {jets.fingerprint[:16]}, "
            f"finished chunks {'kept' if kept else 'MADE AGAIN'}"
        )
        passed &= kept and len(set(prints.values())) == 1 and len(before) < len(after)
        for first, second in itertools.combinations(range(len(classes)), 2):
            a, b = (jets.pt[jets.label == label] for label in (first, second))
            auc = mannwhitneyu(a, b).statistic / len(a) / len(b)
            error = ((1 / len(a) + 1 / len(b)) / 12) ** 0.5
            print(f"pT alone, {classes[first]} against {classes[second]}: AUC {auc:.4f} +- {error:.4f}")
    print("passed" if passed else "FAILED")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
