"""One pT spectrum for all classes: accept each jet against the smallest common density."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Spectrum", "acceptance", "fit_spectrum"]

Array = npt.NDArray[np.float64]

DEGREE = 5
GRID = 400
# fewer jets than this for each parameter would fit their fluctuations
JETS_PER_PARAMETER = 20


@dataclass(frozen=True, eq=False)
class Spectrum:
    """A smooth density over a pT range: the exponential of a Legendre series.

    Attributes
    ----------
    pt_range : tuple of float
        Where the density lives, GeV.
    coefficients : ndarray of float64, shape (degree,)
        Of the Legendre polynomials from degree 1 on.
    log_norm : float
        Logarithm of the normalisation, in the scaled pT from -1 to 1.
    """

    pt_range: tuple[float, float]
    coefficients: Array
    log_norm: float

    def log_density(self, pt: npt.NDArray[np.floating]) -> Array:
        """Logarithm of the density, normalised in the scaled pT.

        Parameters
        ----------
        pt : ndarray of float, shape (N,)
            Transverse momenta in GeV.

        Returns
        -------
        ndarray of float64, shape (N,)
        """
        value: Array = _basis(_scaled(pt, self.pt_range), len(self.coefficients)) @ self.coefficients
        return value - self.log_norm


def _scaled(pt: npt.NDArray[np.floating], pt_range: tuple[float, float]) -> Array:
    low, high = pt_range
    return np.clip(2 * (np.asarray(pt, dtype=np.float64) - low) / (high - low) - 1, -1, 1)


def _basis(x: Array, degree: int) -> Array:
    return np.polynomial.legendre.legvander(x, degree)[:, 1:].astype(np.float64)


def fit_spectrum(pt: npt.NDArray[np.floating], pt_range: tuple[float, float]) -> Spectrum:
    """Fit a smooth density by maximum likelihood.

    The exponential family p(x) = exp(sum_k c_k P_k(x)) / Z, with Legendre polynomials P_k of the
    scaled pT x; its likelihood is concave, so that Newton's method finds the one maximum, at which
    the density has the sample's own Legendre moments.

    Parameters
    ----------
    pt : ndarray of float, shape (N,)
        Transverse momenta in GeV; none or few give a flatter density of fewer parameters.
    pt_range : tuple of float
        The ends of the spectrum, GeV.

    Returns
    -------
    Spectrum
        Normalised over ``pt_range``.

    Examples
    --------
    >>> flat = fit_spectrum(np.linspace(600, 700, 1001), (600.0, 700.0))
    >>> flat.log_density(np.array([610.0, 690.0])).round(2).tolist()
    [-0.69, -0.69]
    """
    degree = min(DEGREE, len(pt) // JETS_PER_PARAMETER)
    grid = (np.arange(GRID) + 0.5) * 2 / GRID - 1
    basis = _basis(grid, degree)
    moments = _basis(_scaled(pt, pt_range), degree).mean(axis=0) if degree else np.zeros(0)
    coefficients = np.zeros(degree)

    def log_norm(at: Array) -> float:
        exponent = basis @ at
        return float(exponent.max() + np.log(np.exp(exponent - exponent.max()).sum() * 2 / GRID))

    for _ in range(100 if degree else 0):
        density = np.exp(basis @ coefficients - log_norm(coefficients)) * 2 / GRID
        mean = density @ basis
        covariance = (basis * density[:, None]).T @ basis - np.outer(mean, mean)
        step = np.linalg.solve(covariance + 1e-9 * np.eye(degree), moments - mean)
        if np.abs(step).max() < 1e-10:
            break
        old, scale = moments @ coefficients - log_norm(coefficients), 1.0
        while scale > 1e-6:
            trial = coefficients + scale * step
            if moments @ trial - log_norm(trial) >= old:
                break
            scale /= 2
        else:
            break
        coefficients = trial
    return Spectrum(pt_range, coefficients, log_norm(coefficients))


def acceptance(name: str, spectra: Mapping[str, Spectrum], pt: npt.NDArray[np.floating]) -> Array:
    """Probability to accept a jet, so that all classes share the smallest of their densities.

    Parameters
    ----------
    name : str
        Class of the jets.
    spectra : mapping of str to Spectrum
        The spectrum of each class.
    pt : ndarray of float, shape (N,)
        Transverse momenta in GeV.

    Returns
    -------
    ndarray of float64, shape (N,)
        min over classes k of p_k(pT) / p_name(pT): from 0 to 1.
    """
    logs = {key: spectrum.log_density(pt) for key, spectrum in spectra.items()}
    result: Array = np.exp(np.min(list(logs.values()), axis=0) - logs[name])
    return result
