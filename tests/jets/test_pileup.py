from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from jetexp.errors import JetexpError, JetFileError
from jetexp.jets import generate
from jetexp.jets.clustering import Particles, eta_phi, wrap_phi
from jetexp.jets.generate import make_chunk, make_pool
from jetexp.jets.pileup import overlay, pool_path, read_pool, stored_pool
from jetexp.jets.sample import Jets
from jetexp.jets.settings import GenerationSettings


def massless(counts: list[int], seed: int = 0) -> Particles:
    rng = np.random.default_rng(seed)
    number = sum(counts)
    pt, eta, phi = rng.exponential(5, number), rng.uniform(-3, 3, number), rng.uniform(-3, 3, number)
    momentum = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "E": pt * np.cosh(eta),
    }
    return Particles(momentum, np.arange(number) + 100 * seed, np.array(counts))


@pytest.fixture(scope="module")
def pool() -> Particles:
    return make_pool(1, 60)


def test_numbers_of_collisions_are_poissonian() -> None:
    # the n-th collision has one particle, so particles are collisions
    laid = overlay(massless([0] * 4000), massless([1] * 50), 7.0, np.random.default_rng(0))
    assert laid.counts.mean() == pytest.approx(7, abs=0.2)
    assert laid.counts.var() == pytest.approx(7, abs=0.7)
    drawn = np.bincount(laid.identity, minlength=50)
    assert drawn.min() > 0.7 * drawn.mean()


def test_the_events_own_particles_stay_and_come_first() -> None:
    own, pool = massless([2, 0, 3], seed=5), massless([4, 0, 1], seed=9)
    laid = overlay(own, pool, 3.0, np.random.default_rng(1))
    assert len(laid.counts) == 3
    assert laid.counts.sum() == len(laid.identity) > 5
    for event in range(3):
        mine = np.arange(own.start[event], own.start[event + 1])
        found = laid.start[event] + np.arange(len(mine))
        assert np.array_equal(laid.identity[found], own.identity[mine])
        for name in own.momentum:
            assert np.array_equal(laid.momentum[name][found], own.momentum[name][mine])
        rest = laid.identity[found.size + laid.start[event] : laid.start[event + 1]]
        assert (rest >= 900).all()


def test_no_pile_up_changes_nothing() -> None:
    own = massless([2, 0, 3], seed=5)
    laid = overlay(own, massless([4]), 0.0, np.random.default_rng(1))
    assert np.array_equal(laid.counts, own.counts)
    assert np.array_equal(laid.momentum["px"], own.momentum["px"])


def test_a_collision_is_turned_and_mirrored_as_a_whole() -> None:
    pool = massless([3], seed=2)
    laid = overlay(massless([0] * 500), pool, 1.0, np.random.default_rng(3))
    eta, phi = (values.reshape(-1, 3) for values in eta_phi(laid.momentum))
    own_eta, own_phi = eta_phi(pool.momentum)
    sign = eta / own_eta
    assert np.allclose(np.abs(sign), 1)
    assert np.allclose(sign, sign[:, :1])
    assert 0.4 < np.mean(sign[:, 0] > 0) < 0.6
    assert np.allclose(wrap_phi(phi - phi[:, :1] - (own_phi - own_phi[0])), 0, atol=1e-9)
    # all around the beam
    assert np.histogram(phi[:, 0], bins=8, range=(-np.pi, np.pi))[0].min() > 30
    assert np.allclose(laid.momentum["E"].reshape(-1, 3), pool.momentum["E"])
    squares = sum(laid.momentum[name] ** 2 for name in ("px", "py", "pz"))
    assert np.allclose(squares, laid.momentum["E"] ** 2)


def test_a_pool_is_stored_once_for_each_seed(
    pool: Particles, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = []

    def make() -> Particles:
        made.append(1)
        return pool

    folder = tmp_path / "jets"
    path = stored_pool(folder, 1, make)
    assert path == pool_path(folder, 1) == stored_pool(folder, 1, make)
    assert len(made) == 1
    assert pool_path(folder, 2) != path
    again = read_pool(path)
    assert np.array_equal(again.counts, pool.counts)
    assert np.array_equal(again.identity, pool.identity)
    for name, values in pool.momentum.items():
        assert np.allclose(again.momentum[name], values, rtol=1e-5, atol=1e-6)
    assert not list(folder.glob(".*.parquet"))

    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(JetFileError, match="cannot be read as a pool of collisions"):
        read_pool(path)
    with caplog.at_level(logging.WARNING):
        stored_pool(folder, 1, make)
    assert "It is made again" in caplog.text
    assert len(made) == 2
    assert len(read_pool(path).counts) == 60


def test_a_folder_that_cannot_be_made_is_a_sentence(pool: Particles, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JetexpError, match=r"cannot be written: .*\."):
        stored_pool(tmp_path / "file" / "jets", 1, lambda: pool)


def test_pools_of_different_seeds_are_different_and_of_one_seed_the_same(pool: Particles) -> None:
    same, other = make_pool(1, 5), make_pool(2, 5)
    assert np.array_equal(same.momentum["px"], pool.momentum["px"][: len(same.identity)])
    assert not np.array_equal(same.counts, other.counts)
    assert (np.abs(eta_phi(pool.momentum)[0]) < 3.2001).all()
    # soft: some hundred particles, half a GeV each
    pt = np.hypot(pool.momentum["px"], pool.momentum["py"])
    assert 60 < pool.counts.mean() < 250
    assert 0.3 < pt.mean() < 0.7


def test_pile_up_adds_constituents_and_momentum(pool: Particles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "EVENTS_PER_CHUNK", 25)
    plain = GenerationSettings()
    with_pileup = plain.model_copy(update={"pileup": 20.0})
    none = make_chunk("W", 1, 0, plain)
    zero = make_chunk("W", 1, 0, plain.model_copy(update={"pileup": 0.0}), pool)
    assert zero.fingerprint == none.fingerprint
    jets = make_chunk("W", 1, 0, with_pileup, pool)
    assert jets.fingerprint == make_chunk("W", 1, 0, with_pileup, pool).fingerprint
    assert len(jets) >= 12
    # a jet of radius 1 covers pi of the 6.4 x 2 pi of the pool's acceptance
    share = np.pi / (6.4 * 2 * np.pi)
    particles = 20 * pool.counts.mean() * share
    pt = 20 * np.hypot(pool.momentum["px"], pool.momentum["py"]).sum() / len(pool.counts) * share
    assert jets.counts.mean() - none.counts.mean() == pytest.approx(particles, rel=0.3)

    # far from the decay, at the jet's edge, the same density of pT is seen
    def at_the_edge(sample: Jets) -> float:
        far = np.hypot(sample.constituent_eta, sample.constituent_phi) > 0.7
        return float(sample.constituent_pt[far].sum()) / len(sample)

    assert at_the_edge(jets) - at_the_edge(none) == pytest.approx(0.51 * pt, rel=0.5)


def test_pile_up_without_a_pool_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a pool"):
        make_chunk("W", 1, 0, GenerationSettings(pileup=1))
