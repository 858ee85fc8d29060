import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from binormal import probabilities
from sklearn.metrics import accuracy_score, roc_auc_score

from jetexp.errors import JetexpError
from jetexp.evaluation.report import Evaluation, Summary, discriminant, evaluate, ratio_to, summarise
from jetexp.evaluation.uncertainty import background_efficiency_limit

CLASSES = ("QCD", "W")


def evaluation(seed=0, separation=1.2, per_class=1000, **kwargs):
    scores, label = probabilities(per_class, separation, seed)
    return evaluate(scores, label, classes=CLASSES, signal="W", part="test", **kwargs)


def test_numbers_agree_with_scikit_learn():
    scores, label = probabilities(1000, 1.2, 0)
    found = evaluate(scores, label, classes=CLASSES, signal="W", part="test")
    assert found.accuracy == pytest.approx(accuracy_score(label, scores.argmax(axis=1)))
    assert found.auc == pytest.approx(roc_auc_score(label, scores[:, 1]))
    assert found.counts == (1000, 1000)
    assert found.confusion.sum() == 2000
    assert np.trace(found.confusion) / 2000 == pytest.approx(found.accuracy)
    # at 0.5 the threshold on one of two scores is the highest score
    at_half = int(np.flatnonzero(found.threshold_scan.thresholds == 0.5)[0])
    assert found.threshold_scan.accuracy[at_half] == pytest.approx(found.accuracy)


def test_rejection_is_one_over_the_background_that_passes():
    scores, label = probabilities(1000, 1.2, 1)
    found = evaluate(scores, label, classes=CLASSES, signal="W", part="test")
    for efficiency in (0.3, 0.5, 0.8):
        point = found.working_point(efficiency)
        # threshold at the last signal jet that is needed, counted by hand
        signal = np.sort(scores[label == 1, 1].astype(np.float64))[::-1]
        threshold = signal[round(efficiency * 1000) - 1]
        passing = np.mean(scores[label == 0, 1] >= threshold)
        assert point.rejection == pytest.approx(1 / passing)
        assert point.threshold == pytest.approx(threshold)
        assert 0 < point.error < point.rejection
    with pytest.raises(KeyError):
        found.working_point(0.4)


def test_metric_names_and_finite_values():
    metrics = evaluation().metrics()
    names = {"auc", "accuracy", "rejection_30", "rejection_50", "rejection_80"}
    assert set(metrics) == {f"test_{name}{end}" for name in names for end in ("", "_error")}
    assert all(isinstance(value, float) and np.isfinite(value) for value in metrics.values())


def test_a_perfect_tagger_has_limits_not_infinities():
    label = np.repeat([0, 1], 500)
    scores = np.eye(2)[label]
    found = evaluate(scores, label, classes=CLASSES, signal="W", part="test")
    metrics = found.metrics()
    assert found.auc == found.accuracy == 1
    assert found.accuracy_error > 0
    assert 160 < metrics["test_rejection_50"] < 170
    assert "test_rejection_50_error" not in metrics
    assert str(found.measurements()["rejection_50"]).startswith("> 167")
    assert found.rejection_curve()[0].size == 0
    content = json.dumps(found.to_dict(), allow_nan=False)
    assert Evaluation.from_dict(json.loads(content)).working_point(0.5).is_limit
    other = evaluation(per_class=500)
    summary = summarise([found, other])
    limit = summary.measurements["rejection_50"]
    # of the mean number of background jets that pass
    passing = 500 / other.measurements()["rejection_50"].value / 2
    assert limit.mean == pytest.approx(1 / background_efficiency_limit(passing, 500))
    assert limit.mean < other.measurements()["rejection_50"].value * 2
    assert (limit.is_limit, limit.error, limit.spread) == (True, None, None)
    assert str(limit) == f"> {limit.mean:.4g} (95 % CL)"
    same = summarise([found, found]).measurements["rejection_50"]
    assert same.mean == pytest.approx(metrics["test_rejection_50"])
    json.dumps(summary.to_dict(), allow_nan=False)


def test_rejection_curve_is_a_stepped_metric():
    steps, values = evaluation().rejection_curve()
    assert steps.dtype == np.int64
    assert steps[-1] == 1000
    assert (np.diff(steps) > 0).all()
    assert (np.diff(values) <= 1e-9).all()
    assert np.isfinite(values).all()
    assert values[-1] >= 1
    found = evaluation()
    assert values[list(steps).index(500)] == pytest.approx(found.working_point(0.5).rejection)
    assert (found.rejection.low <= found.rejection.rejection).all()
    assert (found.rejection.high >= found.rejection.rejection).all()


@pytest.mark.parametrize("classes", [("QCD", "W"), ("QCD", "W", "top")])
@pytest.mark.parametrize("with_images", [False, True])
def test_json_round_trip(classes, with_images):
    scores, label = probabilities(500, 1.0, 3, len(classes))
    images = np.random.default_rng(0).random((len(label), 10, 10), dtype=np.float32)
    found = evaluate(
        scores,
        label,
        classes=classes,
        signal="W",
        part="validation",
        images=images if with_images else None,
        half_width=0.8,
    )
    content = json.dumps(found.to_dict(), allow_nan=False)
    again = Evaluation.from_dict(json.loads(content))
    assert again.to_dict() == found.to_dict()
    assert again.metrics() == found.metrics()
    assert len(content) < 1_000_000
    if again.mistakes is not None:
        assert again.mistakes.half_width == 0.8
        np.testing.assert_array_equal(again.mistakes.class_sums, found.mistakes.class_sums)


