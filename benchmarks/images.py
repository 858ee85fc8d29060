"""Standardised images of real jets: jets a second on one core, against a loop over jets.

The loop does the least that can be called an image: one `numpy.histogram2d` a jet, without
centring, rotation, flip, zoom or scale.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from jetexp.experiment_file import read_experiment
from jetexp.images import make_images
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings

ROOT = Path(__file__).parent.parent
JETS, LOOPED = 20_000, 1_000


def loop(jets: Jets, pixels: int, half_width: float) -> None:
    edges = np.linspace(-half_width, half_width, pixels + 1)
    for start, stop in zip(jets.offsets[:-1], jets.offsets[1:], strict=True):
        own = slice(start, stop)
        np.histogram2d(
            jets.constituent_eta[own],
            jets.constituent_phi[own],
            bins=(edges, edges),
            weights=jets.constituent_pt[own],
        )


def main() -> None:
    settings = read_experiment(ROOT / "experiments" / "w_vs_qcd.yaml").images
    few = load_jets(GenerationSettings(per_class=500, seed=1), ("QCD", "W"), Path("jets"))
    jets = few.take(np.arange(JETS) % len(few))
    make_images(few, settings)
    started = time.perf_counter()
    make_images(jets, settings)
    ours = len(jets) / (time.perf_counter() - started)
    looped = jets.take(slice(0, LOOPED))
    started = time.perf_counter()
    loop(looped, settings.pixels, settings.half_width)
    theirs = len(looped) / (time.perf_counter() - started)
    print(
        f"{jets.counts.mean():.0f} constituents a jet, {settings.pixels} x {settings.pixels} pixels, one core"
    )
    print(f"{'standardised images':34} {ours:9.0f} jets/s")
    print(f"{'numpy.histogram2d, jet by jet':34} {theirs:9.0f} jets/s")
    print(f"{'ratio':34} {ours / theirs:9.1f}")


if __name__ == "__main__":
    main()
