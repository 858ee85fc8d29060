"""Which pixels go with the discriminant."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from jetexp.evaluation.record import Float

__all__ = ["correlation_image"]

PIXELS_AT_ONCE = 4_000_000


def correlation_image(images: npt.NDArray[np.floating], discriminant: npt.ArrayLike) -> Float:
    """Correlate each pixel's intensity with the discriminant, over jets.

    Pearson's coefficient, as in de Oliveira et al., "Jet-images: deep learning edition",
    arXiv:1511.05190: it shows where energy makes a tagger say signal, linearly and pixel by pixel.

    Parameters
    ----------
    images : ndarray of float, shape (N, H, W)
        Of two jets or more.
    discriminant : array_like of float, shape (N,)
        High for signal.

    Returns
    -------
    ndarray of float64, shape (H, W)
        In [-1, 1]; zero for a pixel that is the same in all jets, and everywhere for a discriminant
        that is.

    Raises
    ------
    ValueError
        If images and discriminants do not fit.

    Examples
    --------
    >>> images = np.array([[[0.0, 1.0, 5.0]], [[1.0, 0.0, 5.0]], [[2.0, -1.0, 5.0]]])
    >>> (correlation_image(images, [1, 2, 3]).round(6) + 0.0).tolist()
    [[1.0, -1.0, 0.0]]
    """
    values = np.asarray(discriminant, dtype=np.float64)
    if images.ndim != 3 or values.shape != images.shape[:1] or len(values) < 2:
        raise ValueError(f"images of shape {images.shape} and discriminants of {values.shape} do not fit")
    shape = images.shape[1:]
    if np.ptp(values) == 0:
        return np.zeros(shape)
    values = values - values.mean()
    mean = images.mean(axis=0, dtype=np.float64)
    squares, products = np.zeros(shape), np.zeros(shape)
    constant = np.ones(shape, dtype=bool)
    chunk = max(1, PIXELS_AT_ONCE // max(1, mean.size))
    for start in range(0, len(values), chunk):
        some = images[start : start + chunk]
        constant &= (some == images[0]).all(axis=0)
        difference = some - mean
        squares += np.square(difference).sum(axis=0)
        products += np.tensordot(values[start : start + chunk], difference, axes=1)
    norm = np.sqrt(squares * np.square(values).sum())
    found = np.divide(products, norm, out=np.zeros(shape), where=~constant & (norm > 0))
    result: Float = np.clip(found, -1.0, 1.0)
    return result
