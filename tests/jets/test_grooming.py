from __future__ import annotations

import numpy as np
import pytest

from jetexp.jets import grooming
from jetexp.jets.grooming import soft_dropped, with_hard_constituents
from jetexp.jets.sample import Jets
from jetexp.jets.settings import SoftDropSettings

Constituent = tuple[float, float, float]
DEFAULT = SoftDropSettings()


def jets_of(*constituents: list[Constituent], eta: float = 0.0) -> Jets:
    """Jets of constituents (pt, eta, phi), said to have pt 1, mass 2."""
    number = len(constituents)
    flat = np.array([one for jet in constituents for one in jet], dtype=np.float32).reshape(-1, 3)
    return Jets(
        offsets=np.concatenate([[0], np.cumsum([len(jet) for jet in constituents])]).astype(np.int64),
        constituent_pt=flat[:, 0],
        constituent_eta=flat[:, 1],
        constituent_phi=flat[:, 2],
        constituent_charge=np.arange(len(flat), dtype=np.int8),
        label=np.zeros(number, dtype=np.int64),
        pt=np.full(number, 1, dtype=np.float32),
        eta=np.full(number, eta, dtype=np.float32),
        mass=np.full(number, 2, dtype=np.float32),
        classes=("any",),
        provenance={"source": "hand"},
    )


def by_fastjet(jets: Jets, jet: int, settings: SoftDropSettings, radius: float) -> list[float]:
    """px of the constituents that FastJet's own groomer leaves."""
    import awkward as ak
    import fastjet

    which = slice(jets.offsets[jet], jets.offsets[jet + 1])
    pt, eta, phi = (
        values[which].astype(np.float64)
        for values in (jets.constituent_pt, jets.constituent_eta, jets.constituent_phi)
    )
    eta += float(jets.eta[jet])
    momenta = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "E": pt * np.cosh(eta),
    }
    cluster = fastjet.ClusterSequence(
        ak.zip(momenta, with_name="Momentum4D"),
        fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0),
    )
    groomed = cluster.exclusive_jets_softdrop_grooming(
        njets=1,
        beta=settings.beta,
        symmetry_cut=settings.z_cut,
        symmetry_measure="scalar_z",
        R0=radius,
        recursion_choice="larger_pt",
    )
    return sorted(ak.to_list(groomed.constituents.px))


def test_a_soft_branch_at_a_wide_angle_goes_and_two_hard_ones_stay() -> None:
    jets = jets_of([(60, 0.2, 0.0), (40, -0.2, 0.1), (5, 0.0, 0.9), (0, 0.1, 0.1)], eta=1.0)
    groomed = soft_dropped(jets, DEFAULT, 1.0)
    assert groomed.constituent_charge is not None
    assert groomed.constituent_charge.tolist() == [0, 1]
    assert groomed.constituent_phi == pytest.approx([0, 0.1])
    assert groomed.constituent_eta == pytest.approx([0.2, -0.2])
    # two massless particles: m2 = 2 pt1 pt2 (cosh(deta) - cos(dphi))
    assert groomed.mass[0] == pytest.approx(np.sqrt(2 * 60 * 40 * (np.cosh(0.4) - np.cos(0.1))), rel=1e-5)
    assert groomed.pt[0] == pytest.approx(np.hypot(60 + 40 * np.cos(0.1), 40 * np.sin(0.1)), rel=1e-5)
    pz = 60 * np.sinh(1.2) + 40 * np.sinh(0.8)
    assert groomed.eta[0] == pytest.approx(np.arcsinh(pz / groomed.pt[0]), rel=1e-5)
    assert groomed.provenance == {"source": "hand", "soft_drop": {"beta": 0.0, "z_cut": 0.1, "radius": 1.0}}
    assert jets.provenance == {"source": "hand"}


def test_constituents_below_a_pt_go_and_the_jet_is_measured_anew() -> None:
    jets = jets_of([(60, 0.2, 0.0), (0.9, 0.0, 0.9), (1, -0.2, 0.1)], [(0.5, 0.1, 0.0)], [], eta=1.0)
    cut = with_hard_constituents(jets, 1.0)
    # a jet of soft constituents alone stays as it is
    assert cut.counts.tolist() == [2, 1, 0]
    assert cut.constituent_pt == pytest.approx([60, 1, 0.5])
    assert cut.pt.tolist() == [pytest.approx(np.hypot(60 + np.cos(0.1), np.sin(0.1))), 1, 1]
    assert cut.mass.tolist() == [pytest.approx(np.sqrt(120 * (np.cosh(0.4) - np.cos(0.1))), rel=1e-4), 2, 2]
    # the axis that constituents are relative to
    assert cut.eta.tolist() == [1, 1, 1]
    assert cut.provenance == {"source": "hand", "minimum_constituent_pt": 1.0}
    assert with_hard_constituents(jets, 0.5).constituent_pt.tolist() == jets.constituent_pt.tolist()


