"""Samples of any size, for measurements of size only: the default jets again and again, slightly changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jetexp.augmentation import AugmentationSettings, augmented
from jetexp.jets.collection import JETS_PER_BLOCK, collect
from jetexp.jets.load import load_jets
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings
from jetexp.jets.store import write_jets

JETS = Path(os.environ.get("JETEXP_JETS", Path(__file__).parent.parent / "jets"))


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
