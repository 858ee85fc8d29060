from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jetexp.jets.generate import (
    EVENTS_PER_CHUNK,
    PROCESSES,
    bare_batches,
    chunk_key,
    event_seed,
    find_jets,
    make_chunk,
    start_pythia,
    wrap_phi,
)
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings
from jetexp.jets.store import read_table

ANGLES = hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(-100, 100))


@given(ANGLES)
def test_wrapped_phi_is_the_same_direction_within_its_range(phi: np.ndarray) -> None:
    wrapped = wrap_phi(phi)
    assert ((wrapped >= -np.pi) & (wrapped < np.pi)).all()
    assert np.allclose(np.exp(1j * wrapped), np.exp(1j * phi), atol=1e-12)


@given(ANGLES, st.integers(-3, 3))
def test_wrapping_knows_no_turns(phi: np.ndarray, turns: int) -> None:
    once, again = wrap_phi(phi), wrap_phi(phi + turns * 2 * np.pi)
    assert np.allclose(np.exp(1j * once), np.exp(1j * again), atol=1e-12)


@pytest.mark.parametrize("tiny", [-1e-16, -1e-17, -5e-324])
def test_just_below_minus_pi_wraps_into_the_range(tiny: float) -> None:
    assert -np.pi <= wrap_phi(np.array([-np.pi + tiny, np.nextafter(-np.pi, -4)]))[0] < np.pi


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


def test_jets_are_in_the_window(pythia_jets: Jets) -> None:
    assert pythia_jets.pt.min() >= 600
    assert pythia_jets.pt.max() < 1500
    assert np.abs(pythia_jets.eta).max() < 2.0
    assert set(np.unique(pythia_jets.constituent_charge)) <= {-1, 0, 1}
    assert pythia_jets.weight is not None
    assert (pythia_jets.weight > 0).all()


def test_constituents_add_up_to_their_jet(pythia_jets: Jets) -> None:
    jet = pythia_jets.jet_index
    pt = pythia_jets.constituent_pt.astype(float)
    phi = pythia_jets.constituent_phi.astype(float)

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(jet, weights=values, minlength=len(pythia_jets))

    px, py = summed(pt * np.cos(phi)), summed(pt * np.sin(phi))
    assert np.allclose(px, pythia_jets.pt, rtol=1e-5)
    assert np.allclose(py / px, 0, atol=1e-5)
    eta = pythia_jets.constituent_eta + np.repeat(pythia_jets.eta, pythia_jets.counts)
    assert np.allclose(summed(pt * np.sinh(eta)), px * np.sinh(pythia_jets.eta), rtol=1e-4, atol=0.1)
    assert np.abs(eta).max() < 3.2001


@pytest.mark.parametrize(("name", "mass"), [("W", 80.4), ("top", 172.5)])
def test_matched_jets_contain_the_decay(pythia_jets: Jets, name: str, mass: float) -> None:
    jets = pythia_jets.with_classes([name])
    # underlying event adds some mass; a jet that held only a part would lie below
    assert mass < np.median(jets.mass) < 1.5 * mass
    assert np.mean(jets.mass > 0.85 * mass) > 0.75
    qcd = pythia_jets.with_classes(["QCD"])
    assert np.mean(np.abs(qcd.mass / mass - 1.1) < 0.25) < 0.8 * np.mean(
        np.abs(jets.mass / mass - 1.1) < 0.25
    )


def test_one_event_by_hand_gives_the_same_jets(generation: GenerationSettings) -> None:
    """Follow each event in plain Python, particle by particle."""
    import fastjet

    pythia = start_pythia("top", 5)
    (events,) = bare_batches(pythia, 12)
    jets = find_jets(events, "top", generation, pythia)
    expected = []
    for event in ak.to_list(events.prt):
        visible = []
        for index, particle in enumerate(event):
            p = particle["p"]
            pt = np.hypot(p["px"], p["py"])
            seen = particle["status"] > 0 and abs(particle["id"]) not in (12, 14, 16)
            if seen and pt > 0 and abs(np.arcsinh(p["pz"] / pt)) < 3.2:
                one = fastjet.PseudoJet(p["px"], p["py"], p["pz"], p["e"])
                one.set_user_index(index)
                visible.append(one)
        tops = [
            fastjet.PseudoJet(*(one["p"][key] for key in ("px", "py", "pz", "e")))
            for one in event
            if abs(one["id"]) == 6
            and all(event[one[daughter]]["id"] != one["id"] for daughter in ("daughter1", "daughter2"))
        ]
        assert len(tops) == 2
        cluster = fastjet.ClusterSequence(visible, fastjet.JetDefinition(fastjet.antikt_algorithm, 1.0))
        for jet in fastjet.sorted_by_pt(cluster.inclusive_jets(600.0)):
            near = [
                np.hypot(jet.eta() - top.eta(), (jet.phi() - top.phi() + np.pi) % (2 * np.pi) - np.pi) < 0.5
                for top in tops
            ]
            if any(near) and abs(jet.eta()) < 2 and jet.pt() < 1500:
                charges = [
                    pythia.particleData.chargeType(event[part.user_index()]["id"]) // 3
                    for part in jet.constituents()
                ]
                expected.append((jet.pt(), jet.eta(), jet.m(), len(charges), sum(charges)))
                break
    total_charge = np.add.reduceat(jets.constituent_charge.astype(int), jets.offsets[:-1])
    found = np.stack([jets.pt, jets.eta, jets.mass, jets.counts, total_charge], axis=1)
    assert found == pytest.approx(np.array(expected), rel=1e-4)


def test_events_without_a_jet_in_the_window_give_no_jets(generation: GenerationSettings) -> None:
    pythia = start_pythia("QCD", 6)
    (events,) = bare_batches(pythia, 5)
    narrow = generation.model_copy(update={"pt_range": (1499.9, 1500.0)})
    jets = find_jets(events, "QCD", narrow, pythia)
    assert len(jets) == 0
    assert jets.constituent_charge is not None
