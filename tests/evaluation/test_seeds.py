import json
import time

import numpy as np
import pytest
from binormal import binormal, true_auc, true_background_efficiency
from hypothesis import given, settings
from hypothesis import strategies as st

from jetexp.evaluation.comparison import compare_paired
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.seeds import SeedComparison, compare_over_seeds


def trained(values, signal, quality, seeds, training, noise, rng):
    """Score as taggers of some quality do, whose training spreads them and which differ jet by jet."""
    gain = quality + training * rng.normal(size=(seeds, 1))
    return values + gain * signal + noise * rng.normal(size=(seeds, len(values)))


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(30, 300))
def test_one_seed_each_has_the_paired_auc_error(seed, jets):
    rng = np.random.default_rng(seed)
    values, signal = binormal(jets, 1.5, rng)
    a, b = (trained(values, signal, 0, 1, 0, 0.4, rng) for _ in range(2))
    found = compare_over_seeds(signal, a, b, signal_index=1, replicas=10)
    paired = compare_paired(signal, a[0], b[0], signal_index=1, replicas=10)
    assert found.auc.difference == pytest.approx(paired.auc_difference)
    assert found.auc.statistical_error == pytest.approx(paired.auc_difference_error)
    assert found.auc.total_error == found.auc.statistical_error
    assert found.auc.p_value_two_sided == pytest.approx(paired.auc_p_value_two_sided)
    assert found.auc.degrees_of_freedom is None
    assert found.auc.training_error_a is None
    assert not found.auc.training_error_is_known
    if not (found.is_limit or paired.is_limit):
        assert found.log_rejection.difference == pytest.approx(paired.log_ratio)


def test_bootstrap_agrees_with_the_paired_comparison_and_with_plain_resampling():
    rng = np.random.default_rng(1)
    n = 2000
    values, signal = binormal(n, 1.7, rng)
    a, b = (trained(values, signal, 0, seeds, 0, 0.4, rng) for seeds in (3, 2))
    one = compare_over_seeds(signal, a[:1], b[:1], signal_index=1)
    paired = compare_paired(signal, a[0], b[0], signal_index=1)
    assert one.log_rejection.statistical_error == pytest.approx(paired.log_ratio_error, rel=0.12)
    found = compare_over_seeds(signal, a, b, signal_index=1)
    differences = []
    for _ in range(250):
        chosen = np.concatenate([rng.integers(0, n, n), n + rng.integers(0, n, n)])
        logs = [-np.log(roc_curve(some[chosen], signal).background_efficiency_at(0.5)) for some in (*a, *b)]
        differences.append(np.mean(logs[:3]) - np.mean(logs[3:]))
    assert found.log_rejection.statistical_error == pytest.approx(np.std(differences), rel=0.15)
    # what seeds have by chance, their mean has less of
    assert found.log_rejection.statistical_error < 0.9 * one.log_rejection.statistical_error


def test_the_training_contributes_as_in_welchs_test():
    rng = np.random.default_rng(2)
    values, signal = binormal(3000, 1.5, rng)
    a, b = trained(values, signal, 0.1, 5, 0.1, 0.1, rng), trained(values, signal, 0, 3, 0.05, 0.1, rng)
    found = compare_over_seeds(signal, a, b, signal_index=1, replicas=200)
    for measured, first, second in (
        (found.auc, found.auc_a, found.auc_b),
        (found.log_rejection, found.log_rejection_a, found.log_rejection_b),
    ):
        errors = np.std(first, ddof=1) / np.sqrt(5), np.std(second, ddof=1) / np.sqrt(3)
        assert (measured.training_error_a, measured.training_error_b) == pytest.approx(errors)
        assert measured.training_error == pytest.approx(np.hypot(*errors))
        assert measured.total_error == pytest.approx(
            np.hypot(measured.statistical_error, measured.training_error)
        )
        assert measured.difference == pytest.approx(np.mean(first) - np.mean(second))
        freedom = measured.total_error**4 / (errors[0] ** 4 / 4 + errors[1] ** 4 / 2)
        assert measured.degrees_of_freedom == pytest.approx(freedom)
        low, high = measured.interval
        assert low + high == pytest.approx(2 * measured.difference)
        # Student's factor lies above the normal one
        assert high - measured.difference > 1.96 * measured.total_error
        assert low < measured.lower_bound < measured.difference
    assert found.ratio_interval[0] < found.ratio < found.ratio_interval[1]
    alone = compare_over_seeds(signal, a, b[:1], signal_index=1, replicas=20)
    assert alone.auc.training_error_b is None
    assert alone.auc.training_error == alone.auc.training_error_a
    assert not alone.auc.training_error_is_known


