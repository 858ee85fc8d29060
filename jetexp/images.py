"""From constituents to images: centre, rotate, flip, zoom, pixelate, scale."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from jetexp.jets.sample import Jets
from jetexp.settings import Settings

__all__ = ["ImageSettings", "make_images"]

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

# cells (constituents or pixels, whichever are more) held at once; bounds the memory taken
BLOCK_CELLS = 2_000_000
# below this distance (float32 constituents carry rounding of this order) a coordinate is on the axis
ON_AXIS = 1e-6
# what the logarithm is taken of: 1 + value / this, in GeV and as a fraction of the jet's pT
LOG_UNIT = {"gev": 1.0, "fraction": 1e-3}


class ImageSettings(Settings):
    """How images are made from constituents.

    Attributes
    ----------
    pixels : int
        Pixels a side.
    half_width : float
        Half the side of the image, in eta and phi (after the zoom).
    centre : bool
        Move the pT-weighted centroid to the middle.
    rotate : bool
        Turn the principal axis upright, that is along phi.
    flip : bool
        Mirror so that the harder half lies on the positive side of each axis.
    zoom : bool
        Scale angles by the jet's pT over ``reference_pt``, since a decay's opening angle goes as
        2 m / pT (Barnard et al., arXiv:1609.00607). The jet's pT is here the scalar sum over its
        constituents, which particles and pixels both have, so that training and serving agree.
    reference_pt : float
        The pT at which the zoom leaves angles as they are, GeV.
    scale : {"gev", "fraction"}
        Pixels in GeV, or as fractions of the jet's summed pT.
    intensity : {"linear", "sqrt", "log"}
        What is done to the scaled pixel values v: nothing, their square root, or log(1 + v / u)
        with u = 1 GeV, or u = 0.001 for fractions.
    """

    pixels: int = Field(24, ge=4, le=256)
    half_width: float = Field(0.6, gt=0, le=3.2)
    centre: bool = True
    rotate: bool = True
    flip: bool = True
    zoom: bool = True
    reference_pt: float = Field(600.0, gt=0)
    scale: Literal["gev", "fraction"] = "fraction"
    intensity: Literal["linear", "sqrt", "log"] = "sqrt"


def make_images(jets: Jets, settings: ImageSettings) -> npt.NDArray[np.float32]:
    """Make one image of each jet.

    Constituents outside the image are lost. A jet without constituents, or whose constituents
    have no pT, gives an empty image.

    Parameters
    ----------
    jets : Jets
        N jets.
    settings : ImageSettings
        What is done to them.

    Returns
    -------
    ndarray of float32, shape (N, pixels, pixels, 1)
        First axis eta, second phi. In GeV or without unit, by ``settings.scale``.

    Examples
    --------
    >>> jets = Jets(
    ...     offsets=np.array([0, 2]),
    ...     constituent_eta=np.array([0.1, -0.3], np.float32),
    ...     constituent_phi=np.array([0.1, -0.3], np.float32),
    ...     constituent_pt=np.array([30, 10], np.float32),
    ...     label=np.array([0]),
    ...     pt=np.array([40], np.float32),
    ...     eta=np.array([0], np.float32),
    ...     mass=np.array([9], np.float32),
    ...     classes=("QCD",),
    ... )
    >>> image = make_images(jets, ImageSettings(pixels=4, half_width=0.8, zoom=False, intensity="linear"))
    >>> image[0, :, :, 0].tolist()[2]
    [0.25, 0.0, 0.75, 0.0]
    """
    images = np.empty((len(jets), settings.pixels, settings.pixels, 1), dtype=np.float32)
    largest = int(jets.counts.max(initial=1))
    step = max(1, BLOCK_CELLS // max(settings.pixels**2, largest))
    for start in range(0, len(jets), step):
        stop = min(start + step, len(jets))
        offsets = jets.offsets[start : stop + 1]
        flat = slice(offsets[0], offsets[-1])
        images[start:stop, :, :, 0] = _images_of_block(
            np.repeat(np.arange(stop - start), np.diff(offsets)),
            stop - start,
            jets.constituent_eta[flat].astype(np.float64),
            jets.constituent_phi[flat].astype(np.float64),
            jets.constituent_pt[flat].astype(np.float64),
            settings,
        )
    return images


def _images_of_block(
    jet: Index, number: int, eta: Float, phi: Float, pt: Float, settings: ImageSettings
) -> npt.NDArray[np.float32]:
    total = _sums(jet, pt, number)
    if settings.centre:
        eta, phi = _centred(jet, eta, phi, pt, total)
    if settings.rotate:
        eta, phi = _rotated(jet, eta, phi, pt, number)
    if settings.centre or settings.rotate:
        # what lies on an axis must not fall to either side of it by rounding
        eta, phi = (np.where(np.abs(values) < ON_AXIS, 0.0, values) for values in (eta, phi))
    if settings.flip:
        eta, phi = (_flipped(jet, values, pt, number) for values in (eta, phi))
    if settings.zoom:
        factor = (total / settings.reference_pt)[jet]
        eta, phi = eta * factor, phi * factor
    images = _pixelated(jet, number, eta, phi, pt, settings)
    if settings.scale == "fraction":
        images /= np.where(total > 0, total, 1.0)[:, None, None]
    if settings.intensity == "sqrt":
        np.sqrt(images, out=images)
    elif settings.intensity == "log":
        np.log1p(images / LOG_UNIT[settings.scale], out=images)
    return images.astype(np.float32)


def _sums(jet: Index, values: Float, number: int) -> Float:
    """Sum the constituents' values for each jet, shape (number,)."""
    return np.asarray(np.bincount(jet, weights=values, minlength=number), dtype=np.float64)


