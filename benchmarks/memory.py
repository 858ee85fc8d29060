"""Peak memory of a whole run on a million jets, against one on a hundred thousand.

One trial, one epoch, one seed of the default experiment. The jets are the default ones, resampled and
slightly changed so that none is like another: for the size only, they teach nothing. Each run is a process of
its own; its peak is that of itself or of the largest process that it starts.
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
    """Run the experiment in a process of its own; give its peak memory in GB and its seconds."""
    store = f"sqlite:///{folder / sample.name}.db"
    budget = ["--trials", "1", "--epochs", "1", "--seeds", "1"]
    command = ["run", str(EXPERIMENT), "--jets", str(sample), "--jets-folder", str(folder / "jets"), *budget]
    begin = time.perf_counter()
    measured = (
        "import resource, runpy, sys; sys.argv = ['jetexp', *sys.argv[1:]]\n"
        "try: runpy.run_module('jetexp', run_name='__main__')\n"
        "finally: print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,"
        " resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", measured, *command],
        env={**os.environ, "MLFLOW_TRACKING_URI": store},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    told = next(line for line in done.stderr.splitlines() if line.startswith("PEAK"))
    return max(map(int, told.split()[1:])) / 1e6, time.perf_counter() - begin


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
