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
from pathlib import Path

from resampled import stored
from watch import peak_memory

ROOT = Path(__file__).parent.parent
EXPERIMENT = ROOT / "experiments" / "w_vs_qcd.yaml"
SIZES = (100_000, 1_000_000)


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
        highest = peak_memory(done)
        log.seek(0)
        if done.returncode:
            raise SystemExit(log.read()[-3000:])
    return highest, time.perf_counter() - begin


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
