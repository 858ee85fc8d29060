"""What a threshold on the discriminant does: mistakes each way, accuracy, score histograms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jetexp.evaluation.record import Curve, Float, Integer, Record

__all__ = ["ScoreHistograms", "ThresholdScan", "score_histograms", "threshold_scan"]

SCAN = (0.2, 0.8, 61)
BINS = 50


@dataclass(frozen=True, eq=False)
class ThresholdScan(Curve):
    """Mistakes and accuracy of "signal if the discriminant reaches the threshold".

    Attributes
    ----------
    thresholds : ndarray of float64, shape (T,)
        From 0.2 to 0.8.
    missed_signal : ndarray of int64, shape (T,)
        Signal jets below the threshold.
    accepted_background : ndarray of int64, shape (T,)
        Background jets at or above the threshold.
    accuracy : ndarray of float64, shape (T,)
        Fraction of the jets on the right side.
    accuracy_error : ndarray of float64, shape (T,)
        Its binomial error.
    """

    thresholds: Float
    missed_signal: Integer
    accepted_background: Integer
    accuracy: Float
    accuracy_error: Float


@dataclass(frozen=True, eq=False)
class ScoreHistograms(Record):
    """Histograms of the score of each class hypothesis, by true class.

    Attributes
    ----------
    edges : ndarray of float64, shape (B + 1,)
        Bin edges, from 0 to 1.
    counts : ndarray of int64, shape (C, C, B)
        Jets by hypothesis (first axis), true class (second) and bin.
    """

    edges: Float
    counts: Integer

    @property
    def all_jets(self) -> Integer:
        """Jets of all true classes, shape (C, B)."""
        total: Integer = self.counts.sum(axis=1)
        return total


def threshold_scan(discriminant: Float, is_signal: npt.NDArray[np.bool_]) -> ThresholdScan:
    """Count mistakes against the threshold, for all thresholds at once.

    Parameters
    ----------
    discriminant : ndarray of float64, shape (N,)
        High for signal.
    is_signal : ndarray of bool, shape (N,)
        Which jets are signal.

    Returns
    -------
    ThresholdScan
        At 61 thresholds from 0.2 to 0.8.

    Examples
    --------
    >>> scan = threshold_scan(np.array([0.1, 0.5, 0.6, 0.9]), np.array([False, True, False, True]))
    >>> at = int(np.argmin(abs(scan.thresholds - 0.55)))
    >>> int(scan.missed_signal[at]), int(scan.accepted_background[at]), float(scan.accuracy[at])
    (1, 1, 0.5)
    """
    # rounded, so that a threshold of 0.5 is 0.5
    thresholds = np.linspace(*SCAN).round(10)
    missed = np.searchsorted(np.sort(discriminant[is_signal]), thresholds, side="left")
    background = np.sort(discriminant[~is_signal])
    accepted = len(background) - np.searchsorted(background, thresholds, side="left")
    total = len(discriminant)
    accuracy = 1 - (missed + accepted) / total
    return ThresholdScan(
        thresholds=thresholds,
        missed_signal=missed.astype(np.int64),
        accepted_background=accepted.astype(np.int64),
        accuracy=accuracy,
        accuracy_error=np.sqrt(accuracy * (1 - accuracy) / total),
    )


def score_histograms(scores: Float, label: Integer) -> ScoreHistograms:
    """Fill the histograms of all hypotheses and true classes at once.

    Parameters
    ----------
    scores : ndarray of float64, shape (N, C)
        In [0, 1], one a class hypothesis.
    label : ndarray of int64, shape (N,)
        True classes.

    Returns
    -------
    ScoreHistograms
        In 50 bins; a score of 1 falls in the last.
    """
    classes = scores.shape[1]
    bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    cell = (np.arange(classes) * classes + label[:, None]) * BINS + bins
    counts = np.bincount(cell.ravel(), minlength=classes * classes * BINS)
    return ScoreHistograms(
        edges=np.linspace(0, 1, BINS + 1).round(10),
        counts=counts.reshape(classes, classes, BINS).astype(np.int64),
    )
