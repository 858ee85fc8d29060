from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jetexp.jets.clustering import find_jets, wrap_phi
from jetexp.jets.generate import bare_batches, candidates, start_pythia
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings

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


def test_just_below_minus_pi_wraps_into_the_range() -> None:
    # the modulo of a number so little below zero rounds to 2 pi
    wrapped = wrap_phi(np.nextafter(-np.pi * np.arange(1, 2001, 2.0), -np.inf))
    assert ((wrapped >= -np.pi) & (wrapped < np.pi)).all()


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
    jets = candidates(events, "top", generation, pythia)
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
    jets = candidates(events, "QCD", narrow, pythia)
    assert len(jets) == 0
    assert jets.constituent_charge is not None


Particle = tuple[int, int, int, float, float, float]


def by_hand(*events: list[Particle]) -> ak.Array:
    """Events of massless particles, each (id, status, daughter, pt, eta, phi)."""

    def record(identity: int, status: int, daughter: int, pt: float, eta: float, phi: float) -> dict:
        p = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "e": pt * np.cosh(eta)}
        return {"id": identity, "status": status, "daughter1": daughter, "daughter2": daughter, "p": p}

    return ak.Array(
        {
            "prt": [[record(*particle) for particle in event] for event in events],
            "info": [{"weights": [1.5 + number]} for number in range(len(events))],
        }
    )


def jets_by_hand(*events: list[Particle], parton: int | None = None) -> Jets:
    return find_jets(
        by_hand(*events),
        GenerationSettings(),
        name="any",
        parton=parton,
        charge=lambda identity: identity // 211,
    )


def test_the_hardest_jet_in_range_is_taken_with_its_own_constituents() -> None:
    jets = jets_by_hand(
        [(211, 1, 0, 700, 0.0, 3.0), (-211, 1, 0, 100, 0.1, -3.1), (211, 1, 0, 900, 1.0, 0.0)],
        [(22, 1, 0, 100, 0.0, 0.0)],
        [(211, 1, 0, 900, 2.1, 0.0), (211, 1, 0, 1600, 0.0, 2.0), (22, 1, 0, 650, -1.9, -2.0)],
    )
    assert jets.pt == pytest.approx([900, 650])
    assert jets.eta == pytest.approx([1.0, -1.9])
    assert jets.counts.tolist() == [1, 1]
    assert jets.constituent_charge is not None
    assert jets.constituent_charge.tolist() == [1, 0]
    assert jets.weight is not None
    assert jets.weight.tolist() == [1.5, 3.5]


def test_constituents_are_relative_to_an_axis_at_the_seam_of_phi() -> None:
    jets = jets_by_hand([(211, 1, 0, 700, 0.5, 3.1), (-211, 1, 0, 700, 0.5, -3.1)])
    assert sorted(jets.constituent_phi.tolist()) == pytest.approx([-(np.pi - 3.1), np.pi - 3.1], abs=1e-6)


def test_only_visible_final_particles_within_acceptance_count() -> None:
    jets = jets_by_hand(
        [
            (211, 1, 0, 700, 0.0, 0.0),
            *((neutrino, 1, 0, 50, 0.1, 0.1) for neutrino in (12, -12, 14, -14, 16, -16)),
            (211, -1, 0, 50, 0.1, -0.1),
        ],
        [(211, 1, 0, 700, 1.9, 0.0), (211, 1, 0, 30, 3.25, 0.0)],
    )
    assert jets.counts.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("first", "last", "matched"), [(0.0, 0.0, 1), (3.0, 0.45, 1), (0.0, 0.55, 0), (0.0, 3.0, 0)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_it_is_the_last_copy_of_the_parton_that_matches(
    first: float, last: float, matched: int, sign: int
) -> None:
    tops = [(6 * sign, -22, 1, 700, first, 0.0), (6 * sign, -62, 2, 700, last, 0.0)]
    event = [*tops, (211, 1, 0, 700, 0.0, 0.0)]
    assert len(jets_by_hand(event, parton=6)) == matched
    # the parton of another event is no partner
    assert len(jets_by_hand(event[:2], [(22, -1, 0, 1, 0, 0), event[2]], parton=6)) == 0
    assert len(jets_by_hand(event)) == 1
