import json

import numpy as np
import pytest
from binormal import binormal
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from jetexp.evaluation.sculpting import (
    MassSculpting,
    RejectionAgainstPt,
    mass_sculpting,
    rejection_against_pt,
)


def test_bins_of_pt_add_up_to_the_whole():
    rng = np.random.default_rng(0)
    values, signal = binormal(4000, 1.7, rng)
    pt = rng.uniform(600, 1500, len(values))
    found = rejection_against_pt(pt, values, signal, signal_index=1, bins=6)
    assert len(found.bins) == 6
    assert sum(one.n_signal for one in found.bins) == sum(one.n_background for one in found.bins) == 4000
    assert max(one.n_signal + one.n_background for one in found.bins) <= 8000 / 6 + 1
    # the cut keeps half the signal of all pT, no more and no less
    assert sum(one.n_signal * one.signal_efficiency for one in found.bins) == pytest.approx(2000)
    passing = sum(one.n_background / one.rejection for one in found.bins)
    assert passing == pytest.approx(np.sum(values[~signal] >= found.threshold))
    assert found.bins[0].high == found.bins[1].low


def test_a_tagger_that_fails_at_high_pt_is_seen_to():
    rng = np.random.default_rng(1)
    values, signal = binormal(20_000, 2.0, rng)
    pt = rng.uniform(600, 1500, len(values))
    values -= np.where(signal & (pt > 1000), 1.0, 0.0)
    low, high = rejection_against_pt(pt, values, signal, signal_index=1, edges=[600, 1000, 1500]).bins
    gap = low.signal_efficiency - high.signal_efficiency
    assert gap > 10 * np.hypot(low.signal_efficiency_error, high.signal_efficiency_error)
    # the background is the same at all pT
    assert low.interval[0] < high.interval[1]
    assert high.interval[0] < low.interval[1]
    assert low.interval[0] < low.rejection < low.interval[1]


def test_a_bins_errors_are_binomial_and_jeffreys():
    passes = np.arange(1000) < 40
    discriminant = np.where(passes, 1.0, 0.0)
    label = np.append(np.zeros(1000, int), [1, 1])
    (one,) = rejection_against_pt(
        np.full(1002, 700.0), np.append(discriminant, [1.0, 0.5]), label, signal_index=1, edges=[600, 800]
    ).bins
    assert one.rejection == 25
    low, high = beta(40.5, 960.5).ppf([0.841345, 0.158655])
    assert one.interval == pytest.approx((1 / low, 1 / high))
    assert one.signal_efficiency == 0.5
    assert one.signal_efficiency_error == pytest.approx(np.sqrt(0.25 / 2))


def test_bins_where_nothing_passes_give_limits_and_empty_bins_give_nothing():
    pt = np.array([650.0] * 100 + [850.0] * 4)
    label = np.array([0] * 100 + [1] * 4)
    values = np.append(np.zeros(100), np.ones(4))
    full, half, empty = rejection_against_pt(
        pt, values, label, signal_index=1, edges=[600, 800, 1000, 1200]
    ).bins
    assert full.is_limit
    assert full.interval is None
    # 95 %: three jets would have passed, were it any weaker
    assert full.rejection == pytest.approx(1 / (1 - 0.05**0.01))
    assert full.signal_efficiency is None
    assert (half.is_limit, half.rejection, half.n_background) == (True, 1.0, 0)
    assert half.signal_efficiency == 1
    assert (empty.n_signal, empty.n_background) == (0, 0)


def test_ties_at_the_cut_pass_together():
    # a network so sure that single precision says 1 for most of the signal
    label = np.repeat([0, 1], 100)
    values = np.where(label == 1, 1.0, np.linspace(0, 0.9, 200))
    values[:5] = 1.0
    (one,) = rejection_against_pt(np.full(200, 700.0), values, label, signal_index=1, edges=[600, 800]).bins
    assert one.signal_efficiency == 1
    assert one.rejection == 20


def test_upper_edge_belongs_to_the_last_bin_and_jets_outside_to_none():
    pt = [500.0, 600.0, 800.0, 1000.0, 1001.0]
    found = rejection_against_pt(pt, np.arange(5.0), [0, 1, 0, 1, 0], signal_index=1, edges=[600, 800, 1000])
    assert [(one.n_signal, one.n_background) for one in found.bins] == [(1, 0), (1, 1)]


@given(st.integers(0, 2**32 - 1), st.integers(2, 30))
def test_a_selection_of_everything_is_no_sculpting(seed, bins):
    rng = np.random.default_rng(seed)
    mass, label = rng.exponential(80, 200), np.repeat([0, 1], 100)
    found = mass_sculpting(
        mass, np.zeros(200), label, signal_index=1, edges=np.linspace(0, 300, bins), replicas=5
    )
    assert found.n_after == found.n_before == 100
    assert found.distance == found.random_distance == 0
    np.testing.assert_array_equal(found.before, found.after)


