"""Errors mean what they say; ``benchmarks/coverage.py`` is the long form, and takes real scores."""

import numpy as np
from binormal import binormal, true_auc, true_background_efficiency

from jetexp.evaluation.rejection import working_points
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.uncertainty import delong


def test_intervals_of_68_percent_cover_as_often_on_samples_of_a_thousand_jets():
    rng = np.random.default_rng(0)
    separation, samples = 1.7, 200
    truth = {eff: 1 / true_background_efficiency(separation, eff) for eff in (0.5, 0.8)}
    covered = dict.fromkeys(["auc", *truth], 0)
    for _ in range(samples):
        values, signal = binormal(1000, separation, rng)
        auc, covariance = delong([values], signal)
        covered["auc"] += abs(auc[0] - true_auc(separation)) < np.sqrt(covariance[0, 0])
        for point in working_points(roc_curve(values, signal), list(truth), rng=rng):
            covered[point.signal_efficiency] += (
                abs(point.rejection - truth[point.signal_efficiency]) < point.error
            )
    for name, count in covered.items():
        # 68.3 % of 200, within 2.3 standard deviations of 3.3 %
        assert 0.60 <= count / samples <= 0.76, (name, count)
