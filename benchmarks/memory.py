"""Peak memory of a whole run on a million jets, against one on a hundred thousand.

One trial, one epoch, one seed of the default experiment. The jets are the default ones, resampled and
slightly changed so that none is like another: for the size only, they teach nothing. The memory is that of
the run's process and of all that it starts, at the same moment (proportional set size, on Linux).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jetexp.augmentation import AugmentationSettings, augmented
from jetexp.jets.collection import JETS_PER_BLOCK, collect
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings
from jetexp.jets.store import write_jets

ROOT = Path(__file__).parent.parent
JETS = Path(os.environ.get("JETEXP_JETS", ROOT / "jets"))
EXPERIMENT = ROOT / "experiments" / "w_vs_qcd.yaml"
SIZES = (100_000, 1_000_000)
# between two looks
SECONDS = 0.5


def resampled(jets: Jets, number: int) -> Iterator[Jets]:
    """Draw jets again and again, each slightly changed."""
    rng = np.random.default_rng(0)
    change = AugmentationSettings(smear=0.01, rotation=0.05)
    for start in range(0, number, JETS_PER_BLOCK):
        drawn = rng.integers(0, len(jets), min(JETS_PER_BLOCK, number - start))
        yield augmented(jets.take(drawn), change, rng)


def stored(number: int, folder: Path) -> Path:
    """Store a resampled sample."""
    jets = load_jets(GenerationSettings(per_class=10_000, seed=1), ["QCD", "W"], JETS)
    sample = folder / f"sample-{number}"
    write_jets(collect(resampled(jets, number), folder / "scratch"), sample)
    size = sum(path.stat().st_size for path in sample.iterdir())
    print(f"{number} jets: {size / number:.0f} bytes a jet on disk, {jets.counts.mean():.0f} constituents")
    return sample


def peak(sample: Path, folder: Path) -> tuple[float, float]:
    """Run the experiment in processes of its own; give the peak of their memory in GB and the seconds."""
    command = [sys.executable, "-m", "jetexp", "run", str(EXPERIMENT), "--jets", str(sample)]
    budget = ["--trials", "1", "--epochs", "1", "--seeds", "1", "--jets-folder", str(folder / "jets")]
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    store = f"sqlite:///{folder / sample.name}.db"
    begin = time.perf_counter()
    with (folder / "log").open("w+") as log:
        done = subprocess.Popen(
            [*command, *budget],
            env={**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": paths},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        highest = 0
        while done.poll() is None:
            highest = max(highest, sum(map(memory, tree(done.pid))))
            time.sleep(SECONDS)
        log.seek(0)
        if done.returncode:
            raise SystemExit(log.read()[-3000:])
    return highest / 1e6, time.perf_counter() - begin


def tree(root: int) -> list[int]:
    """List a process and all below it."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # the name, in brackets, may hold anything
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        below.setdefault(parent, []).append(int(path.parent.name))
    found = [root]
    for one in found:
        found += below.get(one, [])
    return found


def memory(process: int) -> int:
    """Give the memory of a process in kB; what it shares with others is shared out among them."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        # it has ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    with tempfile.TemporaryDirectory(dir=ROOT) as temporary:
        peaks = []
        for number in parser.parse_args().sizes:
            found, seconds = peak(stored(number, Path(temporary)), Path(temporary))
            peaks.append(found)
            print(f"{number} jets: peak {found:.2f} GB, {seconds:.0f} s", flush=True)
    print(f"ratio {peaks[-1] / peaks[0]:.2f}, alternative: every input in memory, 3.5 kB a jet and more")


if __name__ == "__main__":
    main()
