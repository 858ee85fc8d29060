import json

import numpy as np
import pytest
from binormal import binormal
from scipy.stats import binom, kstest

from jetexp.evaluation.report import PairedComparison, compare_paired
from jetexp.evaluation.roc import roc_curve


def noisy(values, amount, rng):
    return values + amount * rng.normal(size=len(values))


def test_the_better_tagger_is_found_and_the_signs_are_right():
    rng = np.random.default_rng(5)
    values, signal = binormal(5000, 1.7, rng)
    worse = noisy(values, 0.5, rng)
    found = compare_paired(signal, values, worse, signal_index=1)
    assert found.a_is_better
    assert found.log_ratio == pytest.approx(np.log(found.a.rejection / found.b.rejection))
    assert 0 < found.log_ratio_interval[0] < found.log_ratio < found.log_ratio_interval[1]
    assert found.auc_difference > 3 * found.auc_difference_error > 0
    assert found.auc_p_value_two_sided < 0.01
    assert found.ratio == pytest.approx(np.exp(found.log_ratio))
    swapped = compare_paired(signal, worse, values, signal_index=1)
    assert not swapped.a_is_better
    assert swapped.log_ratio == pytest.approx(-found.log_ratio)
    assert swapped.auc_difference == -found.auc_difference
    assert swapped.p_value > 0.99
    assert swapped.p_value_two_sided < 0.01


def test_error_agrees_with_a_plain_paired_bootstrap():
    rng = np.random.default_rng(6)
    n = 4000
    values, signal = binormal(n, 1.7, rng)
    a, b = noisy(values, 0.3, rng), noisy(values, 0.3, rng)
    found = compare_paired(signal, a, b, signal_index=1)
    differences = []
    for _ in range(400):
        chosen = np.concatenate([rng.integers(0, n, n), n + rng.integers(0, n, n)])
        eff_a, eff_b = (
            float(roc_curve(values[chosen], signal).background_efficiency_at(0.5)) for values in (a, b)
        )
        differences.append(np.log(eff_b / eff_a))
    assert found.log_ratio_error == pytest.approx(np.std(differences), rel=0.15)
    # pairing matters: taken for independent, the two would seem much less certain
    alone = np.hypot(found.a.error / found.a.rejection, found.b.error / found.b.rejection)
    assert found.log_ratio_error < 0.85 * alone


def test_equal_taggers_seldom_beat_each_other():
    rng = np.random.default_rng(7)
    p_values = []
    for toy in range(200):
        values, signal = binormal(1000, 1.7, rng)
        found = compare_paired(
            signal, noisy(values, 0.4, rng), noisy(values, 0.4, rng), signal_index=1, replicas=300, seed=toy
        )
        p_values.append(found.p_value)
    # 5 % of 200 toys, and room for three standard deviations
    assert np.mean(np.array(p_values) < 0.05) < 0.10
    assert kstest(p_values, "uniform").pvalue > 0.001


def test_a_tagger_does_not_beat_itself():
    values, signal = binormal(1000, 1.7, np.random.default_rng(8))
    found = compare_paired(signal, values, values, signal_index=1)
    assert found.log_ratio == 0
    assert not found.a_is_better
    assert 0.4 < found.p_value < 0.6
    assert found.p_value_two_sided > 0.9
    assert found.auc_difference == found.auc_difference_error == 0
    assert found.auc_p_value_two_sided == 1


def test_where_nothing_passes_either_there_is_no_winner():
    signal = np.arange(4000) >= 2000
    perfect = np.arange(4000.0)
    found = compare_paired(signal, perfect, np.sqrt(perfect), signal_index=1)
    assert found.is_limit
    assert not found.a_is_better
    low, high = found.log_ratio_interval
    assert low < -1 < 1 < high
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.parametrize("passing", [1, 3, 5, 20])
def test_against_no_background_the_p_value_is_that_of_mcnemar(passing):
    n = 2000
    signal = np.arange(2 * n) >= n
    perfect = np.append(np.zeros(n), np.ones(n)) + np.linspace(0, 0.1, 2 * n)
    other = np.append(np.zeros(n), np.ones(n)) + np.linspace(0, 0.1, 2 * n)
    other[:passing] = 5
    found = compare_paired(signal, perfect, other, signal_index=1, replicas=20_000)
    assert found.is_limit
    assert found.a.is_limit
    assert not found.b.is_limit
    # of `passing` jets that pass one tagger alone, all pass b: mid-p of the exact McNemar test
    assert found.p_value == pytest.approx(binom.pmf(0, passing, 0.5) / 2, rel=0.1, abs=2e-4)
    assert found.log_ratio > 0
    assert np.isfinite(found.log_ratio_interval).all()


def test_constant_scores_are_ties_that_decide_nothing():
    signal = np.arange(2000) >= 1000
    found = compare_paired(signal, np.full(2000, 0.5), np.full(2000, 0.5), signal_index=1)
    assert found.log_ratio == pytest.approx(0)
    assert not found.a_is_better


def test_background_may_be_of_several_classes():
    rng = np.random.default_rng(9)
    label = np.repeat([0, 1, 2], 500)
    values = rng.normal(size=1500) + 2 * (label == 2)
    found = compare_paired(label, values, rng.normal(size=1500), signal_index=2)
    assert (found.n_signal, found.n_background) == (500, 1000)
    assert found.a_is_better


def test_same_seed_same_result_and_json_round_trip():
    values, signal = binormal(500, 1.0, np.random.default_rng(10))
    first = compare_paired(signal, values, -values, signal_index=1, seed=3)
    assert first.to_dict() == compare_paired(signal, values, -values, signal_index=1, seed=3).to_dict()
    again = PairedComparison.from_dict(json.loads(json.dumps(first.to_dict(), allow_nan=False)))
    assert again.to_dict() == first.to_dict()


def test_scores_of_other_jets_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        compare_paired([0, 0, 1, 1], [0, 1, 2], [0, 1, 2, 3], signal_index=1)
    with pytest.raises(ValueError, match="not finite"):
        compare_paired([0, 0, 1, 1], [0, 1, 2, np.nan], [0, 1, 2, 3], signal_index=1)


def test_ties_are_broken_alike_for_both_taggers():
    values, signal = binormal(2000, 1.7, np.random.default_rng(11))
    coarse = values.round()
    found = compare_paired(signal, coarse, coarse, signal_index=1)
    # the same tagger twice: were its ties broken differently each time, this would be ten times as large
    assert found.log_ratio_error < 0.02
    assert not found.a_is_better
