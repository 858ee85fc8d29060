"""Run every benchmark and print its table of ratios against a named alternative."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
# benchmarks/notebook.py needs a file to read, and is no race; benchmarks/raw_images.py is none either;
# benchmarks/memory.py takes an hour, benchmarks/scoring.py ten minutes
SCRIPTS = (
    "start.py",
    "images.py",
    "generation.py",
    "analysis.py",
    "coverage.py",
    "gate.py",
    "convergence.py",
    "fits.py",
    "streaming.py",
    "serving.py",
    "tracking.py",
)


def main() -> None:
    for script in SCRIPTS:
        print(f"\n== {script}", flush=True)
        subprocess.run([sys.executable, str(HERE / script)], check=True)


if __name__ == "__main__":
    main()
