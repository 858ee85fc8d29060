"""The ROC curve, with ties treated as they must be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jetexp.evaluation.record import Curve, Float

__all__ = ["ROUNDING", "RocCurve", "roc_curve"]

# of efficiencies and probabilities; a jet more or less is far more
ROUNDING = 1e-12
MAXIMUM_STORED_POINTS = 2000


@dataclass(frozen=True, eq=False)
class RocCurve(Curve):
    """Signal and background efficiency against the threshold on a discriminant.

    A jet passes a threshold when its discriminant is equal to it or above.

    Attributes
    ----------
    signal_efficiency : ndarray of float64, shape (P,)
        Fraction of the signal jets that pass, from 0 to 1, never falling.
    background_efficiency : ndarray of float64, shape (P,)
        Fraction of the background jets that pass, from 0 to 1, never falling.
    thresholds : ndarray of float64, shape (P,)
        Falling; nothing passes the first.
    n_signal, n_background : int
        Number of jets of each kind.
    """

    signal_efficiency: Float
    background_efficiency: Float
    thresholds: Float
    n_signal: int
    n_background: int

    @property
    def area(self) -> float:
        """Area under the curve: the probability that a signal jet scores above a background jet."""
        return float(np.trapezoid(self.signal_efficiency, self.background_efficiency))

    def background_efficiency_at(self, signal_efficiency: npt.ArrayLike) -> Float:
        """Interpolate the background efficiency linearly on the curve.

        Where the curve stands still in signal efficiency, the tightest threshold counts. Between
        points that ties keep apart, the straight line is what random choice among them would give.

        Parameters
        ----------
        signal_efficiency : array_like of float
            In [0, 1].

        Returns
        -------
        ndarray of float64
            Same shape.
        """
        return self._at(signal_efficiency, self.background_efficiency)

    def threshold_at(self, signal_efficiency: npt.ArrayLike) -> Float:
        """Interpolate the threshold linearly on the curve.

        Parameters
        ----------
        signal_efficiency : array_like of float
            In [0, 1].

        Returns
        -------
        ndarray of float64
            Same shape.
        """
        return self._at(signal_efficiency, self.thresholds)

    def _at(self, signal_efficiency: npt.ArrayLike, values: Float) -> Float:
        wanted = np.asarray(signal_efficiency, dtype=np.float64)
        # 1 - 0.8 is a little less than 0.2, whose tightest threshold is meant all the same
        after = np.searchsorted(self.signal_efficiency, wanted - ROUNDING, side="left")
        after = np.clip(after, 0, len(self.signal_efficiency) - 1)
        before = np.maximum(after - 1, 0)
        low, high = self.signal_efficiency[before], self.signal_efficiency[after]
        fraction = np.divide(wanted - low, high - low, out=np.ones_like(wanted), where=high > low)
        fraction = np.minimum(fraction, 1.0)
        result: Float = values[before] + fraction * (values[after] - values[before])
        return result

    def swapped(self) -> RocCurve:
        """Return the curve where signal and background, and the sign of the discriminant, are swapped.

        Returns
        -------
        RocCurve
            What passes there is what fails here.

        Examples
        --------
        >>> curve = roc_curve([0.1, 0.4, 0.4, 0.9], [False, False, True, True]).swapped()
        >>> curve.signal_efficiency.tolist(), curve.background_efficiency.tolist(), curve.area
        ([0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0], 0.875)
        """
        # what is below one threshold is at the next lower one or below
        thresholds = -self.thresholds[:0:-1]
        return RocCurve(
            signal_efficiency=1 - self.background_efficiency[::-1],
            background_efficiency=1 - self.signal_efficiency[::-1],
            thresholds=np.append(np.nextafter(thresholds[0], np.inf), thresholds),
            n_signal=self.n_background,
            n_background=self.n_signal,
        )

    def thinned(self, points: int = MAXIMUM_STORED_POINTS) -> RocCurve:
        """Keep some of the points, evenly in signal efficiency and in log background efficiency.

        Parameters
        ----------
        points : int
            Number of points kept at most.

        Returns
        -------
        RocCurve
            Points of this curve, its ends among them; the curve itself if it is short enough.
        """
        if len(self.thresholds) <= points:
            return self
        half = points // 2
        linear = np.searchsorted(self.signal_efficiency, np.linspace(0, 1, half))
        lowest = np.log(self.background_efficiency[self.background_efficiency > 0][0])
        logarithmic = np.searchsorted(
            self.background_efficiency, np.exp(np.linspace(lowest, 0, half - 1)) * (1 - 1e-12)
        )
        last = len(self.thresholds) - 1
        keep = np.unique(np.concatenate([np.minimum(linear, last), np.minimum(logarithmic, last), [last]]))
        return RocCurve(
            self.signal_efficiency[keep],
            self.background_efficiency[keep],
            self.thresholds[keep],
            self.n_signal,
            self.n_background,
        )


def roc_curve(discriminant: npt.ArrayLike, is_signal: npt.ArrayLike) -> RocCurve:
    """Compute the ROC curve by sorting; jets with equal discriminants pass together.

    Parameters
    ----------
    discriminant : array_like of float, shape (N,)
        Finite; high for signal.
    is_signal : array_like of bool, shape (N,)
        Which jets are signal.

    Returns
    -------
    RocCurve
        With one point a distinct discriminant, and one where nothing passes.

    Raises
    ------
    ValueError
        If there is no signal jet or no background jet.

    Examples
    --------
    >>> curve = roc_curve([0.1, 0.4, 0.4, 0.9], [False, False, True, True])
    >>> curve.signal_efficiency.tolist(), curve.background_efficiency.tolist()
    ([0.0, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0])
    >>> curve.area
    0.875
    """
    values = np.asarray(discriminant, dtype=np.float64)
    signal = np.asarray(is_signal, dtype=bool)
    n_signal, n_background = int(signal.sum()), int((~signal).sum())
    if not n_signal or not n_background:
        raise ValueError(
            f"a ROC curve needs signal and background, not {n_signal} and {n_background} jets of them"
        )
    order = np.argsort(-values, kind="stable")
    values, signal = values[order], signal[order]
    last_of_tie = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    passing_signal = np.cumsum(signal)[last_of_tie]
    return RocCurve(
        signal_efficiency=np.append(0.0, passing_signal / n_signal),
        background_efficiency=np.append(0.0, (last_of_tie + 1 - passing_signal) / n_background),
        thresholds=np.append(np.nextafter(values[0], np.inf), values[last_of_tie]),
        n_signal=n_signal,
        n_background=n_background,
    )
