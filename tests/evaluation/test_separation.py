"""Each class against each other, and against all others."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from binormal import probabilities
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from jetexp.evaluation.report import Evaluation, Summary, evaluate, summarise
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.separation import is_of_separation, log_odds, separation_name
from jetexp.evaluation.uncertainty import auc_error

CLASSES = ("QCD", "W", "top")
MANY = tuple(f"H -> {letter}{letter}" for letter in "abcdefghij")

probability = st.one_of(st.just(0.0), st.floats(1e-290, 1.0))


def evaluation(classes=CLASSES, signal="W", per_class=400, separation=1.2, seed=0):
    scores, label = probabilities(per_class, separation, seed, len(classes))
    return evaluate(scores, label, classes=classes, signal=signal, part="test"), scores, label


def by_names(found):
    return {(one.signal, one.background): one for one in found.separations}


@pytest.mark.parametrize("classes", [CLASSES, MANY])
def test_every_pair_agrees_with_scikit_learn_on_the_jets_of_the_two_alone(classes):
    found, scores, label = evaluation(classes, classes[1])
    numbers = by_names(found)
    assert len(numbers) == len(found.separations) == len(classes) ** 2
    for (signal, background), one in numbers.items():
        s = classes.index(signal)
        if background is None:
            auc = roc_auc_score(label == s, scores[:, s])
        else:
            b = classes.index(background)
            some = np.isin(label, [s, b])
            auc = roc_auc_score(label[some] == s, (scores[:, s] / (scores[:, s] + scores[:, b]))[some])
        assert one.auc == pytest.approx(auc, abs=1e-9)
        assert 0 < one.auc_error < 0.02


def test_rejection_is_one_over_the_background_of_the_pair_that_passes_the_threshold():
    found, scores, label = evaluation()
    one = by_names(found)["top", "QCD"]
    ratio = scores[:, 2].astype(np.float64) / (scores[:, 2].astype(np.float64) + scores[:, 0])
    for point in one.working_points:
        passes = ratio >= point.threshold
        assert passes[label == 2].mean() == pytest.approx(point.signal_efficiency)
        assert point.rejection == pytest.approx(1 / passes[label == 0].mean())
        assert 0 < point.error < point.rejection
    at_half = list(one.curve.signal_efficiency).index(0.5)
    assert one.curve.rejection[at_half] == pytest.approx(one.measurements["rejection_50"].value)
    assert one.curve.low[at_half] < one.curve.rejection[at_half] < one.curve.high[at_half]


def test_the_signal_against_all_others_is_what_the_evaluation_says_anyway():
    found, _, _ = evaluation()
    one = by_names(found)["W", None]
    assert (one.auc, one.auc_error) == (found.auc, found.auc_error)
    assert one.working_points == found.working_points


def test_swapping_the_classes_of_a_pair_is_measuring_it_anew():
    found, scores, label = evaluation()
    some = np.isin(label, [0, 2])
    numbers = by_names(found)
    assert numbers["QCD", "top"].auc == pytest.approx(numbers["top", "QCD"].auc, abs=1e-12)
    odds, is_qcd = log_odds(scores[some].astype(np.float64), 0, 2), label[some] == 0
    anew = roc_curve(odds, is_qcd)
    swapped = roc_curve(-odds, ~is_qcd).swapped()
    np.testing.assert_allclose(swapped.signal_efficiency, anew.signal_efficiency, atol=1e-12)
    np.testing.assert_allclose(swapped.background_efficiency, anew.background_efficiency, atol=1e-12)
    np.testing.assert_allclose(swapped.thresholds, anew.thresholds, atol=1e-12)
    assert auc_error(odds, is_qcd) == pytest.approx(auc_error(-odds, ~is_qcd), abs=1e-15)
    wanted = np.linspace(0, 1, 201)
    for values in ("background_efficiency_at", "threshold_at"):
        np.testing.assert_allclose(getattr(swapped, values)(wanted), getattr(anew, values)(wanted), atol=1e-9)
    for point in numbers["QCD", "top"].working_points:
        passing = anew.background_efficiency_at(point.signal_efficiency)
        assert point.rejection == pytest.approx(1 / passing)


@given(st.tuples(probability, probability), st.tuples(probability, probability))
def test_the_odds_rise_with_the_likelihood_ratio_and_change_sign_when_swapped(first, second):
    scores = np.array([first, second])
    odds = log_odds(scores, 0, 1)
    assert np.isfinite(odds).all()
    assert (log_odds(scores, 1, 0) == -odds).all()
    for (signal, background), value in zip(scores, odds, strict=True):
        if signal or background:
            assert expit(value) == pytest.approx(signal / (signal + background), abs=1e-12)
        else:
            assert value == 0
    (s1, b1), (s2, b2) = scores
    # the ratios are compared without dividing; logarithms settle what is not nearly equal
    if min(s1, b1, s2, b2) > 0 and abs(np.log(s1) + np.log(b2) - np.log(s2) - np.log(b1)) > 1e-9:
        assert (odds[0] > odds[1]) == (np.log(s1) + np.log(b2) > np.log(s2) + np.log(b1))


@given(st.integers(0, 10_000), st.integers(2, 40))
def test_the_auc_of_a_pair_does_not_depend_on_which_is_signal(seed, number):
    rng = np.random.default_rng(seed)
    # ties, zeros and tiny numbers
    scores = rng.choice([0.0, 1e-45, 1e-30, 0.25, 0.5, 1.0], size=(2 * number, 2))
    is_first = np.repeat([True, False], number)
    one, other = log_odds(scores, 0, 1), log_odds(scores, 1, 0)
    assert roc_curve(one, is_first).area == pytest.approx(roc_curve(other, ~is_first).area, abs=1e-12)
    assert roc_curve(one, is_first).area == pytest.approx(roc_auc_score(is_first, one), abs=1e-12)


def test_jets_are_told_apart_where_the_discriminant_rounds_to_one():
    odds = log_odds(np.array([[1e-20, 1.0], [1e-30, 1.0], [0.0, 1.0]]), 1, 0)
    assert odds[0] < odds[1] < odds[2]


def test_pairs_without_a_third_classs_probability_and_perfect_ones_have_limits():
    label = np.repeat([0, 1, 2], 300)
    found = evaluate(np.eye(3)[label], label, classes=CLASSES, signal="W", part="test")
    one = by_names(found)["W", "QCD"]
    assert one.auc == 1
    assert all(point.is_limit and point.error is None for point in one.working_points)
    assert 95 < one.measurements["rejection_50"].value < 105
    assert "test_rejection_50_W_vs_QCD_error" not in found.metrics()
    # all jets are taken for top: neither of the two classes has any probability
    nothing = evaluate(np.eye(3)[np.full(900, 2)], label, classes=CLASSES, signal="W", part="test")
    one = by_names(nothing)["W", "QCD"]
    assert one.auc == pytest.approx(0.5)
    assert one.measurements["rejection_50"].value == pytest.approx(2)
    for evaluated in (found, nothing):
        json.dumps(evaluated.to_dict(), allow_nan=False)


def test_metrics_have_every_auc_once_and_two_classes_have_none_of_them():
    found, _, _ = evaluation()
    pairs = {name for name in found.metrics() if is_of_separation(name)}
    named = {"auc_W_vs_QCD", "auc_W_vs_top", "auc_top_vs_QCD"}
    named |= {f"rejection_50_{one}_vs_{other}" for one in CLASSES for other in CLASSES if one != other}
    named |= {f"{name}_{one}_vs_rest" for name in ("auc", "rejection_50") for one in CLASSES}
    assert pairs == {f"test_{name}{ending}" for name in named for ending in ("", "_error")}
    two, _, _ = evaluation(("QCD", "W"))
    assert two.separations == ()
    assert not any(is_of_separation(name) for name in two.metrics())


def test_ten_classes_stay_small():
    found, _, _ = evaluation(MANY, MANY[3], per_class=100)
    assert len(found.metrics()) < 350
    assert len(json.dumps(found.to_dict())) < 1_000_000
    # the signal comes first in its pairs
    assert "test_auc_H_dd_vs_H_jj" in found.metrics()
    assert "test_auc_H_jj_vs_H_dd" not in found.metrics()


@pytest.mark.parametrize(
    "classes",
    [
        ("a", "a!", "A?", "a_2", "a 2"),
        ("rest", "Rest", "the rest"),
        ("τ", "", "β", "class"),
        ("QCD", "QCD_error", "QCD spread", "QCD_vs", "vs QCD"),
        ("x" * 300, "x" * 299 + "y", "../../x", "a=b\n`|"),
    ],
)
def test_names_fit_metrics_and_differ_whatever_the_classes_are_called(classes):
    pairs = [(one, other) for one in classes for other in (*classes, None) if one != other]
    names = [separation_name(classes, *pair) for pair in pairs]
    assert len({name.lower() for name in names}) == len(pairs)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,150}", name)
        assert name.count("_vs_") == 1
        assert not name.endswith(("_error", "_spread"))


def test_a_summary_over_seeds_has_mean_error_and_spread_of_every_pair():
    found = [evaluation(seed=seed)[0] for seed in range(3)]
    summary = summarise(found)
    values = [by_names(one)["top", "QCD"].auc for one in found]
    measured = by_names(summary)["top", "QCD"].measurements["auc"]
    assert measured.mean == pytest.approx(np.mean(values))
    assert measured.spread == pytest.approx(np.std(values, ddof=1))
    assert measured.error == pytest.approx(np.mean([by_names(one)["top", "QCD"].auc_error for one in found]))
    metrics = summary.metrics()
    assert metrics["test_auc_top_vs_QCD"] == measured.mean
    assert {"test_rejection_50_QCD_vs_W_error", "test_rejection_50_QCD_vs_W_spread"} <= set(metrics)
    curve = by_names(summary)["top", "QCD"].curve
    at_half = list(curve.signal_efficiency).index(0.5)
    assert curve.rejection[at_half] == pytest.approx(
        by_names(summary)["top", "QCD"].measurements["rejection_50"].mean
    )


def test_json_there_and_back_and_from_before_there_were_pairs():
    found, _, _ = evaluation()
    for kind, result in ((Evaluation, found), (Summary, summarise([found, found]))):
        content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert kind.from_dict(content).to_dict() == result.to_dict()
        del content["separations"]
        assert kind.from_dict(content).separations == ()
