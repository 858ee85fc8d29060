"""Jets made slightly different by what leaves their physics alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from jetexp.geometry import sums
from jetexp.jets.pixels import HALF_WIDTH, PIXELS, pixel_index
from jetexp.jets.sample import Jets
from jetexp.settings import Settings

__all__ = ["AugmentationSettings", "augmented"]

PIXEL = 2 * HALF_WIDTH / PIXELS


class AugmentationSettings(Settings):
    """What is done at random to the constituents of training jets, anew in each epoch.

    It happens before the image is made, which then takes back what its own standardisation is made
    to take back: of an image that is rotated to its principal axis, a rotation changes nothing.

    Attributes
    ----------
    drop : float
        Probability that a constituent is lost.
    smear : float
        Relative standard deviation of a factor on each constituent's pT, which is never below zero.
    rotation : float
        Standard deviation of the angle that a jet is turned by about its axis, in radians.
    zoom : float
        Relative standard deviation of a factor on all angles of a jet.
    shift : float
        Standard deviation of a jet's displacement in eta and in phi.
    flip : bool
        Mirror half of the jets in eta, and half in phi.
    pixelate : float
        Probability that a jet is shown as raw images show it: what falls into a pixel of 0.05 x 0.05 summed
        at its middle, and what lies beyond 1.0 in eta or phi lost. Training on such a mixture keeps a tagger
        that is sent raw images from meeting what it never saw.
    """

    drop: float = Field(0.0, ge=0, lt=1)
    smear: float = Field(0.0, ge=0, lt=0.5)
    rotation: float = Field(0.0, ge=0, le=3.2)
    zoom: float = Field(0.0, ge=0, lt=0.5)
    shift: float = Field(0.0, ge=0, le=1)
    flip: bool = False
    pixelate: float = Field(0.0, ge=0, le=1)


def augmented(jets: Jets, settings: AugmentationSettings, rng: np.random.Generator) -> Jets:
    """Draw one slightly different version of each jet.

    Parameters
    ----------
    jets : Jets
        N jets.
    settings : AugmentationSettings
        What is done to them.
    rng : numpy.random.Generator
        What is drawn from.

    Returns
    -------
    Jets
        As many; labels and kinematics are those given.
    """
    number, jet = len(jets), jets.jet_index
    eta, phi, pt = (
        values.astype(np.float64)
        for values in (jets.constituent_eta, jets.constituent_phi, jets.constituent_pt)
    )
    if settings.smear:
        pt = pt * np.maximum(0.0, 1 + settings.smear * rng.standard_normal(len(pt)))
    eta, phi = _moved(jet, number, eta, phi, settings, rng)
    keep = rng.random(len(pt)) >= settings.drop if settings.drop else np.ones(len(pt), dtype=bool)
    counts = sums(jet[keep], None, number).astype(np.int64)
    charge = jets.constituent_charge
    changed = replace(
        jets,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        constituent_eta=eta[keep].astype(np.float32),
        constituent_phi=phi[keep].astype(np.float32),
        constituent_pt=pt[keep].astype(np.float32),
        constituent_charge=None if charge is None else charge[keep],
    )
    return _pixelated(changed, rng.random(number) < settings.pixelate) if settings.pixelate else changed


def _pixelated(jets: Jets, chosen: npt.NDArray[np.bool_]) -> Jets:
    """Sum the constituents of some jets in pixels; what a pixel holds has no charge."""
    of_jet = jets.jet_index
    summed = chosen[of_jet]
    jet, eta, phi, pt = (
        values[summed] for values in (of_jet, jets.constituent_eta, jets.constituent_phi, jets.constituent_pt)
    )
    # in double precision, as where images are made: pixels of other images may lie on the borders of these
    pixel = pixel_index(eta.astype(np.float64), phi.astype(np.float64), pixels=PIXELS, half_width=HALF_WIDTH)
    inside = (pixel >= 0) & (pt > 0)
    cell = jet[inside] * PIXELS**2 + pixel[inside]
    cells, which = np.unique(cell, return_inverse=True)
    jet, place = np.divmod(cells, PIXELS**2)
    joined = np.concatenate([of_jet[~summed], jet])
    order = np.argsort(joined, kind="stable")

    def merged(values: npt.NDArray[Any], of_pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([values[~summed], of_pixels.astype(values.dtype)])[order]

    charge = jets.constituent_charge
    return replace(
        jets,
        offsets=np.concatenate([[0], np.cumsum(np.bincount(joined, minlength=len(jets)))]),
        constituent_eta=merged(jets.constituent_eta, (place // PIXELS + 0.5) * PIXEL - HALF_WIDTH),
        constituent_phi=merged(jets.constituent_phi, (place % PIXELS + 0.5) * PIXEL - HALF_WIDTH),
        constituent_pt=merged(jets.constituent_pt, np.bincount(which, pt[inside], len(cells))),
        constituent_charge=None if charge is None else merged(charge, np.zeros(len(cells))),
    )


def _moved(
    jet: npt.NDArray[np.int64],
    number: int,
    eta: npt.NDArray[np.float64],
    phi: npt.NDArray[np.float64],
    settings: AugmentationSettings,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Turn, zoom, mirror and shift whole jets about their axis."""
    if settings.rotation:
        angle = (settings.rotation * rng.standard_normal(number))[jet]
        eta, phi = np.cos(angle) * eta - np.sin(angle) * phi, np.sin(angle) * eta + np.cos(angle) * phi
    if settings.zoom:
        factor = np.maximum(0.0, 1 + settings.zoom * rng.standard_normal(number))[jet]
        eta, phi = factor * eta, factor * phi
    if settings.flip:
        eta, phi = (values * rng.choice((-1.0, 1.0), number)[jet] for values in (eta, phi))
    if settings.shift:
        eta, phi = (values + (settings.shift * rng.standard_normal(number))[jet] for values in (eta, phi))
    return eta, phi
