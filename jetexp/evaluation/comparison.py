"""Two taggers on the same jets: which is better, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from jetexp.evaluation.record import Float, Integer, Record
from jetexp.evaluation.rejection import WorkingPoint, working_points
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.uncertainty import delong

__all__ = ["PairedComparison", "compare_paired"]

DRAWS_AT_ONCE = 2_000_000


@dataclass(frozen=True, eq=False)
class PairedComparison(Record):
    """Tagger a against tagger b, scored on the same jets.

    Attributes
    ----------
    signal_efficiency : float
        Where background rejections are compared.
    a, b : WorkingPoint
        Background rejection of each tagger.
    log_ratio : float
        log(rejection of a / rejection of b): above zero where a is better. Where no background jet
        passes one of the two, the median of the replicas.
    log_ratio_interval : tuple of float
        Central interval of ``log_ratio`` at ``confidence``.
    log_ratio_error : float
        Standard deviation of ``log_ratio``.
    p_value : float
        One-sided: how often so much in favour of a would be seen were its rejection no more than
        ``1 + minimum_gain`` times that of b.
    p_value_two_sided : float
        How often so large a difference, either way, would be seen were the two equal.
    confidence : float
        Confidence of the interval and of ``a_is_better``.
    minimum_gain : float
        The part of b's rejection by which a has to exceed it.
    auc_difference, auc_difference_error : float
        AUC of a less AUC of b, and its standard error (DeLong, paired).
    auc_p_value_two_sided : float
        How often so large an AUC difference would be seen were the two equal.
    n_signal, n_background : int
        Number of jets.
    """

    signal_efficiency: float
    a: WorkingPoint
    b: WorkingPoint
    log_ratio: float
    log_ratio_interval: tuple[float, float]
    log_ratio_error: float
    p_value: float
    p_value_two_sided: float
    confidence: float
    minimum_gain: float
    auc_difference: float
    auc_difference_error: float
    auc_p_value_two_sided: float
    n_signal: int
    n_background: int

    @property
    def is_limit(self) -> bool:
        """Whether one of the two rejections is a lower limit only."""
        return self.a.is_limit or self.b.is_limit

    @property
    def ratio(self) -> float:
        """Rejection of a over rejection of b."""
        return math.exp(self.log_ratio)

    @property
    def ratio_interval(self) -> tuple[float, float]:
        """Central interval of ``ratio`` at ``confidence``."""
        low, high = self.log_ratio_interval
        return math.exp(low), math.exp(high)

    @property
    def a_is_better(self) -> bool:
        """Whether a rejects enough more background than b, at ``confidence`` (one-sided)."""
        return self.p_value < 1 - self.confidence

    def auc_p_value(self, minimum_gain: float = 0.0) -> float:
        """Give the one-sided p-value of the AUC (DeLong, paired).

        Parameters
        ----------
        minimum_gain : float
            By how much a has to exceed b.

        Returns
        -------
        float
            How often so much in favour of a would be seen were its AUC no more than ``minimum_gain`` above
            that of b.
        """
        return _one_sided(self.auc_difference - minimum_gain, self.auc_difference_error)


def compare_paired(
    label: npt.ArrayLike,
    discriminant_a: npt.ArrayLike,
    discriminant_b: npt.ArrayLike,
    *,
    signal_index: int,
    signal_efficiency: float = 0.5,
    confidence: float = 0.95,
    minimum_gain: float = 0.0,
    replicas: int = 2000,
    seed: int = 0,
) -> PairedComparison:
    """Compare two taggers scored on the same jets.

    Each replica resamples the signal jets, which moves both thresholds together; counts which
    background jets pass both, a alone, b alone, and none; and draws the true fractions behind these
    four counts from their posterior for a flat prior (a Bayesian bootstrap: Rubin, Annals of Statistics
    9 (1981) 130). The flat prior is lost among hundreds of passing jets; where few or none pass, it
    keeps the difference finite and its interval wide, as a mid-p McNemar test does.

    Parameters
    ----------
    label : array_like of int, shape (N,)
        True classes.
    discriminant_a, discriminant_b : array_like of float, shape (N,)
        Of the two taggers, for the same jets in the same order; high for signal.
    signal_index : int
        The label that is signal.
    signal_efficiency : float
        Where background rejections are compared, in (0, 1).
    confidence : float
        Confidence of the interval and of ``PairedComparison.a_is_better``.
    minimum_gain : float
        The part of b's rejection by which a has to exceed it to be better: 0.1 for 1.1 times.
    replicas : int
        Number of replicas.
    seed : int
        Seed of the replicas.

    Returns
    -------
    PairedComparison
        Differences with errors and p-values.

    Raises
    ------
    ValueError
        If the three arrays differ in length, a discriminant is not finite, or there are fewer than
        two jets of signal or of background.
    """
    is_signal = np.asarray(label) == signal_index
    a, b = (np.asarray(values, dtype=np.float64) for values in (discriminant_a, discriminant_b))
    if not a.shape == b.shape == is_signal.shape or a.ndim != 1:
        raise ValueError(f"labels and discriminants differ in shape: {is_signal.shape}, {a.shape}, {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a discriminant is not finite")
    auc, covariance = delong([a, b], is_signal)
    auc_difference = float(auc[0] - auc[1])
    auc_error = math.sqrt(max(0.0, covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    rng = np.random.default_rng(seed)
    points = [
        working_points(roc_curve(values, is_signal), [signal_efficiency], rng=rng)[0] for values in (a, b)
    ]
    drawn = _log_ratio_replicas(a, b, is_signal, signal_efficiency, replicas, rng)
    if points[0].is_limit or points[1].is_limit:
        log_ratio = float(np.median(drawn))
    else:
        log_ratio = math.log(points[0].rejection / points[1].rejection)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    # one is added to both counts, so that no finite number of replicas claims certainty
    not_enough, not_above, not_below = (
        (np.count_nonzero(found) + 1) / (replicas + 1)
        for found in (drawn <= math.log1p(minimum_gain), drawn <= 0, drawn >= 0)
    )
    return PairedComparison(
        signal_efficiency=float(signal_efficiency),
        a=points[0],
        b=points[1],
        log_ratio=log_ratio,
        log_ratio_interval=(float(low), float(high)),
        log_ratio_error=float(np.std(drawn, ddof=1)),
        p_value=float(not_enough),
        p_value_two_sided=float(min(1.0, 2 * min(not_above, not_below))),
        confidence=float(confidence),
        minimum_gain=float(minimum_gain),
        auc_difference=auc_difference,
        auc_difference_error=auc_error,
        auc_p_value_two_sided=_two_sided(auc_difference, auc_error),
        n_signal=int(is_signal.sum()),
        n_background=int((~is_signal).sum()),
    )


def _one_sided(difference: float, error: float) -> float:
    if not error:
        return 0.0 if difference > 0 else 1.0
    return float(ndtr(-difference / error))


def _two_sided(difference: float, error: float) -> float:
    return min(1.0, 2 * _one_sided(abs(difference), error))


def _log_ratio_replicas(
    a: Float,
    b: Float,
    is_signal: npt.NDArray[np.bool_],
    signal_efficiency: float,
    replicas: int,
    rng: np.random.Generator,
) -> Float:
    """Draw log(rejection of a / rejection of b), shape (replicas,)."""
    # equal discriminants are put in an arbitrary order, the same for both taggers
    tie_breaker = rng.permutation(len(a))
    rank_a, rank_b = _rank(a, tie_breaker), _rank(b, tie_breaker)
    signal_a, signal_b = rank_a[is_signal], rank_b[is_signal]
    background_a, background_b = rank_a[~is_signal], rank_b[~is_signal]
    n_signal = len(signal_a)
    failing = n_signal - max(1, math.ceil(signal_efficiency * n_signal - 1e-9))
    counts = []
    chunk = max(1, DRAWS_AT_ONCE // len(a))
    for start in range(0, replicas, chunk):
        shape = (min(chunk, replicas - start), n_signal)
        drawn = rng.integers(0, n_signal, shape, dtype=np.int32)
        threshold_a, threshold_b = (
            np.partition(signal[drawn], failing, axis=1)[:, failing, None] for signal in (signal_a, signal_b)
        )
        passes_a, passes_b = background_a > threshold_a, background_b > threshold_b
        both = np.count_nonzero(passes_a & passes_b, axis=1)
        only_a = np.count_nonzero(passes_a, axis=1) - both
        only_b = np.count_nonzero(passes_b, axis=1) - both
        counts.append(np.stack([both, only_a, only_b]))
    # the fourth fraction, of jets that pass neither, drops out of the ratio, as does the normalisation
    both_drawn, a_drawn, b_drawn = rng.standard_gamma(np.concatenate(counts, axis=1) + 1.0)
    result: Float = np.log(both_drawn + b_drawn) - np.log(both_drawn + a_drawn)
    return result


def _rank(values: Float, tie_breaker: Integer) -> npt.NDArray[np.int32]:
    rank = np.empty(len(values), dtype=np.int32)
    rank[np.lexsort((tie_breaker, values))] = np.arange(len(values), dtype=np.int32)
    return rank