def test_what_both_errors_count_is_named():
    # networks that differ by chance alone: their spread over seeds is all of it counted twice
    rng = np.random.default_rng(13)
    ratios = {"auc": [], "log_rejection": []}
    for toy in range(40):
        values, signal = binormal(800, 1.5, rng)
        a, b = (trained(values, signal, 0, 4, 0, 0.4, rng) for _ in range(2))
        found = compare_over_seeds(
            signal, a, b, signal_index=1, signal_efficiency=0.7, replicas=100, seed=toy
        )
        for name, squares in ratios.items():
            one = getattr(found, name)
            squares.append((one.training_error**2, one.counted_twice**2, one.statistical_error**2))
    for squares in ratios.values():
        training, twice, statistical = np.mean(squares, axis=0)
        assert twice == pytest.approx(training, rel=0.25)
        assert twice == pytest.approx(statistical, rel=0.25)


def test_swapping_the_taggers_swaps_the_signs():
    rng = np.random.default_rng(3)
    values, signal = binormal(2000, 1.5, rng)
    a, b = (trained(values, signal, gain, 3, 0.02, 0.2, rng) for gain in (0.3, 0.0))
    first = compare_over_seeds(signal, a, b, signal_index=1, replicas=100)
    second = compare_over_seeds(signal, b, a, signal_index=1, replicas=100)
    assert first.a_is_better
    assert not second.a_is_better
    # what is drawn at random for each is another draw
    for one, other, close in (
        (first.auc, second.auc, 1e-9),
        (first.log_rejection, second.log_rejection, 0.05),
    ):
        assert one.difference == pytest.approx(-other.difference)
        assert one.total_error == pytest.approx(other.total_error, rel=close)
        assert one.p_value == pytest.approx(1 - other.p_value, abs=close)
        assert one.p_value_two_sided == pytest.approx(other.p_value_two_sided, abs=close)
        assert one.p_value < 0.01


def test_intervals_hold_the_true_difference_over_jets_and_seeds():
    # AUC and rejection of the binormal model with noise on top are known, and so is their difference
    rng = np.random.default_rng(4)
    noise, toys = 0.15, 120
    width = np.sqrt(1 + noise**2)
    covered = {"auc": 0, "log_rejection": 0}
    for toy in range(toys):
        values, signal = binormal(600, 1.5, rng)
        a, b = (trained(values, signal, gain, 4, 0.08, noise, rng) for gain in (0.1, 0.0))
        found = compare_over_seeds(
            signal, a, b, signal_index=1, signal_efficiency=0.7, confidence=0.683, replicas=40, seed=toy
        )
        auc = true_auc(1.6 / width) - true_auc(1.5 / width)
        logs = np.log([true_background_efficiency(gain / width, 0.7) for gain in (1.5, 1.6)])
        for name, truth in (("auc", auc), ("log_rejection", logs[0] - logs[1])):
            low, high = getattr(found, name).interval
            covered[name] += low < truth < high
    for name, count in covered.items():
        # 68.3 % less three standard deviations; more is allowed, as something counts twice
        assert 0.55 < count / toys < 0.90, name


def test_equal_taggers_differ_by_nothing():
    values, signal = binormal(200, 1.5, np.random.default_rng(5))
    found = compare_over_seeds(signal, [values], [values], signal_index=1, replicas=50)
    for one in (found.auc, found.log_rejection):
        assert (one.difference, one.p_value_two_sided) == (0, 1)
    assert (found.auc.total_error, found.auc.interval) == (0, (0, 0))
    # what the prior adds, of some fifty jets that pass
    assert 0 < found.log_rejection.total_error < 0.1
    assert not found.a_is_better


