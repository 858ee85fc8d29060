from __future__ import annotations

import numpy as np
import pytest

from jetexp.jets import generate
from jetexp.jets.calorimeter import TOWER, measure, smear
from jetexp.jets.clustering import Particles, eta_phi
from jetexp.jets.generate import make_chunk
from jetexp.jets.settings import CalorimeterSettings, GenerationSettings

EXACT = CalorimeterSettings(electromagnetic=(0, 0), hadronic=(0, 0))


def particles(
    pt: list[float], eta: list[float], phi: list[float], identity: list[int], counts: list[int]
) -> Particles:
    pt_, eta_, phi_ = np.array(pt), np.array(eta), np.array(phi)
    momentum = {
        "px": pt_ * np.cos(phi_),
        "py": pt_ * np.sin(phi_),
        "pz": pt_ * np.sinh(eta_),
        "E": pt_ * np.cosh(eta_),
    }
    return Particles(momentum, np.array(identity), np.array(counts))


@pytest.mark.parametrize("energy", [0.5, 5.0, 50.0, 500.0])
@pytest.mark.parametrize(("stochastic", "constant"), [(0.1, 0.007), (0.5, 0.03)])
def test_measured_energies_have_the_right_mean_and_width(
    energy: float, stochastic: float, constant: float
) -> None:
    number = 100_000
    measured = smear(np.full(number, energy), (stochastic, constant), np.random.default_rng(0))
    width = np.hypot(stochastic / np.sqrt(energy), constant)
    assert measured.min() >= 0
    assert measured.mean() / energy == pytest.approx(1, abs=4 * width / np.sqrt(number))
    assert measured.std() / energy == pytest.approx(width, rel=0.03)


def test_a_perfect_calorimeter_conserves_energy_on_a_grid() -> None:
    rng = np.random.default_rng(1)
    number = 3000
    before = particles(
        list(rng.exponential(2, number)),
        list(rng.uniform(-3.19, 3.19, number)),
        list(rng.uniform(-np.pi, np.pi, number)),
        [211] * number,
        [1000, 0, 2000],
    )
    after = measure(before, EXACT, rng)
    assert len(after.counts) == 3
    assert after.counts[1] == 0
    for event in range(3):
        energies = [
            one.momentum["E"][one.start[event] : one.start[event + 1]].sum() for one in (before, after)
        ]
        assert energies[0] == pytest.approx(energies[1])
    eta, phi = eta_phi(after.momentum)
    assert np.allclose((eta / 0.1) % 1, 0.5)
    assert np.allclose(((phi + np.pi) * 63 / (2 * np.pi)) % 1, 0.5)
    squares = sum(after.momentum[name] ** 2 for name in ("px", "py", "pz"))
    assert np.allclose(squares, after.momentum["E"] ** 2)
    assert set(after.identity) == {TOWER}
    # a particle is never moved by more than half a tower
    single = measure(particles([1.0], [0.33], [-1.02], [22], [1]), EXACT, rng)
    assert np.abs(np.array(eta_phi(single.momentum)).ravel() - [0.33, -1.02]).max() <= 0.0501


def test_particles_of_one_tower_and_event_add_up_and_others_do_not() -> None:
    before = particles(
        [1.0, 2.0, 4.0, 8.0, 16.0],
        [0.02, 0.08, 0.02, -0.02, 0.02],
        [0.01, 0.01, np.pi - 1e-9, 0.01, 0.01],
        [211, 22, 211, 211, 211],
        [4, 1],
    )
    after = measure(before, EXACT, np.random.default_rng(0))
    assert after.counts.tolist() == [3, 1]
    expected = [8 * np.cosh(0.02), np.cosh(0.02) + 2 * np.cosh(0.08), 4 * np.cosh(0.02), 16 * np.cosh(0.02)]
    assert sorted(after.momentum["E"]) == pytest.approx(sorted(expected))


def test_photons_and_electrons_are_electromagnetic_and_muons_are_dropped() -> None:
    ids = [22, 11, -11, 211, 2112, -321, 13, -13]
    before = particles([10.0] * 8, list(np.arange(8) * 0.3 - 1), [0.0] * 8, ids, [8])
    exact = before.momentum["E"]
    only_hadronic = CalorimeterSettings(electromagnetic=(0, 0), hadronic=(1, 0))
    only_electromagnetic = CalorimeterSettings(electromagnetic=(1, 0), hadronic=(0, 0))
    for settings, kept in ((only_hadronic, [0, 1, 2]), (only_electromagnetic, [3, 4, 5])):
        # in the order of rising eta, as above
        energy = measure(before, settings, np.random.default_rng(0)).momentum["E"]
        assert len(energy) == 6
        assert np.flatnonzero(np.isclose(energy, exact[:6])).tolist() == kept


def test_no_particle_gives_no_tower() -> None:
    after = measure(particles([5.0], [0], [0], [13], [1]), EXACT, np.random.default_rng(0))
    assert after.counts.tolist() == [0]
    assert len(after.identity) == 0


def test_jets_of_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "EVENTS_PER_CHUNK", 25)
    plain = GenerationSettings()
    settings = plain.model_copy(update={"calorimeter": CalorimeterSettings()})
    none, jets = make_chunk("QCD", 1, 0, plain), make_chunk("QCD", 1, 0, settings)
    assert jets.fingerprint == make_chunk("QCD", 1, 0, settings).fingerprint
    assert jets.constituent_charge is not None
    assert not jets.constituent_charge.any()
    assert len(jets) >= 12
    eta = jets.constituent_eta.astype(float) + np.repeat(jets.eta, jets.counts)
    assert np.allclose((eta / 0.1) % 1, 0.5, atol=1e-4)
    assert jets.counts.mean() < none.counts.mean()
    assert jets.pt.mean() == pytest.approx(none.pt.mean(), rel=0.05)
