"""Background rejection against the number of training jets, as a power law."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from jetexp.evaluation.record import Curve, Float, Record

__all__ = ["PowerLaw", "PowerLawCurve", "fit_power_law"]

# points that lie so far from a fit, or farther, do not follow it
IMPROBABLE = 0.001


@dataclass(frozen=True, eq=False)
class PowerLawCurve(Curve):
    """A power law at some numbers of jets.

    Attributes
    ----------
    jets : ndarray of float64, shape (E,)
        Numbers of training jets.
    rejection : ndarray of float64, shape (E,)
        Background rejection.
    error : ndarray of float64, shape (E,)
        Its standard error.
    low, high : ndarray of float64, shape (E,)
        Interval of 68 %, symmetric in the logarithm.
    """

    jets: Float
    rejection: Float
    error: Float
    low: Float
    high: Float


@dataclass(frozen=True, eq=False)
class PowerLaw(Record):
    """Rejection = a n^b, fitted to measured points.

    Attributes
    ----------
    jets, rejection : ndarray of float64, shape (P,)
        Points: numbers of training jets, and background rejections.
    statistical_error, training_error : ndarray of float64, shape (P,)
        Their errors from the finite test sample, and from the training.
    log_factor, exponent : float
        log a, and b.
    covariance : ndarray of float64, shape (2, 2)
        Of (log a, b).
    chi2 : float or None
        Weighted sum of squared residuals in log rejection; None for two points, through which every
        line goes.
    ndf : int
        Number of points less two.
    """

    jets: Float
    rejection: Float
    statistical_error: Float
    training_error: Float
    log_factor: float
    exponent: float
    covariance: Float
    chi2: float | None
    ndf: int

    @property
    def exponent_error(self) -> float:
        """Standard error of the exponent."""
        return math.sqrt(self.covariance[1, 1])

    @property
    def error(self) -> Float:
        """Both errors of the points together, shape (P,)."""
        return np.hypot(self.statistical_error, self.training_error)

    @property
    def chi2_p_value(self) -> float | None:
        """How often points that do follow a power law lie as far from the fit; None for two points."""
        return None if self.chi2 is None else float(chdtrc(self.ndf, self.chi2))

    @property
    def holds(self) -> bool:
        """Whether the points may well follow a power law: by chi2, but for one case in a thousand."""
        return self.chi2_p_value is None or self.chi2_p_value > IMPROBABLE

    def at(self, jets: npt.ArrayLike) -> PowerLawCurve:
        """Compute the fit, with its error, at some numbers of jets, seen or not.

        Parameters
        ----------
        jets : array_like of float, shape (E,)
            Numbers of training jets, above zero.

        Returns
        -------
        PowerLawCurve
            The error is that of the fit, and holds if the power law goes on.

        Raises
        ------
        ValueError
            If a number is not above zero.
        """
        wanted = np.atleast_1d(np.asarray(jets, dtype=np.float64))
        if not (wanted > 0).all():
            raise ValueError("numbers of jets must be above zero")
        design = np.stack([np.ones_like(wanted), np.log(wanted)])
        logarithm = np.array([self.log_factor, self.exponent]) @ design
        relative = np.sqrt(np.einsum("ie,ij,je->e", design, self.covariance, design).clip(0))
        rejection = np.exp(logarithm)
        return PowerLawCurve(
            wanted,
            rejection,
            rejection * relative,
            rejection * np.exp(-relative),
            rejection * np.exp(relative),
        )


def fit_power_law(
    jets: npt.ArrayLike,
    rejection: npt.ArrayLike,
    statistical_error: npt.ArrayLike,
    training_error: npt.ArrayLike | None = None,
) -> PowerLaw:
    """Fit log R = log a + b log n by least squares, weighted with the errors.

    Each point's variance in log R is the sum of the squares of its two relative errors; the covariance
    follows from these and is not rescaled by chi2. Points are taken for independent: the statistical
    errors of points measured on the same test jets go together, so that chi2 comes out too small, the
    exponent's error too large, and that of a common factor too small.

    Parameters
    ----------
    jets : array_like of float, shape (P,)
        Numbers of training jets, two different ones or more.
    rejection : array_like of float, shape (P,)
        Background rejections: measurements, not limits.
    statistical_error : array_like of float, shape (P,)
        From the finite test sample.
    training_error : array_like of float, shape (P,), optional
        From the training: of a mean over S seeds, the spread over seeds divided by sqrt(S).

    Returns
    -------
    PowerLaw
        The fit, with its points.

    Raises
    ------
    ValueError
        If there are fewer than two points of different numbers of jets, shapes differ, or a number,
        rejection or total error is not finite and above zero.

    Examples
    --------
    >>> law = fit_power_law([1000, 4000], [10, 20], [1, 2])
    >>> round(law.exponent, 6), law.chi2, law.at(16_000).rejection.round(6).tolist()
    (0.5, None, [40.0])
    """
    number, value, statistical = (
        np.asarray(some, dtype=np.float64) for some in (jets, rejection, statistical_error)
    )
    training = np.zeros_like(value) if training_error is None else np.asarray(training_error, np.float64)
    if number.ndim != 1 or len({number.shape, value.shape, statistical.shape, training.shape}) > 1:
        raise ValueError("jets, rejections and errors of a power law differ in shape")
    if len(np.unique(number)) < 2:
        raise ValueError(
            f"a power law needs points at two numbers of jets or more, not {len(np.unique(number))}"
        )
    error = np.hypot(statistical, training)
    if not all((np.isfinite(some) & (some > 0)).all() for some in (number, value, error)):
        raise ValueError("numbers of jets, rejections and errors must be finite and above zero")
    x, y, weight = np.log(number), np.log(value), np.square(value / error)
    # about the points' centre, factor and exponent are independent
    total = weight.sum()
    centre, height = float(weight @ x / total), float(weight @ y / total)
    lever = float(weight @ np.square(x - centre))
    exponent = float(weight @ ((x - centre) * (y - height)) / lever)
    log_factor = height - exponent * centre
    covariance = np.array([[1 / total + centre**2 / lever, -centre / lever], [-centre / lever, 1 / lever]])
    ndf = len(number) - 2
    chi2 = float(weight @ np.square(y - log_factor - exponent * x)) if ndf else None
    return PowerLaw(number, value, statistical, training, log_factor, exponent, covariance, chi2, ndf)
