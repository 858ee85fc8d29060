import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from jetexp.evaluation.roc import RocCurve, roc_curve

# few distinct values, so that ties are the rule
jets = st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=2, max_size=60).filter(
    lambda pairs: len({signal for _, signal in pairs}) == 2
)


def unpack(pairs):
    values, signal = zip(*pairs, strict=True)
    return np.array(values) / 8, np.array(signal)


@settings(max_examples=50, deadline=None)
@given(jets)
def test_curve_and_area_agree_with_scikit_learn(pairs):
    values, signal = unpack(pairs)
    curve = roc_curve(values, signal)
    background, efficiency, thresholds = sklearn_roc_curve(signal, values, drop_intermediate=False)
    np.testing.assert_allclose(curve.background_efficiency, background)
    np.testing.assert_allclose(curve.signal_efficiency, efficiency)
    np.testing.assert_allclose(curve.thresholds[1:], thresholds[1:])
    assert curve.area == pytest.approx(roc_auc_score(signal, values))


@settings(max_examples=50, deadline=None)
@given(jets)
def test_every_point_counts_what_passes_its_threshold(pairs):
    values, signal = unpack(pairs)
    curve = roc_curve(values, signal)
    passes = values >= curve.thresholds[:, None]
    np.testing.assert_allclose(curve.signal_efficiency, passes[:, signal].mean(axis=1))
    np.testing.assert_allclose(curve.background_efficiency, passes[:, ~signal].mean(axis=1))


@settings(max_examples=50, deadline=None)
# no efficiency of jets comes so near to another without being it
@given(jets, st.floats(0, 1).map(lambda wanted: round(wanted, 9)))
def test_interpolation_lies_on_the_curve(pairs, wanted):
    curve = roc_curve(*unpack(pairs))
    found = float(curve.background_efficiency_at(wanted))
    after = int(np.argmax(curve.signal_efficiency >= wanted))
    before = max(after - 1, 0)
    assert curve.background_efficiency[before] <= found <= curve.background_efficiency[after]
    rising = curve.background_efficiency_at(np.linspace(0, 1, 50))
    assert (np.diff(rising) >= 0).all()


def test_at_a_plateau_the_tightest_threshold_counts():
    # background jets between the signal jets: at a signal efficiency of one half none of them passes
    curve = roc_curve([4.0, 3.0, 2.0, 1.0], [True, False, False, True])
    assert curve.background_efficiency_at(0.5) == 0
    assert curve.threshold_at(0.5) == 4
    assert curve.background_efficiency_at([0.25, 0.75]).tolist() == [0, 1]


def test_an_efficiency_that_is_rounded_otherwise_is_the_same_efficiency():
    values, signal = np.arange(10.0)[::-1], np.array([1, 0, 0, 0, 1, 1, 1, 1, 0, 0], dtype=bool)
    # 1 - 0.8 and 0.1 + 0.2 miss 0.2 and 0.3 by a rounding, and a plateau ends there
    swapped = roc_curve(-values, ~signal).swapped()
    assert (
        swapped.background_efficiency_at(0.2) == roc_curve(values, signal).background_efficiency_at(0.2) == 0
    )
    first = roc_curve(np.arange(20.0)[::-1], np.array([1] * 3 + [0] * 10 + [1] * 7, dtype=bool))
    assert first.background_efficiency_at(0.1 + 0.2) == first.background_efficiency_at(0.3) == 0


def test_ties_interpolate_as_random_choice_would():
    curve = roc_curve(np.zeros(20), np.arange(20) < 10)
    assert curve.area == 0.5
    assert curve.background_efficiency_at(0.3) == pytest.approx(0.3)


def test_thinning_keeps_ends_and_shape():
    rng = np.random.default_rng(1)
    signal = np.arange(40_000) < 20_000
    curve = roc_curve(rng.normal(size=40_000) + 1.7 * signal, signal)
    thin = curve.thinned(2000)
    assert 1000 < len(thin.thresholds) <= 2000
    assert thin.signal_efficiency[0] == thin.background_efficiency[0] == 0
    assert thin.signal_efficiency[-1] == thin.background_efficiency[-1] == 1
    assert thin.area == pytest.approx(curve.area, abs=2e-4)
    for wanted in (0.3, 0.5, 0.8):
        assert thin.background_efficiency_at(wanted) == pytest.approx(
            float(curve.background_efficiency_at(wanted)), rel=0.02
        )
    assert curve.thinned(10**6) is curve


def test_thinning_stays_within_the_number_asked_for_where_all_jets_are_distinct():
    signal = np.arange(9000) % 2 == 0
    curve = roc_curve(np.arange(9000.0), signal)
    assert len(curve.thinned(100).thresholds) <= 100


def test_one_kind_of_jet_makes_no_curve():
    with pytest.raises(ValueError, match="needs signal and background, not 3 and 0"):
        roc_curve([1, 2, 3], [True, True, True])


def test_json_round_trip():
    curve = roc_curve([0.1, 0.7, 0.3], [False, True, True])
    again = RocCurve.from_dict(curve.to_dict())
    assert again.to_dict() == curve.to_dict()
    assert again.thresholds.dtype == np.float64
