from __future__ import annotations

from pathlib import Path

import numpy as np

from jetexp.jets.generate import (
    EVENTS_PER_CHUNK,
    PROCESSES,
    chunk_key,
    event_seed,
    make_chunk,
)
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings
from jetexp.jets.table import read_table


def test_seeds_of_samples_and_processes_never_meet() -> None:
    chunks = 2000
    starts = np.sort(
        [event_seed(process, seed, 0) for process in PROCESSES for seed in range(200)] + [900_000_001]
    )
    assert np.diff(starts).min() > chunks
    assert event_seed("top", 1_000_000, 10**6) <= 900_000_000
    assert min(event_seed(name, 0, 0) for name in PROCESSES) >= 1


def test_a_chunk_made_here_is_the_chunk_a_worker_made(
    pythia_jets: Jets, generation: GenerationSettings, jets_folder: Path
) -> None:
    (stored,) = (jets_folder / "chunks").glob("*/W/000000.parquet")
    made = make_chunk("W", generation.seed, 0, generation)
    assert made.fingerprint == read_table(stored, ("W",)).fingerprint
    assert 0.6 * EVENTS_PER_CHUNK < len(made) <= EVENTS_PER_CHUNK


def test_settings_that_change_the_candidates_change_the_key() -> None:
    base = GenerationSettings()
    keys = {
        chunk_key(base.model_copy(update=change))
        for change in ({}, {"radius": 0.8}, {"maximum_eta": 1.5}, {"pt_range": (700.0, 900.0)})
    }
    assert len(keys) == 4
    assert chunk_key(base.model_copy(update={"per_class": 5, "seed": 9})) == chunk_key(base)