def test_where_no_background_passes_the_comparison_stays_finite_and_says_so():
    rng = np.random.default_rng(6)
    values, signal = binormal(300, 1.0, rng)
    perfect = np.where(signal, 10.0, 0.0) + values
    found = compare_over_seeds(signal, [perfect], [values], signal_index=1, replicas=200)
    assert found.is_limit
    assert found.a_is_better
    assert 2 < found.log_rejection.difference < 7
    again = SeedComparison.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("passing", [0, 1, 2, 3, 6])
def test_of_few_jets_nothing_is_certain(passing, seeds):
    n = 2000
    signal = np.arange(2 * n) < n
    perfect = signal + np.linspace(0, 0.5, 2 * n)
    # these pass the other tagger
    other = perfect.copy()
    other[n : n + passing] = 2
    found = compare_over_seeds(signal, [perfect] * seeds, [other] * seeds, signal_index=1)
    paired = compare_paired(signal, perfect, other, signal_index=1)
    assert found.is_limit
    low, high = found.log_rejection.interval
    assert low < high - 1.5
    # half a chance, and 0.01 for six jets: as the mid-p McNemar test says
    assert found.log_rejection.p_value == pytest.approx(0.5 ** (passing + 1), abs=0.1, rel=1)
    assert found.log_rejection.p_value == pytest.approx(paired.p_value, abs=0.1)


def test_ties_are_no_obstacle():
    rng = np.random.default_rng(7)
    values, signal = binormal(1000, 1.5, rng)
    coarse = np.round(values)
    found = compare_over_seeds(signal, [values], [coarse], signal_index=1, replicas=200)
    assert found.auc.difference > 0
    assert 0 < found.log_rejection.statistical_error < 0.3


def test_the_seed_of_the_replicas_decides_them():
    rng = np.random.default_rng(8)
    values, signal = binormal(300, 1.5, rng)
    a, b = (trained(values, signal, 0, 2, 0, 0.3, rng) for _ in range(2))
    first, again, other = (
        compare_over_seeds(signal, a, b, signal_index=1, replicas=30, seed=seed).log_rejection
        for seed in (1, 1, 2)
    )
    assert first.statistical_error == again.statistical_error != other.statistical_error


def test_arrays_that_do_not_fit_are_refused():
    values, signal = binormal(10, 1.5, np.random.default_rng(9))
    for wrong in (values, values[None, :-1], np.empty((0, 20))):
        with pytest.raises(ValueError, match="do not fit"):
            compare_over_seeds(signal, [values], wrong, signal_index=1)
    with pytest.raises(ValueError, match="not finite"):
        compare_over_seeds(signal, [values], [values * np.nan], signal_index=1)
    with pytest.raises(ValueError, match="two jets"):
        compare_over_seeds(np.arange(20), [values], [values], signal_index=1)


def test_a_large_test_sample_takes_seconds():
    rng = np.random.default_rng(10)
    values, signal = binormal(30_000, 1.7, rng)
    a, b = (trained(values, signal, 0, 5, 0.01, 0.3, rng) for _ in range(2))
    started = time.process_time()
    compare_over_seeds(signal, a, b, signal_index=1, replicas=200)
    # a fifth of the replicas: half a second
    assert time.process_time() - started < 6


def test_an_ensemble_of_noisy_networks_is_better_than_each():
    rng = np.random.default_rng(12)
    values, signal = binormal(5000, 1.7, rng)
    odds = trained(values, signal, 0, 4, 0, 0.5, rng)
    found = compare_over_seeds(signal, [odds.mean(axis=0)], odds, signal_index=1, replicas=50)
    assert found.auc.difference > 5 * found.auc.statistical_error
    assert found.auc.training_error_b is not None
    # the ensemble is made of the very fits
    same = compare_over_seeds(
        signal, [odds.mean(axis=0)], odds, signal_index=1, replicas=50, one_training=True
    )
    for one in (same.auc, same.log_rejection):
        assert (one.training_error_b, one.total_error) == (None, one.statistical_error)
        assert one.counted_twice == 0.0
    assert same.auc.total_error < found.auc.total_error
