"""Whether a score is a probability, and the one number that makes it more of one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import softmax

from jetexp.evaluation.record import Curve, Float, Integer
from jetexp.evaluation.uncertainty import binomial_error

__all__ = ["ReliabilityCurve", "apply_temperature", "fit_temperature", "reliability_curve"]

# a softmax in single precision keeps one less this apart from one, and no more
SMALLEST_SCORE = 1e-7
TEMPERATURES = (0.01, 100.0)


@dataclass(frozen=True, eq=False)
class ReliabilityCurve(Curve):
    """How often what is predicted with some probability comes true.

    Attributes
    ----------
    predicted : ndarray of float64, shape (B,)
        Mean predicted probability in bins of about equally many jets, rising.
    observed : ndarray of float64, shape (B,)
        Fraction that came true.
    error : ndarray of float64, shape (B,)
        Its binomial error.
    jets : ndarray of int64, shape (B,)
        Jets in the bin.
    expected_error : float
        Expected calibration error: the mean over jets of |observed - predicted| of their bin (Guo et
        al., arXiv:1706.04599, there with bins of equal width).
    chance_error : float
        What ``expected_error`` is on average for probabilities that are right, as the bins are finite.
    """

    predicted: Float
    observed: Float
    error: Float
    jets: Integer
    expected_error: float
    chance_error: float


def reliability_curve(
    scores: npt.ArrayLike, label: npt.ArrayLike, *, class_index: int | None = None, bins: int = 15
) -> ReliabilityCurve:
    """Compare predicted probabilities with what came true.

    Parameters
    ----------
    scores : array_like of float, shape (N, C)
        Class probabilities.
    label : array_like of int, shape (N,)
        True classes.
    class_index : int, optional
        Judge the probability of this class by how often a jet is of it; otherwise the highest
        probability of each jet, by how often that class is right.
    bins : int
        Number of bins at most; jets of one probability are never put apart.

    Returns
    -------
    ReliabilityCurve
        One point a bin.

    Raises
    ------
    ValueError
        If scores and labels do not fit, or there is no jet.

    Examples
    --------
    >>> scores = [[0.75, 0.25]] * 4
    >>> curve = reliability_curve(scores, [0, 0, 1, 1], class_index=1)
    >>> curve.predicted.tolist(), curve.observed.tolist(), curve.expected_error
    ([0.25], [0.5], 0.25)
    """
    values, truth = _checked(scores, label)
    if class_index is None:
        probability, right = values.max(axis=1), values.argmax(axis=1) == truth
    else:
        probability, right = values[:, class_index], truth == class_index
    quantiles = np.quantile(probability, np.linspace(0, 1, bins + 1))
    # a probability that many jets have is a bin of its own
    often = quantiles[1:][np.diff(quantiles) == 0]
    edges = np.unique(np.concatenate([quantiles, np.nextafter(often, np.inf)]))
    place = np.searchsorted(edges[1:-1], probability, side="right")
    jets = np.bincount(place)
    filled = jets > 0
    jets = jets[filled].astype(np.int64)
    came_true = np.bincount(place, weights=right)[filled]
    predicted = np.bincount(place, weights=probability)[filled] / jets
    observed = came_true / jets
    # the mean of |x| of a normal x is sqrt(2 / pi) of its standard deviation
    variance = np.bincount(place, weights=np.clip(probability * (1 - probability), 0, None))[filled]
    chance = np.sqrt(2 / np.pi * variance) / jets
    return ReliabilityCurve(
        predicted=predicted,
        observed=observed,
        error=np.array(
            [binomial_error(passing, int(total)) for passing, total in zip(came_true, jets, strict=True)]
        ),
        jets=jets,
        expected_error=float(np.average(np.abs(observed - predicted), weights=jets)),
        chance_error=float(np.average(chance, weights=jets)),
    )


def fit_temperature(scores: npt.ArrayLike, label: npt.ArrayLike) -> float:
    """Find the temperature that makes probabilities fit best, by the cross-entropy.

    Temperature scaling: Guo et al., arXiv:1706.04599. Dividing logits by T is dividing log
    probabilities by T and normalising again, so that no logits are needed; probabilities under 1e-7 count
    as 1e-7, so that scores which are far too sure get a temperature below their own. The cross-entropy is
    convex in 1 / T: where its slope is zero is its minimum.

    Parameters
    ----------
    scores : array_like of float, shape (N, C)
        Class probabilities of validation jets; never of test jets.
    label : array_like of int, shape (N,)
        Their true classes.

    Returns
    -------
    float
        From 0.01 (every score right) to 100 (no better than chance); above 1 for scores that are too
        sure of themselves.

    Raises
    ------
    ValueError
        If scores and labels do not fit, or there is no jet.

    Examples
    --------
    >>> round(fit_temperature([[0.9, 0.1]] * 3 + [[0.1, 0.9]], [0, 0, 1, 1]), 3)
    2.0
    """
    values, truth = _checked(scores, label)
    logits = _log_probabilities(values)
    logits -= logits.mean(axis=1, keepdims=True)
    of_truth = logits[np.arange(len(truth)), truth].mean()

    def slope(log_temperature: float) -> float:
        expected = softmax(logits * np.exp(-log_temperature), axis=1)
        return float((expected * logits).sum(axis=1).mean() - of_truth)

    coldest, hottest = np.log(TEMPERATURES)
    # scores that are all the same have no slope at either end, and are no better than chance
    if slope(hottest) >= 0:
        return TEMPERATURES[1]
    if slope(coldest) <= 0:
        return TEMPERATURES[0]
    return float(np.exp(brentq(slope, coldest, hottest, xtol=1e-9)))


def apply_temperature(scores: npt.ArrayLike, temperature: float) -> Float:
    """Divide the logits of probabilities by a temperature.

    Parameters
    ----------
    scores : array_like of float, shape (N, C)
        Class probabilities.
    temperature : float
        Above 0; 1 leaves scores above 1e-7 as they are, more brings them nearer to each other.

    Returns
    -------
    ndarray of float64, shape (N, C)
        Probabilities; their order within a jet is never reversed, and those under 1e-7 become equal.

    Raises
    ------
    ValueError
        If the temperature is not above zero.

    Examples
    --------
    >>> apply_temperature([[0.1, 0.9]], 2.0).round(6).tolist()
    [[0.25, 0.75]]
    """
    if not temperature > 0:
        raise ValueError(f"a temperature must be above zero, not {temperature}")
    result: Float = softmax(_log_probabilities(scores) / temperature, axis=-1)
    return result


def _checked(scores: npt.ArrayLike, label: npt.ArrayLike) -> tuple[Float, Integer]:
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(label)
    if values.ndim != 2 or truth.shape != values.shape[:1] or not len(values):
        raise ValueError(f"scores of shape {values.shape} and labels of shape {truth.shape} do not fit")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= values.shape[1]:
        raise ValueError(f"labels must be whole numbers between 0 and {values.shape[1] - 1}")
    if not ((values >= -1e-5) & (values <= 1 + 1e-5)).all():
        raise ValueError("scores must be probabilities")
    return values, truth.astype(np.int64)


def _log_probabilities(scores: npt.ArrayLike) -> Float:
    """Return the logarithms, which are a softmax's logits but for a constant a jet."""
    result: Float = np.log(np.clip(np.asarray(scores, dtype=np.float64), SMALLEST_SCORE, 1.0))
    return result
