"""From given images back to constituents: a pixel becomes a constituent at its centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jetexp.jets.sample import Jets

__all__ = ["HALF_WIDTH", "PIXELS", "jets_from_images", "pixel_index"]

# of raw images, where nothing else is said: half the side in eta and phi, and pixels a side
HALF_WIDTH, PIXELS = 1.0, 40


def pixel_index(
    eta: npt.NDArray[np.float64], phi: npt.NDArray[np.float64], *, pixels: int, half_width: float
) -> npt.NDArray[np.int64]:
    """Find the pixel of an image that each constituent falls in.

    Parameters
    ----------
    eta, phi : ndarray of float64, shape (C,)
        Relative to the middle of the image.
    pixels : int
        A side of the image.
    half_width : float
        Half the side in eta and phi.

    Returns
    -------
    ndarray of int64, shape (C,)
        Row times ``pixels`` plus column, a row being of one eta; -1 beyond the image's borders.

    Examples
    --------
    >>> pixel_index(np.array([-1.0, 0.0, 1.0, 1.1]), np.zeros(4), pixels=4, half_width=1.0).tolist()
    [2, 10, 14, -1]
    """
    inside = (np.abs(eta) <= half_width) & (np.abs(phi) <= half_width)
    per_unit = pixels / (2 * half_width)
    row, column = (
        np.minimum(((values[inside] + half_width) * per_unit).astype(np.int64), pixels - 1)
        for values in (eta, phi)
    )
    found = np.full(len(inside), -1, dtype=np.int64)
    found[inside] = row * pixels + column
    return found


def jets_from_images(
    images: npt.NDArray[np.floating],
    *,
    half_width: float,
    label: npt.NDArray[np.integer] | None = None,
    classes: Sequence[str] = (),
    provenance: dict[str, Any] | None = None,
) -> Jets:
    """Turn images into jets, one constituent for each pixel that is not zero.

    Pixel (i, j) becomes a constituent at eta = -half_width + (i + 0.5) d, with d the size of a
    pixel, and likewise for phi and j. The jet's kinematics are those of the sum of these massless
    constituents, with the middle of the image at eta = 0.

    Parameters
    ----------
    images : ndarray of float, shape (N, H, W) or (N, H, W, 1)
        Transverse energy in GeV, first axis eta, second phi.
    half_width : float
        Half the side of the images in eta and phi.
    label : ndarray of int, shape (N,), optional
        Index into ``classes``; by default all 0.
    classes : sequence of str
        Names of the classes; by default the one class ``"unlabelled"``.
    provenance : dict, optional
        Where the images come from.

    Returns
    -------
    Jets
        N jets; an image of zeros gives a jet without constituents, of pT 0.

    Raises
    ------
    ValueError
        If the shape is another one, or a pixel is negative or not finite.

    Examples
    --------
    >>> image = np.zeros((1, 40, 40))
    >>> image[0, 20, 19] = 700.0
    >>> jet = jets_from_images(image, half_width=1.0)
    >>> jet.constituent_eta.round(3).tolist(), jet.constituent_phi.round(3).tolist(), jet.pt.tolist()
    ([0.02500000037252903], [-0.02500000037252903], [700.0])
    """
    images = np.asarray(images)
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]
    if images.ndim != 3:
        raise ValueError(f"images must be of shape (N, H, W) or (N, H, W, 1), not {images.shape}")
    with np.errstate(over="ignore"):
        images = images.astype(np.float32, copy=False)
    if not (np.isfinite(images).all() and (images >= 0).all()):
        raise ValueError("pixels must be finite and not negative")

    number, height, width = images.shape
    jet, row, column = np.nonzero(images)
    eta = -half_width + (row + 0.5) * (2 * half_width / height)
    phi = -half_width + (column + 0.5) * (2 * half_width / width)
    pt = images[jet, row, column]

    def summed(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        return np.bincount(jet, weights=values, minlength=number).astype(np.float64)

    px, py, pz = summed(pt * np.cos(phi)), summed(pt * np.sin(phi)), summed(pt * np.sinh(eta))
    energy = summed(pt * np.cosh(eta))
    transverse = np.hypot(px, py)
    slope = np.divide(pz, transverse, out=np.zeros(number), where=transverse > 0)
    return Jets(
        offsets=np.concatenate([[0], np.cumsum(np.bincount(jet, minlength=number))]).astype(np.int64),
        constituent_eta=eta.astype(np.float32),
        constituent_phi=phi.astype(np.float32),
        constituent_pt=pt,
        label=np.zeros(number, dtype=np.int64) if label is None else np.asarray(label, dtype=np.int64),
        pt=transverse.astype(np.float32),
        eta=np.arcsinh(slope).astype(np.float32),
        mass=np.sqrt(np.maximum(energy**2 - transverse**2 - pz**2, 0)).astype(np.float32),
        classes=tuple(classes) or ("unlabelled",),
        provenance={} if provenance is None else provenance,
    )
