from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from sklearn.metrics import roc_auc_score
from toys import toy_jets

from jetexp.errors import JetexpError
from jetexp.jets.observables import OBSERVABLES, make_observables
from jetexp.taggers.classical import fit_classical, importance
from jetexp.taggers.classical_settings import (
    BoostedTreesSettings,
    ClassicalSettings,
    LogisticRegressionSettings,
    MassWindowSettings,
)

QUICK = BoostedTreesSettings(learning_rate=0.2, iterations=60, patience=10, leaves=8)


def masses(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A peak at 80 GeV with a tail on a falling background."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, number)
    peak = np.where(random.random(number) < 0.8, random.normal(80, 4, number), random.uniform(0, 80, number))
    mass = np.where(label == 1, peak, random.exponential(60, number))
    return np.abs(mass)[:, None].astype(np.float32), label


def window(mass: np.ndarray, label: np.ndarray, signal: int = 1):
    return fit_classical(MassWindowSettings(), mass, label, mass, label, classes=2, signal=signal, seed=0)


@pytest.mark.parametrize("signal", [0, 1])
def test_the_score_of_a_mass_window_is_its_signal_efficiency(signal: int) -> None:
    mass, label = masses(6000)
    scores = window(mass, label, signal).scores(mass)
    assert scores.dtype == np.float32
    assert np.allclose(scores.sum(axis=1), 1)
    assert scores.min() >= 0
    of_signal = scores[label == signal, signal]
    for efficiency in (0.02, 0.05, 0.1, 0.25, 0.5, 0.8, 0.95, 1.0):
        assert (of_signal >= 1 - efficiency - 1e-6).mean() == pytest.approx(efficiency, abs=0.006)


def test_the_score_is_the_efficiency_on_other_jets_too() -> None:
    tagger = window(*masses(6000))
    mass, label = masses(6000, seed=1)
    of_signal = tagger.scores(mass)[label == 1, 1]
    for efficiency in (0.1, 0.3, 0.5, 0.8):
        assert (of_signal >= 1 - efficiency).mean() == pytest.approx(efficiency, abs=0.03)


def test_mass_windows_are_narrow_and_nested() -> None:
    mass, label = masses(6000)
    tagger = window(mass, label)
    assert (np.diff(tagger.low) <= 0).all()
    assert (np.diff(tagger.high) >= 0).all()
    assert (np.diff(tagger.fraction) > 0).all()
    ordered = np.sort(mass[label == 1, 0])
    for fraction in (0.1, 0.3, 0.5, 0.7, 0.9):
        size = round(len(ordered) * fraction)
        narrowest = np.min(ordered[size - 1 :] - ordered[: len(ordered) - size + 1])
        which = np.searchsorted(tagger.fraction, fraction - 1e-3)
        assert tagger.high[which] - tagger.low[which] <= 1.05 * narrowest + 0.01
    assert 75 < tagger.low[0] < tagger.high[0] < 85
    outside = np.array([[tagger.low[-1] - 1], [tagger.high[-1] + 1]], np.float32)
    assert tagger.scores(outside).tolist() == [[1, 0], [1, 0]]


def test_equal_values_share_a_window() -> None:
    # a multiplicity of a few values
    value = np.array([1] + [3] * 5 + [4] * 10 + [5] * 4 + [9] * 7, np.float32)[:, None]
    label = np.array([1] * 20 + [0] * 7)
    scores = window(value, label).scores(value)[:, 1]
    for one in np.unique(value[label == 1]):
        score = scores[value[:, 0] == one][0]
        assert (scores[label == 1] >= score).mean() == pytest.approx(1 - score, abs=0.051)
    assert scores[value[:, 0] == 4].min() == scores.max()


@settings(max_examples=50)
@given(st.lists(st.floats(0, 200, width=32), min_size=1, max_size=30))
def test_a_mass_window_of_few_signal_jets(signal_masses: list[float]) -> None:
    mass = np.array([*signal_masses, 50.0, 300.0], np.float32)[:, None]
    label = np.array([1] * len(signal_masses) + [0, 0])
    tagger = window(mass, label)
    scores = tagger.scores(mass)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert tagger.fraction[-1] == 1
    assert scores[-1, 1] == 0
    # no window holds less of the signal than its score says
    for score in scores[label == 1, 1]:
        assert (scores[label == 1, 1] >= score).mean() >= 1 - score - 1 / len(signal_masses) - 1e-6


def test_what_cannot_be_fitted_is_told() -> None:
    mass, label = masses(50)
    with pytest.raises(JetexpError, match="two classes apart, and there are 3"):
        fit_classical(MassWindowSettings(), mass, np.arange(50) % 3, mass, label, classes=3, signal=1, seed=0)
    with pytest.raises(JetexpError, match="no training jets of class 1"):
        fit_classical(QUICK, mass, label * 0, mass, label, classes=2, signal=1, seed=0)
    with pytest.raises(ValueError, match="one observable"):
        window(np.repeat(mass, 2, axis=1), label)
    with pytest.raises(ValueError, match="one observable"):
        window(mass, label).scores(np.repeat(mass, 2, axis=1))


def quadrants(number: int, seed: int, features: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Signal where the first two features have one sign; the others are noise."""
    values = np.random.default_rng(seed).normal(size=(number, features)).astype(np.float32)
    return values, (values[:, 0] * values[:, 1] > 0).astype(np.int64)


def half_spaces(number: int, seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Classes that planes separate; one feature never varies."""
    random = np.random.default_rng(seed)
    label = random.integers(0, classes, number)
    values = random.normal(size=(number, 6)) + 3 * np.eye(classes, 6)[label]
    values[:, 5] = 7.0
    return values.astype(np.float32), label


def fit(tagger_settings, make, *, seed: int = 0, **more):
    (train, train_label), (validation, validation_label) = make(2000, 0, **more), make(500, 1, **more)
    return fit_classical(
        tagger_settings,
        train,
        train_label,
        validation,
        validation_label,
        classes=int(train_label.max()) + 1,
        signal=1,
        seed=seed,
    )


def test_boosted_trees_separate_what_no_plane_can() -> None:
    values, label = quadrants(2000, 2)
    trees, plane = fit(QUICK, quadrants), fit(LogisticRegressionSettings(), quadrants)
    assert roc_auc_score(label, trees.scores(values)[:, 1]) > 0.97
    assert roc_auc_score(label, plane.scores(values)[:, 1]) < 0.6


@pytest.mark.parametrize("tagger_settings", [QUICK, LogisticRegressionSettings(regularisation=1)])
@pytest.mark.parametrize("classes", [2, 3])
def test_scores_are_probabilities_of_every_class(tagger_settings, classes: int) -> None:
    tagger = fit(tagger_settings, half_spaces, classes=classes)
    values, label = half_spaces(1000, 2, classes=classes)
    scores = tagger.scores(values)
    assert scores.shape == (1000, classes)
    assert scores.dtype == np.float32
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert (scores.argmax(axis=1) == label).mean() > 0.9
    assert np.array_equal(fit(tagger_settings, half_spaces, classes=classes).scores(values), scores)


def test_trees_differ_with_their_seed() -> None:
    values, _ = quadrants(200, 2)
    first, second = (fit(QUICK, quadrants, seed=seed).scores(values) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_validation_jets_decide_when_boosting_stops() -> None:
    (train, label), (validation, right) = quadrants(2000, 0), quadrants(500, 1)
    rounds = {}
    for name, validation_label in (("right", right), ("wrong", 1 - right)):
        tagger = fit_classical(QUICK, train, label, validation, validation_label, classes=2, signal=1, seed=0)
        rounds[name] = tagger.classifier.n_iter_
    assert rounds["wrong"] <= QUICK.patience + 1 < rounds["right"]


def test_logistic_regression_is_of_standardised_pixels() -> None:
    factors = np.array([1e-3, 1, 50, 1e4, 1, 1], np.float32)

    def scaled(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        values, label = half_spaces(number, seed)
        return values * factors, label

    values, _ = half_spaces(300, 2)
    tagger = fit(LogisticRegressionSettings(), half_spaces)
    expected = tagger.scores(values)
    found = fit(LogisticRegressionSettings(), scaled).scores(values * factors)
    assert np.allclose(found, expected, atol=1e-3)
    # what never varied in training has no say
    values[:, 5] += 1
    assert np.array_equal(tagger.scores(values), expected)


def test_a_stronger_penalty_makes_scores_more_even() -> None:
    values, _ = half_spaces(300, 2)
    spread = [
        np.ptp(fit(LogisticRegressionSettings(regularisation=strength), half_spaces).scores(values)[:, 1])
        for strength in (1.0, 1e4, 1e6)
    ]
    assert spread[0] > spread[1] > spread[2]


def test_importance_is_of_what_matters() -> None:
    tagger = fit(QUICK, quadrants)
    values, label = quadrants(1000, 2)
    before = values.copy()
    worth = importance(tagger, values, label, ["first", "second", "noise"], signal=1, seed=0)
    assert np.array_equal(values, before)
    assert list(worth) == ["first", "second", "noise"]
    # with either of the two unknown, nothing is known
    assert worth["first"][0] == pytest.approx(0.5, abs=0.08)
    assert worth["second"][0] == pytest.approx(0.5, abs=0.08)
    assert abs(worth["noise"][0]) < 0.02
    assert all(0 < spread < 0.05 for _, spread in worth.values())
    assert importance(tagger, values, label, ["first", "second", "noise"], signal=1, seed=0) == worth
    with pytest.raises(JetexpError, match="all signal or all background"):
        importance(tagger, values, label * 0, ["first", "second", "noise"], signal=1, seed=0)
    with pytest.raises(ValueError, match="zip"):
        importance(tagger, values, label, ["first", "second"], signal=1, seed=0)


def test_trees_tell_two_prongs_from_one() -> None:
    jets = toy_jets(700)
    observables = make_observables(jets, OBSERVABLES)
    tagger = fit_classical(
        QUICK,
        observables[:400],
        jets.label[:400],
        observables[400:500],
        jets.label[400:500],
        classes=2,
        signal=1,
        seed=0,
    )
    assert roc_auc_score(jets.label[500:], tagger.scores(observables[500:])[:, 1]) > 0.9


def test_trees_of_one_observable() -> None:
    mass, label = masses(1000)
    tagger = fit_classical(
        BoostedTreesSettings(observables=("mass",)), mass, label, mass, label, classes=2, signal=1, seed=0
    )
    assert roc_auc_score(label, tagger.scores(mass)[:, 1]) > 0.75


def test_settings_are_told_apart_by_their_kind() -> None:
    adapter = TypeAdapter(ClassicalSettings)
    assert adapter.validate_python({"kind": "mass_window"}).observable == "soft_drop_mass"
    assert adapter.validate_python({"kind": "logistic_regression"}) == LogisticRegressionSettings()
    trees = adapter.validate_python({"kind": "boosted_trees", "observables": ["mass", "d2"]})
    assert trees.observables == ("mass", "d2")
    assert BoostedTreesSettings().observables == OBSERVABLES
    for wrong in (
        {"kind": "mass_window", "observable": "tau43"},
        {"kind": "boosted_trees", "observables": []},
        {"kind": "logistic_regression", "regularisation": 0},
    ):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)


def test_settings_need_no_framework() -> None:
    code = (
        "import sys, jetexp.taggers.classical, jetexp.taggers.classical_settings;"
        "assert not {'sklearn', 'fastjet', 'keras', 'mlflow'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