def test_of_three_classes_the_other_two_are_background():
    scores, label = probabilities(500, 1.0, 4, 3)
    found = evaluate(scores, label, classes=("QCD", "W", "top"), signal="top", part="test")
    assert found.auc == pytest.approx(roc_auc_score(label == 2, scores[:, 2]))
    assert (found.roc.n_signal, found.roc.n_background) == (500, 1000)
    assert found.histograms.counts.shape == (3, 3, 50)


def test_same_seed_same_evaluation():
    assert evaluation().to_dict() == evaluation().to_dict()


def test_order_of_jets_does_not_matter():
    scores, label = probabilities(500, 1.0, 5)
    order = np.random.default_rng(0).permutation(1000)
    first = evaluate(scores, label, classes=CLASSES, signal="W", part="test")
    second = evaluate(scores[order], label[order], classes=CLASSES, signal="W", part="test")
    assert first.to_dict() == second.to_dict()


def test_exchanging_the_signal_keeps_the_auc_of_two_classes():
    scores, label = probabilities(500, 1.0, 6)
    exact = np.stack([1 - scores[:, 1].astype(np.float64), scores[:, 1]], axis=1)
    w, qcd = (evaluate(exact, label, classes=CLASSES, signal=name, part="test") for name in ("W", "QCD"))
    assert w.auc == pytest.approx(qcd.auc, abs=1e-6)
    assert discriminant(exact, CLASSES, "QCD").tolist() == exact[:, 0].tolist()


def test_summary_over_seeds():
    found = [evaluation(seed) for seed in range(3)]
    summary = summarise(found)
    aucs = [one.auc for one in found]
    measured = summary.measurements["auc"]
    assert measured.mean == pytest.approx(np.mean(aucs))
    assert measured.spread == pytest.approx(np.std(aucs, ddof=1))
    assert measured.error == pytest.approx(np.mean([one.auc_error for one in found]))
    metrics = summary.metrics()
    assert metrics["test_auc"] == measured.mean
    assert {"test_rejection_50", "test_rejection_50_error", "test_rejection_50_spread"} <= set(metrics)
    at = list(summary.curve.signal_efficiency).index(0.5)
    assert summary.curve.rejection[at] == pytest.approx(summary.measurements["rejection_50"].mean)
    assert summary.curve.rejection_spread[at] == pytest.approx(summary.measurements["rejection_50"].spread)
    again = Summary.from_dict(json.loads(json.dumps(summary.to_dict(), allow_nan=False)))
    assert again.to_dict() == summary.to_dict()
    assert "seeds" in str(measured)


def test_summary_of_one_seed_has_no_spread():
    summary = summarise([evaluation()])
    assert summary.measurements["auc"].spread is None
    assert "test_auc_spread" not in summary.metrics()
    Summary.from_dict(json.loads(json.dumps(summary.to_dict(), allow_nan=False)))


def test_different_jets_are_not_summarised():
    with pytest.raises(ValueError, match="different jets"):
        summarise([evaluation(), evaluation(per_class=900)])
    with pytest.raises(ValueError, match="no evaluation"):
        summarise([])


def test_ratio_of_rejection_curves():
    first, second = evaluation(0).rejection, evaluation(1, separation=1.4).rejection
    ratio = ratio_to(first, second)
    at = [list(curve.signal_efficiency).index(0.5) for curve in (first, second, ratio)]
    assert ratio.rejection[at[2]] == pytest.approx(second.rejection[at[1]] / first.rejection[at[0]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 1.5])
def test_scores_that_are_no_probabilities_are_a_users_error(value):
    scores, label = probabilities(10, 1.0, 0)
    scores[7, 1] = value
    with pytest.raises(JetexpError, match="Jet 7 of the test part"):
        evaluate(scores, label, classes=CLASSES, signal="W", part="test")


def test_a_class_without_jets_is_a_users_error():
    scores, label = probabilities(10, 1.0, 0)
    with pytest.raises(JetexpError, match="holds 0 jets of class 'QCD'"):
        evaluate(scores[10:], label[10:], classes=CLASSES, signal="W", part="validation")


@pytest.mark.parametrize(
    "change",
    [
        {"label": np.zeros(19, int)},
        {"label": np.zeros(20)},
        {"label": np.full(20, 2)},
        {"signal": "top"},
        {"classes": ("QCD", "W", "top")},
        {"images": np.zeros((19, 8, 8))},
        {"images": np.zeros((20, 8, 8, 2))},
    ],
)
def test_what_does_not_fit_is_refused(change):
    scores, label = probabilities(10, 1.0, 0)
    arguments = {"label": label, "classes": CLASSES, "signal": "W", "part": "test"} | change
    with pytest.raises(ValueError, match=r"shape|labels|signal"):
        evaluate(scores, **arguments)


def test_neither_keras_nor_mlflow_is_imported():
    code = (
        "import sys, jetexp.evaluation.report, jetexp.plots.gallery;"
        "sys.exit(bool({'keras', 'tensorflow', 'mlflow', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_band_over_seeds_is_positive_even_where_the_spread_is_larger_than_the_mean():
    curve = summarise([evaluation(seed, per_class=300) for seed in range(3)]).curve
    wide = dataclasses.replace(curve, rejection_spread=2 * curve.rejection)
    assert (wide.low > 0).all()
    assert (wide.low < wide.rejection).all()
    assert (wide.high > wide.rejection).all()
    # a small spread is the plain one
    narrow = dataclasses.replace(curve, rejection_spread=0.01 * curve.rejection)
    np.testing.assert_allclose(narrow.high - narrow.low, 2 * narrow.rejection_spread, rtol=1e-3)
