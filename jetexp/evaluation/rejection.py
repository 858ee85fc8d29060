"""Background rejection at working points and along the ROC curve, with errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jetexp.evaluation.record import Curve, Float, Integer, Record
from jetexp.evaluation.roc import RocCurve
from jetexp.evaluation.uncertainty import (
    STANDARD_INTERVAL,
    background_efficiency_limit,
    background_efficiency_replicas,
)

__all__ = [
    "CurveWithBand",
    "RejectionCurve",
    "WorkingPoint",
    "ratio_to",
    "rejection_curve",
    "working_points",
]

REPLICAS = 4000
CURVE_STEPS = 200
CURVE_REPLICAS = 1000


@dataclass(frozen=True, eq=False)
class WorkingPoint(Record):
    """Background rejection at one signal efficiency.

    Attributes
    ----------
    signal_efficiency : float
        Fraction of the signal jets that pass.
    rejection : float
        One over the fraction of the background jets that pass; where no background jet passes, the
        lower limit at 95 % confidence.
    error : float or None
        Its standard error, the threshold's own fluctuation included; None for a limit.
    is_limit : bool
        Whether no background jet passes, so that ``rejection`` is a lower limit.
    threshold : float
        The threshold on the discriminant.
    """

    signal_efficiency: float
    rejection: float
    error: float | None
    is_limit: bool
    threshold: float

    @property
    def name(self) -> str:
        """Name of the metric without its part: ``rejection_50`` for a signal efficiency of 0.5."""
        return f"rejection_{100 * self.signal_efficiency:.6g}".replace(".", "_")


@dataclass(frozen=True, eq=False)
class RejectionCurve(Curve):
    """Background rejection against signal efficiency, where background jets pass.

    Attributes
    ----------
    signal_efficiency : ndarray of float64, shape (E,)
        Rising, whole multiples of 0.005 or, where there are many curves, of 0.025.
    rejection : ndarray of float64, shape (E,)
        One over the background efficiency.
    low, high : ndarray of float64, shape (E,)
        Central interval of 68 %.
    """

    signal_efficiency: Float
    rejection: Float
    low: Float
    high: Float

    @property
    def steps(self) -> Integer:
        """1000 times the signal efficiency, shape (E,)."""
        return np.rint(1000 * self.signal_efficiency).astype(np.int64)

    def thinned(self, steps: int) -> RejectionCurve:
        """Keep the points at whole multiples of 1 / ``steps``; 200 / ``steps`` is a whole number."""
        keep = self.steps % (1000 // steps) == 0
        return RejectionCurve(
            self.signal_efficiency[keep], self.rejection[keep], self.low[keep], self.high[keep]
        )


class CurveWithBand(Protocol):
    """What rejection curves of one run and of several seeds have in common."""

    @property
    def signal_efficiency(self) -> Float:
        """Rising, shape (E,)."""

    @property
    def rejection(self) -> Float:
        """Background rejection, shape (E,)."""

    @property
    def low(self) -> Float:
        """Lower edge of the band, shape (E,)."""

    @property
    def high(self) -> Float:
        """Upper edge of the band, shape (E,)."""


def ratio_to(reference: CurveWithBand, curve: CurveWithBand) -> RejectionCurve:
    """Divide one rejection curve by another, where both are defined.

    Parameters
    ----------
    reference : RejectionCurve or SeedCurve
        The denominator, whose own band is left out.
    curve : RejectionCurve or SeedCurve
        The numerator.

    Returns
    -------
    RejectionCurve
        The ratio at the numerator's signal efficiencies, with the numerator's band.

    Examples
    --------
    >>> first = RejectionCurve(*(np.array([[0.2, 0.4], [8.0, 4.0], [7.0, 3.0], [9.0, 5.0]])))
    >>> ratio_to(first, first).rejection.round(9).tolist()
    [1.0, 1.0]
    """
    if not len(reference.signal_efficiency):
        return RejectionCurve(*np.empty((4, 0)))
    wanted = curve.signal_efficiency
    inside = (wanted >= reference.signal_efficiency[0]) & (wanted <= reference.signal_efficiency[-1])
    at = wanted[inside]
    # interpolated in the logarithm, in which the curves are nearly straight
    divisor = np.exp(np.interp(at, reference.signal_efficiency, np.log(reference.rejection)))
    return RejectionCurve(
        at, curve.rejection[inside] / divisor, curve.low[inside] / divisor, curve.high[inside] / divisor
    )


def working_points(
    curve: RocCurve, signal_efficiencies: Sequence[float], *, rng: np.random.Generator
) -> tuple[WorkingPoint, ...]:
    """Compute the background rejection at some signal efficiencies.

    Parameters
    ----------
    curve : RocCurve
        The whole ROC curve, not thinned.
    signal_efficiencies : sequence of float
        Working points, in (0, 1].
    rng : numpy.random.Generator
        For the errors.

    Returns
    -------
    tuple of WorkingPoint
        One for each signal efficiency.
    """
    wanted = np.asarray(signal_efficiencies, dtype=np.float64)
    passing = curve.background_efficiency_at(wanted) * curve.n_background
    thresholds = curve.threshold_at(wanted)
    drawn = 1 / background_efficiency_replicas(curve, wanted, replicas=REPLICAS, rng=rng)
    low, high = np.quantile(drawn, STANDARD_INTERVAL, axis=0)
    points = []
    for index, efficiency in enumerate(wanted):
        # ties may let a part of a jet pass, which is no measurement either
        is_limit = passing[index] < 1 - 1e-9
        if is_limit:
            rejection = 1 / background_efficiency_limit(float(passing[index]), curve.n_background)
        else:
            rejection = curve.n_background / float(passing[index])
        points.append(
            WorkingPoint(
                signal_efficiency=float(efficiency),
                rejection=rejection,
                error=None if is_limit else float(high[index] - low[index]) / 2,
                is_limit=bool(is_limit),
                threshold=float(thresholds[index]),
            )
        )
    return tuple(points)


def rejection_curve(
    curve: RocCurve,
    *,
    rng: np.random.Generator,
    steps: int = CURVE_STEPS,
    replicas: int = CURVE_REPLICAS,
) -> RejectionCurve:
    """Compute the background rejection along the ROC curve, with its error band.

    Parameters
    ----------
    curve : RocCurve
        The whole ROC curve, not thinned.
    rng : numpy.random.Generator
        For the errors.
    steps : int
        Number of signal efficiencies, evenly up to 1.
    replicas : int
        Number of samples drawn for the errors.

    Returns
    -------
    RejectionCurve
        At those whole multiples of 1 / ``steps`` in signal efficiency where at least one background jet
        passes.
    """
    wanted = np.arange(1, steps + 1) / steps
    background = curve.background_efficiency_at(wanted)
    wanted = wanted[background * curve.n_background >= 1 - 1e-9]
    rejection = 1 / curve.background_efficiency_at(wanted)
    drawn = 1 / background_efficiency_replicas(curve, wanted, replicas=replicas, rng=rng)
    low, high = np.quantile(drawn, STANDARD_INTERVAL, axis=0)
    return RejectionCurve(wanted, rejection, np.minimum(low, rejection), np.maximum(high, rejection))
