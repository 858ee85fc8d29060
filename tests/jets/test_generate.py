from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from jetexp.errors import JetexpError
from jetexp.jets import generate
from jetexp.jets.generate import (
    EVENTS_PER_CHUNK,
    PROCESSES,
    bare_batches,
    candidates,
    check_request,
    chunk_key,
    event_seed,
    events_per_chunk,
    make_chunk,
    physics,
    start_pythia,
)
from jetexp.jets.grooming import soft_dropped
from jetexp.jets.sample import Jets
from jetexp.jets.settings import CalorimeterSettings, GenerationSettings, SoftDropSettings
from jetexp.jets.table import read_table


def test_chunks_of_a_slow_shower_are_smaller() -> None:
    quick, slow = GenerationSettings(per_class=10), GenerationSettings(per_class=10, shower="vincia")
    assert events_per_chunk(quick) == EVENTS_PER_CHUNK > 2 * events_per_chunk(slow)
    assert physics(slow)["events_per_chunk"] == events_per_chunk(slow)


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
    (stored,) = (jets_folder / "chunks").glob(f"seed{generation.seed}-*/W/000000.parquet")
    made = make_chunk("W", generation.seed, 0, generation)
    assert made.fingerprint == read_table(stored, ("W",)).fingerprint
    assert 0.6 * EVENTS_PER_CHUNK < len(made) <= EVENTS_PER_CHUNK


def test_settings_that_change_the_candidates_change_the_key() -> None:
    base = GenerationSettings()
    keys = {
        chunk_key(base.model_copy(update=change))
        for change in (
            {},
            {"radius": 0.8},
            {"maximum_eta": 1.5},
            {"pt_range": (700.0, 900.0)},
            {"shower": "vincia"},
            {"pileup": 20.0},
            {"pileup": 21.0},
            {"calorimeter": CalorimeterSettings()},
            {"calorimeter": CalorimeterSettings(tower=0.2)},
        )
    }
    assert len(keys) == 9
    assert chunk_key(base.model_copy(update={"per_class": 5, "seed": 9})) == chunk_key(base)


def test_samples_stored_before_newer_settings_came_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(physics(GenerationSettings())) == [
        "form",
        "generator",
        "processes",
        "jets",
        "radius",
        "pt_range",
        "maximum_eta",
        "particle_eta",
        "matching_distance",
        "events_per_chunk",
        "events_per_batch",
        "versions",
    ]
    versions = {"pythia8mc": "8.317.2", "fastjet": "3.5.2.0"}
    monkeypatch.setattr(generate, "version", versions.__getitem__)
    assert chunk_key(GenerationSettings()) == "cbb4da35c4"
    later = GenerationSettings(soft_drop=SoftDropSettings(), select_pt=(700, 800), minimum_constituent_pt=1)
    assert chunk_key(later) == "cbb4da35c4"


@pytest.mark.parametrize(("pileup", "lowest"), [(0, 550), (5.3, 529), (60, 310), (200, 150)])
def test_what_lies_on_top_of_jets_lifts_softer_collisions_into_reach(pileup: float, lowest: float) -> None:
    settings = GenerationSettings(pileup=pileup)
    assert f"PhaseSpace:pTHatMin = {lowest}." in physics(settings)["generator"]
    pythia = start_pythia("QCD", 1, pileup=settings.pileup)
    assert pythia.settings.parm("PhaseSpace:pTHatMin") == lowest


def test_jets_that_reach_beyond_the_particles_that_are_seen_are_refused() -> None:
    check_request(GenerationSettings(maximum_eta=2.2), ("W",))
    with pytest.raises(JetexpError, match=r"maximum_eta is 2\.9 .*radius 1, .*seen up to 3\.2"):
        check_request(GenerationSettings(maximum_eta=2.9), ("W",))


@pytest.mark.parametrize(("name", "mass"), [("QCD", None), ("W", 80.4), ("top", 172.5)])
def test_jets_of_the_vincia_shower_are_sane(
    name: str, mass: float | None, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = GenerationSettings(shower="vincia")
    pythia = start_pythia(name, 4, settings.shower)
    (events,) = bare_batches(pythia, 7)
    jets = candidates(events, name, settings, pythia)
    assert "VINCIA" not in capfd.readouterr().out
    # the parton of the record is found: most events have a matched jet in range
    assert len(jets) >= 4
    assert 20 < jets.counts.mean() < 200
    if mass is None:
        (others,) = bare_batches(start_pythia(name, 4), 2)
        assert [len(event) for event in others.prt] != [len(event) for event in events.prt[:2]]
    else:
        groomed = soft_dropped(jets, SoftDropSettings(), 1.0)
        assert np.median(groomed.mass) == pytest.approx(mass, rel=0.1)


def test_what_cannot_be_is_a_sentence() -> None:
    with pytest.raises(JetexpError, match=r"showers are simple and vincia; 'dire' is not one\."):
        start_pythia("QCD", 1, "dire")
    with pytest.raises(ValidationError, match="Input should be 'simple' or 'vincia'"):
        GenerationSettings(shower="dire")
    with pytest.raises(ValidationError, match="less than or equal to 200"):
        GenerationSettings(pileup=201)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        GenerationSettings(pileup=-1)
    with pytest.raises(ValidationError, match=r"less than 0\.5"):
        SoftDropSettings(z_cut=0.5)
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.01"):
        CalorimeterSettings(tower=0)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        CalorimeterSettings(hadronic=(-0.5, 0.03))