def test_distant_constituents_are_reclustered_too() -> None:
    # further apart than the radius: both are hard, and both stay
    groomed = soft_dropped(jets_of([(60, 0.0, 0.7), (50, 0.0, -0.7)]), DEFAULT, 1.0)
    assert groomed.counts.tolist() == [2]


def test_jets_of_one_constituent_or_none_stay_as_they_are() -> None:
    jets = jets_of([], [(60, 0.2, 0.0)], [(60, 0.2, 0), (40, 0, 0)], [(30, 0, 0), (0, 0.1, 0.1)], [])
    groomed = soft_dropped(jets, DEFAULT, 1.0)
    assert groomed.counts.tolist() == [0, 1, 2, 2, 0]
    assert groomed.pt.tolist() == [1, 1, pytest.approx(100), 1, 1]
    assert groomed.mass.tolist() == [2, 2, pytest.approx(np.sqrt(4800 * (np.cosh(0.2) - 1))), 2, 2]
    few = jets.take(np.array([0, 1]))
    assert soft_dropped(few, DEFAULT, 1.0).fingerprint == few.fingerprint
    assert len(soft_dropped(jets.take(slice(0, 0)), DEFAULT, 1.0)) == 0


def test_equal_constituents_stay_together() -> None:
    groomed = soft_dropped(jets_of([(10, 0.1, 0.1), (10, 0.1, 0.1), (1, -0.5, 0)]), DEFAULT, 1.0)
    assert groomed.counts.tolist() == [2]


@pytest.mark.parametrize(
    ("settings", "radius"),
    [(DEFAULT, 1.0), (SoftDropSettings(beta=1, z_cut=0.2), 1.0), (SoftDropSettings(beta=2, z_cut=0.3), 0.5)],
)
def test_real_jets_as_fastjet_grooms_them(
    pythia_jets: Jets, settings: SoftDropSettings, radius: float
) -> None:
    jets = pythia_jets.take(slice(0, None, 30))
    groomed = soft_dropped(jets, settings, radius)
    assert groomed.counts.sum() < jets.counts.sum()
    px = groomed.constituent_pt * np.cos(groomed.constituent_phi)
    for jet in range(len(jets)):
        found = px[groomed.offsets[jet] : groomed.offsets[jet + 1]]
        assert np.sort(found) == pytest.approx(by_fastjet(jets, jet, settings, radius), rel=1e-5, abs=1e-5)


def test_blocks_do_not_matter(pythia_jets: Jets, monkeypatch: pytest.MonkeyPatch) -> None:
    jets = pythia_jets.take(slice(0, 25))
    whole = soft_dropped(jets, DEFAULT, 1.0)
    monkeypatch.setattr(grooming, "JETS_PER_BLOCK", 10)
    assert soft_dropped(jets, DEFAULT, 1.0).fingerprint == whole.fingerprint
    in_blocks = with_hard_constituents(jets, 2.0)
    monkeypatch.undo()
    assert in_blocks.fingerprint == with_hard_constituents(jets, 2.0).fingerprint
    assert in_blocks.counts.sum() < jets.counts.sum()


def test_grooming_takes_mass_from_qcd_jets_and_leaves_that_of_the_w(
    pythia_jets: Jets, capfd: pytest.CaptureFixture[str]
) -> None:
    groomed = soft_dropped(pythia_jets, DEFAULT, 1.0)
    assert capfd.readouterr().out == ""
    assert (groomed.counts <= pythia_jets.counts).all()
    assert (groomed.counts >= 1).all()
    qcd, w = (
        (pythia_jets.mass[pythia_jets.label == label], groomed.mass[groomed.label == label])
        for label in (0, 1)
    )
    assert np.median(qcd[1]) < 0.6 * np.median(qcd[0])
    assert np.median(w[1]) == pytest.approx(80.4, rel=0.05)
    for before, after in ((w[0], w[1]),):
        window = [np.mean(np.abs(mass - 80.4) < 10) for mass in (before, after)]
        assert window[1] > 2 * window[0]
    assert np.array_equal(groomed.label, pythia_jets.label)
    assert groomed.weight is not None
