import numpy as np
import pytest
from binormal import binormal, true_auc, true_background_efficiency
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from jetexp.evaluation.rejection import working_points
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.uncertainty import (
    auc_error,
    background_efficiency_limit,
    background_efficiency_replicas,
    binomial_error,
    delong,
)

jets = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.booleans()), min_size=4, max_size=40
).filter(lambda rows: 2 <= sum(row[2] for row in rows) <= len(rows) - 2)


def slow_delong(values, signal):
    """Compute as DeLong et al. wrote it, comparing every signal jet with every background jet."""
    kernel = [
        (value[signal][:, None] > value[~signal]) + 0.5 * (value[signal][:, None] == value[~signal])
        for value in values
    ]
    by_signal = np.cov([matrix.mean(axis=1) for matrix in kernel])
    by_background = np.cov([matrix.mean(axis=0) for matrix in kernel])
    return [matrix.mean() for matrix in kernel], by_signal / signal.sum() + by_background / (~signal).sum()


@settings(max_examples=50, deadline=None)
@given(jets)
def test_delong_agrees_with_its_definition_and_scikit_learn(rows):
    first, second, signal = (np.array(column) for column in zip(*rows, strict=True))
    auc, covariance = delong([first, second], signal)
    expected_auc, expected_covariance = slow_delong([first, second], signal)
    np.testing.assert_allclose(auc, expected_auc)
    np.testing.assert_allclose(covariance, expected_covariance, atol=1e-15)
    assert auc[0] == pytest.approx(roc_auc_score(signal, first))


def test_delong_agrees_with_the_bootstrap():
    rng = np.random.default_rng(2)
    n = 1000
    values, signal = binormal(n, 1.6, rng)
    other = values + 0.5 * rng.normal(size=2 * n)
    auc, covariance = delong([values, other], signal)
    replicas = []
    for _ in range(600):
        chosen = np.concatenate([rng.integers(0, n, n), n + rng.integers(0, n, n)])
        replicas.append(delong([values[chosen], other[chosen]], signal)[0])
    bootstrap = np.cov(np.transpose(replicas))
    # 600 replicas know a standard deviation to 3 %
    assert np.sqrt(covariance[0, 0]) == pytest.approx(np.sqrt(bootstrap[0, 0]), rel=0.12)
    difference = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert difference == pytest.approx(
        np.sqrt(bootstrap[0, 0] + bootstrap[1, 1] - 2 * bootstrap[0, 1]), rel=0.12
    )
    assert auc[0] > auc[1]


@pytest.mark.parametrize(("n_signal", "n_background"), [(30_001, 30_001), (53_133, 12_430)])
def test_a_perfect_separation_has_no_error(n_signal, n_background):
    is_signal = np.arange(n_signal + n_background) < n_signal
    # sums of squares beyond what a float holds exactly
    assert auc_error(is_signal.astype(float), is_signal) == 0


def test_delong_refuses_a_single_jet():
    with pytest.raises(ValueError, match="not 1 and 2"):
        delong([[1, 2, 3]], [True, False, False])


def test_rejection_error_agrees_with_the_bootstrap():
    rng = np.random.default_rng(3)
    n = 5000
    values, signal = binormal(n, 1.7, rng)
    curve = roc_curve(values, signal)
    drawn = background_efficiency_replicas(curve, [0.5], replicas=4000, rng=rng)[:, 0]
    bootstrap = []
    for _ in range(400):
        resampled = np.append(rng.choice(values[:n], n), rng.choice(values[n:], n))
        bootstrap.append(roc_curve(resampled, signal).background_efficiency_at(0.5))
    assert np.std(np.log(drawn)) == pytest.approx(np.std(np.log(bootstrap)), rel=0.12)
    # background counts alone would give less: the threshold fluctuates by sqrt(p (1 - p) / n) too, which
    # the slope of log background efficiency against signal efficiency turns into this
    slope = np.exp(-(1.7**2) / 2) / true_background_efficiency(1.7, 0.5)
    expected = np.hypot(1 / np.sqrt(n * true_background_efficiency(1.7, 0.5)), slope * 0.5 / np.sqrt(n))
    assert np.std(np.log(drawn)) == pytest.approx(expected, rel=0.1)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(4)
    separation, toys = 1.7, 300
    auc = true_auc(separation)
    rejection = {eff: 1 / true_background_efficiency(separation, eff) for eff in (0.3, 0.5, 0.8)}
    covered = dict.fromkeys(["auc", *rejection], 0)
    for _ in range(toys):
        values, signal = binormal(2000, separation, rng)
        area, covariance = delong([values], signal)
        covered["auc"] += abs(area[0] - auc) < np.sqrt(covariance[0, 0])
        for point in working_points(roc_curve(values, signal), list(rejection), rng=rng):
            covered[point.signal_efficiency] += (
                abs(point.rejection - rejection[point.signal_efficiency]) < point.error
            )
    for name, count in covered.items():
        # 68.3 % of 300, within 3 standard deviations of 2.7 %, and 2 % for the finite counts
        assert 0.58 < count / toys < 0.78, name


def test_where_no_background_passes_there_is_a_limit_that_holds():
    values, signal = np.arange(2000.0), np.arange(2000) >= 1000
    (point,) = working_points(roc_curve(values, signal), [0.5], rng=np.random.default_rng(0))
    assert point.is_limit
    assert point.error is None
    limit = binomtest(0, 1000).proportion_ci(0.90, method="exact").high
    assert point.rejection == pytest.approx(1 / limit)
    assert point.name == "rejection_50"


def test_a_single_passing_background_jet_is_a_measurement():
    values = np.append(np.zeros(999), [10, *np.arange(1, 1001) / 100])
    (point,) = working_points(roc_curve(values, np.arange(2000) >= 1000), [0.5], rng=np.random.default_rng(0))
    assert not point.is_limit
    assert point.rejection == 1000
    assert 300 < point.error < 3000


def test_ties_that_let_part_of_a_jet_pass_give_a_limit():
    # one background jet among the signal's one value: at 50 %, half a jet passes
    values, signal = np.array([0.0] * 99 + [1.0] * 101), np.arange(200) >= 100
    (point,) = working_points(roc_curve(values, signal), [0.5], rng=np.random.default_rng(0))
    assert point.is_limit
    assert 20 < point.rejection < 33


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 50), st.integers(51, 5000))
def test_limit_agrees_with_scipy(passing, total):
    expected = binomtest(passing, total).proportion_ci(0.90, method="exact").high
    assert background_efficiency_limit(passing, total) == pytest.approx(expected)


def test_limits_and_errors_at_the_edges():
    assert background_efficiency_limit(10, 10) == 1
    assert 0 < binomial_error(100, 100) == pytest.approx(binomial_error(0, 100))
    assert binomial_error(800, 1000) == pytest.approx(np.sqrt(0.8 * 0.2 / 1000), rel=1e-3)