@given(st.integers(0, 2**32 - 1))
def test_the_distance_lies_between_zero_and_one(seed):
    rng = np.random.default_rng(seed)
    mass, label = rng.exponential(80, 300), np.repeat([0, 1], 150)
    found = mass_sculpting(mass, rng.normal(size=300) + label, label, signal_index=1, replicas=20)
    assert 0 <= found.distance <= 1
    assert 0 <= found.random_distance <= 1


def test_distance_by_hand():
    # half the jets are kept, all of them from the first of two bins
    mass = np.repeat([50.0, 150.0], 50)
    label = np.zeros(102, int)
    label[100:] = 1
    discriminant = np.append(np.where(mass < 100, 1.0, 0.0), [1.0, 1.0])
    found = mass_sculpting(
        np.append(mass, [80, 80]), discriminant, label, signal_index=1, edges=[0, 100, 200]
    )
    # p = (1/2, 1/2), q = (1, 0), m = (3/4, 1/4)
    divergence = 0.5 * (0.5 * np.log2(2 / 3) + 0.5 * np.log2(2) + np.log2(4 / 3))
    assert found.distance == pytest.approx(np.sqrt(divergence))
    assert found.before.tolist() == [0.005, 0.005]
    assert found.after.tolist() == [0.01, 0]
    assert found.before_error[0] == pytest.approx(np.sqrt(0.25 / 100) / 100, rel=0.01)
    assert found.random_distance < 0.1


def test_jets_beyond_the_edges_count_in_the_distance():
    # inside the edges nothing changes; the cut takes all heavy jets away
    mass = np.append(np.tile([25.0, 75.0], 50), np.full(100, 500.0))
    discriminant = np.where(mass < 100, 1.0, 0.0)
    found = mass_sculpting(
        np.append(mass, [80, 80]),
        np.append(discriminant, [1, 1]),
        np.repeat([0, 1], [200, 2]),
        signal_index=1,
        edges=[0, 50, 100],
    )
    assert found.distance > 0.4
    assert found.before.sum() * 50 == pytest.approx(0.5)
    assert found.after.sum() * 50 == pytest.approx(1)


def test_a_cut_blind_to_mass_is_as_far_away_as_chance_and_one_on_mass_is_not():
    rng = np.random.default_rng(3)
    values, signal = binormal(20_000, 1.7, rng)
    mass = np.where(signal, rng.normal(81, 8, len(values)), rng.exponential(70, len(values)))
    blind = mass_sculpting(mass, values, signal, signal_index=1)
    assert abs(blind.distance - blind.random_distance) < 4 * blind.random_distance_spread
    assert 0 < blind.random_distance_spread < blind.random_distance < 0.2
    seeing = mass_sculpting(mass, values - np.abs(mass - 81) / 20, signal, signal_index=1)
    assert seeing.distance > seeing.random_distance + 10 * seeing.random_distance_spread
    peak = np.average(seeing.edges[:-1] + np.diff(seeing.edges) / 2, weights=seeing.after)
    assert peak == pytest.approx(80, abs=8)


def test_no_passing_background_leaves_no_distance():
    label = np.repeat([0, 1], 50)
    found = mass_sculpting(np.full(100, 80.0), label, label, signal_index=1)
    assert (found.n_after, found.distance, found.random_distance) == (0, None, None)
    assert not found.after.any()
    again = MassSculpting.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.distance is None


def test_results_come_back_from_json():
    values, signal = binormal(200, 1.7, np.random.default_rng(4))
    pt = np.linspace(600, 1500, 400)
    found = rejection_against_pt(pt, values, signal, signal_index=1, bins=3)
    again = RejectionAgainstPt.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()
    assert again.bins[0].interval == found.bins[0].interval


@pytest.mark.parametrize("function", [rejection_against_pt, mass_sculpting])
def test_arrays_that_do_not_fit_are_refused(function):
    label = [0, 1, 0, 1]
    with pytest.raises(ValueError, match="differ in shape"):
        function([1.0, 2.0], [0.1] * 4, label, signal_index=1)
    with pytest.raises(ValueError, match="not finite"):
        function([1.0, 2.0, np.nan, 4.0], [0.1] * 4, label, signal_index=1)
    with pytest.raises(ValueError, match="rising"):
        function([1.0, 2.0, 3.0, 4.0], [0.1] * 4, label, signal_index=1, edges=[2, 1])
    with pytest.raises(ValueError, match="signal and background"):
        function([1.0, 2.0, 3.0, 4.0], [0.1] * 4, label, signal_index=2)


def test_jets_of_one_pt_have_no_quantiles():
    with pytest.raises(ValueError, match="one pt"):
        rejection_against_pt([700.0] * 4, [0.1] * 4, [0, 1, 0, 1], signal_index=1)
