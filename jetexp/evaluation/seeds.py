"""Two taggers, each trained from several seeds, on the same test jets."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from jetexp.evaluation.record import Float, Integer, Record
from jetexp.evaluation.roc import roc_curve
from jetexp.evaluation.uncertainty import delong

__all__ = ["SeedComparison", "SeedDifference", "compare_over_seeds"]

Boolean = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SeedDifference(Record):
    """A number of tagger a less that of tagger b, each the mean over its seeds.

    Attributes
    ----------
    difference : float
        Above zero where a is better.
    statistical_error : float
        From the finite test sample: the same jets for all seeds of both.
    training_error_a, training_error_b : float or None
        From the training: sample standard deviation over the seeds divided by the root of their number.
        None for one seed, whose spread is not known and which contributes none, and for one training.
    counted_twice : float
        What is in the statistical and in the training error both: by how much the jets of this test
        sample make the means over seeds of networks differ that are no better or worse in general; 0 of one
        training, whose spread is not added.
    total_error : float
        Both sources together; its square is too large by that of ``counted_twice``, on average.
    degrees_of_freedom : float or None
        Of the total error (Welch and Satterthwaite, the statistical error taken as known); None where no
        spread over seeds contributes, and the normal distribution holds.
    interval : tuple of float
        Central interval at the confidence of the comparison.
    lower_bound : float
        One-sided, at the same confidence.
    p_value : float
        One-sided: how often so much in favour of a would be seen were the two equal.
    p_value_two_sided : float
        How often so large a difference, either way, would be seen were the two equal.
    """

    difference: float
    statistical_error: float
    training_error_a: float | None
    training_error_b: float | None
    counted_twice: float
    total_error: float
    degrees_of_freedom: float | None
    interval: tuple[float, float]
    lower_bound: float
    p_value: float
    p_value_two_sided: float

    @property
    def training_error(self) -> float:
        """What the training contributes to the error, as far as it is known."""
        return math.hypot(self.training_error_a or 0.0, self.training_error_b or 0.0)

    @property
    def training_error_is_known(self) -> bool:
        """Whether both taggers have several seeds; else ``total_error`` is too small, but of one training."""
        return self.training_error_a is not None and self.training_error_b is not None


@dataclass(frozen=True, eq=False)
class SeedComparison(Record):
    """Tagger a against tagger b, each trained from several seeds, on the same test jets.

    Attributes
    ----------
    signal_efficiency : float
        Where background rejections are compared.
    confidence : float
        Of intervals and lower bounds.
    auc_a, auc_b : tuple of float
        AUC of each seed.
    log_rejection_a, log_rejection_b : tuple of float
        log(background rejection) of each seed.
    is_limit : bool
        Whether for some seed no background jet passes. Then each log(background rejection) is the mean over
        the bootstrap, and the comparison of rejections is a rough one.
    one_training : bool
        Whether one of the two is made of the fits of the other.
    auc, log_rejection : SeedDifference
        Differences of the means over seeds.
    n_signal, n_background : int
        Number of jets.
    """

    signal_efficiency: float
    confidence: float
    auc_a: tuple[float, ...]
    auc_b: tuple[float, ...]
    log_rejection_a: tuple[float, ...]
    log_rejection_b: tuple[float, ...]
    is_limit: bool
    one_training: bool
    auc: SeedDifference
    log_rejection: SeedDifference
    n_signal: int
    n_background: int

    @property
    def ratio(self) -> float:
        """Rejection of a over rejection of b, geometric means over seeds."""
        return math.exp(self.log_rejection.difference)

    @property
    def ratio_interval(self) -> tuple[float, float]:
        """Central interval of ``ratio``."""
        low, high = self.log_rejection.interval
        return math.exp(low), math.exp(high)

    @property
    def a_is_better(self) -> bool:
        """Whether a rejects more background than b, at ``confidence`` (one-sided)."""
        return self.log_rejection.p_value < 1 - self.confidence


def compare_over_seeds(
    label: npt.ArrayLike,
    discriminants_a: npt.ArrayLike,
    discriminants_b: npt.ArrayLike,
    *,
    signal_index: int,
    signal_efficiency: float = 0.5,
    confidence: float = 0.95,
    replicas: int = 1000,
    seed: int = 0,
    one_training: bool = False,
) -> SeedComparison:
    """Compare two taggers over the seeds they were trained from.

    The error has two sources. The finite test sample: DeLong's covariance of all discriminants for
    the AUC, and for the rejection a bootstrap in which every seed of both taggers meets the same
    resampled jets. To those that pass it adds a random number, of a mean of one that passes every
    discriminant and of one for each alone: as the flat prior of
    :func:`jetexp.evaluation.comparison.compare_paired` it is lost among hundreds, and keeps the interval
    wide where few jets pass or none. And the training: the spread over seeds, as in Welch's test
    (Biometrika 34 (1947) 28). Networks of two seeds also differ jet by jet, without one being the better,
    and on a finite test sample this spreads them too. It is in both sources, so that the total is too
    large rather than too small: by up to a factor of sqrt(2), where the training makes no other
    difference. How much it is stands in ``SeedDifference.counted_twice``.

    Parameters
    ----------
    label : array_like of int, shape (N,)
        True classes.
    discriminants_a, discriminants_b : array_like of float, shape (S_a, N) and (S_b, N)
        One row a seed, for the same jets in the same order; high for signal.
    signal_index : int
        The label that is signal.
    signal_efficiency : float
        Where background rejections are compared, in (0, 1).
    confidence : float
        Of intervals and lower bounds, in (0, 1).
    replicas : int
        Number of bootstrap samples.
    seed : int
        Their seed.
    one_training : bool
        Whether one of the two is made of the fits of the other, as an ensemble is: the spread over seeds,
        which they share, is left out then.

    Returns
    -------
    SeedComparison
        Differences with their errors, intervals and p-values.

    Raises
    ------
    ValueError
        If shapes do not fit, a discriminant is not finite, or there are fewer than two jets of signal or
        of background.
    """
    is_signal = np.asarray(label) == signal_index
    a, b = (np.asarray(values, dtype=np.float64) for values in (discriminants_a, discriminants_b))
    for values in (a, b):
        if values.ndim != 2 or not len(values) or values.shape[1:] != is_signal.shape:
            raise ValueError(f"discriminants of shape {values.shape} do not fit {is_signal.shape} labels")
    both = np.concatenate([a, b])
    if not np.isfinite(both).all():
        raise ValueError("a discriminant is not finite")
    auc, covariance = delong(list(both), is_signal)
    drawn = _log_rejection_replicas(both, is_signal, signal_efficiency, replicas, np.random.default_rng(seed))
    passing = _passing(both, is_signal, signal_efficiency)
    # ties may let a part of a jet pass, which is no measurement either
    is_limit = bool((passing < 1 - 1e-9).any())
    log_rejection = drawn.mean(axis=0) if is_limit else np.log((~is_signal).sum() / passing)
    return SeedComparison(
        signal_efficiency=float(signal_efficiency),
        confidence=float(confidence),
        auc_a=tuple(auc[: len(a)].tolist()),
        auc_b=tuple(auc[len(a) :].tolist()),
        log_rejection_a=tuple(log_rejection[: len(a)].tolist()),
        log_rejection_b=tuple(log_rejection[len(a) :].tolist()),
        is_limit=is_limit,
        one_training=one_training,
        auc=_difference(auc[: len(a)], auc[len(a) :], covariance, confidence, one_training),
        log_rejection=_difference(
            log_rejection[: len(a)],
            log_rejection[len(a) :],
            np.cov(drawn, rowvar=False),
            confidence,
            one_training,
        ),
        n_signal=int(is_signal.sum()),
        n_background=int((~is_signal).sum()),
    )


def _difference(
    a: Float, b: Float, covariance: Float, confidence: float, one_training: bool
) -> SeedDifference:
    """Compare the means of a and b, whose covariance under other test jets is given."""
    difference = float(a.mean() - b.mean())
    weights = np.concatenate([np.full(len(a), 1 / len(a)), np.full(len(b), -1 / len(b))])
    # roundings may leave a variance of nothing below zero
    statistical = math.sqrt(max(0.0, float(weights @ covariance @ weights)))
    by_jets = _apart(covariance[: len(a), : len(a)]) + _apart(covariance[len(a) :, len(a) :])
    variance_a, variance_b = (
        float(values.var(ddof=1)) / len(values) if len(values) > 1 and not one_training else None
        for values in (a, b)
    )
    variance = statistical**2 + (variance_a or 0.0) + (variance_b or 0.0)
    uncertain = sum(
        some**2 / (len(values) - 1) for some, values in ((variance_a, a), (variance_b, b)) if some
    )
    freedom = variance**2 / uncertain if uncertain else None
    total = math.sqrt(variance)
    central, one_sided = (
        float(ndtri(level) if freedom is None else stdtrit(freedom, level)) * total
        for level in ((1 + confidence) / 2, confidence)
    )
    if total:
        above, below = (
            float(ndtr(one / total) if freedom is None else stdtr(freedom, one / total))
            for one in (-difference, difference)
        )
    else:
        # nothing but equal discriminants varies so little
        above, below = (0.0 if one > 0 else 1.0 for one in (difference, -difference))
    return SeedDifference(
        difference=difference,
        statistical_error=statistical,
        training_error_a=None if variance_a is None else math.sqrt(variance_a),
        training_error_b=None if variance_b is None else math.sqrt(variance_b),
        counted_twice=0.0 if one_training else math.sqrt(by_jets),
        total_error=total,
        degrees_of_freedom=freedom,
        interval=(difference - central, difference + central),
        lower_bound=difference - one_sided,
        p_value=above,
        p_value_two_sided=min(1.0, 2 * min(above, below)),
    )


def _apart(covariance: Float) -> float:
    """Return the variance of a mean over seeds that comes from what they do not share on other jets."""
    seeds = len(covariance)
    if seeds == 1:
        return 0.0
    own = float(np.trace(covariance)) / seeds
    shared = (float(covariance.sum()) - float(np.trace(covariance))) / (seeds * (seeds - 1))
    return max(0.0, own - shared) / seeds


def _passing(values: Float, is_signal: Boolean, signal_efficiency: float) -> Float:
    """Count the background jets that pass each discriminant."""
    efficiencies = [
        float(roc_curve(one, is_signal).background_efficiency_at(signal_efficiency)) for one in values
    ]
    return int((~is_signal).sum()) * np.array(efficiencies)


def _log_rejection_replicas(
    values: Float, is_signal: Boolean, signal_efficiency: float, replicas: int, rng: np.random.Generator
) -> Float:
    """Draw log(rejection) of K discriminants on resampled jets, shape (replicas, K).

    Nothing is sorted in a replica: it is a number of times that each jet was drawn, and of jets sorted
    once the threshold is where these numbers reach the wanted signal.
    """
    # equal discriminants are put in an arbitrary order, the same for all
    tie_breaker = rng.permutation(values.shape[1])
    ordered = [_ordered(one, is_signal, tie_breaker) for one in values]
    n_signal, n_background = int(is_signal.sum()), int((~is_signal).sum())
    wanted = max(1, math.ceil(signal_efficiency * n_signal - 1e-9))
    passing = np.empty((replicas, len(values)))
    for replica in range(replicas):
        signal_times, background_times = (
            np.bincount(rng.integers(0, total, total, dtype=np.int32), minlength=total).astype(np.int32)
            for total in (n_signal, n_background)
        )
        for column, (signal, background, above) in enumerate(ordered):
            last = np.searchsorted(np.cumsum(signal_times[signal]), wanted)
            passing[replica, column] = background_times[background[: above[last]]].sum()
    by_all, by_one = rng.standard_exponential((replicas, 1)), rng.standard_exponential(passing.shape)
    return np.log(n_background / (passing + by_all + by_one))


def _ordered(
    values: Float, is_signal: Boolean, tie_breaker: Integer
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Sort jets, best first: which signal, which background, how much background above each signal jet."""
    order = np.lexsort((tie_breaker, values))[::-1]
    kind = is_signal[order]
    place = np.empty(len(order), dtype=np.int32)
    place[is_signal] = np.arange(is_signal.sum())
    place[~is_signal] = np.arange((~is_signal).sum())
    above = np.cumsum(~kind)[kind].astype(np.int32)
    return place[order[kind]], place[order[~kind]], above
