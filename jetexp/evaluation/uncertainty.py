"""Statistical errors: of AUC, of efficiencies, of background rejection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from jetexp.evaluation.record import Float
from jetexp.evaluation.roc import RocCurve

__all__ = [
    "LIMIT_CONFIDENCE",
    "STANDARD_INTERVAL",
    "auc_error",
    "background_efficiency_limit",
    "background_efficiency_replicas",
    "binomial_error",
    "delong",
    "is_chance",
]

LIMIT_CONFIDENCE = 0.95
STANDARD_INTERVAL = (0.158655, 0.841345)


def _midrank(values: Float) -> Float:
    """Rank from 1 upwards, equal values sharing the middle of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: Float = np.cumsum(counts) - (counts - 1) / 2
    return middle[inverse]


def delong(discriminants: Sequence[npt.ArrayLike], is_signal: npt.ArrayLike) -> tuple[Float, Float]:
    """Compute the AUC of one or more discriminants on the same jets, with their covariance.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837, in the O(N log N) form of Sun and
    Xu, IEEE Signal Processing Letters 21 (2014) 1389.

    Parameters
    ----------
    discriminants : sequence of K array_like of float, shape (N,)
        High for signal.
    is_signal : array_like of bool, shape (N,)
        Which jets are signal; at least two of each kind.

    Returns
    -------
    auc : ndarray of float64, shape (K,)
        Areas under the ROC curves.
    covariance : ndarray of float64, shape (K, K)
        Their covariance; the standard errors are the roots of its diagonal.

    Raises
    ------
    ValueError
        If there are fewer than two jets of either kind.

    Examples
    --------
    >>> auc, covariance = delong([[0.1, 0.4, 0.4, 0.9]], [False, False, True, True])
    >>> float(auc[0]), float(covariance[0, 0])
    (0.875, 0.03125)
    """
    signal = np.asarray(is_signal, dtype=bool)
    n_signal, n_background = int(signal.sum()), int((~signal).sum())
    if n_signal < 2 or n_background < 2:
        raise ValueError(
            "the error of an AUC needs two jets of signal and of background, "
            f"not {n_signal} and {n_background}"
        )
    # for each signal jet the background below it, for each background jet the signal below it
    background_below, signal_below = [], []
    for discriminant in discriminants:
        values = np.asarray(discriminant, dtype=np.float64)
        rank = _midrank(values)
        background_below.append(rank[signal] - _midrank(values[signal]))
        signal_below.append(rank[~signal] - _midrank(values[~signal]))
    auc = np.array([counts.sum() for counts in background_below]) / (n_signal * n_background)
    covariance = _covariance(background_below) / (n_signal * n_background**2)
    return auc, covariance + _covariance(signal_below) / (n_background * n_signal**2)


def _covariance(counts: Sequence[Float]) -> Float:
    """Return the sample covariance of K rows of whole and half numbers, shape (K, K).

    Counted from a whole number near their mean, so that a variance of nothing is not lost in roundings, and
    sums are exact for as many jets as possible, in whatever order they are. Not by a matrix product, whose
    threads wait for each other by spinning: for so few rows that costs more.
    """
    rows = np.array(counts)
    rows -= np.rint(rows.mean(axis=1, keepdims=True))
    sums, number = rows.sum(axis=1), rows.shape[1]
    result: Float = (np.einsum("in,jn->ij", rows, rows) - np.outer(sums, sums) / number) / (number - 1)
    return result


def auc_error(discriminant: npt.ArrayLike, is_signal: npt.ArrayLike) -> float:
    """Return the standard error of an AUC, by :func:`delong`.

    Parameters
    ----------
    discriminant : array_like of float, shape (N,)
        High for signal.
    is_signal : array_like of bool, shape (N,)
        Which jets are signal; at least two of each kind.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there are fewer than two jets of either kind.
    """
    _, covariance = delong([discriminant], is_signal)
    return float(np.sqrt(covariance[0, 0]))


def is_chance(auc: float, error: float) -> bool:
    """Say whether an AUC cannot be told from that of guessing.

    Parameters
    ----------
    auc, error : float
        Area under the ROC curve, and its standard deviation.

    Returns
    -------
    bool
        True where 0.5 is less than two standard deviations below, or above.

    Examples
    --------
    >>> is_chance(0.51, 0.01), is_chance(0.53, 0.01)
    (True, False)
    """
    return auc - 2 * error <= 0.5


def binomial_error(passing: float, total: int) -> float:
    """Return the standard error of a fraction; never zero, not even where all or none pass.

    Parameters
    ----------
    passing : float
        Number that pass.
    total : int
        Number in all.

    Returns
    -------
    float
        sqrt(p (1 - p) / n), where p = (passing + 1/2) / (total + 1) keeps off 0 and 1.

    Examples
    --------
    >>> round(binomial_error(5000, 10_000), 6)
    0.005
    """
    fraction = (passing + 0.5) / (total + 1)
    return float(np.sqrt(fraction * (1 - fraction) / total))


def background_efficiency_limit(passing: float, total: int, confidence: float = LIMIT_CONFIDENCE) -> float:
    """Return the upper limit on an efficiency of which ``passing`` of ``total`` jets were seen.

    Clopper and Pearson, Biometrika 26 (1934) 404.

    Parameters
    ----------
    passing : float
        Number of jets that pass.
    total : int
        Number of jets.
    confidence : float
        Confidence of the limit.

    Returns
    -------
    float
        About 3 / total where none pass, at 95 % confidence.

    Examples
    --------
    >>> round(background_efficiency_limit(0, 1000), 5)
    0.00299
    """
    if passing >= total:
        return 1.0
    return float(betaincinv(passing + 1, total - passing, confidence))


def background_efficiency_replicas(
    curve: RocCurve, signal_efficiency: npt.ArrayLike, *, replicas: int, rng: np.random.Generator
) -> Float:
    """Draw background efficiencies as other samples of as many jets would have given them.

    Both the threshold's and the passing background's fluctuations are in it. The threshold is an
    order statistic of the signal jets: of n resampled jets, the place of the k-th in the sorted
    sample follows Beta(k, n - k + 1), so that nothing needs to be resampled. The true background
    efficiency behind c passing jets of n is drawn from Beta(c + 1/2, n - c + 1/2) (Jeffreys), which
    for large c has the spread of the bootstrap and stays above zero for small.

    Parameters
    ----------
    curve : RocCurve
        The whole ROC curve, not thinned.
    signal_efficiency : array_like of float, shape (E,)
        Working points, in (0, 1].
    replicas : int
        Number of draws, R.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of float64, shape (R, E)
        Above zero.
    """
    wanted = np.atleast_1d(np.asarray(signal_efficiency, dtype=np.float64))
    place = np.clip(wanted * curve.n_signal, 1, curve.n_signal)
    reached = rng.beta(place, curve.n_signal - place + 1, size=(replicas, len(wanted)))
    passing = curve.background_efficiency_at(reached) * curve.n_background
    drawn: Float = rng.beta(passing + 0.5, curve.n_background - passing + 0.5)
    # Beta(1/2, n) may underflow to zero
    return np.maximum(drawn, np.finfo(np.float64).tiny)