def _wrapped(phi: Float) -> Float:
    """Bring phi back to [-pi, pi)."""
    return phi - 2 * np.pi * np.floor((phi + np.pi) / (2 * np.pi))


def _centred(jet: Index, eta: Float, phi: Float, pt: Float, total: Float) -> tuple[Float, Float]:
    """Move the pT-weighted centroid to the origin."""
    number, safe = len(total), np.where(total > 0, total, 1.0)
    # an ordinary mean of phi means nothing across the seam, so first turn to the circular mean
    around = np.arctan2(_sums(jet, pt * np.sin(phi), number), _sums(jet, pt * np.cos(phi), number))
    phi = _wrapped(phi - around[jet])
    eta = eta - (_sums(jet, pt * eta, number) / safe)[jet]
    phi = phi - (_sums(jet, pt * phi, number) / safe)[jet]
    return eta, phi


def _rotated(jet: Index, eta: Float, phi: Float, pt: Float, number: int) -> tuple[Float, Float]:
    """Turn about the origin until the principal axis of the pT-weighted second moments lies along phi."""
    in_eta, in_phi = _sums(jet, pt * eta * eta, number), _sums(jet, pt * phi * phi, number)
    mixed = _sums(jet, pt * eta * phi, number)
    # a jet equally wide in all directions has no principal axis and stays as it is
    has_axis = np.hypot(2 * mixed, in_phi - in_eta) > ON_AXIS * (in_eta + in_phi)
    angle = np.where(has_axis, 0.5 * np.arctan2(2 * mixed, in_phi - in_eta), 0.0)
    cosine, sine = np.cos(angle)[jet], np.sin(angle)[jet]
    return cosine * eta - sine * phi, sine * eta + cosine * phi


def _flipped(jet: Index, values: Float, pt: Float, number: int) -> Float:
    """Mirror one coordinate of those jets whose negative half holds more pT."""
    mirrored = _sums(jet, pt * np.sign(values), number) < 0
    return np.where(mirrored[jet], -values, values)


def _pixelated(jet: Index, number: int, eta: Float, phi: Float, pt: Float, settings: ImageSettings) -> Float:
    """Sum pT in pixels, shape (number, pixels, pixels)."""
    pixels, half_width = settings.pixels, settings.half_width
    inside = (np.abs(eta) <= half_width) & (np.abs(phi) <= half_width)
    jet, eta, phi, pt = jet[inside], eta[inside], phi[inside], pt[inside]
    per_unit = pixels / (2 * half_width)
    row, column = (
        np.minimum(((values + half_width) * per_unit).astype(np.int64), pixels - 1) for values in (eta, phi)
    )
    cell = (jet * pixels + row) * pixels + column
    return _sums(cell, pt, number * pixels**2).reshape(number, pixels, pixels)
