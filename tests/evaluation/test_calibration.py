import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from jetexp.evaluation.calibration import (
    ReliabilityCurve,
    apply_temperature,
    fit_temperature,
    reliability_curve,
)


def calibrated(jets, classes, seed, spread=1.5):
    """Draw probabilities, and labels that follow them."""
    rng = np.random.default_rng(seed)
    exponentials = np.exp(spread * rng.normal(size=(jets, classes)))
    scores = exponentials / exponentials.sum(axis=1, keepdims=True)
    label = (rng.random((jets, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(max=classes - 1)
    return scores, label


@settings(max_examples=10)
@given(st.integers(2, 4), st.integers(0, 1000))
def test_calibrated_scores_have_temperature_one_and_a_chance_error(classes, seed):
    scores, label = calibrated(20_000, classes, seed)
    assert fit_temperature(scores, label) == pytest.approx(1, abs=0.08)
    for index in (None, 0):
        curve = reliability_curve(scores, label, class_index=index)
        assert 0.2 * curve.chance_error < curve.expected_error < 2.2 * curve.chance_error
        pulls = (curve.observed - curve.predicted) / curve.error
        assert np.abs(pulls).max() < 5.5


@settings(max_examples=10)
@given(st.floats(0.3, 2.0), st.integers(0, 1000))
def test_the_temperature_that_scores_were_heated_by_is_found(temperature, seed):
    scores, label = calibrated(20_000, 2, seed)
    heated = apply_temperature(scores, 1 / temperature)
    assert fit_temperature(heated, label) == pytest.approx(
        temperature * fit_temperature(scores, label), rel=0.02
    )


def test_temperature_mends_scores_that_are_too_sure():
    scores, label = calibrated(20_000, 3, 5)
    sure = apply_temperature(scores, 0.5)
    temperature = fit_temperature(sure, label)
    mended = apply_temperature(sure, temperature)
    before, after = (reliability_curve(some, label) for some in (sure, mended))
    assert before.expected_error > 10 * before.chance_error
    assert after.expected_error < 2 * after.chance_error
    assert before.observed[-1] < before.predicted[-1]
    # the minimum: neither side of it is lower
    best = log_loss(label, mended)
    for other in (0.97, 1.03):
        assert log_loss(label, apply_temperature(sure, other * temperature)) > best
    np.testing.assert_array_equal(mended.argmax(axis=1), sure.argmax(axis=1))


@given(
    st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=1, max_size=5),
    st.floats(0.2, 5),
)
def test_temperatures_undo_each_other(rows, temperature):
    scores = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(apply_temperature(scores, 1.0), scores, rtol=1e-6)
    hot = apply_temperature(scores, 1 + temperature)
    np.testing.assert_allclose(hot.sum(axis=1), 1)
    np.testing.assert_allclose(apply_temperature(hot, 1 / (1 + temperature)), scores, rtol=1e-4)


def test_temperatures_at_their_ends():
    label = np.array([0, 1, 1, 0])
    right = np.eye(2)[label] * 0.8 + 0.1
    assert fit_temperature(right, label) == 0.01
    assert fit_temperature(right, 1 - label) == 100
    assert fit_temperature(np.full((4, 2), 0.5), [0, 0, 1, 1]) == 100
    assert fit_temperature(np.full((3, 3), 1 / 3), [0, 1, 2]) == 100
    assert np.isfinite(apply_temperature(np.eye(2), 0.01)).all()
    with pytest.raises(ValueError, match="above zero"):
        apply_temperature(right, 0.0)


def test_bins_hold_equally_many_jets_and_average_them():
    scores, label = calibrated(1500, 2, 7)
    curve = reliability_curve(scores, label, class_index=1, bins=10)
    assert set(curve.jets.tolist()) == {150}
    assert (np.diff(curve.predicted) > 0).all()
    assert np.average(curve.predicted, weights=curve.jets) == pytest.approx(scores[:, 1].mean())
    assert np.average(curve.observed, weights=curve.jets) == pytest.approx(np.mean(label == 1))
    lowest = np.argsort(scores[:, 1])[:150]
    assert curve.observed[0] == pytest.approx(np.mean(label[lowest] == 1))
    gap = np.abs(curve.observed - curve.predicted).mean()
    assert curve.expected_error == pytest.approx(gap)
    again = ReliabilityCurve.from_dict(json.loads(json.dumps(curve.to_dict())))
    np.testing.assert_array_equal(again.jets, curve.jets)


def test_jets_of_one_probability_stay_together():
    # sorted by class, as jets often are: bins by place alone would be all background, then all signal
    label = np.repeat([0, 1], 500)
    curve = reliability_curve(np.full((1000, 2), 0.5), label, class_index=1)
    assert (curve.predicted.tolist(), curve.observed.tolist()) == ([0.5], [0.5])
    assert curve.expected_error == 0


@pytest.mark.parametrize("others", [0, 50])
def test_a_probability_of_many_jets_is_a_bin_of_its_own(others):
    # never right by as much as they are sure: 85 of 100 at each end
    label = np.concatenate([np.repeat([1, 0], [75, 425]), np.repeat([0, 1], [75, 425]), np.ones(others, int)])
    signal = np.concatenate([np.repeat([0.0, 1.0], 500), np.full(others, 0.99)])
    curve = reliability_curve(np.stack([1 - signal, signal], axis=1), label, class_index=1)
    assert curve.predicted[[0, -1]].tolist() == [0, 1]
    assert curve.observed[[0, -1]].tolist() == [0.15, 0.85]
    assert curve.expected_error == pytest.approx((150 + 0.01 * others) / (1000 + others))


def test_scores_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        reliability_curve([[0.5, 0.5]], [0, 1])
    with pytest.raises(ValueError, match="do not fit"):
        fit_temperature(np.empty((0, 2)), np.empty(0, int))
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_temperature([[0.5, 0.5]], [2])
    with pytest.raises(ValueError, match="probabilities"):
        fit_temperature([[1.5, -0.5]], [0])
